"""The incremental cascade: only what was not yet seen as well goes to the LR network.

Of a new field those tiles are run that show almost nothing but new cells, and those
whose new cells end before the field does. The rest waits while it stays in view, since
the next field may show a whole tile of it. It is run, from the pixels of the field that
is kept for it, when the stage rests, when it leaves the view, and at the session's end;
what is found then belongs to that earlier field. Nothing else is kept: what was seen is
the coverage's, and after a crash the part that waited is area that nobody analysed.
"""

from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from armicro.cascade.screen import Screen
from armicro.cascade.tile import Prepared, pack_cells
from armicro.report import Account, Area, FieldReport
from armicro.slide.coverage import (
    BIN_UM,
    LEVEL,
    RIM,
    TILE_RIM_UM,
    BinBox,
    Coverage,
    Mask,
    cell_bins,
    inner,
    level_of,
)

# ---------------------------------------------------------------------------
# Where LR tiles shall stand, so that few of them see all that is still to be seen.
#
# The field is looked at in the slide's bins. A tile shows well what lies a rim away
# from its edges; at the field's own edge that is as far as one can see. Tiles are
# chosen greedily, the one that shows most new bins first, over every place in the
# field: at a field this is some hundred places, and sums over an integral image make it
# cheap.
#
# What touches the field's edge will be seen to go on by the next field, so it can wait
# until a whole tile of it is there. What is closed in, or about to leave the view,
# cannot.

_ROUNDING_UM = 0.5
"""A tile begins at a whole pixel; what it shows is counted short by this."""
FULL_SHARE = 0.85
"""Of what a tile can show at most: so much must be new where looking can wait."""

Floats = NDArray[np.floating]
_Slices = tuple[slice, slice]
Spans = NDArray[np.int64]
"""(n, 2): first bin and the one after the last, from the field's first."""


@dataclass(frozen=True, slots=True, eq=False)
class TileAxis:
    """Where tiles can begin along one side of a field, and the bins each then shows."""

    starts_um: Floats
    """(n,), from the field's corner."""
    whole: Spans
    within: Spans
    """Without the rims."""


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """What a field could show better than it was seen, on its bins."""

    within: Mask
    """Cells well within the field that were never so within a tile as sharp."""
    rim: Mask
    """Cells at the field's rim that were never seen at all."""

    def part(self, within: Mask, whole: Mask) -> "Want":
        """Only what also lies in these bins."""
        return Want(self.within & within, self.rim & whole)

    def less(self, within: _Slices, whole: _Slices) -> "Want":
        """All but what a tile shows."""
        left = Want(self.within.copy(), self.rim.copy())
        left.within[within] = False
        left.rim[whole] = False
        return left

    @property
    def any(self) -> bool:
        """Whether there is anything."""
        return bool(self.within.any() or self.rim.any())


def axis_of(first_um: float, length_um: float, tile_um: float) -> TileAxis:
    """Lay out one side of a field.

    Args:
        first_um: slide coordinate at which the field begins.
        length_um: of the field along this side.
        tile_um: side of an LR tile; in a shorter field it begins at 0 and hangs over.
    """
    first_bin = int(np.ceil(first_um / BIN_UM - 0.5))
    last_bin = int(np.ceil((first_um + length_um) / BIN_UM - 0.5))
    centres = (np.arange(first_bin, last_bin) + 0.5) * BIN_UM - first_um
    latest = max(0.0, length_um - tile_um)
    # The two ends, and between them where one bin more comes into the tile's inside;
    # not beside an end, which shows the same and the rim as well.
    rim_um = TILE_RIM_UM + _ROUNDING_UM
    starts = centres - rim_um
    between = starts[(starts >= BIN_UM) & (starts <= latest - BIN_UM)]
    starts = np.unique(np.concatenate([[0.0], between, [latest]]))
    ends = np.minimum(starts + tile_um, length_um)
    return TileAxis(
        starts,
        _spans(centres, starts, ends),
        _spans(centres, starts + rim_um, ends - rim_um),
    )


def _spans(centres: Floats, low: Floats, high: Floats) -> Spans:
    first, last = np.searchsorted(centres, low), np.searchsorted(centres, high)
    return np.stack([first, np.maximum(first, last)], axis=1)


class FieldTiling:
    """The tiles of one field; it grows by ``cover``."""

    def __init__(
        self, want: Want, *, fresh: Mask, inside: Mask, axes: tuple[TileAxis, TileAxis]
    ) -> None:
        """Lay out a field.

        Args:
            want: the cells that are worth a tile.
            fresh: what no tile showed well yet, cells or not: tiles that take most of
                it lie side by side, and their number is bounded by the area.
            inside: the bins well within the field.
            axes: of x and y.
        """
        self.want = want
        """What no tile of the plan shows yet."""
        self.corners_um: list[tuple[float, float]] = []
        """(x, y) of each tile from the field's corner."""
        self._fresh, self._inside = fresh.copy(), inside
        self._across, self._down = axes

    def cover(self, must: Want, *, full: bool = False) -> None:
        """Add tiles until all of ``must`` is seen.

        Args:
            must: part of what is wanted.
            full: take those that show most that is fresh, and stop where that would be
                little; else those that show most of what must be seen.
        """
        across, down = self._across, self._down
        # Up to a bin more or less is the lattice's chance, which must not decide.
        most = _most(across.within) * _most(down.within)
        while must.any:
            fresh = _sums(self._fresh, down.within, across.within)
            needed = _sums(must.within, down.within, across.within) + _sums(
                must.rim, down.whole, across.whole
            )
            gain = (np.minimum(fresh, most) << 10) + self._hug() + 1
            if full:
                gain[fresh < FULL_SHARE * most] = 0
            else:
                # From one side on, so that no slivers stay between tiles.
                needed *= _holds_first(must, down, across)
                gain += np.minimum(needed, most) << 32
            gain[needed == 0] = 0
            row, column = divmod(int(np.argmax(gain)), gain.shape[1])
            if not gain[row, column]:
                break
            must = self._add(row, column, must)

    def _hug(self) -> NDArray[np.int64]:
        """How closely each tile would lie to what was seen, less so to the field's rim.

        So no slivers stay, and the rim is seen by the tiles beside it.
        """
        down, across = self._down.within, self._across.within
        weight = np.where(self._fresh, 0, np.where(self._inside, 2, 1))
        ring = _sums(
            weight, _grown(down, weight.shape[0]), _grown(across, weight.shape[1])
        )
        return np.asarray(ring - _sums(weight, down, across), np.int64)

    def _add(self, row: int, column: int, must: Want) -> Want:
        across, down = self._across, self._down
        self.corners_um.append(
            (float(across.starts_um[column]), float(down.starts_um[row]))
        )
        within, whole = (
            (slice(*rows[row]), slice(*columns[column]))
            for rows, columns in (
                (down.within, across.within),
                (down.whole, across.whole),
            )
        )
        self._fresh[within] = False
        self.want = self.want.less(within, whole)
        return must.less(within, whole)


def _holds_first(must: Want, down: TileAxis, across: TileAxis) -> Mask:
    """Which tiles show the first bin of what must be seen, row by row."""
    layer, spans = (
        (must.within, (down.within, across.within))
        if must.within.any()
        else (must.rim, (down.whole, across.whole))
    )
    at = divmod(int(np.argmax(layer)), layer.shape[1])
    rows, columns = (
        (span[:, 0] <= n) & (n < span[:, 1]) for span, n in zip(spans, at, strict=True)
    )
    return np.asarray(rows[:, None] & columns[None, :], np.bool_)


def _most(spans: Spans) -> int:
    """Bins that a tile shows along one side, less the one that is the lattice's."""
    return max(1, int(np.diff(spans, axis=1).max()) - 1)


def closed_in(want: Want, inside: Mask) -> Want:
    """The part of what is wanted that no next field can show to go on."""
    count, labels = cv2.connectedComponents(
        want.within.astype(np.uint8), connectivity=8
    )
    frame = inside & ~np.asarray(
        cv2.erode(
            inside.astype(np.uint8),
            np.ones((3, 3), np.uint8),
            borderType=cv2.BORDER_CONSTANT,
            borderValue=0,
        ),
        np.bool_,
    )
    open_labels = np.unique(labels[frame])
    is_open = np.zeros(count, np.bool_)
    is_open[open_labels] = True
    return Want(want.within & ~is_open[labels], np.zeros_like(want.rim))


def _grown(spans: Spans, length: int) -> Spans:
    return np.asarray(np.clip(spans + np.array([-1, 1]), 0, length), np.int64)


def _sums(
    layer: NDArray[np.integer] | Mask, down: Spans, across: Spans
) -> NDArray[np.int64]:
    """Sum of a layer in every tile: (places down, places across)."""
    total = np.zeros((layer.shape[0] + 1, layer.shape[1] + 1), np.int64)
    total[1:, 1:] = np.cumsum(np.cumsum(layer, axis=0, dtype=np.int64), axis=1)
    y0, y1 = down.T[:, :, None]
    x0, x1 = across.T[:, None, :]
    sums = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return np.asarray(sums, np.int64)


# ---------------------------------------------------------------------------
# The incremental cascade.


@dataclass(frozen=True, slots=True, eq=False)
class _Last:
    """The newest usable field and what was said of it."""

    prepared: Prepared
    report: FieldReport


class Increment:
    """Chooses the tiles of one field after the other, and runs them."""

    def __init__(self, screen: Screen, coverage: Coverage, *, tile_um: float) -> None:
        """Take the cascade, what was seen, and the side of an LR tile."""
        self._screen = screen
        self._coverage = coverage
        self._tile_um = tile_um
        self._last: _Last | None = None

    @property
    def in_work(self) -> Area | None:
        """The newest field, of which a part may still wait; None after the end."""
        return _area(self._last.prepared) if self._last else None

    def leave(self, into: Prepared | None) -> Account | None:
        """Look at what of the field before is not in view any more.

        Args:
            into: the field that comes; None at the session's end.

        Returns:
            The whole report of the field before, and the observations that are new;
            None where nothing had waited. Coverage must take it before ``look``.

        Raises:
            EngineError: the engine failed.
        """
        last = self._last
        if last is None or (into is not None and _rests(last.prepared, into)):
            return None
        area = _area(last.prepared)
        plan = self._plan(last.prepared)
        must = plan.want
        if into is not None and into.refusal is None:
            now = _area(into)
            must = must.part(
                ~_mask(BinBox.of(area), inner(now)), ~_mask(BinBox.of(area), now)
            )
        else:
            # Nothing that comes from here can show it: a moving stage has left it.
            self._last = None
        plan.cover(must)
        if not plan.corners_um:
            return None
        report, observations = self._screen.analyse(last.prepared, plan.corners_um)
        whole = _joined(last.report, report)
        if self._last is not None:
            # A blank field takes no part: more of this one may leave after it.
            self._last = _Last(last.prepared, whole)
        return Account(whole, observations)

    def look(self, prepared: Prepared) -> Account:
        """Look at what is new in a field and need not, or must not, wait.

        Raises:
            EngineError: the engine failed.
        """
        if prepared.refusal is not None or prepared.blank:
            return self._screen.analyse(prepared)
        plan = self._plan(prepared)
        if self._last is not None and _rests(self._last.prepared, prepared):
            plan.cover(plan.want)
        else:
            plan.cover(plan.want, full=True)
            area = _area(prepared)
            plan.cover(closed_in(plan.want, _mask(BinBox.of(area), inner(area))))
        account = self._screen.analyse(prepared, plan.corners_um)
        self._last = _Last(prepared, account.report)
        return account

    def _plan(self, prepared: Prepared) -> FieldTiling:
        if prepared.cells is None:
            raise ValueError(f"field {prepared.field.seq} was not prepared")
        area = _area(prepared)
        box = BinBox.of(area)
        level = self._coverage.read(box)[LEVEL]
        cells = cell_bins(pack_cells(prepared.cells), area) > 0
        inside = _mask(box, inner(area))
        sight = prepared.field.sight
        best = level_of(sight.focus if sight else None)
        fresh = inside & (level < best)
        want = Want(fresh & cells, ~inside & cells & (level < RIM))
        left, top, width, height = area
        across = axis_of(left, width, self._tile_um)
        axes = across, axis_of(top, height, self._tile_um)
        return FieldTiling(want, fresh=fresh, inside=inside, axes=axes)


def _area(prepared: Prepared) -> Area:
    place = prepared.field.place
    if place is None:
        raise ValueError(f"field {prepared.field.seq} has no place")
    return place.x_um, place.y_um, *prepared.field.size_um


def _rests(before: Prepared, now: Prepared) -> bool:
    if now.refusal is not None:
        return False
    steps_um = np.abs(np.subtract(_area(before), _area(now)))
    return bool((steps_um < BIN_UM / 2).all())


def _mask(box: BinBox, area: Area) -> Mask:
    """Which bins of a box lie in an area."""
    part = BinBox.of(area)
    rows, columns = np.arange(box.y0, box.y1), np.arange(box.x0, box.x1)
    down = (rows >= part.y0) & (rows < part.y1)
    across = (columns >= part.x0) & (columns < part.x1)
    return np.asarray(down[:, None] & across[None, :], np.bool_)


def _joined(before: FieldReport, more: FieldReport) -> FieldReport:
    """A field's report with what was found in it later."""
    return msgspec.structs.replace(
        before,
        lr_tiles=before.lr_tiles + more.lr_tiles,
        lr_positive=before.lr_positive + more.lr_positive,
        hr_tiles=before.hr_tiles + more.hr_tiles,
        findings=before.findings + more.findings,
        areas_xywh_um=(before.areas_xywh_um or ()) + (more.areas_xywh_um or ()),
    )
