"""The live field with its boxes: one widget that paints in a few milliseconds.

A field's pixels are brought to device pixels by its own ``render`` and painted without
scaling. What stands on the screen, its place and its boxes always belong together: when
newer pixels cannot be had, the older picture stays with its own boxes.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QRegion,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from armicro.overlay import paint
from armicro.overlay.layout import (
    BoxLayout,
    CanvasView,
    FindingIndex,
    Matrix,
    Scene,
    bent,
    between_edges,
    fitted,
    lay_out,
    local_scale,
    part_on,
    sight_um,
)
from armicro.overlay.snapshot import LiveField, OverlaySettings
from armicro.overlay.view import (
    Cut,
    Viewport,
    XyXy,
    cut_for,
    cut_out,
    panned_px,
    refitted,
    zoomed,
)
from armicro.report import Finding, Revisit

_CLICK_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    cut: Cut
    bgra: NDArray[Any]
    """(height, width, 4) uint8; kept, since the image only borrows its memory."""
    image: QImage


class Canvas(QWidget):
    """Shows one field at a time."""

    painted = Signal(object)
    """The LiveField that has just been painted for the first time."""
    picked = Signal(object)
    """The finding whose box was clicked."""
    pointed = Signal(float, float)
    """A double click: a place on the slide, in µm."""

    def __init__(self, setting: OverlaySettings) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(400, 300)
        self._setting = setting
        self._view = Viewport((1, 1), (1, 1))
        self._field: LiveField | None = None
        self._picture: _Picture | None = None
        self._scene = Scene(FindingIndex())
        self._layout = BoxLayout()
        self._frozen = False
        self._told = True
        self._dragged_from: QPointF | None = None
        self._pressed_at: QPointF | None = None

    @property
    def field(self) -> LiveField | None:
        """The field whose picture stands on the screen."""
        return self._field

    @property
    def shown_layout(self) -> BoxLayout:
        """The boxes that stand on the screen."""
        return self._layout

    @property
    def scene(self) -> Scene:
        """What is painted besides the pixels."""
        return self._scene

    @property
    def view(self) -> Viewport:
        """How the field is looked at."""
        return self._view

    @property
    def sight_xyxy_um(self) -> XyXy | None:
        """The part of the slide in sight; None where the place is unknown."""
        return self.sight_on(self._field)

    def sight_on(self, field: LiveField | None) -> XyXy | None:
        """What the window would show of another field."""
        if field is None or field.place is None:
            return None
        return sight_um(field.place, field.um_per_px, self._view.visible_xyxy_px)

    @property
    def frozen(self) -> bool:
        """True while newer fields are not taken."""
        return self._frozen

    def show_scene(self, scene: Scene, newer: LiveField | None = None) -> None:
        """Show a newer field and what belongs on it.

        The field stays out while frozen, and when its pixels are already overwritten.

        Args:
            scene: boxes and words.
            newer: a field that is not shown yet; None when there is none.
        """
        taken = newer is not None and not self._frozen and self._take(newer)
        if taken or scene != self._scene:
            self._scene = scene
            self._arrange()

    def freeze(self, *, on: bool) -> None:
        """Hold the picture, at full resolution so that it can still be looked into.

        When its pixels are already overwritten, it is held as it stands.
        """
        self._frozen = on
        if on and self._field is not None:
            size_px = self._field.width_px, self._field.height_px
            pixels = self._field.render(Cut((0, 0, *size_px), size_px))
            if pixels is not None:
                kept = pixels
                self._field = structs.replace(
                    self._field, render=lambda cut: cut_out(kept, cut)
                )
        self.update()

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Zoom about a point of the widget, or about its middle; 0 shows it all."""
        if factor <= 0:
            self._view = replace(self._view, zoom=1.0, centre_px=(0.0, 0.0))
        else:
            spot = (at.x(), at.y()) if at is not None else None
            self._view = zoomed(self._view, factor, spot)
        self._redo()

    def _take(self, field: LiveField) -> bool:
        field_px = float(field.width_px), float(field.height_px)
        view = refitted(self._view, field_px, self._screen_px())
        picture = self._render(field, view)
        if picture is None:
            return False
        self._view, self._picture, self._field = view, picture, field
        self._told = False
        return True

    def _screen_px(self) -> tuple[float, float]:
        return max(1.0, float(self.width())), max(1.0, float(self.height()))

    def _render(self, field: LiveField, view: Viewport) -> _Picture | None:
        cut = cut_for(
            view.visible_xyxy_px,
            (field.width_px, field.height_px),
            view.scale * self.devicePixelRatioF(),
        )
        pixels = field.render(cut) if cut else None
        if cut is None or pixels is None:
            return None
        # Qt converts other formats in its thread pool, and waits there for busy cores.
        bgra = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA)
        height, width = bgra.shape[:2]
        image = QImage(
            bgra.data, width, height, bgra.strides[0], QImage.Format.Format_RGB32
        )
        return _Picture(cut, bgra, image)

    def _redo(self) -> None:
        if self._field is not None:
            self._picture = self._render(self._field, self._view) or self._picture
            self._arrange()

    def _arrange(self) -> None:
        if self._field is not None:
            scene = self._scene
            label_px = (
                paint.LABEL_PX[0] / self._view.scale,
                paint.LABEL_PX[1] / self._view.scale,
            )
            target = scene.goal.target if scene.goal else None
            sight = CanvasView(
                self._view.visible_xyxy_px,
                label_px,
                scene.stale,
                target if isinstance(target, Finding) else None,
                scene.now_ns,
                scene.decided,
            )
            self._layout = lay_out(
                scene.shelf, self._field, scene.slide, sight, self._setting
            )
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the picture, then what belongs on it."""
        painter = QPainter(self)
        room = QRectF(self.rect())
        if self._picture is None or self._field is None:
            painter.fillRect(room, paint.SURROUND)
            paint.paint_waiting(painter, self._scene.waiting, room)
        else:
            self._paint_picture(painter, self._picture)
            self._paint_marks(painter, room, self._field)
        taken = 0.0
        if self._scene.banner:
            taken = paint.paint_banner(painter, self._scene.banner, room)
        if self._picture is not None:
            self._paint_badges(painter, room.adjusted(0, taken, 0, 0))
        if self._scene.help_on:
            paint.paint_help(painter, room)
        painter.end()
        self._tell()

    def _tell(self) -> None:
        """Say that the field has been painted for the first time."""
        if not self._told and self._field is not None:
            self._told = True
            self.painted.emit(self._field)

    def _paint_picture(self, painter: QPainter, picture: _Picture) -> None:
        ratio = self.devicePixelRatioF()
        x0, y0, x1, y1 = picture.cut.crop_xyxy_px
        corner = QPointF(*self._view.to_screen(x0, y0))
        # On whole device pixels nothing is interpolated a second time.
        corner = QPointF(
            round(corner.x() * ratio) / ratio, round(corner.y() * ratio) / ratio
        )
        width, height = picture.cut.size_px
        size = QSizeF(width / ratio, height / ratio)
        wanted = QSizeF((x1 - x0) * self._view.scale, (y1 - y0) * self._view.scale)
        if abs(wanted.width() - size.width()) > 1:
            # The pixels at this zoom could not be had: stretch those of the last.
            size = wanted
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        covered = QRectF(corner, size)
        # Only what stays free: filling a megapixel twice costs as much as the boxes.
        inner = covered.adjusted(1, 1, -1, -1).toAlignedRect()
        painter.setClipRegion(QRegion(self.rect()) - QRegion(inner))
        painter.fillRect(self.rect(), paint.SURROUND)
        painter.setClipping(False)
        painter.drawImage(covered, picture.image)

    def _paint_marks(self, painter: QPainter, room: QRectF, field: LiveField) -> None:
        scene = self._scene
        picture = paint.on_screen(self._view.visible_xyxy_px, self._view)
        if scene.boxes_on:
            painter.setClipRect(picture)
            paint.paint_boxes(painter, self._layout.boxes, self._view)
            painter.setClipping(False)
        self._paint_ways(painter, picture)
        paint.paint_ruler(painter, field.um_per_px / self._view.scale, picture)
        paint.paint_legend(painter, self._setting.least_probability, picture)
        if self._frozen:
            painter.setPen(QPen(paint.ACCENT, 4))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(room.adjusted(2, 2, -2, -2))

    def _paint_badges(self, painter: QPainter, free: QRectF) -> None:
        """Paint what is not as usual, below the banner."""
        scene = self._scene
        picture = paint.on_screen(self._view.visible_xyxy_px, self._view)
        badges = [scene.badge] if scene.badge else []
        if self._frozen:
            badges.append("Frozen - Space goes on")
        if not scene.boxes_on:
            badges.append("Boxes hidden - B shows them")
        if self._view.zoom > 1.001:
            badges.append(f"Zoom {self._view.zoom:.1f}×")
        if self._layout.hidden and scene.boxes_on:
            badges.append(f"{self._layout.hidden} more boxes not drawn")
        paint.paint_badges(painter, badges, picture.intersected(free))

    def _paint_ways(self, painter: QPainter, picture: QRectF) -> None:
        """Paint the arrow back where the place is lost, else to what was picked."""
        goal, field = self._scene.goal, self._field
        if self._scene.back_xy is not None:
            way = self._scene.back_xy
            paint.paint_way(painter, way, "back", paint.WARN, picture)
            return
        if goal is None or field is None:
            return
        if isinstance(goal.target, Revisit) and field.place is not None:
            part_px = part_on(goal.target, field.place, field.um_per_px)
            painter.setClipRect(picture)
            frame = paint.on_screen(part_px, self._view)
            paint.paint_part(painter, frame, paint.colour(goal.rgb))
            painter.setClipping(False)
        if not goal.way.in_view and goal.way.distance_um:
            paint.paint_goal(painter, goal, picture)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep looking at the same part."""
        self._view = refitted(self._view, self._view.field_px, self._screen_px())
        self._redo()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Zoom about the pointer."""
        self.zoom(1.2 ** (event.angleDelta().y() / 120), event.position())

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Begin to drag."""
        self._dragged_from = self._pressed_at = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Drag the field."""
        if self._dragged_from is not None:
            by = (self._dragged_from - event.position()) / self._view.scale
            self._dragged_from = event.position()
            self._view = panned_px(self._view, (by.x(), by.y()))
            self._redo()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """End dragging; where nothing was dragged, pick the box that was clicked."""
        pressed, self._dragged_from = self._pressed_at, None
        if (
            pressed is None
            or (event.position() - pressed).manhattanLength() > _CLICK_PX
        ):
            return
        x, y = self._in_field(event.position())
        for box in reversed(self._layout.boxes if self._scene.boxes_on else ()):
            x0, y0, x1, y1 = box.box_xyxy_px
            if x0 <= x <= x1 and y0 <= y <= y1:
                self.picked.emit(box.finding)
                return

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Point at a place on the slide."""
        xy_um = self.slide_um(event.position())
        if xy_um is not None:
            self.pointed.emit(*xy_um)

    def slide_um(self, at: QPointF | None = None) -> tuple[float, float] | None:
        """A point of the widget, or its middle, on the slide; None where unknown."""
        field = self._field
        if field is None or field.place is None:
            return None
        x, y = self._in_field(at or QPointF(self.rect().center()))
        if not (0 <= x < field.width_px and 0 <= y < field.height_px):
            return None
        return (
            field.place.x_um + x * field.um_per_px,
            field.place.y_um + y * field.um_per_px,
        )

    def _in_field(self, at: QPointF) -> tuple[float, float]:
        left, top = self._view.origin_px
        return left + at.x() / self._view.scale, top + at.y() / self._view.scale


# ---------------------------------------------------------------------------
# The optical display: boxes on black, mixed into what the operator sees.


class Eyepiece(Canvas):
    """Shows the boxes of one field at a time, and no picture."""

    def __init__(self, setting: OverlaySettings) -> None:
        super().__init__(setting)
        self.setCursor(Qt.CursorShape.BlankCursor)

    def freeze(self, *, on: bool) -> None:
        """Nothing: what the operator looks at does not stand still."""

    def zoom(self, factor: float, at: QPointF | None = None) -> None:
        """Nothing: boxes lie where the cells are."""

    def _take(self, field: LiveField) -> bool:
        # The field as on a screen of the display's own resolution.
        self._field, self._told = field, False
        size = float(field.width_px), float(field.height_px)
        scale = local_scale(self._matrix(field), (size[0] / 2, size[1] / 2))
        self._view = Viewport(size, (size[0] * scale, size[1] * scale))
        return True

    def _redo(self) -> None:
        if self._field is not None:
            self._take(self._field)
            self._arrange()

    def use(self, setting: OverlaySettings) -> None:
        """Go by other limits from now on."""
        self._setting = setting

    def _matrix(self, field: LiveField) -> Matrix:
        if self._setting.optics is None:
            return fitted((field.width_px, field.height_px), self._screen_px())
        on_screen = between_edges(self._setting.optics)
        on_screen[:2] /= self.devicePixelRatioF()
        return on_screen

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the boxes, and what the operator must know."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        field = self._field
        if field is not None:
            self._paint_boxes(painter, field)
        painter.end()
        self._tell()

    def _paint_boxes(self, painter: QPainter, field: LiveField) -> None:
        scale = self._view.scale
        matrix = self._matrix(field) @ np.diag([1 / scale, 1 / scale, 1.0])
        # Qt multiplies from the left: rows are columns.
        painter.setTransform(QTransform(*(float(x) for x in matrix.T.ravel())))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        scene, boxes = self._scene, self._layout.boxes
        if self._setting.optics is not None:
            boxes = bent(boxes, self._setting.optics, (field.width_px, field.height_px))
        if scene.boxes_on:
            paint.paint_boxes(painter, boxes, self._view)
        room = QRectF(0, 0, *self._view.screen_px)
        if scene.banner is not None:
            paint.paint_banner(painter, scene.banner, room)
        self._paint_ways(painter, room)
        if scene.help_on:
            paint.paint_help(painter, room)
