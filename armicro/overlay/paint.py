"""What is painted over the field: boxes, ruler, legend, banner, help.

Free functions on a painter in the window's logical pixels. Every stroke is double, dark
under light, so that it stands out on pale, pink and dark blue cells alike; only corners
are drawn, so that the cell itself stays free.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontDatabase,
    QFontMetricsF,
    QLinearGradient,
    QPainter,
    QPalette,
    QPen,
    QPixmap,
    QPolygonF,
)
from PySide6.QtWidgets import QWidget

from armicro.overlay.guide import Goal, distance_text
from armicro.overlay.layout import Box
from armicro.overlay.view import Rgb, Viewport, rule, suspicion_rgb
from armicro.overlay.words import Banner, Tone

# ---------------------------------------------------------------------------
# Colours and letters of the window: dark, calm, the field the brightest thing.
#
# No green: nothing here may say "all clear". The letters come with the package (Roboto,
# Apache-2.0, cut down to Latin), so that text reads and measures alike on every
# machine, also where Qt finds no fonts at all; letters that it lacks come from the
# system's.


SURROUND = QColor(11, 14, 17)
"""Around the field."""
PANEL = QColor(20, 24, 29)
CARD = QColor(28, 33, 39)
LINE = QColor(48, 56, 65)
TEXT = QColor(232, 236, 240)
MUTED = QColor(142, 153, 165)
FAINT = QColor(92, 103, 115)
ACCENT = QColor(106, 178, 226)
WARN = QColor(242, 181, 68)
ALARM = QColor(255, 107, 74)
TONES: dict[Tone, QColor] = {
    "plain": TEXT,
    "muted": MUTED,
    "accent": ACCENT,
    "warn": WARN,
    "alarm": ALARM,
}


def colour(rgb: Rgb, opacity: float = 1.0) -> QColor:
    """A colour with an opacity of 0-1."""
    return QColor(*rgb, round(255 * opacity))


@cache
def _family() -> str:
    family = ""
    folder = resources.files("armicro.overlay") / "fonts"
    for name in ("Roboto-Bold.ttf", "Roboto-Regular.ttf"):
        data = (folder / name).read_bytes()
        number = QFontDatabase.addApplicationFontFromData(data)
        family = next(iter(QFontDatabase.applicationFontFamilies(number)), family)
    return family


@cache
def font(size_px: int, *, bold: bool = False) -> QFont:
    """A font by its height in logical pixels."""
    letters = QFont(_family())
    letters.setPixelSize(size_px)
    letters.setBold(bold)
    letters.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    return letters


def dress(window: QWidget) -> None:
    """Give a window's own widgets these colours and letters."""
    palette = window.palette()
    for role, shade in (
        (QPalette.ColorRole.Window, PANEL),
        (QPalette.ColorRole.WindowText, TEXT),
        (QPalette.ColorRole.Base, CARD),
        (QPalette.ColorRole.Text, TEXT),
    ):
        palette.setColor(role, shade)
    window.setPalette(palette)
    window.setAutoFillBackground(True)
    window.setFont(font(12))
    window.setStyleSheet(_style_sheet())


def _style_sheet() -> str:
    tones = "".join(
        f"""
        QLabel[tone="{tone}"] {{ color: {shade.name()}; }}
        QProgressBar[tone="{tone}"]::chunk {{ background: {shade.name()}; }}"""
        for tone, shade in TONES.items()
    )
    return f"""
    QLabel, QTreeWidget, QPushButton {{ font-family: "{_family()}"; font-size: 12px; }}
    QLabel {{ color: {TEXT.name()}; background: transparent; }}
    Card {{ background: {CARD.name()}; border-radius: 7px; }}
    #heading {{ color: {MUTED.name()}; font-weight: bold; }}
    #faint {{ color: {FAINT.name()}; font-size: 11px; }}
    #six {{ font-size: 13px; }}
    #number {{ font-size: 34px; font-weight: bold; }}
    #title {{ color: {ACCENT.name()}; font-size: 15px; font-weight: bold; }}
    #slide {{ font-size: 14px; font-weight: bold; }}
    #badge {{ color: {WARN.name()}; font-weight: bold; border-radius: 4px;
      border: 1px solid {WARN.name()}; padding: 3px 11px; }}
    QProgressBar {{ background: {SURROUND.name()}; border: none; border-radius: 3px; }}
    QProgressBar::chunk {{ border-radius: 3px; }}
    QTreeWidget {{ background: transparent; border: none; }}
    QTreeWidget::item:selected {{ background: #26323d;
      border: 1px solid {ACCENT.name()}; border-left: none; border-right: none; }}
    QScrollBar:vertical {{ background: transparent; width: 8px; }}
    QScrollBar::handle:vertical {{ background: {LINE.name()}; border-radius: 4px;
      min-height: 20px; }}
    QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page,
    QScrollBar::sub-page {{ background: none; height: 0; }}
    QStatusBar::item {{ border: none; }}
    QToolTip {{ background: {CARD.name()}; color: {TEXT.name()}; }}
    #picture {{ background: {SURROUND.name()}; color: {FAINT.name()}; }}
    #plain {{ font-size: 14px; }}
    #step {{ font-size: 20px; font-weight: bold; }}
    #result {{ font-size: 15px; }}
    QPushButton {{ background: {CARD.name()}; color: {TEXT.name()}; padding: 9px;
      border: 1px solid {LINE.name()}; border-radius: 6px; font-size: 14px; }}
    QPushButton:disabled {{ color: {FAINT.name()}; }}
    #measure:enabled, #accept {{ border-color: {ACCENT.name()};
      color: {ACCENT.name()}; font-weight: bold; }}
    {tones}
    """


# ---------------------------------------------------------------------------
# What is painted over the field.


LABEL_PX = (48.0, 17.0)
"""Width and height of a box's label on the screen."""
KEYS = (
    ("B", "boxes on or off"),
    ("Space", "freeze the picture, and go on"),
    ("+  –  0", "zoom in, out, whole field (or mouse wheel; drag to move)"),
    ("Up  Down", "pick a finding from the list (or click on its box)"),
    ("A  X  U", "accept, reject, be unsure of the picked finding"),
    ("1 – 8", "its category: NILM, ASC-US, ASC-H, LSIL, HSIL, SCC, AGC, AIS"),
    ("M", "mark a cell in the middle that was not found (or double click)"),
    ("N", "add a note to the decision"),
    ("Backspace", "take the last decision back"),
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
        (colour((10, 13, 16), 0.8 * box.opacity), 1.0),
        (colour(box.rgb, box.opacity), 0.0),
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
    under = QPen(colour((10, 13, 16), 0.8 * box.opacity), 3.0)
    over = QPen(colour(box.rgb, box.opacity), 1.0)
    over.setDashPattern([6.0, 5.0])
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (under, over):
        painter.setPen(pen)
        painter.drawRect(rect)


def _paint_ring(painter: QPainter, rect: QRectF) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (QPen(DARK, 3.0), QPen(ACCENT, 1.4)):
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
    painter.setBrush(colour((14, 18, 22), 0.84 * opacity))
    room = QRectF(0, 0, width, height)
    painter.drawRoundedRect(room, 3, 3)
    painter.setFont(font(12, bold=True))
    painter.setPen(colour(rgb, min(1.0, opacity + 0.15)))
    painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)
    painter.end()
    return label


def paint_ruler(painter: QPainter, um_per_screen_px: float, room: QRectF) -> None:
    """Paint the scale bar, bottom left."""
    ruler = rule(um_per_screen_px, 0.22 * room.width())
    painter.setFont(font(12, bold=True))
    card = QRectF(0, 0, max(ruler.length_px, 44.0) + 24, 38)
    card.moveBottomLeft(room.bottomLeft() + QPointF(_MARGIN, -_MARGIN))
    paint_card(painter, card)
    painter.setPen(TEXT)
    line = QRectF(0, 0, ruler.length_px, 7)
    line.moveCenter(QPointF(card.center().x(), card.bottom() - 10))
    painter.drawText(
        card.adjusted(0, 4, 0, -16), Qt.AlignmentFlag.AlignCenter, ruler.text
    )
    painter.setPen(QPen(TEXT, 2.0, c=Qt.PenCapStyle.FlatCap))
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
    painter.setFont(font(11))
    painter.setPen(TEXT)
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
        shades.setColorAt(share, colour(suspicion_rgb(probability)))
    return shades


def paint_banner(painter: QPainter, said: Banner, room: QRectF) -> float:
    """Paint what the operator must know now, top centre, on opaque ground.

    In as many lines as it takes, up to three: its end says what to do.

    Returns:
        Height that it takes off the top.
    """
    painter.setFont(font(14, bold=True))
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
    painter.setPen(QPen(TONES[said.tone], 1.5))
    painter.setBrush(QColor(16, 20, 24, 242))
    painter.drawRoundedRect(card, 6, 6)
    painter.setPen(TONES[said.tone])
    painter.drawText(card.adjusted(21, 0, -21, 0), wrap, text)
    return height + _MARGIN


def paint_badges(painter: QPainter, texts: Sequence[str], room: QRectF) -> None:
    """Paint what is not as usual (frozen, boxes off, zoom), top left."""
    painter.setFont(font(12, bold=True))
    metrics = QFontMetricsF(painter.font())
    top = room.top() + _MARGIN
    for text in texts:
        card = QRectF(
            room.left() + _MARGIN, top, metrics.horizontalAdvance(text) + 20, 24
        )
        paint_card(painter, card)
        painter.setPen(ACCENT)
        painter.drawText(card, Qt.AlignmentFlag.AlignCenter, text)
        top += 29


def paint_waiting(painter: QPainter, text: str, room: QRectF) -> None:
    """Paint what the window waits for, before the first field."""
    painter.setFont(font(17))
    painter.setPen(MUTED)
    painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)


def paint_help(painter: QPainter, room: QRectF) -> None:
    """Paint the card that lists the keys."""
    row, width = 26.0, 520.0
    card = QRectF(0, 0, width, row * len(KEYS) + 66)
    card.moveCenter(room.center())
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(LINE, 1))
    painter.setBrush(QColor(20, 24, 29, 246))
    painter.drawRoundedRect(card, 10, 10)
    painter.setPen(TEXT)
    painter.setFont(font(16, bold=True))
    painter.drawText(card.adjusted(26, 18, 0, 0), 0, "Keys")
    line = QRectF(card.left() + 26, card.top() + 48, width - 52, row)
    for key, meaning in KEYS:
        painter.setFont(font(13, bold=True))
        painter.setPen(ACCENT)
        painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, key)
        painter.setFont(font(13))
        painter.setPen(TEXT)
        words = line.adjusted(88, 0, 0, 0)
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter, meaning)
        line.translate(0, row)


def paint_card(painter: QPainter, card: QRectF) -> None:
    """Paint the ground under a few words."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_PILL)
    painter.drawRoundedRect(card, 5, 5)


# ---------------------------------------------------------------------------
# What leads the eye: arrows to what is out of sight, frames around what is in it.


def paint_goal(painter: QPainter, goal: Goal, room: QRectF) -> None:
    """Paint the arrow near the edge that leads to a goal out of sight."""
    text = f"{goal.text}  {distance_text(goal.way)}"
    paint_way(painter, goal.way.towards_xy, text, colour(goal.rgb), room)


def paint_way(
    painter: QPainter,
    towards_xy: tuple[float, float],
    text: str,
    shade: QColor,
    room: QRectF,
) -> None:
    """Paint an arrow near the edge with a few words behind it."""
    way = QPointF(*towards_xy)
    inner = room.adjusted(46, 58, -46, -64)
    reach = min(
        inner.width() / 2 / max(1e-6, abs(way.x())),
        inner.height() / 2 / max(1e-6, abs(way.y())),
    )
    tip = room.center() + way * reach
    paint_arrow(painter, tip, way, 15.0, shade)
    _pill(painter, tip, way, text, shade)


def paint_arrow(
    painter: QPainter, at: QPointF, way: QPointF, size: float, shade: QColor
) -> None:
    """Paint an arrow head that points along a unit vector, with a dark outline."""
    side = QPointF(-way.y(), way.x()) * 0.62
    back = at - way * (0.75 * size)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(DARK, 1.5))
    painter.setBrush(shade)
    painter.drawPolygon(
        QPolygonF(
            [
                at + way * size,
                back + side * size,
                at - way * (0.35 * size),
                back - side * size,
            ]
        )
    )


def paint_part(painter: QPainter, part: QRectF, shade: QColor) -> None:
    """Paint the frame around a part of the slide that should be seen again."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    dashes = QPen(shade, 2.0)
    dashes.setDashPattern([5.0, 4.0])
    for pen in (QPen(DARK, 4.0), dashes):
        painter.setPen(pen)
        painter.drawRect(part)


def _pill(
    painter: QPainter, tip: QPointF, way: QPointF, text: str, shade: QColor
) -> None:
    """Words behind an arrow's tip, clear of it on every side."""
    painter.setFont(font(12, bold=True))
    width = QFontMetricsF(painter.font()).horizontalAdvance(text) + 18
    off = min((width / 2 + 26) / max(1e-6, abs(way.x())), 37 / max(1e-6, abs(way.y())))
    at = tip - way * off
    card = QRectF(at.x() - width / 2, at.y() - 11, width, 22)
    paint_card(painter, card)
    painter.setPen(shade)
    painter.drawText(card, Qt.AlignmentFlag.AlignCenter, text)
