"""Shifts at which two pictures may fit: normalised correlation over every shift.

Each shift is judged by its own overlap (for rectangles this is the masked correlation
of Padfield 2012, doi:10.1109/TIP.2011.2181402, with integral images in place of four
of its six transforms), weighed by how much texture the overlap holds: a chance peak
needs little of it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from armicro.align.look import COARSE_UM_PER_PX, FINE_UM_PER_PX, Look, Plane

Shift = tuple[float, float]
"""x, y of the second picture's corner in the first, in fine pixels."""

_STEP = COARSE_UM_PER_PX / FINE_UM_PER_PX
_APART = 4
"""Coarse pixels between two peaks."""


def search(
    a: Look, b: Look, *, count: int = 4, least_overlap: float = 0.08
) -> list[Shift]:
    """Propose shifts of b against a, best first.

    Args:
        a: the picture that stays.
        b: the other.
        count: at most so many.
        least_overlap: share of the smaller picture that must be in both.
    """
    score = score_shifts(a, b, least_overlap=least_overlap)
    height, width = b.coarse.shape
    return [
        ((x - width + 1) * _STEP, (y - height + 1) * _STEP)
        for x, y in _peaks(score, count)
    ]


def score_shifts(a: Look, b: Look, *, least_overlap: float) -> Plane:
    """Score of every shift from (-width_b + 1, -height_b + 1) on, in coarse pixels."""
    (rows_a, columns_a), (rows_b, columns_b) = a.coarse.shape, b.coarse.shape
    rows, columns = rows_a + rows_b - 1, columns_a + columns_b - 1
    shape = fft.next_fast_len(rows, real=True), fft.next_fast_len(columns, real=True)
    product = a.spectrum(shape) * np.conj(b.spectrum(shape))
    wrapped = fft.irfft2(product, shape)
    at = np.roll(wrapped, (rows_b - 1, columns_b - 1), (0, 1))[:rows, :columns]
    row_span, row_span_b = _spans(rows_a, rows_b)
    column_span, column_span_b = _spans(columns_a, columns_b)
    energy = _energy(a, row_span, column_span) * _energy(b, row_span_b, column_span_b)
    # Correlation times the fourth root of the energy: a z score up to a factor.
    score = at / np.sqrt(np.sqrt(np.maximum(energy, 1.0)))
    area = np.outer(row_span[1] - row_span[0], column_span[1] - column_span[0])
    smaller = min(rows_a * columns_a, rows_b * columns_b)
    score[area < least_overlap * smaller] = 0.0
    return np.asarray(score, np.float32)


Span = tuple[NDArray[np.int64], NDArray[np.int64]]


def _spans(size_a: int, size_b: int) -> tuple[Span, Span]:
    """First and one past the last pixel of the overlap, of a and of b, by shift."""
    shift = np.arange(1 - size_b, size_a)
    first, last = np.maximum(shift, 0), np.minimum(shift + size_b, size_a)
    return (first, last), (first - shift, last - shift)


def _energy(look: Look, rows: Span, columns: Span) -> NDArray[np.float32]:
    bands = (look.energy_sum[rows[1]] - look.energy_sum[rows[0]]).astype(np.float32)
    return np.asarray(bands[:, columns[1]] - bands[:, columns[0]])


def _peaks(score: Plane, count: int) -> list[tuple[int, int]]:
    found = []
    score = score.copy()
    for _ in range(count):
        _, value, _, (x, y) = cv2.minMaxLoc(score)
        if value <= 0:
            break
        found.append((x, y))
        score[
            max(0, y - _APART) : y + _APART + 1, max(0, x - _APART) : x + _APART + 1
        ] = 0.0
    return found
