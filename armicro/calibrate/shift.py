"""How far the view moved between two pictures, to a few hundredths of a pixel.

First phase correlation with a window on small pictures, which finds any shift that
leaves enough in common; then Gauss-Newton on the common part, small and at full size,
where light may differ by gain and offset. A shift counts only if the common parts look
alike there.
"""

from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from armicro.field import Pixels

LEAST_COMMON = 0.15
"""Share of the field that both pictures must show."""
LEAST_LIKENESS = 0.6
"""Correlation of the common parts. Of 29 pairs of real fields with nothing in common
none reached 0.5; of 30 that overlapped, with noise, none fell below 0.95."""
_SMALL_PX = 512
_SOFT_PX = 1.5
_PEAKS, _PEAK_PX = 6, 4
_SMOOTH_PX = 1.2
"""Noise of single pixels is no detail, and what is left is safe to interpolate."""
_MOST_TURNS = 12
_ENOUGH_PX = 0.002
_FARTHEST_PX = 6.0
"""Refinement that goes further has lost its way."""

_TAPS = 4
"""Pixels on either side that an interpolated one is made of."""

Grey = NDArray[np.float32]


class Shift(NamedTuple):
    """How the view moved over the slide."""

    x_px: float
    """To the right."""
    y_px: float
    """Down."""
    likeness: float
    """Correlation of the common parts, -1 to 1."""


def measure_shift(before: Pixels, after: Pixels) -> Shift | None:
    """Measure how the view moved from one picture to another, without rotation.

    Args:
        before: (height, width, 3) RGB.
        after: the same size; its detail lies to the left if the view moved right.

    Returns:
        None where the pictures show nothing in common that can be recognised.
    """
    first, second = _grey(before), _grey(after)
    height, width = first.shape
    scale = max(1.0, max(height, width) / _SMALL_PX)
    size = round(width / scale), round(height / scale)
    small = [cv2.resize(g, size, interpolation=cv2.INTER_AREA) for g in (first, second)]
    a, b = (np.asarray(g, np.float32) for g in small)
    near = shift_between(a, b)
    if near is None or scale == 1.0:
        return near
    start = near.x_px * width / size[0], near.y_px * height / size[1]
    return _refine(first, second, start)


def shift_between(before: Grey, after: Grey) -> Shift | None:
    """As ``measure_shift``, of small pictures (height, width) made by ``soften``."""
    coarse = _coarse_shift(before, after)
    return None if coarse is None else _refine(before, after, coarse)


def soften(grey: NDArray[np.float32]) -> Grey:
    """A picture without the noise of single pixels."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), _SMOOTH_PX), np.float32)


def _grey(pixels: Pixels) -> Grey:
    return soften(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32))


def _coarse_shift(first: Grey, second: Grey) -> tuple[float, float] | None:
    """Phase correlation; of its peaks the one at which the pictures are most alike.

    Dust and fixed noise on the sensor make a peak at no shift, and a shift is only
    known up to the picture's size, so likeness decides.
    """
    height, width = first.shape
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    there, here = (fft.rfft2((g - g.mean()) * window) for g in (first, second))
    cross = there * here.conj()
    # High frequencies are noise, and without a window of their own they would weigh
    # most.
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    low = np.exp(-2 * (np.pi * _SOFT_PX) ** 2 * (fx**2 + fy**2))
    flat = low.astype(np.float32) * cross / np.maximum(np.abs(cross), 1e-9)
    surface = np.asarray(fft.irfft2(flat, (height, width)), np.float32)
    candidates = [
        candidate
        for x, y in _peaks(surface)
        for candidate in product(_wrapped(x, width), _wrapped(y, height))
    ]
    # A quarter of the pixels is enough to choose by.
    a, b = first[::2, ::2], second[::2, ::2]
    likeness, best = max(
        (_likeness(a, b, (round(x / 2), round(y / 2))), (x, y)) for x, y in candidates
    )
    return best if likeness > 0 else None


def _peaks(surface: Grey) -> list[tuple[float, float]]:
    """The highest places of a surface whose edges meet."""
    height, width = surface.shape
    found = []
    for _ in range(_PEAKS):
        y, x = divmod(int(surface.argmax()), width)
        found.append((float(x), float(y)))
        rows = np.arange(y - _PEAK_PX, y + _PEAK_PX + 1) % height
        columns = np.arange(x - _PEAK_PX, x + _PEAK_PX + 1) % width
        surface[np.ix_(rows, columns)] = -np.inf
    return found


def _wrapped(shift: float, size: int) -> tuple[float, float]:
    return shift, shift - size


def _common(
    first: Grey, second: Grey, shift: tuple[int, int]
) -> tuple[Grey, Grey] | None:
    """The parts that both pictures show, if the view moved by whole pixels."""
    height, width = first.shape
    x, y = shift
    left, right = max(x, 0), min(width + x, width)
    top, bottom = max(y, 0), min(height + y, height)
    area = max(0, right - left) * max(0, bottom - top)
    if area < LEAST_COMMON * width * height:
        return None
    a = first[top:bottom, left:right]
    b = second[top - y : bottom - y, left - x : right - x]
    return a, b


def _likeness(first: Grey, second: Grey, shift: tuple[int, int]) -> float:
    common = _common(first, second, shift)
    if common is None:
        return -1.0
    a, b = (part - part.mean() for part in common)
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else -1.0


def _refine(first: Grey, second: Grey, coarse: tuple[float, float]) -> Shift | None:
    x, y = coarse
    for _ in range(_MOST_TURNS):
        whole = round(x), round(y)
        common = _common(first, second, whole)
        if common is None:
            return None
        step = _gauss_newton(*common, (x - whole[0], y - whole[1]))
        if step is None:
            return None
        x, y = x + step[0], y + step[1]
        if max(abs(step[0]), abs(step[1])) < _ENOUGH_PX:
            break
    likeness = _likeness(first, second, (round(x), round(y)))
    far = max(abs(x - coarse[0]), abs(y - coarse[1])) > _FARTHEST_PX
    if likeness < LEAST_LIKENESS or far:
        return None
    return Shift(float(x), float(y), likeness)


def _gauss_newton(
    a: Grey, b: Grey, rest: tuple[float, float]
) -> tuple[float, float] | None:
    """One step towards the shift left between two pictures of the same size.

    Solves a(p) = gain * b(p - rest - step) + offset, linear in step, gain and offset.
    """
    # OpenCV's warps know only 32nds of a pixel: a filter knows all.
    b = np.asarray(cv2.sepFilter2D(b, -1, _sinc(rest[0]), _sinc(rest[1])), np.float32)
    # What the warp and the derivatives see beyond the edge is not there.
    inner = (slice(_TAPS + 1, -_TAPS - 1), slice(_TAPS + 1, -_TAPS - 1))
    gx, gy = (
        cv2.Sobel(b, cv2.CV_32F, *order, ksize=3, scale=1 / 8)[inner].ravel()
        for order in ((1, 0), (0, 1))
    )
    flat = b[inner].ravel()
    basis = np.stack((gx, gy, flat - flat.mean(), np.ones_like(flat)))
    normal = (basis @ basis.T).astype(np.float64)
    target = (basis @ a[inner].ravel()).astype(np.float64)
    try:
        sx, sy, gain, _ = np.linalg.solve(normal, target)
    except np.linalg.LinAlgError:
        return None
    if not gain > 0:
        return None
    return float(-sx / gain), float(-sy / gain)


def _sinc(shift: float) -> NDArray[np.float64]:
    """Filter that moves a picture by part of a pixel; sum 1.

    >>> np.abs(_sinc(0.0)).round(6).tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    at = np.arange(-_TAPS, _TAPS + 1) + shift
    taps = np.sinc(at) * np.cos(np.pi * at / (2 * _TAPS + 2)) ** 2
    return np.asarray(taps / taps.sum())
