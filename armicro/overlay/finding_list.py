"""The side panel's list of top findings with the way to each; a row can be picked."""

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
from armicro.overlay.colour import suspicion_rgb
from armicro.overlay.guide import Step, distance_text
from armicro.overlay.layout import probability_text
from armicro.overlay.paint import paint_arrow
from armicro.report import Finding


class FindingList(Card):
    """The top findings with the way to each; a row can be picked."""

    chosen = Signal(object)
    """The Finding of the row that was picked, or None."""

    _ROW = 25.0

    def __init__(self) -> None:
        super().__init__(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(90)
        self._steps: tuple[Step, ...] = ()
        self._chosen: Finding | None = None
        self._first = 0

    def say(self, steps: tuple[Step, ...], chosen: Finding | None) -> None:
        """Show the list."""
        if (steps, chosen) != (self._steps, self._chosen):
            self._steps, self._chosen = steps, chosen
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
        self._first = max(0, min(first, len(self._steps) - self._rows()))

    def _row_box(self, row: int) -> QRectF:
        top = 33 + row * self._ROW
        return QRectF(6, top, self.width() - 12, self._ROW - 1)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Paint the rows that fit."""
        shown = self._steps[self._first : self._first + self._rows()]
        last = self._first + len(shown)
        part = f"{self._first + 1}–{last} of {len(self._steps)}" if shown else ""
        painter, room = self.begin("Top findings", part)
        if not shown:
            line = QRectF(room.left(), room.top(), room.width(), 20)
            write(painter, line, "none yet", theme.FAINT)
        for row, step in enumerate(shown):
            self._paint_row(painter, self._row_box(row), step)
        painter.end()

    def _paint_row(self, painter: QPainter, box: QRectF, step: Step) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        if step.finding == self._chosen:
            painter.setPen(QPen(theme.ACCENT, 1))
            painter.setBrush(QColor(38, 50, 61))
            painter.drawRoundedRect(box, 4, 4)
        line = box.adjusted(8, 0, -8, 0)
        rank = QRectF(line.left(), line.top(), 24, line.height())
        write(painter, rank, f"{step.rank}", theme.MUTED, align=RIGHT)
        probability = step.finding.hr_probability
        _paint_strength(
            painter, QPointF(line.left() + 34, line.center().y()), probability
        )
        number = QRectF(line.left() + 104, line.top(), 40, line.height())
        text, letters = probability_text(probability), theme.font(13, bold=True)
        write(painter, number, text, theme.TEXT, letters)
        shade = theme.ACCENT if step.in_view else theme.TEXT
        way = line.adjusted(0, 0, -22, 0)
        write(painter, way, distance_text(step), shade, align=RIGHT)
        _paint_way(painter, QPointF(line.right() - 6, line.center().y()), step)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Pick a row; a picked one is let go."""
        row = int((event.position().y() - 33) // self._ROW)
        if 0 <= row < self._rows() and self._first + row < len(self._steps):
            finding = self._steps[self._first + row].finding
            self.chosen.emit(None if finding == self._chosen else finding)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Scroll the list."""
        self._scroll_to(self._first - round(event.angleDelta().y() / 120))
        self.update()


def _paint_strength(painter: QPainter, at: QPointF, probability: float) -> None:
    bar = QRectF(at.x(), at.y() - 3, 62, 6)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.SURROUND)
    painter.drawRoundedRect(bar, 3, 3)
    bar.setWidth(max(6.0, 62 * probability))
    shades = QLinearGradient(bar.topLeft(), bar.topRight())
    shades.setColorAt(0, theme.colour(suspicion_rgb(probability), 0.55))
    shades.setColorAt(1, theme.colour(suspicion_rgb(probability)))
    painter.setBrush(shades)
    painter.drawRoundedRect(bar, 3, 3)


def _paint_way(painter: QPainter, at: QPointF, step: Step) -> None:
    if step.in_view:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.ACCENT)
        painter.drawEllipse(at, 3.5, 3.5)
    elif step.distance_um is not None:
        paint_arrow(painter, at, QPointF(*step.towards_xy), 8.5, theme.TEXT)
