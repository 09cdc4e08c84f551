"""The optical display: boxes on black, mixed into what the operator sees."""

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QTransform

from armicro.overlay import paint
from armicro.overlay.canvas import Canvas
from armicro.overlay.optics import (
    Matrix,
    bent,
    between_edges,
    fitted,
    local_scale,
)
from armicro.overlay.setting import Setting
from armicro.overlay.snapshot import LiveField
from armicro.overlay.viewport import Viewport


class Eyepiece(Canvas):
    """Shows the boxes of one field at a time, and no picture."""

    def __init__(self, setting: Setting) -> None:
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
