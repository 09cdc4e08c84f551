"""What is painted over the field: boxes, ruler, legend, banner, help.

Free functions on a painter in the window's logical pixels. Every stroke is double, dark
under light, so that it stands out on pale, pink and dark blue cells alike; only corners
are drawn, so that the cell itself stays free.
"""

from collections.abc import Sequence
from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QLinearGradient,
    QPainter,
    QPen,
    QPixmap,
)

from armicro.overlay import theme
from armicro.overlay.colour import Rgb, suspicion_rgb
from armicro.overlay.layout import Box
from armicro.overlay.ruler import rule
from armicro.overlay.status import Banner
from armicro.overlay.viewport import Viewport

LABEL_PX = (48.0, 17.0)
"""Width and height of a box's label on the screen."""
KEYS = (
    ("B", "boxes on or off"),
    ("Space", "freeze the picture, and go on"),
    ("+  –  0", "zoom in, out, whole field (or mouse wheel; drag to move)"),
    ("Up  Down", "pick a finding from the list"),
    ("R", "take me back: the next part to be seen again"),
    ("Esc", "one step back: help, finding, full screen, then close"),
    ("S", "save a picture of this window"),
    ("F", "full screen"),
    ("P", "side panel on or off"),
    ("Q", "close and end the session"),
    ("?", "this help"),
)
DARK = QColor(10, 13, 16)
_PILL = QColor(14, 18, 22, 214)
_MARGIN = 14.0


def paint_boxes(painter: QPainter, boxes: Sequence[Box], view: Viewport) -> None:
    """Paint all boxes, the most suspicious on top, labels above all brackets."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
    (left, top), scale = view.origin_px, view.scale
    for box in reversed(boxes):
        x0, y0, x1, y1 = box.box_xyxy_px
        rect = QRectF(
            (x0 - left) * scale,
            (y0 - top) * scale,
            (x1 - x0) * scale,
            (y1 - y0) * scale,
        )
        if box.chosen:
            _paint_ring(painter, rect.adjusted(-6, -6, 6, 6))
        if box.dashed:
            _paint_dashes(painter, box, rect)
        else:
            _paint_brackets(painter, box, rect)
    ratio = painter.device().devicePixelRatioF()
    for box in reversed(boxes):
        opacity = round(16 * box.opacity) / 16
        label = _label(box.label, box.rgb, opacity, ratio)
        x0, y0 = box.label_xyxy_px[:2]
        painter.drawPixmap(QPointF((x0 - left) * scale, (y0 - top) * scale), label)


def on_screen(box_xyxy_px: Sequence[float], view: Viewport) -> QRectF:
    """A box of the field in the window."""
    x0, y0, x1, y1 = box_xyxy_px
    return QRectF(QPointF(*view.to_screen(x0, y0)), QPointF(*view.to_screen(x1, y1)))


def _paint_brackets(painter: QPainter, box: Box, rect: QRectF) -> None:
    """Four corners, dark below light; rectangles are much faster than strokes."""
    arm = min(26.0, max(7.0, 0.24 * min(rect.width(), rect.height())))
    arm = min(arm, rect.width() / 2, rect.height() / 2)
    thick = 2.0 if box.weight < 1.25 else 3.0
    painter.setPen(Qt.PenStyle.NoPen)
    for shade, rim in (
        (theme.colour((10, 13, 16), 0.8 * box.opacity), 1.0),
        (theme.colour(box.rgb, box.opacity), 0.0),
    ):
        painter.setBrush(shade)
        painter.drawRects(_corners(rect, arm + rim, thick + 2 * rim, rim))


def _corners(rect: QRectF, arm: float, thick: float, rim: float) -> list[QRectF]:
    """Eight rectangles that do not overlap, so that opacity is even."""
    left, top = round(rect.left()) - rim, round(rect.top()) - rim
    right, bottom = round(rect.right()) + rim, round(rect.bottom()) + rim
    rest = arm - thick
    return [
        part
        for x, inner_x in ((left, left), (right - arm, right - thick))
        for part in (
            QRectF(x, top, arm, thick),
            QRectF(x, bottom - thick, arm, thick),
            QRectF(inner_x, top + thick, thick, rest),
            QRectF(inner_x, bottom - arm, thick, rest),
        )
    ]


def _paint_dashes(painter: QPainter, box: Box, rect: QRectF) -> None:
    under = QPen(theme.colour((10, 13, 16), 0.8 * box.opacity), 3.0)
    over = QPen(theme.colour(box.rgb, box.opacity), 1.0)
    over.setDashPattern([6.0, 5.0])
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (under, over):
        painter.setPen(pen)
        painter.drawRect(rect)


def _paint_ring(painter: QPainter, rect: QRectF) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (QPen(DARK, 3.0), QPen(theme.ACCENT, 1.4)):
        painter.setPen(pen)
        painter.drawRoundedRect(rect, 5, 5)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)


@lru_cache(maxsize=1024)
def _label(text: str, rgb: Rgb, opacity: float, ratio: float) -> QPixmap:
    """A label, drawn once: letters cost more than all else in a frame."""
    width, height = LABEL_PX
    label = QPixmap(round(width * ratio), round(height * ratio))
    label.setDevicePixelRatio(ratio)
    label.fill(Qt.GlobalColor.transparent)
    painter = QPainter(label)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.colour((14, 18, 22), 0.84 * opacity))
    room = QRectF(0, 0, width, height)
    painter.drawRoundedRect(room, 3, 3)
    painter.setFont(theme.font(12, bold=True))
    painter.setPen(theme.colour(rgb, min(1.0, opacity + 0.15)))
    painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)
    painter.end()
    return label


def paint_ruler(painter: QPainter, um_per_screen_px: float, room: QRectF) -> None:
    """Paint the scale bar, bottom left."""
    ruler = rule(um_per_screen_px, 0.22 * room.width())
    painter.setFont(theme.font(12, bold=True))
    card = QRectF(0, 0, max(ruler.length_px, 44.0) + 24, 38)
    card.moveBottomLeft(room.bottomLeft() + QPointF(_MARGIN, -_MARGIN))
    paint_card(painter, card)
    painter.setPen(theme.TEXT)
    line = QRectF(0, 0, ruler.length_px, 7)
    line.moveCenter(QPointF(card.center().x(), card.bottom() - 10))
    painter.drawText(
        card.adjusted(0, 4, 0, -16), Qt.AlignmentFlag.AlignCenter, ruler.text
    )
    painter.setPen(QPen(theme.TEXT, 2.0, c=Qt.PenCapStyle.FlatCap))
    for start, end in (
        (line.topLeft(), line.bottomLeft()),
        (line.topRight(), line.bottomRight()),
        (line.bottomLeft(), line.bottomRight()),
    ):
        painter.drawLine(start, end)


def paint_legend(painter: QPainter, least_probability: float, room: QRectF) -> None:
    """Paint the colour scale of the boxes, bottom right."""
    legend = _legend(least_probability, painter.device().devicePixelRatioF())
    size = legend.deviceIndependentSize()
    corner = room.bottomRight() - QPointF(_MARGIN, _MARGIN)
    painter.drawPixmap(corner - QPointF(size.width(), size.height()), legend)


@lru_cache(maxsize=8)
def _legend(least_probability: float, ratio: float) -> QPixmap:
    card = QRectF(0, 0, 188, 38)
    legend = QPixmap(round(card.width() * ratio), round(card.height() * ratio))
    legend.setDevicePixelRatio(ratio)
    legend.fill(Qt.GlobalColor.transparent)
    painter = QPainter(legend)
    paint_card(painter, card)
    painter.setFont(theme.font(11))
    painter.setPen(theme.TEXT)
    centred = Qt.AlignmentFlag.AlignHCenter
    heading = card.adjusted(12, 4, -12, -18)
    painter.drawText(heading, centred, "probability of a lesion cell")
    middle = Qt.AlignmentFlag.AlignVCenter
    ends = QRectF(10, card.bottom() - 20, card.width() - 20, 16)
    painter.drawText(ends, middle, f"{least_probability:.2f}")
    painter.drawText(ends, middle | Qt.AlignmentFlag.AlignRight, "1.00")
    bar = QRectF(38, card.bottom() - 15, card.width() - 76, 7)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_shades(bar, least_probability))
    painter.drawRoundedRect(bar, 2, 2)
    painter.end()
    return legend


def _shades(bar: QRectF, least_probability: float) -> QLinearGradient:
    shades = QLinearGradient(bar.topLeft(), bar.topRight())
    for step in range(11):
        share = step / 10
        probability = least_probability + (1 - least_probability) * share
        shades.setColorAt(share, theme.colour(suspicion_rgb(probability)))
    return shades


def paint_banner(painter: QPainter, said: Banner, room: QRectF) -> float:
    """Paint what the operator must know now, top centre, on opaque ground.

    In as many lines as it takes, up to three: its end says what to do.

    Returns:
        Height that it takes off the top.
    """
    painter.setFont(theme.font(14, bold=True))
    text = said.text[:1].upper() + said.text[1:]
    metrics = QFontMetricsF(painter.font())
    widest = room.width() - 2 * _MARGIN
    wrap = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    inside = QRectF(0, 0, widest - 44, 3 * metrics.lineSpacing())
    needed = metrics.boundingRect(inside, wrap, text)
    if needed.height() > inside.height() + 1:
        # No sentence of ours, but a name in it may be of any length.
        room_px = 2.8 * inside.width()
        text = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, room_px)
        needed = metrics.boundingRect(inside, wrap, text)
    width = min(widest, needed.width() + 44)
    height = min(needed.height(), inside.height()) + 34 - metrics.lineSpacing()
    card = QRectF(room.center().x() - width / 2, room.top() + _MARGIN, width, height)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(theme.TONES[said.tone], 1.5))
    painter.setBrush(QColor(16, 20, 24, 242))
    painter.drawRoundedRect(card, 6, 6)
    painter.setPen(theme.TONES[said.tone])
    painter.drawText(card.adjusted(21, 0, -21, 0), wrap, text)
    return height + _MARGIN


def paint_badges(painter: QPainter, texts: Sequence[str], room: QRectF) -> None:
    """Paint what is not as usual (frozen, boxes off, zoom), top left."""
    painter.setFont(theme.font(12, bold=True))
    metrics = QFontMetricsF(painter.font())
    top = room.top() + _MARGIN
    for text in texts:
        card = QRectF(
            room.left() + _MARGIN, top, metrics.horizontalAdvance(text) + 20, 24
        )
        paint_card(painter, card)
        painter.setPen(theme.ACCENT)
        painter.drawText(card, Qt.AlignmentFlag.AlignCenter, text)
        top += 29


def paint_waiting(painter: QPainter, text: str, room: QRectF) -> None:
    """Paint what the window waits for, before the first field."""
    painter.setFont(theme.font(17))
    painter.setPen(theme.MUTED)
    painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)


def paint_help(painter: QPainter, room: QRectF) -> None:
    """Paint the card that lists the keys."""
    row, width = 27.0, 470.0
    card = QRectF(0, 0, width, row * len(KEYS) + 66)
    card.moveCenter(room.center())
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(theme.LINE, 1))
    painter.setBrush(QColor(20, 24, 29, 246))
    painter.drawRoundedRect(card, 10, 10)
    painter.setPen(theme.TEXT)
    painter.setFont(theme.font(16, bold=True))
    painter.drawText(card.adjusted(26, 18, 0, 0), 0, "Keys")
    line = QRectF(card.left() + 26, card.top() + 48, width - 52, row)
    for key, meaning in KEYS:
        painter.setFont(theme.font(13, bold=True))
        painter.setPen(theme.ACCENT)
        painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, key)
        painter.setFont(theme.font(13))
        painter.setPen(theme.TEXT)
        words = line.adjusted(78, 0, 0, 0)
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter, meaning)
        line.translate(0, row)


def paint_card(painter: QPainter, card: QRectF) -> None:
    """Paint the ground under a few words."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_PILL)
    painter.drawRoundedRect(card, 5, 5)
