"""The side panel and the strips above and below the field."""

from typing import Generic, TypeVar

import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from armicro.overlay import paint
from armicro.overlay.guide import Goal, Way, distance_text
from armicro.overlay.known import Trend
from armicro.overlay.paint import paint_arrow
from armicro.overlay.view import Rgb
from armicro.overlay.words import RESEARCH_ONLY, CoverageWords, Item, ScoreWords
from armicro.report import Finding, Revisit

# ---------------------------------------------------------------------------
# A card of the side panel, and a line of text on it.


LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter
_PAD = 14.0
Words = TypeVar("Words")


class Card(QWidget):
    """A rounded card with a heading."""

    def __init__(self, height: int, heading: str = "") -> None:
        super().__init__()
        self._heading = heading
        self._height = height
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The card's own height, at any width."""
        return QSize(280, self._height)

    def begin(self, heading: str, right: str = "") -> tuple[QPainter, QRectF]:
        """Paint ground and heading; the room inside the padding is left."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(paint.CARD)
        painter.drawRoundedRect(QRectF(self.rect()), 7, 7)
        room = QRectF(self.rect()).adjusted(_PAD, 9, -_PAD, -9)
        line = QRectF(room.left(), room.top(), room.width(), 18)
        write(painter, line, heading, paint.MUTED, paint.font(12, bold=True))
        write(painter, line, right, paint.MUTED, align=RIGHT)
        return painter, room.adjusted(0, 22, 0, 0)


class WordCard(Card, Generic[Words]):
    """A card that shows frozen words, and repaints only when they change."""

    def __init__(self, height: int) -> None:
        super().__init__(height)
        self._words: Words | None = None

    def say(self, words: Words) -> None:
        """Show other words."""
        if words != self._words:
            self._words = words
            self.update()


def write(
    painter: QPainter,
    line: QRectF,
    text: str,
    shade: QColor,
    letters: QFont | None = None,
    align: Qt.AlignmentFlag = LEFT,
) -> None:
    """Write one line of text; what does not fit ends in an ellipsis."""
    painter.setFont(letters or paint.font(12))
    painter.setPen(shade)
    fitting = painter.fontMetrics().elidedText(
        text, Qt.TextElideMode.ElideRight, int(line.width()) + 1
    )
    painter.drawText(line, align, fitting)


# ---------------------------------------------------------------------------
# The panel itself.


class ScoreCard(WordCard[ScoreWords]):
    """The running slide score: a large number, a bar with the six scores, the six."""

    def __init__(self) -> None:
        super().__init__(172)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the card."""
        words = self._words
        if words is None:
            return
        painter, room = self.begin(words.title)
        shade = paint.TONES[words.tone]
        number = QRectF(room.left(), room.top() - 2, 132, 46)
        write(painter, number, words.number, shade, paint.font(34, bold=True))
        note = QRectF(room.left() + 136, room.top() + 2, room.width() - 136, 46)
        painter.setFont(paint.font(12))
        painter.setPen(paint.MUTED if words.tone == "plain" else shade)
        wrapped = LEFT | Qt.TextFlag.TextWordWrap
        painter.drawText(note, wrapped, words.note)
        self._paint_bar(painter, QRectF(room.left(), room.top() + 56, room.width(), 9))
        self._paint_rows(
            painter, QRectF(room.left(), room.top() + 92, room.width(), 48)
        )
        painter.end()

    def _paint_bar(self, painter: QPainter, bar: QRectF) -> None:
        words = self._words
        if words is None:
            return
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(paint.SURROUND)
        painter.drawRoundedRect(bar, 4, 4)
        if words.share is not None:
            filled = QRectF(bar)
            filled.setWidth(max(bar.height(), bar.width() * words.share))
            painter.setBrush(paint.TONES[words.tone])
            painter.drawRoundedRect(filled, 4, 4)
        painter.setPen(QPen(paint.TEXT, 1.6))
        for mark in words.marks:
            x = bar.left() + bar.width() * mark
            painter.drawLine(QPointF(x, bar.top() - 3), QPointF(x, bar.bottom() + 3))
        scale = QRectF(bar.left(), bar.bottom() + 3, bar.width(), 14)
        for text, align in (("0", LEFT), ("1", RIGHT)):
            write(painter, scale, text, paint.FAINT, paint.font(11), align)
        write(painter, scale, "0.5", paint.FAINT, paint.font(11), CENTRE)

    def _paint_rows(self, painter: QPainter, room: QRectF) -> None:
        words = self._words
        if words is None or not words.rows:
            return
        width = room.width() / len(words.rows)
        for column, (name, first, second) in enumerate(words.rows):
            left = room.left() + column * width
            head = QRectF(left, room.top(), width, 16)
            pair = QRectF(left, room.top() + 17, width, 18)
            write(painter, head, name, paint.FAINT, paint.font(11), CENTRE)
            text = f"{first}   {second}"
            write(painter, pair, text, paint.TEXT, paint.font(13), CENTRE)


class CoverageCard(WordCard[CoverageWords]):
    """How much of the cell area was seen."""

    def __init__(self, least_coverage: float) -> None:
        super().__init__(56)
        self._least = least_coverage

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the card; the notch is the share from which a score counts."""
        words = self._words
        if words is None:
            return
        # "at most 95 % of the visited cell area analysed" leaves no room for a title.
        painter, room = self.begin(words.text[:1].upper() + words.text[1:])
        bar = QRectF(room.left(), room.top() + 3, room.width(), 7)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(paint.SURROUND)
        painter.drawRoundedRect(bar, 3.5, 3.5)
        filled = QRectF(bar)
        filled.setWidth(bar.width() * min(1.0, words.share))
        painter.setBrush(paint.ACCENT if words.enough else paint.MUTED)
        painter.drawRoundedRect(filled, 3.5, 3.5)
        x = bar.left() + bar.width() * self._least
        painter.setPen(QPen(paint.TEXT, 1.4))
        painter.drawLine(QPointF(x, bar.top() - 3), QPointF(x, bar.bottom() + 3))
        painter.end()


# ---------------------------------------------------------------------------
# The strips above and below the field: slide, the constant warning, figures.


_GAP = 20.0


class Heading(QWidget):
    """Slide and source at the left, "research use only" at the right, always."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setFixedHeight(38)
        self._title = title
        self._text = ""
        self._source = ""

    def say(self, text: str, source: str) -> None:
        """Show a slide's name and where its fields come from."""
        if (text, source) != (self._text, self._source):
            self._text, self._source = text, source
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the strip."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), paint.PANEL)
        badge = self._paint_badge(painter)
        left = 16.0
        for text, shade, size_px, bold in (
            (self._title, paint.ACCENT, 15, True),
            (self._text, paint.TEXT, 14, True),
            (self._source, paint.MUTED, 12, False),
        ):
            room = QRectF(left, 0, max(0.0, badge.left() - left - _GAP), self.height())
            letters = paint.font(size_px, bold=bold)
            write(painter, room, text, shade, letters)
            if text:
                metrics = QFontMetricsF(letters)
                left += metrics.horizontalAdvance(text) + _GAP
        painter.end()

    def _paint_badge(self, painter: QPainter) -> QRectF:
        letters = paint.font(12, bold=True)
        width = QFontMetricsF(letters).horizontalAdvance(RESEARCH_ONLY) + 24
        badge = QRectF(self.width() - width - 12, 8, width, 22)
        painter.setPen(QPen(paint.WARN, 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(badge, 4, 4)
        painter.setFont(letters)
        painter.setPen(paint.WARN)
        painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, RESEARCH_ONLY)
        return badge


class StatusStrip(QWidget):
    """The figures; those that do not fit are left out from the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(30)
        self._items: tuple[Item, ...] = ()
        self._said = ""

    @property
    def said(self) -> str:
        """What has just been done."""
        return self._said

    def say(self, items: tuple[Item, ...], said: str = "") -> None:
        """Show figures, and at the right what has just been done."""
        if (items, said) != (self._items, self._said):
            self._items, self._said = items, said
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the strip."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), paint.PANEL)
        left, height = 16.0, float(self.height())
        thin, thick = (QFontMetricsF(paint.font(12, bold=b)) for b in (False, True))
        right = self.width() - 16.0 - thin.horizontalAdvance(self._said or "? keys")
        for item in self._items:
            name = thin.horizontalAdvance(item.name) + 6
            value = thick.horizontalAdvance(item.value) + 1
            if left + name + value > right - 8:
                continue
            room = QRectF(left, 0, name, height)
            write(painter, room, item.name, paint.MUTED)
            room = QRectF(left + name, 0, value, height)
            write(
                painter,
                room,
                item.value,
                paint.TONES[item.tone],
                paint.font(12, bold=True),
            )
            left += name + value + _GAP
        room = QRectF(right, 0, self.width() - right, height)
        shade = paint.ACCENT if self._said else paint.FAINT
        write(painter, room, self._said or "? keys", shade)
        painter.end()


# ---------------------------------------------------------------------------
# A list of the side panel with the way to each goal; a row can be picked.


class GoalList(Card):
    """Goals with the way to each; a row can be picked."""

    chosen = Signal(object)
    """The target of the row that was picked, or None."""

    _ROW = 25.0

    def __init__(self, heading: str, *, rows: int | None = None) -> None:
        """Lay an empty list out.

        Args:
            heading: of the card.
            rows: takes that much room; None: all that there is.
        """
        super().__init__(120 if rows is None else 44 + round(rows * self._ROW))
        if rows is None:
            grow = QSizePolicy.Policy.Expanding
            self.setSizePolicy(grow, grow)
        self.setMinimumHeight(90 if rows is None else 44 + round(self._ROW))
        self._heading = heading
        self._goals: tuple[Goal, ...] = ()
        self._chosen: Finding | Revisit | None = None
        self._first = 0

    def say(self, goals: tuple[Goal, ...], chosen: Finding | Revisit | None) -> None:
        """Show the list."""
        if (goals, chosen) != (self._goals, self._chosen):
            self._goals, self._chosen = goals, chosen
            self._scroll_to(self._first)
            self.update()

    def reveal(self, at: int) -> None:
        """Scroll so that a row can be seen."""
        rows = self._rows()
        if at < self._first:
            self._scroll_to(at)
        elif at >= self._first + rows:
            self._scroll_to(at - rows + 1)
        self.update()

    def _rows(self) -> int:
        return max(1, int((self.height() - 44) // self._ROW))

    def _scroll_to(self, first: int) -> None:
        self._first = max(0, min(first, len(self._goals) - self._rows()))

    def _row_box(self, row: int) -> QRectF:
        top = 33 + row * self._ROW
        return QRectF(6, top, self.width() - 12, self._ROW - 1)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the rows that fit."""
        shown = self._goals[self._first : self._first + self._rows()]
        last = self._first + len(shown)
        part = f"{self._first + 1}–{last} of {len(self._goals)}" if shown else ""
        painter, room = self.begin(self._heading, part)
        if not shown:
            line = QRectF(room.left(), room.top(), room.width(), 20)
            write(painter, line, "none yet", paint.FAINT)
        for row, goal in enumerate(shown):
            self._paint_row(painter, self._row_box(row), goal)
        painter.end()

    def _paint_row(self, painter: QPainter, box: QRectF, goal: Goal) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        if goal.target == self._chosen:
            painter.setPen(QPen(paint.ACCENT, 1))
            painter.setBrush(QColor(38, 50, 61))
            painter.drawRoundedRect(box, 4, 4)
        line = box.adjusted(8, 0, -8, 0)
        rank = QRectF(line.left(), line.top(), 24, line.height())
        write(painter, rank, f"{goal.rank}", paint.MUTED, align=RIGHT)
        words = QRectF(line.left() + 34, line.top(), 152, line.height())
        if isinstance(goal.target, Finding):
            at = QPointF(words.left(), line.center().y())
            _paint_strength(painter, at, goal.target.hr_probability, goal.rgb)
            bold = paint.font(13, bold=True)
            write(painter, words.adjusted(70, 0, 0, 0), goal.text, paint.TEXT, bold)
        else:
            write(painter, words, goal.text, paint.colour(goal.rgb))
        shade = paint.ACCENT if goal.way.in_view else paint.TEXT
        way = line.adjusted(0, 0, -22, 0)
        write(painter, way, distance_text(goal.way), shade, align=RIGHT)
        _paint_way(painter, QPointF(line.right() - 6, line.center().y()), goal.way)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Pick a row; a picked one is let go."""
        row = int((event.position().y() - 33) // self._ROW)
        if 0 <= row < self._rows() and self._first + row < len(self._goals):
            target = self._goals[self._first + row].target
            self.chosen.emit(None if target == self._chosen else target)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Scroll the list."""
        self._scroll_to(self._first - round(event.angleDelta().y() / 120))
        self.update()


def _paint_strength(
    painter: QPainter, at: QPointF, probability: float, rgb: Rgb
) -> None:
    bar = QRectF(at.x(), at.y() - 3, 62, 6)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(paint.SURROUND)
    painter.drawRoundedRect(bar, 3, 3)
    bar.setWidth(max(6.0, 62 * probability))
    shades = QLinearGradient(bar.topLeft(), bar.topRight())
    shades.setColorAt(0, paint.colour(rgb, 0.55))
    shades.setColorAt(1, paint.colour(rgb))
    painter.setBrush(shades)
    painter.drawRoundedRect(bar, 3, 3)


def _paint_way(painter: QPainter, at: QPointF, way: Way) -> None:
    if way.in_view:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(paint.ACCENT)
        painter.drawEllipse(at, 3.5, 3.5)
    elif way.distance_um is not None:
        paint_arrow(painter, at, QPointF(*way.towards_xy), 8.5, paint.TEXT)


# ---------------------------------------------------------------------------
# The side panel's plot of the running score; the only import of pyqtgraph.


_BAND = QColor(106, 178, 226, 60)


class TrendCard(Card):
    """Score over fields seen, with the band of the six scores."""

    def __init__(self, suspicious_score: float) -> None:
        super().__init__(128)
        plot = pg.PlotWidget(background=paint.CARD)
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setMouseEnabled(x=False, y=False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setYRange(0, 1, padding=0.04)
        plot.setXRange(0, 10)
        plot.setLimits(xMin=0, minXRange=10)
        for side, ticks in (("left", [0, 0.5, 1]), ("bottom", None)):
            axis = plot.getAxis(side)
            axis.setTickFont(paint.font(10))
            axis.setTextPen(paint.FAINT)
            axis.setPen(paint.LINE)
            axis.setStyle(maxTickLevel=0, tickLength=-4)
            if ticks:
                axis.setTicks([[(tick, f"{tick:g}") for tick in ticks]])
        dashes = pg.mkPen(paint.FAINT, width=1, style=Qt.PenStyle.DashLine)
        plot.addItem(pg.InfiniteLine(suspicious_score, angle=0, pen=dashes))
        clear = pg.mkPen(None)
        self._low = plot.plot(pen=clear)
        self._high = plot.plot(pen=clear)
        plot.addItem(pg.FillBetweenItem(self._low, self._high, brush=_BAND))
        self._line = plot.plot(pen=pg.mkPen(paint.ACCENT, width=2), antialias=True)
        self._plot = plot
        room = QVBoxLayout(self)
        room.setContentsMargins(8, 28, 12, 4)
        room.addWidget(plot)

    def draw(self, trend: Trend) -> None:
        """Show a trend."""
        self._plot.enableAutoRange(axis="x")
        fields, score, low, high = trend.table.T
        for curve, values in (
            (self._low, low),
            (self._high, high),
            (self._line, score),
        ):
            curve.setData(fields, values)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the card below the plot."""
        painter, _ = self.begin("Score over fields", "band: the six scores")
        painter.end()
