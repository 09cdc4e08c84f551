"""The mosaic's tiles on disk while the session runs: one SQLite file.

A tile is a JPEG of quality 95 without colour subsampling, so that one that is read and
written again hardly changes, and its ranks as a PNG. Each is one row, written whole or
not at all: after any crash the file holds what was written, and a session that goes on
goes on from there. One thread at a time may use it.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.slide.mosaic import Spot, Tile

MOSAIC = "mosaic.sqlite"
"""Its name in a session folder."""
APPLICATION_ID = 0x41524D4D
"""``ARMM`` in the file's head."""
_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE scale (um_per_px REAL NOT NULL);
CREATE TABLE tiles (
    x INTEGER NOT NULL, y INTEGER NOT NULL, jpeg BLOB NOT NULL, rank BLOB NOT NULL,
    PRIMARY KEY (x, y));
PRAGMA application_id = {APPLICATION_ID};
COMMIT;
"""
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class MosaicFile:
    """Tiles by their place.

    Args:
        path: made when it is not there.

    Raises:
        SourceError: here and from every method, when the file is damaged, of another
            program, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            self._database = sqlite3.connect(
                path, isolation_level=None, timeout=10.0, check_same_thread=False
            )
        try:
            with self._told():
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        """Return the file itself; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._database.close()

    def fix_scale(self, um_per_px: float) -> float:
        """The grid's scale: what was fixed before, else ``um_per_px`` from now on."""
        with self._told():
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
        return None if row is None else float(row[0])

    def spots(self) -> list[Spot]:
        """Every tile that is there, row by row."""
        with self._told():
            return list(self._database.execute("SELECT x, y FROM tiles ORDER BY y, x"))

    def write(self, spot: Spot, tile: Tile) -> None:
        """Keep a tile."""
        bgr = cv2.cvtColor(tile.pixels, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr, _JPEG)[1].tobytes()
        rank = cv2.imencode(".png", tile.rank, _PNG)[1].tobytes()
        with self._told():
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
            pixels, rank = (
                cv2.imdecode(np.frombuffer(data, np.uint8), flag)
                for data, flag in (
                    (row[0], cv2.IMREAD_COLOR_RGB),
                    (row[1], cv2.IMREAD_UNCHANGED),
                )
            )
            if pixels is None or rank is None:
                raise sqlite3.DatabaseError(f"tile {spot} cannot be decoded")
        return Tile(np.asarray(pixels, np.uint8), np.asarray(rank, np.uint16))

    def draw(self, spot: Spot, paper_rgb: tuple[int, int, int]) -> Pixels:
        """(512, 512, 3): a tile that is there, paper where nothing was seen."""
        tile = self.read(spot)
        if tile is None:
            raise SourceError(f"{self._path}: no tile {spot}; run armicro report again")
        tile.pixels[tile.rank == 0] = paper_rgb
        return tile.pixels

    def _prepare(self) -> None:
        # As the journal: a crash of the process costs nothing that was written.
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
            self._database.execute(f"PRAGMA {pragma}")
        if not self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[
            0
        ]:
            self._database.executescript(_TABLES)
        found = self._database.execute("PRAGMA application_id").fetchone()[0]
        if found != APPLICATION_ID:
            raise sqlite3.DatabaseError("of another program")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise SourceError(
                f"{self._path}: {error}; check free space and write permission"
            ) from error
        except sqlite3.DatabaseError as error:
            raise SourceError(
                f"{self._path}: damaged or not a mosaic ({error}); move it away: a "
                "session that goes on begins a new one"
            ) from error
