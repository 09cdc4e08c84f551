"""Stitches fields into the mosaic's tiles, in bounded memory.

The tiles worked on last are held decoded; those that fall out, and those that the
newest field has left behind, are written to the file.
"""

from collections import OrderedDict
from pathlib import Path

from armicro.field import Field
from armicro.slide.mosaic import Spot, Tile, lay, spots_under, view_of
from armicro.slide.mosaic_file import MosaicFile

HELD_TILES = 64
"""1.3 MB each: two fields' worth."""


class Stitcher:
    """The mosaic of a session.

    Args:
        path: the mosaic's file; one that is there goes on.
        held: tiles that are held decoded.

    Raises:
        SourceError: here and from every method, when the file cannot be used.
    """

    def __init__(self, path: Path, *, held: int = HELD_TILES) -> None:
        self._file = MosaicFile(path)
        self._um_per_px = self._file.um_per_px
        self._held_most = held
        self._held: OrderedDict[Spot, Tile] = OrderedDict()
        """Least recently used first."""
        self._unwritten: set[Spot] = set()
        self._left_behind: list[Spot] = []

    def update(self, field: Field) -> bool:
        """Take what a field shows better than the mosaic; True when that was a tile."""
        if self._um_per_px is None:
            self._um_per_px = self._file.fix_scale(field.um_per_px)
        view = view_of(field, self._um_per_px)
        if view is None:
            return False
        touched = set()
        gained = False
        for spot in spots_under(view):
            touched.add(spot)
            tile = lay(view, spot, self._take(spot))
            if tile is not None:
                gained = True
                self._hold(spot, tile)
        self._left_behind = [spot for spot in self._unwritten if spot not in touched]
        return gained

    def write(self, most: int, *, all_tiles: bool = False) -> bool:
        """Write up to ``most`` tiles that no field works on; False when none is left.

        Args:
            most: a tile takes some milliseconds.
            all_tiles: also those under the newest field.
        """
        waiting = self._unwritten if all_tiles else self._left_behind
        for spot in sorted(waiting)[:most]:
            self._write(spot)
        self._left_behind = [s for s in self._left_behind if s in self._unwritten]
        return bool(self._unwritten if all_tiles else self._left_behind)

    def close(self) -> None:
        """Write all and close the file."""
        try:
            self.write(len(self._unwritten), all_tiles=True)
        finally:
            self._file.close()

    def _take(self, spot: Spot) -> Tile | None:
        tile = self._held.get(spot)
        if tile is not None:
            self._held.move_to_end(spot)
            return tile
        tile = self._file.read(spot)
        if tile is not None:
            self._keep(spot, tile)
        return tile

    def _hold(self, spot: Spot, tile: Tile) -> None:
        self._unwritten.add(spot)
        self._keep(spot, tile)

    def _keep(self, spot: Spot, tile: Tile) -> None:
        self._held[spot] = tile
        self._held.move_to_end(spot)
        while len(self._held) > self._held_most:
            oldest = next(iter(self._held))
            self._write(oldest)
            del self._held[oldest]

    def _write(self, spot: Spot) -> None:
        if spot in self._unwritten:
            self._file.write(spot, self._held[spot])
            self._unwritten.discard(spot)
