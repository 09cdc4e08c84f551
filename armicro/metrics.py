"""Figures with 95 % intervals, by a bootstrap over fields, cases or slides.

Cells of one field share stain, focus and patient, so an interval that draws cells would
be too narrow. Every resample draws whole groups with replacement; one that does not
allow a figure (the AUC with one class only) is dropped from that figure's interval.

A bootstrap sees no more than it was given: of 1 right in 1 it says 1.0-1.0. So each
figure also has an interval of its counts (Wilson for a share, Newcombe for an AUC,
Poisson for a rate), and the wider bound of the two holds. Where all groups are alike
the bootstrap says nothing, and groups are counted in place of rows. Below
``LEAST_GROUPS`` groups there is no interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaincinv

from armicro.verdict import SUSPICIOUS

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
Range = tuple[float, float]
RESAMPLES = 1000
SEED = 95
LEAST_SPECIFICITY = 0.95
LEAST_GROUPS = 5
"""Fields, cases or slides of each class that an interval needs."""
Z95 = 1.959964
UNKNOWN: Range = (float("nan"), float("nan"))


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


def false_per_100(score: Scores, lesion: Labels) -> float:
    """Return the normals at 0.5 or above of each hundred; NaN without any."""
    return 100 * (1 - specificity(score, lesion))


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


def partial_auc(score: Scores, lesion: Labels) -> float:
    """Return the area under the ROC curve above 95 % specificity, 0.5 by chance.

    Standardised (McClish, Med Decis Making 1989;9:190): 1.0 is perfect; ties count a
    half; NaN without both classes. Of a slide's thousands of normal cells only the
    highest make false boxes, and the whole area hardly sees them.

    >>> round(partial_auc(np.array([0.1, 0.2, 0.3]), np.array([False, True, True])), 3)
    1.0
    """
    if lesion.all() or not lesion.any():
        return float("nan")
    false_rate, recall, _ = curve_of(score, lesion)
    most = 1 - LEAST_SPECIFICITY
    x = np.append(0.0, false_rate)
    y = np.append(0.0, recall)
    inside = x < most
    x_part = np.append(x[inside], most)
    y_part = np.append(y[inside], np.interp(most, x, y))
    area = float(np.trapezoid(y_part, x_part))
    by_chance = most**2 / 2
    return 0.5 * (1 + (area - by_chance) / (most - by_chance))


def partial_bounds(value: float, positive: int, negative: int) -> Range:
    """Return Newcombe's interval with only the normals that the part is made of."""
    part = max(1, round(negative * (1 - LEAST_SPECIFICITY)))
    return area_bounds(value, positive, part)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a figure was counted on: each class of rows that it takes (AUC: two)."""

    rows: tuple[int, ...]
    groups: tuple[int, ...]

    @property
    def fewest(self) -> int:
        """Groups of the class that has the fewest."""
        return min(self.groups)


def basis_of(group: NDArray[np.str_], *counted: Labels) -> Basis:
    """Return how many rows and groups each mask (n,) holds."""
    return Basis(
        tuple(int(mask.sum()) for mask in counted),
        tuple(len(np.unique(group[mask])) for mask in counted),
    )


def share_bounds(value: float, count: int) -> Range:
    """Return Wilson's interval of a share of ``count`` things.

    >>> [round(bound, 3) for bound in share_bounds(1.0, 1)]
    [0.207, 1.0]
    """
    square = Z95**2 / count
    middle = (value + square / 2) / (1 + square)
    half = Z95 * np.sqrt(value * (1 - value) / count + square / (4 * count))
    half /= 1 + square
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def area_bounds(value: float, positive: int, negative: int) -> Range:
    """Return Newcombe's score interval of an AUC (Stat Med 2006;25:559, method 5).

    >>> [round(bound, 2) for bound in area_bounds(1.0, 10, 10)]
    [0.8, 1.0]
    """
    more = (positive + negative) / 2 - 1

    def excess(area: float) -> float:
        spread = area * (1 - area) / (positive * negative)
        spread *= 1 + more * ((1 - area) / (2 - area) + area / (1 + area))
        return float((area - value) ** 2 - Z95**2 * spread)

    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = brentq(excess, 0.0, inside) if value > 0 else 0.0
    high = brentq(excess, inside, 1.0) if value < 1 else 1.0
    return float(low), float(high)


def per_100_bounds(value: float, count: int) -> Range:
    """Return Wilson's interval of a share that is told in hundredths."""
    low, high = share_bounds(value / 100, count)
    return 100 * low, 100 * high


def rate_bounds(value: float, count: int) -> Range:
    """Return the exact Poisson interval of events for each of ``count`` things."""
    events = value * count
    low = gammaincinv(events, 0.025) if events else 0.0
    return float(low) / count, float(gammaincinv(events + 1, 0.975)) / count


def scaled_bounds(unit: float, value: float, count: int) -> Range:
    """Return ``rate_bounds`` of a rate that is told for each ``unit`` of a thing."""
    low, high = rate_bounds(value * unit, count)
    return low / unit, high / unit


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of scores and labels, and what its interval rests on."""

    of: Callable[[Scores, Labels], float]
    classes: tuple[int, ...]
    """The rows that it needs: 0 lesions, 1 normals."""
    bounds: Callable[..., Range]
    """Its interval from its value and the number of each class."""


FIGURES: Mapping[str, Figure] = {
    "auc": Figure(auc, (0, 1), area_bounds),
    "sensitivity": Figure(sensitivity, (0,), share_bounds),
    "specificity": Figure(specificity, (1,), share_bounds),
    "partial_auc_95": Figure(partial_auc, (0, 1), partial_bounds),
    "false_per_100_normals": Figure(false_per_100, (1,), per_100_bounds),
    "specificity_at_full_sensitivity": Figure(
        full_specificity,
        (0, 1),
        lambda value, _, negative: share_bounds(value, negative),
    ),
}
USUAL = ("auc", "sensitivity", "specificity")
OF_CELLS = (*USUAL, "partial_auc_95", "false_per_100_normals")
"""A normal slide has 10,000 normal cells: what these say of its false boxes."""


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

    NaN twice with fewer groups than ``LEAST_GROUPS``.

    Args:
        figure: the figure of the rows whose indices it gets; NaN leaves a resample out.
        group: (n,) group of each row.
        resamples: how many.
    """
    if len(np.unique(group)) < LEAST_GROUPS:
        return UNKNOWN
    rng = np.random.default_rng(SEED)
    values = [
        figure(np.array(resample_groups(group, rng), np.int64))
        for _ in range(resamples)
    ]
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return UNKNOWN
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def wider(
    drawn: Range, value: float, basis: Basis, bounds: Callable[..., Range]
) -> Range:
    """Return the wider bounds of a bootstrap's interval and of the counts' own.

    Args:
        drawn: the bootstrap's interval.
        value: the figure.
        basis: what it was counted on.
        bounds: its interval from its value and the number of each class.

    Returns:
        NaN twice where the figure is none or has fewer groups than ``LEAST_GROUPS``.
    """
    if basis.fewest < LEAST_GROUPS or not np.isfinite([value, *drawn]).all():
        return UNKNOWN
    flat = drawn[1] - drawn[0] < 1e-9
    low, high = bounds(value, *(basis.groups if flat else basis.rows))
    return min(low, *drawn), max(high, *drawn)


def told(
    name: str, value: float, limits: Range, basis: Basis, *, digits: int = 4
) -> dict[str, Any]:
    """Return a figure and its bounds as ``NAME``, ``NAME_low`` and ``NAME_high``.

    What is not known is None; ``NAME_interval`` then says why there is no interval.
    """
    table: dict[str, Any] = {
        key: round(number, digits) if np.isfinite(number) else None
        for key, number in zip(
            (name, f"{name}_low", f"{name}_high"), (value, *limits), strict=True
        )
    }
    if np.isfinite(value) and not np.isfinite(limits[0]):
        table[f"{name}_interval"] = (
            f"none: rests on {basis.fewest} groups (fields, cases or slides), an "
            f"interval needs {LEAST_GROUPS}"
        )
    return table


def judge_figure(name: str, judged: Judged) -> dict[str, Any]:
    """Return one of ``FIGURES`` with its interval."""
    figure = FIGURES[name]
    rows = (judged.lesion, ~judged.lesion)
    basis = basis_of(judged.group, *(rows[place] for place in figure.classes))
    value = figure.of(judged.score, judged.lesion)
    drawn = interval(
        lambda rows: figure.of(judged.score[rows], judged.lesion[rows]), judged.group
    )
    return told(name, value, wider(drawn, value, basis, figure.bounds), basis)


def judge(judged: Judged, figures: Sequence[str] = USUAL) -> dict[str, Any]:
    """Return figures of ``FIGURES`` with intervals, and counts.

    A figure that the rows do not allow (no normals, say) is None.
    """
    table: dict[str, Any] = {}
    for name in figures:
        table |= judge_figure(name, judged)
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
    return curve_of(judged.score, judged.lesion)


def curve_of(score: Scores, lesion: Labels) -> tuple[Scores, Scores, Scores]:
    """Return the same of scores (n,) and labels (n,)."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(lesion[order])
    misses = np.cumsum(~lesion[order])
    last = np.append(np.diff(score[order]) != 0, True)
    hits, misses = hits[last], misses[last]
    return (
        misses / max(int((~lesion).sum()), 1),
        hits / max(int(lesion.sum()), 1),
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
