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
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from armicro.database import Database, Schema
from armicro.errors import SourceError
from armicro.field import Field, Pixels, Sight
from armicro.picture import check_header
from armicro.pyramid import TILE_PX
from armicro.rule import PictureUmPerPx

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
class MosaicField:
    """A field on the grid."""

    pixels: Pixels
    corner_xy: tuple[float, float]
    """Its top left corner in pixels of the grid."""
    size_xy: tuple[float, float]
    """In pixels of the grid."""
    sharpness: int
    """1-15."""


def view_of(field: Field, um_per_px: float) -> MosaicField | None:
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
    return MosaicField(
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


def spots_under(view: MosaicField) -> Iterator[Spot]:
    """The tiles that a view touches."""
    left, top = (math.floor(at / TILE_PX) for at in view.corner_xy)
    right, bottom = (
        math.ceil((at + length) / TILE_PX)
        for at, length in zip(view.corner_xy, view.size_xy, strict=True)
    )
    for row in range(top, bottom):
        for column in range(left, right):
            yield column, row


def lay(view: MosaicField, spot: Spot, tile: Tile | None) -> Tile | None:
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


def _rank_in(view: MosaicField, spot: Spot) -> Rank:
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


def _pixels_in(view: MosaicField, spot: Spot) -> Pixels:
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


# ---------------------------------------------------------------------------
# The mosaic's tiles on disk while the session runs: one SQLite file.
#
# A tile is a JPEG of quality 95 without colour subsampling, so that one that is read
# and written again hardly changes, and its ranks as a PNG. Each is one row, written
# whole or not at all: after any crash the file holds what was written, and a session
# that goes on goes on from there. One thread at a time may use it.

MOST_TILES = 2048
"""A row or column of a mosaic: half a metre of the finest pixels is 1,000."""
MOSAIC = "mosaic.sqlite"
"""Its name in a session folder."""
_MOSAIC = Schema(
    noun="mosaic",
    # ``ARMM``
    application_id=0x41524D4D,
    version=0,
    tables="""
CREATE TABLE scale (um_per_px REAL NOT NULL);
CREATE TABLE tiles (
    x INTEGER NOT NULL, y INTEGER NOT NULL, jpeg BLOB NOT NULL, rank BLOB NOT NULL,
    PRIMARY KEY (x, y));
""",
    refused="move it away: a session that goes on begins a new one",
    damaged="move it away: a session that goes on begins a new one",
)
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class MosaicFile(Database):
    """Tiles by their place.

    Args:
        path: made when it is not there.

    Raises:
        SourceError: here and from every method, when the file is damaged, of another
            program, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _MOSAIC)

    def fix_scale(self, um_per_px: float) -> float:
        """The grid's scale: what was fixed before, else ``um_per_px`` from now on."""
        with self._writes():
            self._database.execute(
                "INSERT INTO scale SELECT ? WHERE NOT EXISTS (SELECT 1 FROM scale)",
                (um_per_px,),
            )
        return self.um_per_px or um_per_px

    @property
    def um_per_px(self) -> float | None:
        """The grid's scale; None before the first field."""
        with self._told():
            row = self._database.execute("SELECT um_per_px FROM scale").fetchone()
            return None if row is None else msgspec.convert(row[0], PictureUmPerPx)

    def spots(self) -> list[Spot]:
        """Every tile that is there, row by row."""
        with self._told():
            rows = self._database.execute("SELECT x, y FROM tiles ORDER BY y, x")
            spots = [msgspec.convert(row, tuple[int, int]) for row in rows]
            for axis in zip(*spots, strict=True):
                if max(axis) - min(axis) > MOST_TILES or max(map(abs, axis)) > 1 << 20:
                    raise ValueError("its tiles lie further apart than on a slide")
            return spots

    def write(self, spot: Spot, tile: Tile) -> None:
        """Keep a tile."""
        bgr = cv2.cvtColor(tile.pixels, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr, _JPEG)[1].tobytes()
        rank = cv2.imencode(".png", tile.rank, _PNG)[1].tobytes()
        with self._writes():
            self._database.execute(
                "INSERT OR REPLACE INTO tiles VALUES (?,?,?,?)", (*spot, jpeg, rank)
            )

    def read(self, spot: Spot) -> Tile | None:
        """A tile; None where there is none."""
        with self._told():
            row = self._database.execute(
                "SELECT jpeg, rank FROM tiles WHERE x = ? AND y = ?", spot
            ).fetchone()
            if row is None:
                return None
            for data, kind in zip(row, ("JPEG", "PNG"), strict=True):
                check_header(data, "tile", kind=kind, most_px=TILE_PX * TILE_PX)
            pixels, rank = (
                cv2.imdecode(np.frombuffer(data, np.uint8), flag)
                for data, flag in (
                    (row[0], cv2.IMREAD_COLOR_RGB),
                    (row[1], cv2.IMREAD_UNCHANGED),
                )
            )
            if pixels is None or rank is None or rank.dtype != np.uint16:
                raise sqlite3.DatabaseError(f"tile {spot} cannot be decoded")
        return Tile(np.asarray(pixels, np.uint8), np.asarray(rank, np.uint16))

    def draw(self, spot: Spot, paper_rgb: tuple[int, int, int]) -> Pixels:
        """(512, 512, 3): a tile that is there, paper where nothing was seen."""
        tile = self.read(spot)
        if tile is None:
            raise SourceError(f"{self._path}: no tile {spot}; run armicro report again")
        tile.pixels[tile.rank == 0] = paper_rgb
        return tile.pixels
