"""How much of the slide's cell area was seen, how well, and where.

The slide is a sparse grid of bins. A bin is *cell* when the overview says so or,
without an overview, when any field did. How well it was seen is a level: not at all; at
the rim of what the networks looked at, where a cell is cut; well within it; and that in
a sharp field. Fields that were unreadable, moving or out of focus leave a mark and no
level: what nobody could look at is never reassuring. All updates are maxima and unions,
so neither order nor repetition matters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from armicro.report import Area, CellBits, FieldReport, FieldState
from armicro.slide.focus import is_sharp
from armicro.verdict import HR_TILE_UM

BIN_UM = 16.0
RIM_UM = HR_TILE_UM / 2
"""Half an HR tile: nearer to a field's edge a cell is cut."""
TILE_RIM_UM = 24.0
"""The same of an LR tile within a field. Less, so that a tile at the field's corner is
never worse than one beside it; what is there is seen whole by the HR network."""
UNSEEN, RIM, ADEQUATE, SHARP = range(4)
"""Levels at which a bin was seen."""
CELL, LEVEL, MARKS = range(3)
"""Layers of the grid."""
UNREADABLE, OUT_OF_FOCUS, MOVING, RESTED = 1, 2, 4, 8
"""Marks; ``RESTED``: seen while the stage stood, or nearly."""
MARK_OF: Mapping[FieldState, int] = {
    "unreadable": UNREADABLE,
    "out_of_focus": OUT_OF_FOCUS,
    "moving": MOVING,
}
STILL_UM_PER_S = 100.0
"""Slower than this the eye can read a field, which then takes six seconds to pass."""
_REACH = 32
"""Chunks to either side of the middle one: 66 mm in all."""
_CHUNK = 64
"""Bins a side of a chunk; memory grows with the area touched, not with the slide."""

Layer = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Box:
    """The bins whose centres lie in a rectangle: [x0, x1) by [y0, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def of(cls, area_xywh_um: Area) -> Self:
        """Return the bins of an area; empty where it is narrower than a bin."""
        left, top, width, height = area_xywh_um
        x0, y0, x1, y1 = (
            int(np.ceil(at / BIN_UM - 0.5))
            for at in (left, top, left + width, top + height)
        )
        return cls(x0, y0, max(x0, x1), max(y0, y1))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0


def inner(area_xywh_um: Area, rim_um: float = RIM_UM) -> Area:
    """The part of an area in which no cell is cut."""
    left, top, width, height = area_xywh_um
    return left + rim_um, top + rim_um, width - 2 * rim_um, height - 2 * rim_um


def area_of(report: FieldReport) -> Area:
    """The area of a report's field, which must have a place."""
    if report.place is None:
        raise ValueError(f"field {report.seq} has no place")
    return report.place.x_um, report.place.y_um, report.width_um, report.height_um


def level_of(focus: float | None) -> int:
    """Level at which a field of this focus shows what lies well within it."""
    return SHARP if is_sharp(focus) else ADEQUATE


class Coverage:
    """Which parts of a slide were seen, and how well."""

    def __init__(self) -> None:
        self.cells_known = False
        """Whether an overview told where cells are."""
        self._chunks: dict[tuple[int, int], Layer] = {}
        """Each (3, 64, 64): a layer a row of ``CELL``, ``LEVEL``, ``MARKS``."""

    def know_cells(self, cells: CellBits, x_um: float, y_um: float) -> None:
        """Take the cell area from an overview whose corner lies at (x, y)."""
        size_um = cells.columns * cells.pitch_um, cells.rows * cells.pitch_um
        area = x_um, y_um, *size_um
        self._raise(CELL, Box.of(area), cell_bins(cells, area))
        self.cells_known = True

    def take(self, report: FieldReport) -> None:
        """Take what became of a field."""
        if report.place is None or report.state in ("bad_scale", "no_place"):
            return
        area = area_of(report)
        box = Box.of(area)
        cells = cell_bins(report.cells, area) if report.cells else None
        if not self.cells_known:
            # Where nobody knows, there may be cells everywhere.
            self._raise(CELL, box, 1 if cells is None else cells)
        mark = MARK_OF.get(report.state)
        if mark is not None:
            self._raise(MARKS, box, mark)
            return
        self._look(report, box, cells)
        if _rested(report):
            self._raise(MARKS, box, RESTED)

    @property
    def share(self) -> float:
        """Share of the cell area that was seen, 0-1; 0 while no cell area is known."""
        cell = both = 0
        for chunk in self._chunks.values():
            is_cell = chunk[CELL] > 0
            cell += int(np.count_nonzero(is_cell))
            both += int(np.count_nonzero(is_cell & (chunk[LEVEL] > UNSEEN)))
        return both / cell if cell else 0.0

    @property
    def seen_um2(self) -> float:
        """Area seen, in square micrometres."""
        seen = sum(int(np.count_nonzero(c[LEVEL])) for c in self._chunks.values())
        return seen * BIN_UM**2

    def read(self, box: Box) -> Layer:
        """Return all layers of a box of bins, (3, rows, columns)."""
        out = np.zeros((3, *box.shape), np.uint8)
        for key, inside, outside in _parts(box):
            if key in self._chunks:
                out[(slice(None), *outside)] = self._chunks[key][(slice(None), *inside)]
        return out

    def seen_boxes(self, report: FieldReport) -> tuple[Area, ...]:
        """Areas of a field that were seen: all of it once no cell of it waits."""
        if report.areas_xywh_um is None:
            return (area_of(report),)
        cell, level, _ = self.read(Box.of(area_of(report)))
        waits = bool(((cell > 0) & (level == UNSEEN)).any())
        return report.areas_xywh_um if waits else (area_of(report),)

    def bounds(self) -> Box:
        """The bins that anything is known of, to whole chunks.

        Fields that were placed further off than a slide is long are left out.
        """
        if not self._chunks:
            return Box(0, 0, 0, 0)
        (x0, x1), (y0, y1) = (
            _most_of(keys) for keys in zip(*self._chunks, strict=True)
        )
        return Box(x0 * _CHUNK, y0 * _CHUNK, x1 * _CHUNK, y1 * _CHUNK)

    def _look(self, report: FieldReport, box: Box, cells: Layer | None) -> None:
        areas = report.areas_xywh_um
        if areas is not None and cells is not None:
            # Glass is seen without a network; where a mask is in doubt it can be again.
            self._raise(LEVEL, box, np.asarray(RIM * (cells == 0), np.uint8))
        level = level_of(report.sight.focus if report.sight else None)
        whole = areas is None
        for area in (area_of(report),) if areas is None else areas:
            within = inner(area, RIM_UM if whole else TILE_RIM_UM)
            self._raise(LEVEL, Box.of(area), RIM)
            self._raise(LEVEL, Box.of(within), level)

    def _raise(self, layer: int, box: Box, values: Layer | int) -> None:
        """Raise a layer to values: levels by maximum, marks by union."""
        join = np.bitwise_or if layer == MARKS else np.maximum
        for key, inside, outside in _parts(box):
            if key not in self._chunks:
                self._chunks[key] = np.zeros((3, _CHUNK, _CHUNK), np.uint8)
            part = self._chunks[key][layer][inside]
            new = values if isinstance(values, int) else values[outside]
            join(part, np.asarray(new, np.uint8), out=part)


def cell_bins(cells: CellBits, area_xywh_um: Area) -> Layer:
    """Put a field's cells on the slide's bins: 1 where a bin of the area holds any.

    Returns:
        (rows, columns) of ``Box.of(area_xywh_um)``.
    """
    x_um, y_um = area_xywh_um[:2]
    box = Box.of(area_xywh_um)
    count = cells.rows * cells.columns
    bits = np.unpackbits(np.frombuffer(cells.bits, np.uint8), count=count)
    mask = bits.reshape(cells.rows, cells.columns)
    # Each bin looks at the square nearest to its centre (a coarse overview has fewer
    # squares than bins), and any cell square in a bin makes it a cell bin.
    xs = ((np.arange(box.x0, box.x1) + 0.5) * BIN_UM - x_um) / cells.pitch_um
    ys = ((np.arange(box.y0, box.y1) + 0.5) * BIN_UM - y_um) / cells.pitch_um
    near_rows = np.clip(ys.astype(int), 0, cells.rows - 1)
    near_columns = np.clip(xs.astype(int), 0, cells.columns - 1)
    grid = mask[near_rows[:, None], near_columns[None, :]]
    rows, columns = np.nonzero(mask)
    xs = np.floor((x_um + (columns + 0.5) * cells.pitch_um) / BIN_UM).astype(int)
    ys = np.floor((y_um + (rows + 0.5) * cells.pitch_um) / BIN_UM).astype(int)
    inside = (xs >= box.x0) & (xs < box.x1) & (ys >= box.y0) & (ys < box.y1)
    grid[ys[inside] - box.y0, xs[inside] - box.x0] = 1
    return np.asarray(grid, np.uint8)


def _rested(report: FieldReport) -> bool:
    place, sight = report.place, report.sight
    if sight is None or sight.velocity_xy_um_per_s is None or place is None:
        return True
    # A slide file stands still under the field, however fast one goes to the next.
    still = float(np.hypot(*sight.velocity_xy_um_per_s)) <= STILL_UM_PER_S
    return still or place.origin == "slide_file"


def _most_of(keys: Sequence[int]) -> tuple[int, int]:
    middle = sorted(keys)[len(keys) // 2]
    near = [key for key in keys if abs(key - middle) <= _REACH]
    return min(near), max(near) + 1


_Slices = tuple[slice, slice]


def _parts(box: Box) -> Iterator[tuple[tuple[int, int], _Slices, _Slices]]:
    """Chunks that a box touches: key, rows and columns in the chunk, and in the box."""
    for row in range(box.y0 // _CHUNK, (box.y1 - 1) // _CHUNK + 1):
        for column in range(box.x0 // _CHUNK, (box.x1 - 1) // _CHUNK + 1):
            top, left = row * _CHUNK, column * _CHUNK
            y0, y1 = max(box.y0, top), min(box.y1, top + _CHUNK)
            x0, x1 = max(box.x0, left), min(box.x1, left + _CHUNK)
            yield (
                (column, row),
                (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
                (slice(y0 - box.y0, y1 - box.y0), slice(x0 - box.x0, x1 - box.x0)),
            )
