"""From a field to network tiles: scale check, background, cells, resampling, cutting.

A tile grid covers the field with overlap, its tiles spread evenly so that none hangs
over the edge; a field smaller than one tile is padded with its own background. Pixel
coordinates count from the outer edge of the first pixel, so that scaling them is a
multiplication.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.cascade.locate import Point
from armicro.engine.manifest import LrTable, View
from armicro.field import Field, Pixels
from armicro.picture import DARK, dark_from_border
from armicro.report import Area, CellBits, FieldState
from armicro.verdict import HR_TILE_PX, HR_UM_PER_PX, SCALES_UM_PER_PX, state_text

_PROBE_UM = 4.0
"""Distance of the pixels that the cell test looks at: two or more on any nucleus."""
_CELL_CONTRAST = 0.12
"""Share of light that a pixel must lose in some channel to count as cell."""
_LEAST_CELL_PROBES = 3
"""Probes that make a tile worth looking at: about 50 µm², less than any nucleus."""


@dataclass(frozen=True, slots=True, eq=False)
class CellMask:
    """Where a field holds cells, on a coarse grid."""

    mask: NDArray[np.bool_]
    """(rows, columns), True where there is a cell."""
    pitch_um: float
    background: tuple[int, int, int]
    """RGB of the field's empty glass."""

    @property
    def share(self) -> float:
        """Share of the field's area that holds cells, 0-1."""
        return float(self.mask.mean()) if self.mask.size else 0.0

    def within(self, x_um: float, y_um: float, side_um: float) -> bool:
        """Whether a square of the field, given from its corner, holds any cell."""
        rows, columns = (
            slice(
                max(int(at / self.pitch_um), 0), int((at + side_um) / self.pitch_um) + 1
            )
            for at in (y_um, x_um)
        )
        return int(np.count_nonzero(self.mask[rows, columns])) >= _LEAST_CELL_PROBES


def pack_cells(cells: CellMask, *, pool: int = 4) -> CellBits:
    """Pack a mask for reports and journal; a square is cell when any probe in it is."""
    rows, columns = (-(-n // pool) for n in cells.mask.shape)
    grid = np.zeros((rows * pool, columns * pool), np.bool_)
    grid[: cells.mask.shape[0], : cells.mask.shape[1]] = cells.mask
    pooled = grid.reshape(rows, pool, columns, pool).any(axis=(1, 3))
    bits = np.packbits(pooled).tobytes()
    return CellBits(rows, columns, cells.pitch_um * pool, bits)


def scale_reason(um_per_px: float) -> str:
    """Why this scale is not accepted, or an empty string.

    >>> scale_reason(0.25)
    ''
    >>> scale_reason(0.83)
    'scale 0.83 µm/px is outside 0.1-0.6 µm/px: correct the rig or --um-per-px'
    """
    low, high = SCALES_UM_PER_PX
    if low <= um_per_px <= high:
        return ""
    return state_text("bad_scale", um_per_px=um_per_px, low=low, high=high)


def find_cells(pixels: Pixels, um_per_px: float) -> CellMask:
    """Tell cells from empty glass on a sparse grid of pixels, in well under 1 ms.

    Glass is the brightest common level of each channel; a probe is cell when some
    channel is darker than that by the contrast that stained cytoplasm has. What is
    dark from the border on, as behind the round mask of an eyepiece, is none.
    """
    step = max(1, round(_PROBE_UM / um_per_px))
    first = min(step // 2, *(n - 1 for n in pixels.shape[:2]))
    probes = np.ascontiguousarray(pixels[first::step, first::step])
    red, green, blue = (_glass_level(probes, channel) for channel in range(3))
    bright = tuple(level * (1.0 - _CELL_CONTRAST) for level in (red, green, blue))
    mask = np.asarray(cv2.inRange(probes, bright, (255.0, 255.0, 255.0)) == 0, np.bool_)
    dim = (red * DARK, green * DARK, blue * DARK)
    outside = dark_from_border(cv2.inRange(probes, (0.0, 0.0, 0.0), dim) > 0)
    if outside is not None:
        mask &= ~outside
    return CellMask(mask, step * um_per_px, (red, green, blue))


def ground_colour(pixels: Pixels) -> NDArray[np.float64]:
    """Return RGB of what a cell's picture lies on: the brighter half of its border."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    light = rim.sum(axis=1, dtype=np.int64)
    return np.asarray(np.median(rim[light >= np.median(light)], axis=0), np.float64)


def _glass_level(probes: Pixels, channel: int) -> int:
    """The 95th percentile of a channel, by its histogram (numpy's takes ten times)."""
    counts = cv2.calcHist([probes], [channel], None, [256], [0, 256]).ravel()
    return int(np.searchsorted(np.cumsum(counts), 0.95 * counts.sum()))


def resample(pixels: Pixels, *, from_um_per_px: float, to_um_per_px: float) -> Pixels:
    """Resample with an area filter when shrinking, linearly when enlarging."""
    height, width = pixels.shape[:2]
    scale = from_um_per_px / to_um_per_px
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return pixels
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)


def tile_origins(length_px: int, *, tile_px: int, overlap: float) -> list[int]:
    """Origins of the tiles along one axis, overlapping by at least ``overlap``.

    >>> tile_origins(869, tile_px=512, overlap=0.25)
    [0, 357]
    >>> tile_origins(300, tile_px=512, overlap=0.25)
    [0]
    """
    if length_px <= tile_px:
        return [0]
    stride = tile_px * (1.0 - overlap)
    count = 1 + int(np.ceil((length_px - tile_px) / stride))
    return [round(v) for v in np.linspace(0, length_px - tile_px, count)]


def whole_size(length_px: int, *, tile_px: int, stride_px: int) -> int:
    """Length of one axis, padded so that whole tiles at the stride cover it.

    >>> [whole_size(v, tile_px=512, stride_px=384) for v in (300, 512, 513, 1200)]
    [512, 512, 896, 1280]
    """
    return tile_px + stride_px * max(0, -(-(length_px - tile_px) // stride_px))


def pad(pixels: Pixels, size_hw: tuple[int, int], colour: tuple[int, ...]) -> Pixels:
    """Pad at the right and the bottom with a colour; never crops."""
    height, width = pixels.shape[:2]
    below, right = max(0, size_hw[0] - height), max(0, size_hw[1] - width)
    if not below and not right:
        return pixels
    return np.asarray(
        cv2.copyMakeBorder(
            pixels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=colour
        ),
        np.uint8,
    )


def cut_centred(
    pixels: Pixels,
    centre_xy_px: tuple[float, float],
    side_px: int,
    colour: tuple[int, ...],
) -> Pixels:
    """Cut a square around a point, background where it leaves the field."""
    height, width = pixels.shape[:2]
    left = round(centre_xy_px[0] - side_px / 2)
    top = round(centre_xy_px[1] - side_px / 2)
    out = np.empty((side_px, side_px, 3), np.uint8)
    out[:] = colour
    x0, x1 = max(left, 0), min(left + side_px, width)
    y0, y1 = max(top, 0), min(top + side_px, height)
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    return out


# ---------------------------------------------------------------------------
# LR tiles of a field that is made ready: a grid, the whole field, or chosen places.
#
# Tiles of empty glass are left out.

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
class LrTiles:
    """LR tiles of a field; tiles of empty glass are left out."""

    tiles: Pixels
    """(n, H, W, 3)."""
    origins_px: Origins
    """(x, y) of each tile in LR pixels of the field."""
    areas_xywh_um: tuple[Area, ...] | None = None
    """What was asked for, empty glass too; None: the whole field."""


class LrTileCutter:
    """Cuts fields for one LR network."""

    def __init__(self, lr: LrTable, *, whole: bool) -> None:
        """Take the network's numbers, and whether it sees fields whole."""
        self._lr, self._whole = lr, whole
        self.stride_px = round(lr.tile_px * (1 - lr.overlap))

    def cut(self, prepared: Prepared, corners_um: Sequence[Point] | None) -> LrTiles:
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
    ) -> LrTiles:
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

    def _tiles(self, prepared: Prepared, pixels: Pixels, origins: Origins) -> LrTiles:
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
        return LrTiles(tiles, origins)

    def _padded(self, prepared: Prepared, pixels: Pixels) -> LrTiles:
        height, width = (
            whole_size(n, tile_px=self._lr.tile_px, stride_px=self.stride_px)
            for n in pixels.shape[:2]
        )
        if prepared.cells is None or prepared.blank:
            return LrTiles(np.empty((0, height, width, 3), np.uint8), ())
        padded = pad(pixels, (height, width), prepared.cells.background)
        return LrTiles(padded[None], ((0, 0),))


def tile_of_crop(pixels: Pixels, um_per_px: float) -> Pixels:
    """Return the (256, 256, 3) HR tile of a single cell's picture.

    It is brought to 0.243 µm/px and laid on its own ground; a larger one loses its rim.
    """
    scaled = resample(pixels, from_um_per_px=um_per_px, to_um_per_px=HR_UM_PER_PX)
    height, width = scaled.shape[:2]
    red, green, blue = ground_colour(scaled).astype(int).tolist()
    centre = (width / 2, height / 2)
    return cut_centred(scaled, centre, HR_TILE_PX, (red, green, blue))


# ---------------------------------------------------------------------------
# Views of an HR tile: what a cell is does not change with its turn or its dye.


def view_of(tiles: Pixels, view: View) -> Pixels:
    """Return (n, h, w, 3) square tiles in another view.

    >>> tile = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    >>> [view_of(tile, view)[0, 0, 0].tolist() for view in ("upside_down", "grey")]
    [[6, 7, 8], [1, 1, 1]]
    """
    if view == "grey":
        grey = tiles.mean(axis=-1, keepdims=True).astype(np.uint8)
        return np.repeat(grey, tiles.shape[-1], axis=-1)
    if view == "mirrored":
        shown = tiles[:, :, ::-1]
    elif view == "upside_down":
        shown = tiles[:, ::-1]
    else:
        shown = np.rot90(tiles, axes=(1, 2))
    return np.ascontiguousarray(shown)
