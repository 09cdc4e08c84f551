"""How much of the slide's cell area was seen, how well, and where.

The slide is a sparse grid of bins. A bin is *cell* when the overview says so or,
without an overview, when any field did. How well it was seen is a level: not at all; at
the rim of what the networks looked at, where a cell is cut; well within it; and that in
a sharp field. Fields that were unreadable, moving or out of focus leave a mark and no
level: what nobody could look at is never reassuring. So does ground that was shown to
the operator and never analysed: it was *passed*. Where nobody could tell cells from
glass there may be cells everywhere, until somebody looks. All updates are maxima and
unions, so neither order nor repetition matters.
"""

import struct
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
UNREADABLE, OUT_OF_FOCUS, MOVING, RESTED, PASSED, TOLD = 1, 2, 4, 8, 16, 32
"""Marks; ``RESTED``: seen while the stage stood, or nearly; ``PASSED``: shown, or taken
in a field of which nothing could be said; ``TOLD``: a field told cells from glass."""
_DOUBTFUL = UNREADABLE | OUT_OF_FOCUS | MOVING | PASSED
"""Marks of ground that may hold cells though nobody saw any."""
MARK_OF: Mapping[FieldState, int] = {
    "unreadable": UNREADABLE,
    "out_of_focus": OUT_OF_FOCUS,
    "moving": MOVING,
    # Where it lies is known well enough to go back there, not to draw boxes.
    "no_place": PASSED,
    "bad_scale": PASSED,
}
STILL_UM_PER_S = 100.0
"""Slower than this the eye can read a field, which then takes six seconds to pass."""
LARGEST_FIELD_UM = 10_000.0
"""Four times what a sensor of 4,096 pixels sees at the coarsest scale accepted."""
_REACH = 32
"""Chunks to either side of the middle one: 66 mm in all."""
CHUNK = 64
"""Bins a side of a chunk; memory grows with the area touched, not with the slide."""

Layer = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BinBox:
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


class Ground:
    """Bins of the slide: a union of areas, whatever their order and number.

    On the wire and in the journal it is a row of 520 bytes a chunk: column and row of
    the chunk, then a bit a bin, row by row.
    """

    def __init__(self, packed: bytes = b"") -> None:
        """Take what ``pack`` gave, which must be whole rows."""
        self.chunks: dict[tuple[int, int], Mask] = {}
        """Each (64, 64), by column and row."""
        for column, row, bits in _ROW.iter_unpack(packed):
            bins = np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(CHUNK, CHUNK)
            self._join((column, row), np.asarray(bins, np.bool_))

    def add(self, area_xywh_um: Area) -> bool:
        """Take a field's area; True where any of it is new."""
        news = False
        if not _is_field(area_xywh_um):
            return news
        for key, inside, _ in _parts(BinBox.of(area_xywh_um)):
            bins = np.zeros((CHUNK, CHUNK), np.bool_)
            bins[inside] = True
            news = self._join(key, bins) or news
        return news

    def join(self, other: Self) -> bool:
        """Take other ground; True where any of it is new."""
        return sum(self._join(key, bins) for key, bins in other.chunks.items()) > 0

    def without(self, other: Self, *, most: int | None = None) -> Self:
        """What of it is not in the other, at most so many chunks."""
        left = type(self)()
        for key, bins in self.chunks.items():
            # Its own bins: what is left stays as it is while this ground grows.
            rest = bins & ~other.chunks[key] if key in other.chunks else bins.copy()
            if most is not None and len(left.chunks) >= most:
                break
            if rest.any():
                left.chunks[key] = rest
        return left

    def pack(self) -> bytes:
        """The same ground gives the same bytes."""
        return b"".join(
            _ROW.pack(*key, np.packbits(bins).tobytes())
            for key, bins in sorted(self.chunks.items())
        )

    def boxes(self) -> list[Area]:
        """Rectangles that make it up, in slide coordinates, none over another."""
        return [
            (
                float((column * CHUNK + x0) * BIN_UM),
                float((row * CHUNK + y0) * BIN_UM),
                float((x1 - x0) * BIN_UM),
                float((y1 - y0) * BIN_UM),
            )
            for (column, row), bins in sorted(self.chunks.items())
            for x0, y0, x1, y1 in _rectangles(bins)
        ]

    def _join(self, key: tuple[int, int], bins: Mask) -> bool:
        known = self.chunks.get(key)
        if known is None:
            self.chunks[key] = bins.copy()
            return bool(bins.any())
        if not (bins & ~known).any():
            return False
        known |= bins
        return True


_ROW = struct.Struct(f"<ii{CHUNK * CHUNK // 8}s")
CHUNK_BYTES = _ROW.size
"""Of a chunk of packed ground."""
_FURTHEST = 1_000_000
"""Chunks from the origin, as far as a place may lie."""


def _is_field(area_xywh_um: Area) -> bool:
    """Whether an area is no larger than fields are: a false scale fills no memory."""
    return max(area_xywh_um[2:]) <= LARGEST_FIELD_UM


def broken_ground(packed: bytes) -> str:
    """What is wrong with packed ground of others; empty where it is whole.

    >>> broken_ground(b"12345"), broken_ground(Ground().pack())
    ('ground has 5 bytes, a row has 520', '')
    """
    if len(packed) % _ROW.size:
        return f"ground has {len(packed)} bytes, a row has {_ROW.size}"
    furthest = max(
        (abs(v) for row in _ROW.iter_unpack(packed) for v in row[:2]), default=0
    )
    return "" if furthest <= _FURTHEST else f"ground lies {furthest} chunks off"


def _rectangles(bins: Mask) -> Iterator[tuple[int, int, int, int]]:
    """Cut set bins into rectangles: runs of a row, as far down as they go on alike."""
    open_from: dict[tuple[int, int], int] = {}
    for row, line in enumerate([*bins, np.zeros(bins.shape[1], np.bool_)]):
        edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
        runs = {(int(x0), int(x1)) for x0, x1 in edges.reshape(-1, 2)}
        for run in sorted(open_from.keys() - runs):
            yield run[0], open_from.pop(run), run[1], row
        for run in runs:
            open_from.setdefault(run, row)


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
        self._raise(CELL, BinBox.of(area), cell_bins(cells, area))
        self.cells_known = True

    def take(self, report: FieldReport) -> None:
        """Take what became of a field."""
        if report.place is None or not _is_field(area := area_of(report)):
            return
        box = BinBox.of(area)
        mark = MARK_OF.get(report.state)
        cells = cell_bins(report.cells, area) if report.cells else None
        if cells is not None:
            self._raise(MARKS, box, TOLD)
        if not self.cells_known and (cells is not None or mark is None):
            self._raise(CELL, box, 1 if cells is None else cells)
        if mark is not None:
            self._raise(MARKS, box, mark)
            return
        self._look(report, box, cells)
        if _rested(report):
            self._raise(MARKS, box, RESTED)

    def pass_by(self, ground: Ground) -> None:
        """Take ground that was shown; what of it is never analysed was passed."""
        for (column, row), bins in ground.chunks.items():
            box = BinBox(
                column * CHUNK, row * CHUNK, (column + 1) * CHUNK, (row + 1) * CHUNK
            )
            self._raise(MARKS, box, np.asarray(PASSED * bins, np.uint8))

    def cell_bins(self, layers: Layer) -> Mask:
        """Which bins of what ``read`` gave count as cell."""
        cell, level, marks = layers
        is_cell: Mask = cell > 0
        if self.cells_known:
            return is_cell
        doubtful = (marks & _DOUBTFUL > 0) & (marks & TOLD == 0) & (level == UNSEEN)
        return np.asarray(is_cell | doubtful, np.bool_)

    @property
    def share(self) -> float:
        """Share of the cell area that was seen, 0-1; 0 while no cell area is known."""
        return self.seen_cells()[0]

    def seen_cells(self) -> tuple[float, float]:
        """Share of the cell area that was seen, 0-1, and how much that is in µm²."""
        seen = cell = 0
        for chunk in self._chunks.values():
            is_cell = self.cell_bins(chunk)
            cell += int(np.count_nonzero(is_cell))
            seen += int(np.count_nonzero(is_cell & (chunk[LEVEL] > UNSEEN)))
        return (seen / cell if cell else 0.0), seen * BIN_UM**2

    def passed(self) -> Ground:
        """What was shown, may hold cells, and was never analysed."""
        ground = Ground()
        for key, chunk in self._chunks.items():
            bins = (chunk[MARKS] & PASSED > 0) & (chunk[LEVEL] == UNSEEN)
            bins &= self.cell_bins(chunk)
            if bins.any():
                ground.chunks[key] = np.asarray(bins, np.bool_)
        return ground

    @property
    def seen_um2(self) -> float:
        """Area seen, in square micrometres."""
        seen = sum(int(np.count_nonzero(c[LEVEL])) for c in self._chunks.values())
        return seen * BIN_UM**2

    def read(self, box: BinBox) -> Layer:
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
        cell, level, _ = self.read(BinBox.of(area_of(report)))
        waits = bool(((cell > 0) & (level == UNSEEN)).any())
        return report.areas_xywh_um if waits else (area_of(report),)

    def bounds(self) -> BinBox:
        """The bins that anything is known of, to whole chunks.

        Fields that were placed further off than a slide is long are left out.
        """
        if not self._chunks:
            return BinBox(0, 0, 0, 0)
        (x0, x1), (y0, y1) = (
            _most_of(keys) for keys in zip(*self._chunks, strict=True)
        )
        return BinBox(x0 * CHUNK, y0 * CHUNK, x1 * CHUNK, y1 * CHUNK)

    def _look(self, report: FieldReport, box: BinBox, cells: Layer | None) -> None:
        areas = report.areas_xywh_um
        if areas is not None and cells is not None:
            # Glass is seen without a network; where a mask is in doubt it can be again.
            self._raise(LEVEL, box, np.asarray(RIM * (cells == 0), np.uint8))
        level = level_of(report.sight.focus if report.sight else None)
        whole = areas is None
        for area in (area_of(report),) if areas is None else areas:
            within = inner(area, RIM_UM if whole else TILE_RIM_UM)
            self._raise(LEVEL, BinBox.of(area), RIM)
            self._raise(LEVEL, BinBox.of(within), level)

    def _raise(self, layer: int, box: BinBox, values: Layer | int) -> None:
        """Raise a layer to values: levels by maximum, marks by union."""
        join = np.bitwise_or if layer == MARKS else np.maximum
        for key, inside, outside in _parts(box):
            if key not in self._chunks:
                self._chunks[key] = np.zeros((3, CHUNK, CHUNK), np.uint8)
            part = self._chunks[key][layer][inside]
            new = values if isinstance(values, int) else values[outside]
            join(part, np.asarray(new, np.uint8), out=part)


def cell_bins(cells: CellBits, area_xywh_um: Area) -> Layer:
    """Put a field's cells on the slide's bins: 1 where a bin of the area holds any.

    Returns:
        (rows, columns) of ``BinBox.of(area_xywh_um)``.
    """
    x_um, y_um = area_xywh_um[:2]
    box = BinBox.of(area_xywh_um)
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


def _parts(box: BinBox) -> Iterator[tuple[tuple[int, int], _Slices, _Slices]]:
    """Chunks that a box touches: key, rows and columns in the chunk, and in the box."""
    for row in range(box.y0 // CHUNK, (box.y1 - 1) // CHUNK + 1):
        for column in range(box.x0 // CHUNK, (box.x1 - 1) // CHUNK + 1):
            top, left = row * CHUNK, column * CHUNK
            y0, y1 = max(box.y0, top), min(box.y1, top + CHUNK)
            x0, x1 = max(box.x0, left), min(box.x1, left + CHUNK)
            yield (
                (column, row),
                (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
                (slice(y0 - box.y0, y1 - box.y0), slice(x0 - box.x0, x1 - box.x0)),
            )
