"""``slide.tif``: the mosaic as a slide file that OpenSlide and QuPath open."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from armicro.errors import DiskError, SourceError
from armicro.field import Field, Pixels
from armicro.file import beside
from armicro.mosaic import MOSAIC, MosaicFile, Spot, Tile, lay, spots_under, view_of
from armicro.pyramid import TILE_PX, Sheet, write_pyramid_file
from armicro.session.record import MapCard
from armicro.slide.journal import Journal

# ---------------------------------------------------------------------------
# Stitches fields into the mosaic's tiles, in bounded memory.
#
# The tiles worked on last are held decoded; those that fall out, and those that the
# newest field has left behind, are written to the file.

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
                self._unwritten.add(spot)
                self._keep(spot, tile)
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


# ---------------------------------------------------------------------------
# The file.

SLIDE = "slide.tif"
QUALITY = 90
_LOOKED_AT = 64
"""Tiles that say what colour the glass has."""


def write_slide(
    folder: Path,
    journal: Journal,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> MapCard | None:
    """Assemble a session's mosaic, and say in the journal where it lies.

    May be called at any time, also while the run goes on; one that is newer than the
    mosaic stays. Memory is bounded by a few tiles, whatever the size of the slide.

    Args:
        folder: the session's.
        journal: of that session.
        progress: called with the pixels done and those there are.

    Returns:
        What was written; None for a session that kept no mosaic.

    Raises:
        SourceError: the mosaic is damaged, or the folder cannot be written.
    """
    source, target = folder / MOSAIC, folder / SLIDE
    if not source.exists():
        return journal.get("map", MapCard) if target.exists() else None
    known = journal.get("map", MapCard)
    if known is not None and _is_newer(target, source):
        return known
    with MosaicFile(source) as mosaic:
        spots = mosaic.spots()
        if not spots:
            return None
        card = _card(mosaic, spots)
        try:
            _write(target, mosaic, spots, card, progress)
        except OSError as error:
            raise DiskError(
                f"{target}: {error.strerror or error}; free some space and write it "
                f"with `armicro report {folder}`"
            ) from error
    journal.set("map", card)
    return card


def _is_newer(target: Path, source: Path) -> bool:
    if not target.exists():
        return False
    log = source.with_name(f"{source.name}-wal")
    changed = [path.stat().st_mtime_ns for path in (source, log) if path.exists()]
    return target.stat().st_mtime_ns > max(changed)


def _card(mosaic: MosaicFile, spots: list[Spot]) -> MapCard:
    um_per_px = mosaic.um_per_px
    if um_per_px is None:
        raise SourceError("the mosaic does not say its scale; move it away")
    (left, top), (right, bottom) = np.min(spots, 0).tolist(), np.max(spots, 0).tolist()
    last_column = [spot for spot in spots if spot[0] == right]
    last_row = [spot for spot in spots if spot[1] == bottom]
    return MapCard(
        file=SLIDE,
        um_per_px=um_per_px,
        x_um=left * TILE_PX * um_per_px,
        y_um=top * TILE_PX * um_per_px,
        width_px=(right - left) * TILE_PX + _reach(mosaic, last_column, axis=0),
        height_px=(bottom - top) * TILE_PX + _reach(mosaic, last_row, axis=1),
        background_rgb=_glass(mosaic, spots),
    )


def _reach(mosaic: MosaicFile, spots: list[Spot], *, axis: int) -> int:
    """How many pixels of the last tiles were seen, to the right (0) or down (1)."""
    tiles = (mosaic.read(spot) for spot in spots)
    lines = [np.flatnonzero(tile.rank.any(axis=axis)) for tile in tiles if tile]
    return int(max(line[-1] for line in lines if line.size)) + 1


def _glass(mosaic: MosaicFile, spots: list[Spot]) -> tuple[int, int, int]:
    """The colour of empty glass: what is bright in most tiles."""
    bright = []
    for spot in spots[:: 1 + len(spots) // _LOOKED_AT]:
        tile = mosaic.read(spot)
        if tile is not None and tile.rank.any():
            bright.append(np.percentile(tile.pixels[tile.rank > 0], 90, axis=0))
    red, green, blue = np.median(bright, axis=0).round().astype(int).tolist()
    return red, green, blue


def _write(
    target: Path,
    mosaic: MosaicFile,
    spots: list[Spot],
    card: MapCard,
    progress: Callable[[int, int], None] | None,
) -> None:
    left, top = min(x for x, _ in spots), min(y for _, y in spots)
    there = frozenset((x - left, y - top) for x, y in spots)
    paper = np.array(card.background_rgb, np.uint8)

    def draw(x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        square = np.empty((height_px, width_px, 3), np.uint8)
        square[:] = paper
        for y in range(0, height_px, TILE_PX):
            for x in range(0, width_px, TILE_PX):
                spot = (x_px + x) // TILE_PX, (y_px + y) // TILE_PX
                if spot in there:
                    part = square[y : y + TILE_PX, x : x + TILE_PX]
                    tile = mosaic.draw(
                        (spot[0] + left, spot[1] + top), card.background_rgb
                    )
                    part[:] = tile[: part.shape[0], : part.shape[1]]
        return square

    done = 0

    def told(pixels: int) -> None:
        nonlocal done
        done += pixels
        if progress is not None:
            progress(done, len(there) * TILE_PX**2)

    description = (
        f"armicro: stitched from the fields of a session at {card.um_per_px:.6g} "
        f"um/px; its corner lies at ({card.x_um:.3f}, {card.y_um:.3f}) um; not seen: "
        f"RGB {card.background_rgb}"
    )
    sheet = Sheet(
        card.width_px,
        card.height_px,
        description,
        quality=QUALITY,
        paper_rgb=card.background_rgb,
        um_per_px=card.um_per_px,
        tiles=there,
    )
    with beside(target) as part:
        write_pyramid_file(part, sheet, draw, told)
