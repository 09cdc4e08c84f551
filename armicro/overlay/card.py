"""A card of the side panel, and a line of text on it."""

from typing import Generic, TypeVar

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from armicro.overlay import theme

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
        painter.setBrush(theme.CARD)
        painter.drawRoundedRect(QRectF(self.rect()), 7, 7)
        room = QRectF(self.rect()).adjusted(_PAD, 9, -_PAD, -9)
        line = QRectF(room.left(), room.top(), room.width(), 18)
        write(painter, line, heading, theme.MUTED, theme.font(12, bold=True))
        write(painter, line, right, theme.MUTED, align=RIGHT)
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
    painter.setFont(letters or theme.font(12))
    painter.setPen(shade)
    fitting = painter.fontMetrics().elidedText(
        text, Qt.TextElideMode.ElideRight, int(line.width()) + 1
    )
    painter.drawText(line, align, fitting)
