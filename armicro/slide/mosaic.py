"""The slide put together from fields: which pixels of which field go into a tile.

Tiles lie on a grid fixed to the slide. Every pixel of a tile remembers the *rank* of
the view that it came from: how sharp that view was, and within equal sharpness how far
the pixel lay from the view's edge. A view takes the pixels for which it ranks higher.
So a sharper view replaces a blurred one wherever it reaches, a cell is cut by a seam
only where no field shows it whole, seams run half way between the edges of two fields,
and neither order nor repetition decides what the slide looks like. Over the last pixels
before a seam the two views are mixed, so that uneven light leaves no line.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Field, Pixels, Sight
from armicro.slide.pyramid import TILE_PX

Spot = tuple[int, int]
"""Column and row of a tile; tile (0, 0) begins at the slide's origin."""
Rank = NDArray[np.uint16]

MOST_ERROR_UM = 3.0
"""A field placed worse than this would spoil what is there."""
MOST_SMEAR_UM = 5.0
"""A field smeared by more shows no cell."""
LARGEST_UM = 200_000.0
"""Farther from the origin than any slide is long: a place out there is an error."""

_CLASS = 2048
"""Ranks of one class of sharpness; the distance from the edge stays below."""
_CLASSES = 15
_HALVED_BY_UM = 0.5
"""A smear of that much halves the sharpness."""
_FEATHER = 16.0
"""Ranks over which two views are mixed: half as many pixels across a straight seam."""
_LEAST_GAIN = 48
"""Pixels by which a view must lie better for a tile to be worth the work."""
_WHOLE_PX = 1 / 32
"""Nearer to whole pixels than this, a view is copied and not resampled."""


@dataclass(slots=True, eq=False)
class Tile:
    """A square of the slide as it stands."""

    pixels: Pixels
    """(512, 512, 3); means nothing where ``rank`` is 0."""
    rank: Rank
    """(512, 512); 0 where nothing was seen."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A field on the grid."""

    pixels: Pixels
    corner_xy: tuple[float, float]
    """Its top left corner in pixels of the grid."""
    size_xy: tuple[float, float]
    """In pixels of the grid."""
    sharpness: int
    """1-15."""


def view_of(field: Field, um_per_px: float) -> View | None:
    """A field on a grid of that scale; None when it is not worth keeping."""
    place = field.place
    if place is None or field.fault or field.voided:
        return None
    if not place.standard_error_um <= MOST_ERROR_UM:
        return None
    if not all(abs(um) <= LARGEST_UM for um in (place.x_um, place.y_um)):
        return None
    if field.sight is not None and field.sight.smear_um > MOST_SMEAR_UM:
        return None
    width_px, height_px = field.size_um[0] / um_per_px, field.size_um[1] / um_per_px
    pixels = field.pixels
    if um_per_px > 1.05 * field.um_per_px:
        # Finer than the grid: averaged, or fine chromatin would alias.
        size = max(1, round(width_px)), max(1, round(height_px))
        pixels = np.asarray(
            cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8
        )
    coarseness = min(1.0, um_per_px / field.um_per_px)
    return View(
        pixels,
        (place.x_um / um_per_px, place.y_um / um_per_px),
        (width_px, height_px),
        max(1, math.ceil(_CLASSES * coarseness * _clearness(field.sight))),
    )


def _clearness(sight: Sight | None) -> float:
    """0-1. Nobody judged it: it counts as still and in focus; nothing to judge: as 0.

    >>> _clearness(None), _clearness(Sight(focus=0.8, smear_um=0.5))
    (1.0, 0.4)
    """
    if sight is None:
        return 1.0
    return (sight.focus or 0.0) / (1.0 + sight.smear_um / _HALVED_BY_UM)


def spots_under(view: View) -> Iterator[Spot]:
    """The tiles that a view touches."""
    left, top = (math.floor(at / TILE_PX) for at in view.corner_xy)
    right, bottom = (
        math.ceil((at + length) / TILE_PX)
        for at, length in zip(view.corner_xy, view.size_xy, strict=True)
    )
    for row in range(top, bottom):
        for column in range(left, right):
            yield column, row


def lay(view: View, spot: Spot, tile: Tile | None) -> Tile | None:
    """Lay a view into a tile; None when the tile gains nothing by it.

    Args:
        view: the field.
        spot: the tile's column and row.
        tile: what is there; it is not changed. None: nothing yet.
    """
    rank = _rank_in(view, spot)
    if not rank.any():
        return None
    if tile is None:
        return Tile(_pixels_in(view, spot), rank)
    if int(cv2.subtract(rank, tile.rank).max()) < _LEAST_GAIN:
        return None
    share = (rank.astype(np.float32) - tile.rank) / _FEATHER + 0.5
    share = np.clip(share, 0.0, 1.0, out=share)
    share[rank == 0] = 0.0
    mixed = cv2.blendLinear(_pixels_in(view, spot), tile.pixels, share, 1.0 - share)
    return Tile(np.asarray(mixed, np.uint8), np.maximum(rank, tile.rank))


def _rank_in(view: View, spot: Spot) -> Rank:
    """(512, 512): how well the view shows each pixel of a tile; 0: not at all."""
    across, down = (
        _from_edge(view.corner_xy[axis], view.size_xy[axis], spot[axis] * TILE_PX)
        for axis in (0, 1)
    )
    inside = np.minimum(across[None, :], down[:, None])
    rank = inside + np.uint16(view.sharpness * _CLASS)
    rank[inside == 0] = 0
    return rank


def _from_edge(corner: float, length: float, start_px: int) -> Rank:
    """(512,): whole pixels from the nearer end of the view, from 1; 0: outside."""
    middles = np.arange(TILE_PX) + (start_px + 0.5 - corner)
    distance = np.minimum(middles, length - middles)
    # The outermost pixels are half made of what lies beyond.
    whole = np.where(distance >= 0.49, np.floor(distance) + 1, 0)
    return np.clip(whole, 0, _CLASS - 1).astype(np.uint16)


def _pixels_in(view: View, spot: Spot) -> Pixels:
    """(512, 512, 3): the view on the tile's pixels, resampled where it lies between."""
    height, width = view.pixels.shape[:2]
    scale_x, scale_y = width / view.size_xy[0], height / view.size_xy[1]
    x, y = (spot[axis] * TILE_PX - view.corner_xy[axis] for axis in (0, 1))
    if abs(scale_x - 1) < 1e-4 and abs(scale_y - 1) < 1e-4:
        whole_x, whole_y = round(x), round(y)
        if max(abs(x - whole_x), abs(y - whole_y)) <= _WHOLE_PX:
            return _copied(view.pixels, whole_x, whole_y)
    # From the middle of a tile's pixel to the middle of a view's.
    to_view = np.array(
        [
            [scale_x, 0.0, scale_x * (x + 0.5) - 0.5],
            [0.0, scale_y, scale_y * (y + 0.5) - 0.5],
        ]
    )
    return np.asarray(
        cv2.warpAffine(
            view.pixels,
            to_view,
            (TILE_PX, TILE_PX),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _copied(pixels: Pixels, x: int, y: int) -> Pixels:
    tile = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    height, width = pixels.shape[:2]
    left, top = max(0, x), max(0, y)
    right, bottom = min(width, x + TILE_PX), min(height, y + TILE_PX)
    tile[top - y : bottom - y, left - x : right - x] = pixels[top:bottom, left:right]
    return tile
