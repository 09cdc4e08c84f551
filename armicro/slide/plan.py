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

from armicro.slide.coverage import BIN_UM, RIM_UM, Mask

FULL_SHARE = 0.85
"""Of what a tile can show at most: so much must be new where looking can wait."""

Floats = NDArray[np.floating]
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
    # The two ends, and all places at which one bin more comes into the tile's inside.
    starts = np.concatenate([[0.0, latest], centres - RIM_UM])
    starts = np.unique(starts[(starts >= 0) & (starts <= latest)])
    ends = np.minimum(starts + tile_um, length_um)
    return Axis(
        starts,
        _spans(centres, starts, ends),
        _spans(centres, starts + RIM_UM, ends - RIM_UM),
    )


def _spans(centres: Floats, low: Floats, high: Floats) -> Spans:
    first, last = np.searchsorted(centres, low), np.searchsorted(centres, high)
    return np.stack([first, np.maximum(first, last)], axis=1)


class Plan:
    """The tiles of one field; it grows by ``cover``."""

    def __init__(self, want: Want, axes: tuple[Axis, Axis]) -> None:
        """Take what counts as gain, and the axes of x and y."""
        self.want = want
        """What no tile of the plan shows yet."""
        self.corners_um: list[tuple[float, float]] = []
        """(x, y) of each tile from the field's corner."""
        self._across, self._down = axes

    def cover(self, must: Want, *, full: bool = False) -> None:
        """Add tiles, those that show most first, until all of ``must`` is seen.

        Args:
            must: part of what is wanted.
            full: stop where a tile would show little more than was seen.
        """
        across, down = self._across, self._down
        least = FULL_SHARE * _most(across.within) * _most(down.within) if full else 0.0
        while must.any:
            within = _sums(self.want.within, down.within, across.within)
            rim = _sums(self.want.rim, down.whole, across.whole)
            needed = _sums(must.within, down.within, across.within) + _sums(
                must.rim, down.whole, across.whole
            )
            # The rim comes with tiles that are chosen for what they show well.
            gain = np.where((needed > 0) & (within >= least), 64 * within + rim, 0)
            row, column = divmod(int(np.argmax(gain)), gain.shape[1])
            if not gain[row, column]:
                break
            self.corners_um.append(
                (float(across.starts_um[column]), float(down.starts_um[row]))
            )
            self.want = self._unseen(self.want, row, column)
            must = self._unseen(must, row, column)

    def _unseen(self, want: Want, row: int, column: int) -> Want:
        within, rim = want.within.copy(), want.rim.copy()
        for mask, down, across in (
            (within, self._down.within, self._across.within),
            (rim, self._down.whole, self._across.whole),
        ):
            (y0, y1), (x0, x1) = down[row], across[column]
            mask[y0:y1, x0:x1] = False
        return Want(within, rim)


def _most(spans: Spans) -> float:
    return float(np.diff(spans, axis=1).max())


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


def _sums(layer: Mask, down: Spans, across: Spans) -> NDArray[np.int64]:
    """Sum of a layer in every tile: (places down, places across)."""
    total = np.zeros((layer.shape[0] + 1, layer.shape[1] + 1), np.int64)
    total[1:, 1:] = np.cumsum(np.cumsum(layer, axis=0, dtype=np.int64), axis=1)
    y0, y1 = down.T[:, :, None]
    x0, x1 = across.T[:, None, :]
    return np.asarray(
        total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0], np.int64
    )
