"""From the location map to candidates: where in a tile the HR network shall look.

The release takes one candidate per connected region of the map above 0.7 of its
maximum. Lesion cells lie in clusters and an operator wants each, so ``peaks`` takes
every local maximum above a threshold. Two maxima lie two cells of the map apart, 31 µm,
and nuclei in a crowd nearer, so the default, ``crowd``, takes every other high cell
too, and leaves it to HR which are lesions. The release's rule stays for parity.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from armicro.report import Finding
from armicro.verdict import SUSPICIOUS

Heat = NDArray[np.float32]
"""(rows, columns), lesion probability of the location branch, 0-1."""
Peaks = NDArray[np.float32]
"""(n, 3): x and y in cells of the map (centre of the first cell 0.5), then height."""

CROWD_HEIGHT = 0.5
"""From here on a cell of the map more likely holds a lesion than not."""
RELEASE_SHARE = 0.7
"""Share of the map's maximum that bounds a region in the authors' release."""


def find_peaks(heat: Heat, *, threshold: float) -> Peaks:
    """Every local maximum (8 neighbours) at or above the threshold, highest first.

    A plateau gives one peak. The place is refined to the centre of mass of the 3x3
    cells around it.

    >>> heat = np.zeros((4, 4), np.float32); heat[1, 2] = 0.9
    >>> find_peaks(heat, threshold=0.5).tolist()
    [[2.5, 1.5, 0.8999999761581421]]
    """
    grown = cv2.dilate(heat, np.ones((3, 3), np.uint8))
    top = (heat >= threshold) & (heat >= grown)
    return _peak_of_each_region(heat, top, refine=True)


def find_regions(heat: Heat, *, threshold: float) -> Peaks:
    """The release's rule: the peak of each region above 0.7 of the map's maximum.

    ``threshold`` is not used: in the release the bound follows the map's maximum.
    """
    del threshold
    return _peak_of_each_region(heat, heat >= RELEASE_SHARE * heat.max(), refine=False)


def find_crowd(heat: Heat, *, threshold: float) -> Peaks:
    """Every local maximum, and every other cell of the map above one half.

    >>> heat = np.zeros((4, 4), np.float32); heat[1, 1:4] = 0.9, 0.6, 0.8
    >>> len(find_peaks(heat, threshold=0.1)), len(find_crowd(heat, threshold=0.1))
    (2, 3)
    """
    peaks = find_peaks(heat, threshold=threshold)
    high = heat >= CROWD_HEIGHT
    for x, y, _ in peaks.astype(int).tolist():
        # The peak stands for its own cell.
        high[y, x] = False
    rows, columns = np.nonzero(high)
    rest = np.column_stack([columns + 0.5, rows + 0.5, heat[rows, columns]])
    found = np.vstack([peaks, rest.astype(np.float32)])
    return found[np.lexsort((found[:, 0], found[:, 1], -found[:, 2]))]


CANDIDATE_RULES: dict[str, Callable[..., Peaks]] = {
    "peaks": find_peaks,
    "crowd": find_crowd,
    "release": find_regions,
}


def _peak_of_each_region(
    heat: Heat, inside: NDArray[np.bool_], *, refine: bool
) -> Peaks:
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    peaks = []
    for label in range(1, count):
        rows, columns = np.nonzero(labels == label)
        best = int(np.argmax(heat[rows, columns]))
        row, column = int(rows[best]), int(columns[best])
        x, y = _centre_of_mass(heat, row, column) if refine else (column, row)
        peaks.append((x + 0.5, y + 0.5, float(heat[row, column])))
    found = np.array(peaks, np.float32).reshape(-1, 3)
    return found[np.lexsort((found[:, 0], found[:, 1], -found[:, 2]))]


def _centre_of_mass(heat: Heat, row: int, column: int) -> tuple[float, float]:
    y0, x0 = max(row - 1, 0), max(column - 1, 0)
    part = heat[y0 : row + 2, x0 : column + 2].astype(np.float64)
    # Below half of the peak a neighbour says more of the next cell than of this one.
    part = np.where(part >= heat[row, column] / 2, part, 0.0)
    ys, xs = np.mgrid[0 : part.shape[0], 0 : part.shape[1]]
    weight = part.sum()
    return x0 + float((part * xs).sum() / weight), y0 + float(
        (part * ys).sum() / weight
    )


# ---------------------------------------------------------------------------
# One of many: keep points that lie apart, the better ones first.

Point = tuple[float, float]


def keep_apart(
    centres_xy_um: Sequence[Point], *, apart_um: float, count: int | None = None
) -> list[int]:
    """Indices of the points that have no earlier kept point nearer than ``apart_um``.

    Points must come best first. Time is linear in the number of points (a grid of
    ``apart_um`` holds the kept ones).

    >>> keep_apart([(0, 0), (3, 4), (30, 0)], apart_um=5.1)
    [0, 2]
    """
    kept: dict[tuple[int, int], list[Point]] = {}
    chosen: list[int] = []
    for index, (x, y) in enumerate(centres_xy_um):
        if count is not None and len(chosen) == count:
            break
        column, row = int(x // apart_um), int(y // apart_um)
        near = (
            other
            for i in (column - 1, column, column + 1)
            for j in (row - 1, row, row + 1)
            for other in kept.get((i, j), ())
        )
        if any((x - u) ** 2 + (y - v) ** 2 < apart_um**2 for u, v in near):
            continue
        kept.setdefault((column, row), []).append((x, y))
        chosen.append(index)
    return chosen


# ---------------------------------------------------------------------------
# Order of findings and fusion of the six slide scores.

TOP_COUNT = 30
"""Findings that the slide's score and the gallery look at (Cheng et al. 2021)."""
TOP_APART_UM = 200.0
"""A finding nearer than this to a higher one is not in the top list. Not in the paper,
nor in the release's Python."""

MOST_CANDIDATES = 1200
"""Findings that a slide keeps, and all that reached ``SUSPICIOUS`` beside them. The
release has this limit before HR and by LR probability, which drops lesions on large
slides; here HR has judged."""
LEAST_CANDIDATES = 600
"""So many a slide keeps at least, where it has them (release)."""

Scores = Mapping[str, tuple[float, float]]


def order(finding: Finding) -> tuple[float, ...]:
    """Sort key, most suspicious first; ties fall to values, never to arrival."""
    return (
        -finding.hr_probability,
        -finding.lr_probability,
        finding.y_um,
        finding.x_um,
        finding.field_seq,
    )


def kept_of(probabilities: Iterable[float], most: int) -> int:
    """How many findings, most suspicious first, a limit leaves.

    Args:
        probabilities: of HR, highest first.
        most: the limit, which falls below ``SUSPICIOUS`` only.

    >>> kept_of([0.9, 0.5, 0.4, 0.3], 1), kept_of([0.9, 0.5, 0.4, 0.3], 3)
    (2, 3)
    """
    return max(most, sum(share >= SUSPICIOUS for share in probabilities))


def fuse_mean(scores: Scores) -> float:
    """Mean of the six RNNs (default).

    >>> fuse_mean({"10": (0.2, 0.4), "20": (0.6, 0.8), "30": (0.9, 0.7)})
    0.6
    """
    values = [value for pair in scores.values() for value in pair]
    return round(sum(values) / len(values), 9)


def fuse_release(scores: Scores) -> float:
    """The release's fusion, with its slip: what it calls "std" is a minimum.

    Means of the pairs are taken first. With their minimum above 0.15 the answer is
    their mean; else their minimum when the mean is below 0.15; else their maximum
    (``synthesize_wsi_clf_scores`` in the authors' repository).

    >>> fuse_release({"10": (0.1, 0.1), "20": (0.6, 0.8), "30": (0.9, 0.7)})
    0.8
    """
    means = [sum(pair) / len(pair) for pair in scores.values()]
    mean = sum(means) / len(means)
    slip = min(means)
    if slip > 0.15:
        return mean
    return min(means) if mean < 0.15 else max(means)


def finite_logit(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Return logits; a probability of 0 or 1 counts as a ten-millionth off it."""
    bounded = np.clip(np.asarray(probability, np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(logit(bounded), np.float64)


FUSIONS = {"mean": fuse_mean, "release": fuse_release}


def scores_of(
    row: Sequence[float], tops: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """Name the six outputs of the RNN graph: {"10": (a, b), "20": ..., "30": ...}."""
    return {
        str(top): (float(row[2 * i]), float(row[2 * i + 1]))
        for i, top in enumerate(tops)
    }
