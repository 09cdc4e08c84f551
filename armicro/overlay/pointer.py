"""What leads the eye: arrows to what is out of sight, frames around what is in it."""

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen, QPolygonF

from armicro.overlay import theme
from armicro.overlay.guide import Goal, distance_text
from armicro.overlay.paint import DARK, paint_card


def paint_goal(painter: QPainter, goal: Goal, room: QRectF) -> None:
    """Paint the arrow near the edge that leads to a goal out of sight."""
    text = f"{goal.text}  {distance_text(goal.way)}"
    paint_way(painter, goal.way.towards_xy, text, theme.colour(goal.rgb), room)


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
    painter.setFont(theme.font(12, bold=True))
    width = QFontMetricsF(painter.font()).horizontalAdvance(text) + 18
    off = min((width / 2 + 26) / max(1e-6, abs(way.x())), 37 / max(1e-6, abs(way.y())))
    at = tip - way * off
    card = QRectF(at.x() - width / 2, at.y() - 11, width, 22)
    paint_card(painter, card)
    painter.setPen(shade)
    painter.drawText(card, Qt.AlignmentFlag.AlignCenter, text)
