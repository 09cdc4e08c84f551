"""Smooth random fields: over one sprite, and over a slide without storing it."""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

POOL_PX = 640


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], grain_px: float
) -> Floats:
    """Normal noise with features of about ``grain_px``, mean 0, deviation about 0.7.

    Returns:
        float32 array of ``shape`` (height, width).
    """
    height, width = shape
    rows, columns = (max(2, round(side / grain_px) + 2) for side in (height, width))
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, dtype=np.float32)


def fine_noise(
    rng: np.random.Generator, shape: tuple[int, int], grain_px: float
) -> Floats:
    """``smooth_noise`` from a stored sheet, for grains that many sprites ask for.

    A window of the sheet is mirrored at random: nobody sees that two cells share it,
    and it costs a tenth. No side of ``shape`` may exceed ``POOL_PX``.

    Returns:
        float32 array of ``shape`` (height, width), not to be written to.
    """
    height, width = shape
    y = int(rng.integers(0, POOL_PX - height + 1))
    x = int(rng.integers(0, POOL_PX - width + 1))
    window = _sheet_of(grain_px)[y : y + height, x : x + width]
    turn = int(rng.integers(4))
    return window[:: 1 - (turn & 2), :: 1 - 2 * (turn & 1)]


@functools.lru_cache(maxsize=32)
def _sheet_of(grain_px: float) -> Floats:
    sheet = smooth_noise(np.random.default_rng(0), (POOL_PX, POOL_PX), grain_px)
    sheet.setflags(write=False)
    return sheet


def lattice(seed: int, ix: NDArray[np.int64], iy: NDArray[np.int64]) -> Floats:
    """A random number of 0-1 for each lattice point, the same at every call.

    The mixing is that of SplitMix64 (Steele et al. 2014).
    """
    golden = 0x9E3779B97F4A7C15
    with np.errstate(over="ignore"):
        key = ix.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
        key = key + iy.astype(np.uint64) * np.uint64(0x8CB92BA72F3D8DD7)
        key = key + np.uint64((seed * golden + golden) % 2**64)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key = key ^ (key >> np.uint64(31))
    return ((key >> np.uint64(40)).astype(np.float64) / 2**24).astype(np.float32)


def value_noise(
    seed: int, x_px: NDArray[np.float64], y_px: NDArray[np.float64], period_px: float
) -> Floats:
    """Smooth noise of 0-1 at any point of an endless plane.

    Returns:
        float32 array, shaped as ``x_px`` and ``y_px`` broadcast together.
    """
    u, v = np.broadcast_arrays(x_px / period_px, y_px / period_px)
    ix, iy = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    s, t = u - ix, v - iy
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    top = lattice(seed, ix, iy) * (1 - s) + lattice(seed, ix + 1, iy) * s
    bottom = lattice(seed, ix, iy + 1) * (1 - s) + lattice(seed, ix + 1, iy + 1) * s
    return np.asarray(top * (1 - t) + bottom * t, dtype=np.float32)
