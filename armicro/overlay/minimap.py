"""The mini-map: the slide, what was seen of it, the findings, and where we are."""

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QWidget

from armicro.field import Overview
from armicro.overlay import paint
from armicro.overlay.guide import PRESSING_RGB, REVISIT_RGB, extent_um
from armicro.overlay.known import PITCH_UM, SeenRaster
from armicro.overlay.snapshot import LiveField
from armicro.overlay.view import XyXy, suspicion_rgb
from armicro.report import Finding, Revisit

_VEILS = np.array(
    [(10, 13, 16, 168), (10, 13, 16, 110), (242, 181, 68, 150), (0, 0, 0, 0)], np.uint8
)
"""Over an overview: what was not seen lies in the dark."""
_FILLS = np.array(
    [(0, 0, 0, 0), (44, 54, 65, 255), (150, 112, 44, 255), (64, 104, 132, 255)],
    np.uint8,
)
"""Without an overview: what was seen is drawn."""
_MOST_REVISITS = 60
_FINEST = 1024
"""Squares a side of the painted raster."""


class MiniMap(QWidget):
    """A map of the slide, as large as its room."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("slide map")
        self.setMinimumHeight(70)
        self._seen = SeenRaster()
        self._raster = QImage()
        self._raster_um: XyXy = (0.0, 0.0, 0.0, 0.0)
        self._overview: Overview | None = None
        self._ground = QPixmap()
        self._field: LiveField | None = None
        self._findings: tuple[Finding, ...] = ()
        self._chosen: Finding | Revisit | None = None
        self._revisits: tuple[Revisit, ...] = ()
        self._lost_from: LiveField | None = None

    def draw(
        self, seen: SeenRaster, overview: Overview | None, *, changed: bool
    ) -> None:
        """Take the raster of what was seen, and the slide's picture."""
        self._seen = seen
        if overview is not self._overview:
            self._overview = overview
            self._ground = (
                QPixmap.fromImage(_image(overview)) if overview else QPixmap()
            )
            changed = True
        if changed:
            table = _VEILS if overview else _FILLS
            # No finer than the card can show: a whole slide has millions of squares.
            step = 1 + max(seen.marks.shape) // _FINEST
            self._raster = _rgba_image(table[seen.marks[::step, ::step]])
            x0, y0, _, _ = seen.raster_xyxy_um
            pitch_um = step * PITCH_UM
            self._raster_um = (
                x0,
                y0,
                x0 + self._raster.width() * pitch_um,
                y0 + self._raster.height() * pitch_um,
            )
            self.update()

    def mark(
        self,
        field: LiveField | None,
        findings: tuple[Finding, ...],
        revisits: tuple[Revisit, ...],
        chosen: Finding | Revisit | None,
        lost_from: LiveField | None = None,
    ) -> None:
        """Show where the field lies, what there is to see, and what is picked.

        Args:
            field: on the screen.
            findings: the top list.
            revisits: the most pressing first.
            chosen: of either.
            lost_from: the last field that had a place, where the shown one has none.
        """
        new = (field, findings, revisits[:_MOST_REVISITS], chosen, lost_from)
        old = (self._field, self._findings, self._revisits, self._chosen)
        if new != (*old, self._lost_from):
            self._field, self._findings, self._revisits, self._chosen, _ = new
            self._lost_from = lost_from
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the map."""
        del event
        extent = self._extent()
        if extent is not None:
            with QPainter(self) as painter:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                self._paint(painter, QRectF(self.rect()), extent)

    def _paint(self, painter: QPainter, room: QRectF, extent: XyXy) -> None:
        scale = _scale(extent, room)
        origin = QPointF(
            room.center().x() - scale * (extent[0] + extent[2]) / 2,
            room.center().y() - scale * (extent[1] + extent[3]) / 2,
        )
        painter.setClipRect(room)
        self._paint_ground(painter, origin, scale, extent)
        self._paint_revisits(painter, origin, scale)
        self._paint_findings(painter, origin, scale)
        if self._lost_from is not None:
            self._paint_field(painter, origin, scale, self._lost_from, paint.WARN)
        elif self._field is not None:
            self._paint_field(painter, origin, scale, self._field, paint.ACCENT)

    def _extent(self) -> XyXy | None:
        if self._overview is not None:
            return _overview_xyxy_um(self._overview)
        seen = self._seen.extent_xyxy_um
        if seen is None:
            return None
        xs = [seen[0], seen[2], *(found.x_um for found in self._findings)]
        ys = [seen[1], seen[3], *(found.y_um for found in self._findings)]
        margin = 0.05 * max(max(xs) - min(xs), max(ys) - min(ys))
        return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin

    def _paint_ground(
        self, painter: QPainter, origin: QPointF, scale: float, extent: XyXy
    ) -> None:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        whole = _on_card(extent, origin, scale)
        painter.fillRect(whole, paint.SURROUND)
        if self._overview is not None:
            painter.drawPixmap(whole, self._ground, QRectF(self._ground.rect()))
            painter.setClipRect(whole)
        raster = _on_card(self._raster_um, origin, scale)
        # Half covered edges would leave seams between the veils.
        raster = QRectF(raster.toRect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, on=False)
        painter.drawImage(raster, self._raster)
        if self._overview is not None:
            _veil_beyond(painter, QRectF(whole.toAlignedRect()), raster)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def _paint_findings(self, painter: QPainter, origin: QPointF, scale: float) -> None:
        for finding in reversed(self._findings):
            spot = origin + QPointF(finding.x_um, finding.y_um) * scale
            painter.setPen(QPen(paint.SURROUND, 1))
            painter.setBrush(paint.colour(suspicion_rgb(finding.hr_probability)))
            painter.drawEllipse(spot, 3.2, 3.2)
            if finding == self._chosen:
                painter.setPen(QPen(paint.TEXT, 1.5))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawEllipse(spot, 7, 7)

    def _paint_revisits(self, painter: QPainter, origin: QPointF, scale: float) -> None:
        for one in reversed(self._revisits):
            box = _on_card(extent_um(one), origin, scale)
            if min(box.width(), box.height()) < 4:
                box = QRectF(box.center() - QPointF(2, 2), QSizeF(4, 4))
            rgb = PRESSING_RGB if one.reason == "passing" else REVISIT_RGB
            painter.setPen(QPen(paint.colour(rgb), 1))
            painter.setBrush(paint.colour(rgb, 0.35))
            painter.drawRect(box)
            if one == self._chosen:
                painter.setPen(QPen(paint.TEXT, 1.5))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(box.adjusted(-3, -3, 3, 3))

    def _paint_field(
        self,
        painter: QPainter,
        origin: QPointF,
        scale: float,
        field: LiveField,
        shade: QColor,
    ) -> None:
        if field.place is None:
            return
        place, (width_um, height_um) = field.place, field.size_um
        corner = origin + QPointF(place.x_um, place.y_um) * scale
        box = QRectF(corner.x(), corner.y(), width_um * scale, height_um * scale)
        if box.width() < 7:
            middle = box.center()
            box = QRectF(middle.x() - 3.5, middle.y() - 3.5, 7, 7)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for pen in (QPen(paint.SURROUND, 4.0), QPen(shade, 2.0)):
            painter.setPen(pen)
            painter.drawRect(box)


def _image(overview: Overview) -> QImage:
    height, width = overview.pixels.shape[:2]
    pixels = np.ascontiguousarray(overview.pixels)
    return QImage(
        pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888
    ).copy()


def _rgba_image(rgba: NDArray[np.uint8]) -> QImage:
    rows, columns = rgba.shape[:2]
    if not rows or not columns:
        return QImage()
    whole = np.ascontiguousarray(rgba)
    return QImage(
        whole.data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888
    ).copy()


def _overview_xyxy_um(overview: Overview) -> XyXy:
    rows, columns = overview.pixels.shape[:2]
    return (
        overview.x_um,
        overview.y_um,
        overview.x_um + columns * overview.um_per_px,
        overview.y_um + rows * overview.um_per_px,
    )


def _scale(extent: XyXy, room: QRectF) -> float:
    width_um, height_um = extent[2] - extent[0], extent[3] - extent[1]
    return min(room.width() / width_um, room.height() / height_um)


def _on_card(box_um: XyXy, origin: QPointF, scale: float) -> QRectF:
    return QRectF(
        origin + QPointF(box_um[0], box_um[1]) * scale,
        origin + QPointF(box_um[2], box_um[3]) * scale,
    )


def _veil_beyond(painter: QPainter, whole: QRectF, raster: QRectF) -> None:
    """Darken what the raster does not reach: nobody has been there either."""
    veil = QColor(*(int(channel) for channel in _VEILS[0]))
    for part in (
        QRectF(whole.topLeft(), QPointF(whole.right(), raster.top())),
        QRectF(QPointF(whole.left(), raster.bottom()), whole.bottomRight()),
        QRectF(QPointF(whole.left(), raster.top()), raster.bottomLeft()),
        QRectF(raster.topRight(), QPointF(whole.right(), raster.bottom())),
    ):
        if part.width() > 0 and part.height() > 0:
            painter.fillRect(part, veil)
