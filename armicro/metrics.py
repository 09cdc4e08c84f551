"""Figures with 95 % intervals, by a bootstrap over fields, cases or slides.

Cells of one field share stain, focus and patient, so an interval that draws cells would
be too narrow. Every resample draws whole groups with replacement; one that does not
allow a figure (the AUC with one class only) is dropped from that figure's interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.verdict import SUSPICIOUS

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
RESAMPLES = 1000
SEED = 95


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Things that were scored: one row a cell, crop, field or slide."""

    score: Scores
    """(n,) 0-1."""
    lesion: Labels
    """(n,)"""
    group: NDArray[np.str_]
    """(n,) the unit of the bootstrap."""
    category: NDArray[np.str_]
    """(n,) class name, for the table by class."""

    def take(self, index: NDArray[np.int64] | Labels) -> "Judged":
        """Return a part."""
        return Judged(
            self.score[index],
            self.lesion[index],
            self.group[index],
            self.category[index],
        )


def auc(score: Scores, lesion: Labels) -> float:
    """Return the area under the ROC curve; ties count a half, NaN without both classes.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True]))
    0.875
    """
    positive, negative = int(lesion.sum()), int((~lesion).sum())
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    total = rank[place][lesion].sum()
    return float((total - positive * (positive + 1) / 2) / (positive * negative))


def sensitivity(score: Scores, lesion: Labels) -> float:
    """Return the share of lesions at 0.5 or above; NaN without any."""
    return float((score[lesion] >= SUSPICIOUS).mean()) if lesion.any() else float("nan")


def specificity(score: Scores, lesion: Labels) -> float:
    """Return the share of normals below 0.5; NaN without any."""
    normal = score[~lesion]
    return float((normal < SUSPICIOUS).mean()) if normal.size else float("nan")


def sensitivity_at(score: Scores, lesion: Labels, false_share: float) -> float:
    """Return the share of lesions above all but ``false_share`` of the normals.

    NaN without both classes.

    >>> score = np.array([0.1, 0.2, 0.3, 0.25, 0.9])
    >>> sensitivity_at(score, np.array([False, False, False, True, True]), 0.01)
    0.5
    """
    if lesion.all() or not lesion.any():
        return float("nan")
    normal = np.sort(score[~lesion])[::-1]
    limit = normal[int(false_share * len(normal))]
    return float((score[lesion] > limit).mean())


def full_specificity(score: Scores, lesion: Labels) -> float:
    """Return the share of normals below the lowest lesion; NaN without both classes."""
    if lesion.all() or not lesion.any():
        return float("nan")
    return float((score[~lesion] < score[lesion].min()).mean())


FIGURES: Mapping[str, Callable[[Scores, Labels], float]] = {
    "auc": auc,
    "sensitivity": sensitivity,
    "specificity": specificity,
}


def resample_groups(group: NDArray[np.str_], rng: np.random.Generator) -> list[int]:
    """Return row indices of one bootstrap resample of whole groups."""
    names, place = np.unique(group, return_inverse=True)
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(names) + 1))
    drawn = rng.integers(0, len(names), len(names))
    parts = [order[bounds[name] : bounds[name + 1]] for name in drawn]
    return [int(index) for part in parts for index in part]


def interval(
    figure: Callable[[NDArray[np.int64]], float],
    group: NDArray[np.str_],
    *,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of a figure over group resamples.

    Args:
        figure: the figure of the rows whose indices it gets; NaN leaves a resample out.
        group: (n,) group of each row.
        resamples: how many.
    """
    rng = np.random.default_rng(SEED)
    values = [
        figure(np.array(resample_groups(group, rng), np.int64))
        for _ in range(resamples)
    ]
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def judge(judged: Judged) -> dict[str, float | int | None]:
    """Return ``auc``, ``sensitivity``, ``specificity`` with intervals, and counts.

    A figure that the rows do not allow (no normals, say) is None.
    """
    table: dict[str, float | int | None] = {}
    for name, figure in FIGURES.items():
        low, high = interval(
            lambda rows, figure=figure: figure(  # type: ignore[misc]
                judged.score[rows], judged.lesion[rows]
            ),
            judged.group,
        )
        value = figure(judged.score, judged.lesion)
        for key, number in (
            (name, value),
            (f"{name}_low", low),
            (f"{name}_high", high),
        ):
            table[key] = round(number, 4) if np.isfinite(number) else None
    table["n_positive"] = int(judged.lesion.sum())
    table["n_negative"] = int((~judged.lesion).sum())
    return table


def by_category(judged: Judged) -> dict[str, dict[str, float | int]]:
    """Return, for each class, the count, mean score and share at 0.5 or above."""
    table = {}
    for name in sorted(set(judged.category.tolist())):
        own = judged.take(judged.category == name)
        table[name] = {
            "n": len(own.score),
            "mean_score": round(float(own.score.mean()), 4),
            "called_lesion": round(float((own.score >= SUSPICIOUS).mean()), 4),
        }
    return table


def curve(judged: Judged) -> tuple[Scores, Scores, Scores]:
    """Return false-positive rate, recall and precision, by falling score."""
    order = np.argsort(-judged.score, kind="stable")
    hits = np.cumsum(judged.lesion[order])
    misses = np.cumsum(~judged.lesion[order])
    last = np.append(np.diff(judged.score[order]) != 0, True)
    hits, misses = hits[last], misses[last]
    return (
        misses / max(int((~judged.lesion).sum()), 1),
        hits / max(int(judged.lesion.sum()), 1),
        hits / (hits + misses),
    )


def calibration(judged: Judged, *, bins: int = 10) -> list[dict[str, float | int]]:
    """Return, for each tenth of probability, how many rows and how many lesions."""
    place = np.minimum((judged.score * bins).astype(int), bins - 1)
    rows: list[dict[str, float | int]] = []
    for number in range(bins):
        own = place == number
        if own.any():
            rows.append(
                {
                    "n": int(own.sum()),
                    "mean_score": round(float(judged.score[own].mean()), 4),
                    "share_lesion": round(float(judged.lesion[own].mean()), 4),
                }
            )
    return rows


def calibration_error(rows: Sequence[Mapping[str, float | int]]) -> float:
    """Return the expected calibration error: the mean gap, weighted by rows."""
    total = sum(int(row["n"]) for row in rows)
    gap = sum(
        int(row["n"]) * abs(float(row["mean_score"]) - float(row["share_lesion"]))
        for row in rows
    )
    return round(gap / max(total, 1), 4)
