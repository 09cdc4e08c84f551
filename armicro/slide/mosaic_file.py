"""The mosaic's tiles on disk while the session runs: one SQLite file.

A tile is a JPEG of quality 95 without colour subsampling, so that one that is read and
written again hardly changes, and its ranks as a PNG. Each is one row, written whole or
not at all: after any crash the file holds what was written, and a session that goes on
goes on from there. One thread at a time may use it.
"""

import sqlite3
from pathlib import Path

import cv2
import msgspec
import numpy as np

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.picture import check_header
from armicro.rule import PictureUmPerPx
from armicro.slide.database import Database, Schema
from armicro.slide.mosaic import Spot, Tile
from armicro.slide.pyramid import TILE_PX

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
