"""The side panel's cards for score and coverage.

Each card is given frozen words (``status``) and repaints only when they change, so the
panel costs nothing while the field runs at camera rate.
"""

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen

from armicro.overlay import theme
from armicro.overlay.card import CENTRE, LEFT, RIGHT, WordCard, write
from armicro.overlay.status import CoverageWords, ScoreWords


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
        shade = theme.TONES[words.tone]
        number = QRectF(room.left(), room.top() - 2, 132, 46)
        write(painter, number, words.number, shade, theme.font(34, bold=True))
        note = QRectF(room.left() + 136, room.top() + 2, room.width() - 136, 46)
        painter.setFont(theme.font(12))
        painter.setPen(theme.MUTED if words.tone == "plain" else shade)
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
        painter.setBrush(theme.SURROUND)
        painter.drawRoundedRect(bar, 4, 4)
        if words.share is not None:
            filled = QRectF(bar)
            filled.setWidth(max(bar.height(), bar.width() * words.share))
            painter.setBrush(theme.TONES[words.tone])
            painter.drawRoundedRect(filled, 4, 4)
        painter.setPen(QPen(theme.TEXT, 1.6))
        for mark in words.marks:
            x = bar.left() + bar.width() * mark
            painter.drawLine(QPointF(x, bar.top() - 3), QPointF(x, bar.bottom() + 3))
        scale = QRectF(bar.left(), bar.bottom() + 3, bar.width(), 14)
        for text, align in (("0", LEFT), ("1", RIGHT)):
            write(painter, scale, text, theme.FAINT, theme.font(11), align)
        write(painter, scale, "0.5", theme.FAINT, theme.font(11), CENTRE)

    def _paint_rows(self, painter: QPainter, room: QRectF) -> None:
        words = self._words
        if words is None or not words.rows:
            return
        width = room.width() / len(words.rows)
        for column, (name, first, second) in enumerate(words.rows):
            left = room.left() + column * width
            head = QRectF(left, room.top(), width, 16)
            pair = QRectF(left, room.top() + 17, width, 18)
            write(painter, head, name, theme.FAINT, theme.font(11), CENTRE)
            text = f"{first}   {second}"
            write(painter, pair, text, theme.TEXT, theme.font(13), CENTRE)


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
        painter.setBrush(theme.SURROUND)
        painter.drawRoundedRect(bar, 3.5, 3.5)
        filled = QRectF(bar)
        filled.setWidth(bar.width() * min(1.0, words.share))
        painter.setBrush(theme.ACCENT if words.enough else theme.MUTED)
        painter.drawRoundedRect(filled, 3.5, 3.5)
        x = bar.left() + bar.width() * self._least
        painter.setPen(QPen(theme.TEXT, 1.4))
        painter.drawLine(QPointF(x, bar.top() - 3), QPointF(x, bar.bottom() + 3))
        painter.end()
