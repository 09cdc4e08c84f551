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
