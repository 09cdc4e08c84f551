"""Where LR tiles shall stand, so that few of them see all that is still to be seen.

The field is looked at in the slide's bins. A tile shows well what lies a rim away from
its edges; at the field's own edge that is as far as one can see. Tiles are chosen
greedily, the one that shows most new bins first, over every place in the field: at a
field this is some hundred places, and sums over an integral image make it cheap.

What touches the field's edge will be seen to go on by the next field, so it can wait
until a whole tile of it is there. What is closed in, or about to leave the view,
cannot.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.slide.coverage import BIN_UM, TILE_RIM_UM, Mask

_ROUNDING_UM = 0.5
"""A tile begins at a whole pixel; what it shows is counted short by this."""
FULL_SHARE = 0.85
"""Of what a tile can show at most: so much must be new where looking can wait."""

Floats = NDArray[np.floating]
_Slices = tuple[slice, slice]
Spans = NDArray[np.int64]
"""(n, 2): first bin and the one after the last, from the field's first."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
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


def axis_of(first_um: float, length_um: float, tile_um: float) -> Axis:
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
    return Axis(
        starts,
        _spans(centres, starts, ends),
        _spans(centres, starts + rim_um, ends - rim_um),
    )


def _spans(centres: Floats, low: Floats, high: Floats) -> Spans:
    first, last = np.searchsorted(centres, low), np.searchsorted(centres, high)
    return np.stack([first, np.maximum(first, last)], axis=1)


class Plan:
    """The tiles of one field; it grows by ``cover``."""

    def __init__(
        self, want: Want, *, fresh: Mask, inside: Mask, axes: tuple[Axis, Axis]
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


def _holds_first(must: Want, down: Axis, across: Axis) -> Mask:
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
