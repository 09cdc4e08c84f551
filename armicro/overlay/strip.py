"""The strips above and below the field: slide, the constant warning, figures."""

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from armicro.overlay import theme
from armicro.overlay.card import write
from armicro.overlay.status import RESEARCH_ONLY, Item

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
        painter.fillRect(self.rect(), theme.PANEL)
        badge = self._paint_badge(painter)
        left = 16.0
        for text, shade, size_px, bold in (
            (self._title, theme.ACCENT, 15, True),
            (self._text, theme.TEXT, 14, True),
            (self._source, theme.MUTED, 12, False),
        ):
            room = QRectF(left, 0, max(0.0, badge.left() - left - _GAP), self.height())
            letters = theme.font(size_px, bold=bold)
            write(painter, room, text, shade, letters)
            if text:
                metrics = QFontMetricsF(letters)
                left += metrics.horizontalAdvance(text) + _GAP
        painter.end()

    def _paint_badge(self, painter: QPainter) -> QRectF:
        letters = theme.font(12, bold=True)
        width = QFontMetricsF(letters).horizontalAdvance(RESEARCH_ONLY) + 24
        badge = QRectF(self.width() - width - 12, 8, width, 22)
        painter.setPen(QPen(theme.WARN, 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(badge, 4, 4)
        painter.setFont(letters)
        painter.setPen(theme.WARN)
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
        painter.fillRect(self.rect(), theme.PANEL)
        left, height = 16.0, float(self.height())
        thin, thick = (QFontMetricsF(theme.font(12, bold=b)) for b in (False, True))
        right = self.width() - 16.0 - thin.horizontalAdvance(self._said or "? keys")
        for item in self._items:
            name = thin.horizontalAdvance(item.name) + 6
            value = thick.horizontalAdvance(item.value) + 1
            if left + name + value > right - 8:
                continue
            room = QRectF(left, 0, name, height)
            write(painter, room, item.name, theme.MUTED)
            room = QRectF(left + name, 0, value, height)
            write(
                painter,
                room,
                item.value,
                theme.TONES[item.tone],
                theme.font(12, bold=True),
            )
            left += name + value + _GAP
        room = QRectF(right, 0, self.width() - right, height)
        shade = theme.ACCENT if self._said else theme.FAINT
        write(painter, room, self._said or "? keys", shade)
        painter.end()
