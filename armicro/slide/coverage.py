"""How much of the slide's cell area was seen, and where.

The slide is a sparse grid of bins. A bin is *seen* when its centre lay in an analysed
or blank field, and *cell* when the overview says so or, without an overview, when any
field did. Unreadable fields count as cell area that was not seen: what nobody could
look at is never reassuring. All updates are unions, so neither order nor repetition
matters.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from armicro.field import Place
from armicro.report import CellBits

BIN_UM = 16.0
_CHUNK = 64
"""Bins a side of a chunk; memory grows with the area touched, not with the slide."""

Mask = NDArray[np.bool_]
Chunks = dict[tuple[int, int], Mask]


class Coverage:
    """Which parts of a slide were seen."""

    def __init__(self) -> None:
        self._cell: Chunks = {}
        self._seen: Chunks = {}
        self._cells_known = False

    def know_cells(self, cells: CellBits, x_um: float, y_um: float) -> None:
        """Take the cell area from an overview whose corner lies at (x, y)."""
        size_um = cells.columns * cells.pitch_um, cells.rows * cells.pitch_um
        self._mark_cells(cells, x_um, y_um, size_um)
        self._cells_known = True

    def see(self, place: Place, size_um: tuple[float, float], cells: CellBits) -> None:
        """A field was analysed, or found blank."""
        if not self._cells_known:
            self._mark_cells(cells, place.x_um, place.y_um, size_um)
        self._mark(self._seen, _Box(place.x_um, place.y_um, size_um))

    def miss(self, place: Place, size_um: tuple[float, float]) -> None:
        """A field was there and could not be read."""
        if not self._cells_known:
            self._mark(self._cell, _Box(place.x_um, place.y_um, size_um))

    @property
    def share(self) -> float:
        """Share of the cell area that was seen, 0-1; 0 while no cell area is known."""
        cell = _count(self._cell.values())
        both = sum(
            int(np.count_nonzero(chunk & self._seen[at]))
            for at, chunk in self._cell.items()
            if at in self._seen
        )
        return both / cell if cell else 0.0

    @property
    def seen_um2(self) -> float:
        """Area seen, in square micrometres."""
        return _count(self._seen.values()) * BIN_UM**2

    def _mark_cells(
        self, cells: CellBits, x_um: float, y_um: float, size_um: tuple[float, float]
    ) -> None:
        box = _Box(x_um, y_um, size_um)
        # Each bin looks at the square nearest to its centre (a coarse overview has
        # fewer squares than bins), and any cell square in a bin makes it a cell bin.
        mask = _unpack(cells)
        grid = _sample(mask, cells.pitch_um, box, (x_um, y_um))
        rows, columns = np.nonzero(mask)
        xs = np.floor((x_um + (columns + 0.5) * cells.pitch_um) / BIN_UM).astype(int)
        ys = np.floor((y_um + (rows + 0.5) * cells.pitch_um) / BIN_UM).astype(int)
        inside = (xs >= box.x0) & (xs < box.x1) & (ys >= box.y0) & (ys < box.y1)
        grid[ys[inside] - box.y0, xs[inside] - box.x0] = True
        self._mark(self._cell, box, grid)

    def _mark(self, chunks: Chunks, box: "_Box", grid: Mask | None = None) -> None:
        for row in range(box.y0 // _CHUNK, (box.y1 - 1) // _CHUNK + 1):
            for column in range(box.x0 // _CHUNK, (box.x1 - 1) // _CHUNK + 1):
                top, left = row * _CHUNK, column * _CHUNK
                y0, y1 = max(box.y0, top), min(box.y1, top + _CHUNK)
                x0, x1 = max(box.x0, left), min(box.x1, left + _CHUNK)
                chunk = chunks.setdefault(
                    (column, row), np.zeros((_CHUNK, _CHUNK), np.bool_)
                )
                part = chunk[y0 - top : y1 - top, x0 - left : x1 - left]
                part |= (
                    True
                    if grid is None
                    else grid[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0]
                )


class _Box:
    """The bins whose centres lie in a rectangle: [x0, x1) by [y0, y1)."""

    __slots__ = ("x0", "x1", "y0", "y1")

    def __init__(self, x_um: float, y_um: float, size_um: tuple[float, float]) -> None:
        self.x0, self.x1 = _bins(x_um, size_um[0])
        self.y0, self.y1 = _bins(y_um, size_um[1])


def _unpack(cells: CellBits) -> Mask:
    count = cells.rows * cells.columns
    bits = np.unpackbits(np.frombuffer(cells.bits, np.uint8), count=count)
    return bits.reshape(cells.rows, cells.columns).astype(np.bool_)


def _sample(
    mask: Mask, pitch_um: float, box: _Box, corner_um: tuple[float, float]
) -> Mask:
    height, width = mask.shape
    xs = ((np.arange(box.x0, box.x1) + 0.5) * BIN_UM - corner_um[0]) / pitch_um
    ys = ((np.arange(box.y0, box.y1) + 0.5) * BIN_UM - corner_um[1]) / pitch_um
    rows = np.clip(ys.astype(int), 0, height - 1)
    columns = np.clip(xs.astype(int), 0, width - 1)
    return np.asarray(mask[rows[:, None], columns[None, :]], np.bool_)


def _bins(start_um: float, length_um: float) -> tuple[int, int]:
    first = int(np.ceil(start_um / BIN_UM - 0.5))
    last = int(np.ceil((start_um + length_um) / BIN_UM - 0.5))
    return first, max(first, last)


def _count(chunks: Iterable[Mask]) -> int:
    return sum(int(np.count_nonzero(chunk)) for chunk in chunks)
