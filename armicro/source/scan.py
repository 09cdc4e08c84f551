"""The path of a stage over a region: where each field of a replay lies.

Fields overlap by the rig's share; the last row and column are shifted inwards, so that
every field is full size and none hangs over the edge. ``seq`` is the index in the path.
"""

import math

import numpy as np
from numpy.typing import NDArray

from armicro.rig import Scan


def _count(length: int, window: int, overlap: float) -> int:
    return 1 + math.ceil(max(0, length - window) / _step(window, overlap))


def _step(window: int, overlap: float) -> int:
    return max(1, round(window * (1 - overlap)))


def count_fields(
    region_wh_px: tuple[int, int], field_wh_px: tuple[int, int], *, overlap: float
) -> int:
    """Length of the scan path over a region.

    >>> count_fields((100, 100), (50, 50), overlap=0.0)
    4
    >>> count_fields((101, 30), (50, 50), overlap=0.0)
    3
    """
    columns, rows = (
        _count(length, window, overlap)
        for length, window in zip(region_wh_px, field_wh_px, strict=True)
    )
    return columns * rows


def scan_path(
    region_xywh_px: tuple[int, int, int, int],
    field_wh_px: tuple[int, int],
    scan: Scan,
) -> NDArray[np.int64]:
    """Top left corner of each field, in the order of ``seq``.

    Args:
        region_xywh_px: what to scan.
        field_wh_px: size of a field, at most that of the region.
        scan: path, overlap and seed.

    Returns:
        (fields, 2) x and y in the pixels of the arguments.
    """
    if scan.path == "freehand":
        return _wander(region_xywh_px, field_wh_px, scan)
    x, y, *region_wh = region_xywh_px
    columns, rows = (
        np.minimum(
            np.arange(_count(length, window, scan.overlap))
            * _step(window, scan.overlap),
            max(0, length - window),
        )
        for length, window in zip(region_wh, field_wh_px, strict=True)
    )
    grid = np.stack(np.meshgrid(columns + x, rows + y), axis=-1).astype(np.int64)
    if scan.path == "serpentine":
        grid[1::2] = grid[1::2, ::-1]
    path = grid.reshape(-1, 2)
    if scan.path == "random":
        path = np.random.default_rng(scan.seed).permutation(path)
    return path


_MOST_OVERLAP = 0.9
_TURN_RAD = 0.5
"""Standard deviation of a change of direction between two fields."""


def _wander(
    region_xywh_px: tuple[int, int, int, int],
    field_wh_px: tuple[int, int],
    scan: Scan,
) -> NDArray[np.int64]:
    """A hand on a manual stage: it wanders, turns back at edges, comes by again.

    Two fields in a row share between the scan's overlap and 90 % of their area.
    """
    left, top, *region_wh = region_xywh_px
    room = [max(0, region_wh[i] - field_wh_px[i]) for i in (0, 1)]
    overlap = scan.overlap
    count = scan.fields or count_fields(
        (region_wh[0], region_wh[1]), field_wh_px, overlap=overlap
    )
    rng = np.random.default_rng(scan.seed)
    at = np.array([room[0] / 2, room[1] / 2])
    heading = rng.uniform(0, 2 * math.pi)
    path = []
    for _ in range(count):
        path.append((left + round(at[0]), top + round(at[1])))
        heading += rng.normal(0.0, _TURN_RAD)
        along = np.array([math.cos(heading), math.sin(heading)])
        share = rng.uniform(overlap, max(overlap, _MOST_OVERLAP))
        at = at + along * _stride(np.abs(along) / field_wh_px, share)
        for axis in (0, 1):
            if not 0 <= at[axis] <= room[axis]:
                at[axis] = min(max(0.0, at[axis]), room[axis])
                along[axis] = -along[axis]
                heading = math.atan2(along[1], along[0])
    return np.array(path, np.int64)


def _stride(rate: NDArray[np.float64], share: float) -> float:
    """Length of a step after which two fields share so much of their area.

    Args:
        rate: share of a field's width and height that a step of length 1 leaves.
        share: (1 - rate_x length) (1 - rate_y length).
    """
    total, product = float(rate.sum()), float(rate.prod())
    root = math.sqrt(max(0.0, total * total - 4 * product * (1 - share)))
    return 2 * (1 - share) / (total + root)
