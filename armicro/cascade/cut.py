"""LR tiles of a field that is made ready: a grid, the whole field, or chosen places.

Tiles of empty glass are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from armicro.cascade.merge import Point
from armicro.cascade.tile import CellMask, pad, tile_origins, whole_size
from armicro.engine.manifest import LrTable
from armicro.field import Field, Pixels
from armicro.report import Area, FieldState

Origins = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A field made ready for the LR network, or refused."""

    field: Field
    refusal: tuple[FieldState, str] | None = None
    cells: CellMask | None = None
    pixels: Pixels | None = None
    """The field at the scale of the LR network."""
    lr_um_per_px: float = 0.0
    """Exact scale of them: whole pixels make it differ from the nominal one."""

    @property
    def blank(self) -> bool:
        """Whether there is nothing but glass; a refused field is not known to be."""
        side_um = max(self.field.size_um)
        return self.cells is not None and not self.cells.within(0.0, 0.0, side_um)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """LR tiles of a field; tiles of empty glass are left out."""

    tiles: Pixels
    """(n, H, W, 3)."""
    origins_px: Origins
    """(x, y) of each tile in LR pixels of the field."""
    areas_xywh_um: tuple[Area, ...] | None = None
    """What was asked for, empty glass too; None: the whole field."""


class Cutter:
    """Cuts fields for one LR network."""

    def __init__(self, lr: LrTable, *, whole: bool) -> None:
        """Take the network's numbers, and whether it sees fields whole."""
        self._lr, self._whole = lr, whole
        self.stride_px = round(lr.tile_px * (1 - lr.overlap))

    def cut(self, prepared: Prepared, corners_um: Sequence[Point] | None) -> Cut:
        """Cut tiles at these corners (µm from the field's), or by the rig's mode."""
        if prepared.pixels is None or prepared.cells is None:
            raise ValueError(f"field {prepared.field.seq} was not prepared")
        if corners_um is not None:
            return self._at(prepared, prepared.pixels, corners_um)
        if self._whole:
            return self._padded(prepared, prepared.pixels)
        side, overlap = self._lr.tile_px, self._lr.overlap
        height, width = prepared.pixels.shape[:2]
        origins = tuple(
            (x, y)
            for y in tile_origins(height, tile_px=side, overlap=overlap)
            for x in tile_origins(width, tile_px=side, overlap=overlap)
        )
        return self._tiles(prepared, prepared.pixels, origins)

    def _at(
        self, prepared: Prepared, pixels: Pixels, corners_um: Sequence[Point]
    ) -> Cut:
        scale, side = prepared.lr_um_per_px, self._lr.tile_px
        height, width = pixels.shape[:2]
        origins = tuple(
            (
                min(round(x_um / scale), max(0, width - side)),
                min(round(y_um / scale), max(0, height - side)),
            )
            for x_um, y_um in corners_um
        )
        place = prepared.field.place
        x0, y0 = (place.x_um, place.y_um) if place else (0.0, 0.0)
        areas = tuple(
            (
                x0 + x * scale,
                y0 + y * scale,
                min(side, width - x) * scale,
                min(side, height - y) * scale,
            )
            for x, y in origins
        )
        return replace(self._tiles(prepared, pixels, origins), areas_xywh_um=areas)

    def _tiles(self, prepared: Prepared, pixels: Pixels, origins: Origins) -> Cut:
        side, scale, cells = self._lr.tile_px, prepared.lr_um_per_px, prepared.cells
        if cells is not None:
            pixels = pad(pixels, (side, side), cells.background)
            origins = tuple(
                (x, y)
                for x, y in origins
                if cells.within(x * scale, y * scale, side * scale)
            )
        tiles = np.empty((len(origins), side, side, 3), np.uint8)
        for tile, (x, y) in zip(tiles, origins, strict=True):
            tile[:] = pixels[y : y + side, x : x + side]
        return Cut(tiles, origins)

    def _padded(self, prepared: Prepared, pixels: Pixels) -> Cut:
        height, width = (
            whole_size(n, tile_px=self._lr.tile_px, stride_px=self.stride_px)
            for n in pixels.shape[:2]
        )
        if prepared.cells is None or prepared.blank:
            return Cut(np.empty((0, height, width, 3), np.uint8), ())
        padded = pad(pixels, (height, width), prepared.cells.background)
        return Cut(padded[None], ((0, 0),))
