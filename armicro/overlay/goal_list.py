"""A list of the side panel with the way to each goal; a row can be picked."""

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy

from armicro.overlay import theme
from armicro.overlay.card import RIGHT, Card, write
from armicro.overlay.colour import Rgb
from armicro.overlay.guide import Goal, Way, distance_text
from armicro.overlay.pointer import paint_arrow
from armicro.report import Finding, Revisit


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
            write(painter, line, "none yet", theme.FAINT)
        for row, goal in enumerate(shown):
            self._paint_row(painter, self._row_box(row), goal)
        painter.end()

    def _paint_row(self, painter: QPainter, box: QRectF, goal: Goal) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        if goal.target == self._chosen:
            painter.setPen(QPen(theme.ACCENT, 1))
            painter.setBrush(QColor(38, 50, 61))
            painter.drawRoundedRect(box, 4, 4)
        line = box.adjusted(8, 0, -8, 0)
        rank = QRectF(line.left(), line.top(), 24, line.height())
        write(painter, rank, f"{goal.rank}", theme.MUTED, align=RIGHT)
        words = QRectF(line.left() + 34, line.top(), 152, line.height())
        if isinstance(goal.target, Finding):
            at = QPointF(words.left(), line.center().y())
            _paint_strength(painter, at, goal.target.hr_probability, goal.rgb)
            bold = theme.font(13, bold=True)
            write(painter, words.adjusted(70, 0, 0, 0), goal.text, theme.TEXT, bold)
        else:
            write(painter, words, goal.text, theme.colour(goal.rgb))
        shade = theme.ACCENT if goal.way.in_view else theme.TEXT
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
    painter.setBrush(theme.SURROUND)
    painter.drawRoundedRect(bar, 3, 3)
    bar.setWidth(max(6.0, 62 * probability))
    shades = QLinearGradient(bar.topLeft(), bar.topRight())
    shades.setColorAt(0, theme.colour(rgb, 0.55))
    shades.setColorAt(1, theme.colour(rgb))
    painter.setBrush(shades)
    painter.drawRoundedRect(bar, 3, 3)


def _paint_way(painter: QPainter, at: QPointF, way: Way) -> None:
    if way.in_view:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.ACCENT)
        painter.drawEllipse(at, 3.5, 3.5)
    elif way.distance_um is not None:
        paint_arrow(painter, at, QPointF(*way.towards_xy), 8.5, theme.TEXT)
