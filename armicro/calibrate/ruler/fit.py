"""The straight line through numbered ticks: pitch, its error, and what bends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
READING_ERROR = 2e-4
"""Share of the pitch that interpolation and optics leave however many ticks there are;
see tests/benchmarks/bench_scale.py for how errors compare with what is stated."""
OTHER_PITCH = 0.006
"""Pitches that differ by this share are those of two scales."""
MOST_FIT = 0.7
"""Share of the ticks that lie on one curve, else there may be two."""
LEAST_PIECE = 8
"""Ticks from which a pitch is told well enough to call another one different."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Ticks at equal distances."""

    pitch_px: float
    standard_error_px: float
    residual_px: Doubles
    """Of every tick given."""
    used: NDArray[np.bool_]
    bend: float
    """By how much the pitch changes from one end to the other, as a share of it."""
    rms_px: float
    """Of the ticks used, about a smooth curve."""
    breaks: bool
    """Two straight pieces of different pitch explain it better than any curve."""


def fit_line(index: NDArray[np.int64], x: Doubles) -> Line:
    """Fit places to tick numbers; what lies far off (dust) is left out.

    Args:
        index: (n,) tick numbers; n at least 4.
        x: (n,) places in pixels.
    """
    pitch = float(np.median(np.diff(x) / np.diff(index)))
    used = np.ones(len(x), dtype=bool)
    degree = 3 if len(x) >= 8 else 1
    curve = np.polynomial.Polynomial.fit(index, x, degree)
    for _ in range(8):
        off = np.abs(x - curve(index))
        limit = max(3.5 * 1.483 * float(np.median(off[used])), 0.004 * pitch, 0.03)
        kept = off <= limit
        if kept.sum() < 4 or (kept == used).all():
            break
        used = kept
        curve = np.polynomial.Polynomial.fit(index[used], x[used], degree)
    straight = np.polyfit(index[used], x[used], 1)
    residual = x - np.polyval(straight, index)
    pitch = float(straight[0])
    free = max(1, int(used.sum()) - degree - 1)
    rms = float(np.sqrt(np.sum((x - curve(index))[used] ** 2) / free))
    rms = max(rms, 0.01)
    lever = float(np.sqrt(np.sum((index[used] - index[used].mean()) ** 2)))
    slopes = curve.deriv()(index[used].astype(np.float64))
    scatter = max(rms / lever, _grouped_error(index[used], (x - curve(index))[used]))
    smooth = float(np.std(slopes)) if degree == 3 else 0.0
    # A cubic through noise bends as well: what bends less than that is straight.
    smooth = smooth if smooth > 4 * scatter else 0.0
    error = np.sqrt(scatter**2 + (0.5 * smooth) ** 2 + (READING_ERROR * pitch) ** 2)
    bend = float(slopes[-1] - slopes[0]) / pitch if smooth else 0.0
    breaks = _breaks(index[used], x[used], rms)
    if used.mean() < MOST_FIT:
        # What was left out may be the other ruler.
        breaks |= _breaks(index, x, float(np.sqrt(np.mean((x - curve(index)) ** 2))))
    return Line(pitch, float(error), residual, used, bend, rms, breaks)


def _grouped_error(index: NDArray[np.int64], off: Doubles) -> float:
    """Standard error of a slope where neighbours err alike, as groups of ticks do.

    The sandwich estimate over blocks of so many ticks (Liang & Zeger 1986, Biometrika
    73:13), whatever the group: the largest. A cubic has taken four degrees of freedom.

    Args:
        index: (n,) tick numbers.
        off: (n,) distances from the curve, in pixels.
    """
    arm = index - index.mean()
    worst = 0.0
    for block in (5, 10, 20):
        owner = (index - index[0]) // block
        groups = int(owner[-1]) + 1
        if groups < 6:
            break
        sums = np.bincount(owner, weights=arm * off, minlength=groups)
        free = groups / (groups - 4)
        worst = max(worst, float(np.sqrt(free * np.sum(sums**2))))
    return worst / float(np.sum(arm**2))


def _breaks(index: NDArray[np.int64], x: Doubles, rms_px: float) -> bool:
    """Whether two rulers, one after the other, were followed as one.

    Args:
        index: (n,) tick numbers.
        x: (n,) places in pixels.
        rms_px: distance from the best curve.
    """
    for cut in range(LEAST_PIECE, len(x) - LEAST_PIECE + 1, max(1, len(x) // 40)):
        pieces = [(index[:cut], x[:cut]), (index[cut:], x[cut:])]
        lines = [np.polyfit(*piece, 1) for piece in pieces]
        off = [
            xs - np.polyval(line, i)
            for line, (i, xs) in zip(lines, pieces, strict=True)
        ]
        left = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
        apart = abs(lines[1][0] / lines[0][0] - 1)
        if apart > OTHER_PITCH and left < 0.5 * rms_px:
            return True
    return False
