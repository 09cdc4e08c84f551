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
    if not boxes_xyxy:
        return []
    boxes = np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    extent = np.array(sizes, dtype=np.float64).reshape(-1, 2)
    count = len(boxes)
    spots = _spots(boxes, extent)
    flat = spots.reshape(-1, 4)
    on_boxes = _shared(flat, boxes).sum(axis=1).reshape(count, -1)
    shown = _shared(flat, np.array([visible], np.float64)).reshape(count, -1)
    cost = _ON_BOX * on_boxes + _OUTSIDE * (extent.prod(axis=1)[:, None] - shown)
    placed = np.empty((count, 4))
    for at in range(count):
        on_labels = _shared(spots[at], placed[:at]).sum(axis=1)
        best = np.argmin(np.round(cost[at] + _ON_LABEL * on_labels, 6))
        placed[at] = spots[at, best]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in placed]


def _spots(boxes: _Boxes, sizes: _Boxes) -> _Boxes:
    """(n, 10, 4): places around each box, best first where cost does not decide."""
    x0, y0, x1, y1 = boxes.T
    width, height = sizes.T
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
    ).transpose(2, 0, 1)
    return np.concatenate([corners, corners + sizes[:, None, :]], axis=2)


def _shared(spots: _Boxes, others: _Boxes) -> _Boxes:
    """(spots, others): areas of overlap."""
    low = np.maximum(spots[:, None, :2], others[None, :, :2])
    high = np.minimum(spots[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(high - low, 0.0)
    shared: _Boxes = sides[..., 0] * sides[..., 1]
    return shared
