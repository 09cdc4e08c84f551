"""The straight line through numbered ticks: pitch, its error, and what bends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
READING_ERROR = 2e-4
"""Share of the pitch that interpolation and optics leave however many ticks there are;
see tests/benchmarks/bench_scale.py for how errors compare with what is stated."""


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
    smooth = float(np.std(slopes)) if degree == 3 else 0.0
    # A cubic through noise bends as well: what bends less than that is straight.
    smooth = smooth if smooth > 4 * rms / lever else 0.0
    error = np.sqrt(
        (rms / lever) ** 2 + (0.5 * smooth) ** 2 + (READING_ERROR * pitch) ** 2
    )
    bend = float(slopes[-1] - slopes[0]) / pitch if smooth else 0.0
    return Line(pitch, float(error), residual, used, bend, rms)
