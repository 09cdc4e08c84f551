"""The side panel and the strips above and below the field, of Qt's own widgets."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from html import escape

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QIcon,
    QImage,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QStatusBar,
    QStyle,
    QStyleOptionProgressBar,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from armicro.field import Pixels
from armicro.overlay import paint
from armicro.overlay.guide import Goal, Way, distance_text
from armicro.overlay.known import Trend
from armicro.overlay.view import Rgb
from armicro.overlay.words import RESEARCH_ONLY, CoverageWords, Item, ScoreWords, Tone
from armicro.report import Finding, Revisit

# ---------------------------------------------------------------------------
# A card of the side panel, and what stands on it.


class Card(QFrame):
    """A rounded card with a heading; its widgets stand below each other."""

    def __init__(
        self,
        heading: str,
        *widgets: QWidget,
        aside: str = "",
        margin: int = 14,
        grows: bool = True,
    ) -> None:
        super().__init__()
        down = QSizePolicy.Policy.Preferred if grows else QSizePolicy.Policy.Fixed
        self.setSizePolicy(QSizePolicy.Policy.Preferred, down)
        self.heading, self.aside = ElidedLabel("heading"), QLabel(aside)
        self.aside.setObjectName("heading")
        self.say(heading, aside)
        head = QHBoxLayout()
        head.setContentsMargins(14 - margin, 0, 14 - margin, 0)
        head.addWidget(self.heading, 1)
        head.addWidget(self.aside)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(margin, 9, margin, 9)
        self.column.setSpacing(4)
        self.column.addLayout(head)
        for widget in widgets:
            self.column.addWidget(widget, 1)

    def say(self, heading: str, aside: str = "") -> None:
        """Show another heading, and something at its right."""
        self.heading.say(heading)
        self.aside.setText(aside)
        self.setAccessibleName(heading)


class ElidedLabel(QLabel):
    """One line of text; what does not fit ends in an ellipsis, and is its tool tip."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.setObjectName(name)
        across, down = QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed
        self.setSizePolicy(across, down)
        self._whole = ""

    def say(self, text: str) -> None:
        """Show another text."""
        if text != self._whole:
            self._whole = text
            self.setToolTip(text)
            self.setAccessibleName(text)
            self.updateGeometry()
            self._fit()

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """The room that the whole text wants."""
        width = self.fontMetrics().horizontalAdvance(self._whole) + 2
        return QSize(width, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """It may be squeezed to nothing."""
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Cut the text anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        end = Qt.TextElideMode.ElideRight
        self.setText(self.fontMetrics().elidedText(self._whole, end, self.width()))


class MarkedBar(QProgressBar):
    """A share of 0-1 as a bar, with notches."""

    def __init__(self, name: str, height_px: int) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setRange(0, 1000)
        self.setTextVisible(False)
        self.setFixedHeight(height_px)
        self._marks: tuple[float, ...] = ()

    def show_share(
        self, share: float | None, tone: Tone, marks: tuple[float, ...]
    ) -> None:
        """Fill the bar so far, and notch it."""
        self.setValue(round(1000 * min(1.0, share or 0.0)))
        _tint(self, tone)
        if marks != self._marks:
            self._marks = marks
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the bar as the style does, between the notches' ends."""
        del event
        option = QStyleOptionProgressBar()
        self.initStyleOption(option)
        option.rect = self.rect().adjusted(0, 3, 0, -3)
        with QPainter(self) as painter:
            bar = QStyle.ControlElement.CE_ProgressBar
            self.style().drawControl(bar, option, painter, self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(paint.TEXT, 1.6))
            for mark in self._marks:
                x = 0.8 + (self.width() - 1.6) * mark
                painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))


def _tint(widget: QWidget, tone: Tone) -> None:
    """Give a widget the style sheet's colour of a tone."""
    if widget.property("tone") != tone:
        widget.setProperty("tone", tone)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def _label(name: str = "", text: str = "") -> QLabel:
    label = QLabel(text)
    label.setObjectName(name)
    return label


# ---------------------------------------------------------------------------
# What is known of the slide.


_NO_ROWS = (("", "", ""),) * 3


class ScoreCard(Card):
    """The running slide score: a large number, a bar with the six scores, the six."""

    def __init__(self) -> None:
        self._number, self._note = _label("number"), _label()
        self._number.setMinimumWidth(132)
        self._note.setWordWrap(True)
        self._note.setMinimumHeight(self._note.fontMetrics().lineSpacing() * 3)
        self._bar = MarkedBar("slide score", 15)
        top, scale, six = QHBoxLayout(), QHBoxLayout(), QGridLayout()
        super().__init__("", grows=False)
        top.addWidget(self._number)
        top.addWidget(self._note, 1)
        for at, text in enumerate(("0", "0.5", "1")):
            scale.addStretch(int(at > 0))
            scale.addWidget(_label("faint", text))
        six.setVerticalSpacing(0)
        self._six = [(_label("faint"), _label("six")) for _ in range(3)]
        for column, labels in enumerate(self._six):
            for row, label in enumerate(labels):
                six.addWidget(label, row, column, Qt.AlignmentFlag.AlignCenter)
        self.column.addLayout(top)
        self.column.addWidget(self._bar)
        self.column.addLayout(scale)
        self.column.addLayout(six)
        self._words: ScoreWords | None = None

    def show_score(self, words: ScoreWords) -> None:
        """Show the score as it may be told."""
        if words == self._words:
            return
        self._words = words
        self.say(words.title)
        self._number.setText(words.number)
        self._note.setText(words.note)
        _tint(self._number, words.tone)
        _tint(self._note, "muted" if words.tone == "plain" else words.tone)
        self._bar.show_share(words.share, words.tone, words.marks)
        for labels, texts in zip(self._six, words.rows or _NO_ROWS, strict=False):
            name, first, second = texts
            labels[0].setText(name)
            labels[1].setText(f"{first}   {second}")


class CoverageCard(Card):
    """How much of the cell area was analysed; the notch is what a score needs."""

    def __init__(self, least_coverage: float) -> None:
        self._least = least_coverage
        self._bar = MarkedBar("coverage", 13)
        super().__init__("", self._bar, grows=False)

    def show_coverage(self, words: CoverageWords) -> None:
        """Show the share and its words."""
        # "at most 95 % of the visited cell area analysed" leaves no room for a title.
        self.say(words.text[:1].upper() + words.text[1:])
        tone: Tone = "accent" if words.enough else "muted"
        self._bar.show_share(words.share, tone, (self._least,))


class CellCard(Card):
    """The best view of the picked finding, with a bar of 10 µm."""

    def __init__(self) -> None:
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._picture.setMinimumSize(1, 1)
        ignored = QSizePolicy.Policy.Ignored
        self._picture.setSizePolicy(ignored, ignored)
        super().__init__("Picked cell, best view", self._picture, aside="bar: 10 µm")
        self.setMinimumHeight(150)
        self._whole = QPixmap()

    def show_cell(self, pixels: Pixels, width_um: float) -> None:
        """Show a crop that is so wide on the slide."""
        height, width = pixels.shape[:2]
        rgb = np.ascontiguousarray(pixels)
        image = QImage(rgb.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        self._whole = QPixmap.fromImage(image)
        bar_px = 10.0 * width / width_um
        with QPainter(self._whole) as painter:
            bar = QRectF(width - bar_px - 8, height - 12, bar_px, 4)
            painter.setPen(QPen(paint.SURROUND, 1))
            painter.setBrush(paint.TEXT)
            painter.drawRect(bar)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Show it as large as there is room."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if not self._whole.isNull():
            keep = Qt.AspectRatioMode.KeepAspectRatio
            smooth = Qt.TransformationMode.SmoothTransformation
            room = self._picture.size()
            self._picture.setPixmap(self._whole.scaled(room, keep, smooth))


_BAND = QColor(106, 178, 226, 60)


class TrendCard(Card):
    """Score over fields seen, with the band of the six scores."""

    def __init__(self, suspicious_score: float) -> None:
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
        super().__init__(
            "Score over fields", plot, aside="band: the six scores", margin=9
        )
        self.setFixedHeight(128)

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


# ---------------------------------------------------------------------------
# A list of goals with the way to each; a row can be picked.


_RANK, _WHAT, _DISTANCE, _ARROW = range(4)
_STRENGTH_PX = 44, 18
_ROW_PX = 25


class GoalList(Card):
    """Goals with the way to each; a row can be picked."""

    chosen = Signal(object)
    """The target of the row that was picked, or None."""

    def __init__(self, heading: str, *, rows: int | None = None) -> None:
        """Lay an empty list out.

        Args:
            heading: of the card.
            rows: takes that much room; None: all that there is.
        """
        self.table = table = QTreeWidget()
        table.setAccessibleName(heading)
        table.setColumnCount(4)
        table.setHeaderHidden(True)
        table.setRootIsDecorated(False)
        table.setUniformRowHeights(True)
        table.setIconSize(QSize(*_STRENGTH_PX))
        # The keys are the window's own.
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = table.header()
        header.setMinimumSectionSize(16)
        header.setStretchLastSection(False)
        for column, width in ((_RANK, 32), (_DISTANCE, 66), (_ARROW, 22)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(column, width)
        header.setSectionResizeMode(_WHAT, QHeaderView.ResizeMode.Stretch)
        table.itemClicked.connect(self._pick)
        super().__init__(heading, table, margin=6)
        self._heading = heading
        self._goals: tuple[Goal, ...] = ()
        self._rows: list[QTreeWidgetItem] = []
        self._chosen: Finding | Revisit | None = None
        table.setMinimumHeight(_ROW_PX * (2 if rows is None else 1))
        if rows is not None:
            table.setMaximumHeight(_ROW_PX * rows)

    def show_goals(
        self, goals: tuple[Goal, ...], chosen: Finding | Revisit | None
    ) -> None:
        """Show the list."""
        if (goals, chosen) == (self._goals, self._chosen):
            return
        before, self._goals, self._chosen = self._goals, goals, chosen
        table = self.table
        while len(self._rows) > len(goals):
            self._rows.pop()
            table.takeTopLevelItem(len(self._rows))
        for row, goal in enumerate(goals):
            if row == len(self._rows):
                self._rows.append(_empty_row())
                table.addTopLevelItem(self._rows[row])
            item = self._rows[row]
            if row >= len(before) or goal != before[row]:
                _fill(item, goal)
            item.setSelected(goal.target == chosen)
        self.say(self._heading, f"{len(goals)}" if goals else "none yet")

    def reveal(self, at: int) -> None:
        """Scroll so that a row can be seen."""
        self.table.scrollToItem(self._rows[at])

    def _pick(self, item: QTreeWidgetItem) -> None:
        target = self._goals[self.table.indexOfTopLevelItem(item)].target
        self.chosen.emit(None if target == self._chosen else target)


def _empty_row() -> QTreeWidgetItem:
    item = QTreeWidgetItem()
    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    item.setTextAlignment(_RANK, right)
    item.setTextAlignment(_DISTANCE, right)
    item.setForeground(_RANK, paint.MUTED)
    item.setSizeHint(_RANK, QSize(0, _ROW_PX))
    return item


def _fill(item: QTreeWidgetItem, goal: Goal) -> None:
    item.setText(_RANK, f"{goal.rank}")
    item.setText(_WHAT, goal.text)
    item.setToolTip(_WHAT, goal.text)
    if isinstance(goal.target, Finding):
        item.setFont(_WHAT, paint.font(13, bold=True))
        item.setForeground(_WHAT, paint.TEXT)
        strength = round(goal.target.hr_probability, 2)
        item.setIcon(_WHAT, _strength_icon(strength, goal.rgb))
    else:
        item.setForeground(_WHAT, paint.colour(goal.rgb))
    item.setText(_DISTANCE, distance_text(goal.way))
    item.setForeground(_DISTANCE, paint.ACCENT if goal.way.in_view else paint.TEXT)
    item.setIcon(_ARROW, _way_icon(goal.way))


@lru_cache(maxsize=256)
def _strength_icon(probability: float, rgb: Rgb) -> QIcon:
    def draw(painter: QPainter) -> None:
        bar = QRectF(0, 6, 40, 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(paint.SURROUND)
        painter.drawRoundedRect(bar, 3, 3)
        bar.setWidth(max(6.0, 40 * probability))
        painter.setBrush(paint.colour(rgb))
        painter.drawRoundedRect(bar, 3, 3)

    return _icon(_STRENGTH_PX, draw)


def _way_icon(way: Way) -> QIcon:
    if way.in_view:
        return _in_view_icon()
    if way.distance_um is None:
        return QIcon()
    x, y = way.towards_xy
    return _arrow_icon(round(x, 1), round(y, 1))


@lru_cache(maxsize=512)
def _arrow_icon(x: float, y: float) -> QIcon:
    middle, way = QPointF(9, 9), QPointF(x, y)
    return _icon((18, 18), lambda p: paint.paint_arrow(p, middle, way, 8.5, paint.TEXT))


@lru_cache(maxsize=1)
def _in_view_icon() -> QIcon:
    def draw(painter: QPainter) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(paint.ACCENT)
        painter.drawEllipse(QPointF(9, 9), 3.5, 3.5)

    return _icon((18, 18), draw)


def _icon(size_px: tuple[int, int], draw: Callable[[QPainter], None]) -> QIcon:
    """A small picture, fine enough for a screen of three pixels a point."""
    pixmap = QPixmap(QSize(*size_px) * 3)
    pixmap.setDevicePixelRatio(3)
    pixmap.fill(Qt.GlobalColor.transparent)
    with QPainter(pixmap) as painter:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        draw(painter)
    icon = QIcon(pixmap)
    # Qt would tint it where its row is picked.
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


# ---------------------------------------------------------------------------
# The strips above and below the field: slide, the constant warning, figures.


class Heading(QFrame):
    """Slide and source at the left, "research use only" at the right, always."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setFixedHeight(38)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 12, 0)
        row.setSpacing(20)
        self._slide, self._source = ElidedLabel("slide"), ElidedLabel()
        _tint(self._source, "muted")
        row.addWidget(_label("title", title))
        row.addWidget(self._slide)
        row.addWidget(self._source)
        row.addStretch(1)
        row.addWidget(_label("badge", RESEARCH_ONLY), 0, Qt.AlignmentFlag.AlignVCenter)

    def say(self, text: str, source: str) -> None:
        """Show a slide's name and where its fields come from."""
        self._slide.say(text)
        self._source.say(source)


class StatusStrip(QStatusBar):
    """The figures; those that do not fit are left out from the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(30)
        self.setSizeGripEnabled(False)
        self.setContentsMargins(10, 0, 10, 0)
        self.items: tuple[Item, ...] = ()
        self._labels: list[QLabel] = []
        self.said = ""
        """What has just been done."""
        self._right = QLabel()
        self.addPermanentWidget(self._right)

    def say(self, items: tuple[Item, ...], said: str = "") -> None:
        """Show figures, and at the right what has just been done."""
        if (items, said) == (self.items, self.said) and self._right.text():
            return
        self.items, self.said = items, said
        self._right.setText(said or "? keys")
        _tint(self._right, "accent" if said else "muted")
        while len(self._labels) < len(items):
            label = QLabel()
            label.setMinimumWidth(1)
            label.setContentsMargins(0, 0, 12, 0)
            self._labels.append(label)
            self.addWidget(label)
        for label, text in zip(self._labels, _figures(items), strict=False):
            label.setText(text)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Leave out what does not fit any more."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = self.width() - self._right.sizeHint().width() - 40
        for at, label in enumerate(self._labels):
            room -= label.sizeHint().width() + 16
            label.setVisible(at < len(self.items) and room >= 0)


def _figures(items: Iterable[Item]) -> Iterable[str]:
    for item in items:
        yield (
            f"<span style='color:{paint.MUTED.name()}'>{escape(item.name)}</span> "
            f"<b style='color:{paint.TONES[item.tone].name()}'>{escape(item.value)}</b>"
        )
