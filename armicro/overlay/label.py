"""Where labels go: beside their boxes, hiding neither a cell nor one another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from armicro.overlay.picture import XyXy

_ON_LABEL = 8.0
_ON_BOX = 1.0
_OUTSIDE = 4.0
_GAP = 0.25
"""Distance between a box and its label, as a share of the label's height."""

_Boxes = NDArray[np.float64]


def place_labels(
    boxes_xyxy: Sequence[XyXy], sizes: Sequence[tuple[float, float]], visible: XyXy
) -> list[XyXy]:
    """Place a label of each size beside each box; the first boxes choose first.

    Every label takes the cheapest of ten places around its box. Cost is the area that
    it would share with other labels, with boxes (cells!), and with what is out
    of sight.

    Returns:
        The labels' boxes, in the units of the boxes.
    """
    boxes = np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    placed = np.empty((0, 4))
    for box, size in zip(boxes, sizes, strict=True):
        spots = _spots(box, size)
        shown = _shared(spots, np.array([visible], np.float64)).sum(axis=1)
        cost = (
            _ON_LABEL * _shared(spots, placed).sum(axis=1)
            + _ON_BOX * _shared(spots, boxes).sum(axis=1)
            + _OUTSIDE * (size[0] * size[1] - shown)
        )
        placed = np.vstack([placed, spots[int(np.argmin(np.round(cost, 6)))]])
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in placed]


def _spots(box: NDArray[np.float64], size: tuple[float, float]) -> _Boxes:
    """(10, 4): places around a box, best first where cost does not decide."""
    x0, y0, x1, y1 = box
    width, height = size
    gap = _GAP * height
    above, below = y0 - gap - height, y1 + gap
    left, right = x0 - gap - width, x1 + gap
    middle_x, middle_y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    corners = np.array(
        [
            (x0, above),
            (x1 - width, above),
            (middle_x, above),
            (x0, below),
            (x1 - width, below),
            (middle_x, below),
            (right, y0),
            (left, y0),
            (right, middle_y),
            (left, middle_y),
        ]
    )
    return np.hstack([corners, corners + size])


def _shared(spots: _Boxes, others: _Boxes) -> _Boxes:
    """(spots, others): areas of overlap."""
    low = np.maximum(spots[:, None, :2], others[None, :, :2])
    high = np.minimum(spots[:, None, 2:], others[None, :, 2:])
    shared: _Boxes = np.clip(high - low, 0, None).prod(axis=2)
    return shared
