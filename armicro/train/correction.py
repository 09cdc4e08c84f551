"""A correction of HR for one laboratory, fitted on what was decided of its cells.

    new logit = gain · logit + offset + weight · (features − centre)

A ridge (normal priors) holds it at gain 1, offset 0 and weight 0, so that few cells
change little. How much the features may say is chosen by cross-validation, and what the
whole procedure is worth is told by another around it: groups (slides, places of a
slide, cases) stay whole in both. Nothing here reads a file.

The classes weigh as in HR's own calibration (``MISS_COST``), so that one half keeps its
meaning. Cells of a session were decided because HR drew a box, which few normal cells
get: among them the odds of a lesion are higher than among all, by a factor that their
own numbers cannot tell. ``DecidedCells.normals_seen`` stands for it, as in the prior
correction of King & Zeng 2001 (Political Analysis 9:137).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from armicro.errors import SourceError
from armicro.metrics import (
    LEAST_GROUPS,
    SEED,
    Range,
    area_bounds,
    auc,
    basis_of,
    per_100_bounds,
    resample_groups,
    share_bounds,
    told,
    wider,
)
from armicro.train.construct import MISS_COST, Values, class_weights

GAIN_SPREAD, OFFSET_SPREAD = 0.5, 1.5
"""Standard deviations that gain and offset are thought to have from one laboratory to
the next: 50 cells can then move the offset by 2."""
SPREADS = (0.0, 1.0, 2.0, 4.0)
"""Those of what the features may add, in logits, tried in turn; 0: gain and offset
alone. At 8 a left-out slide group was worse at any number of cells."""
LEAST_SPREAD = 0.25
"""Features that hardly differ among the cells count as if they had this share of the
usual deviation: else their noise would be blown up."""
MOST_AXES = 512
"""Cells whose span the weights lie in: the work grows with its cube."""
FOLDS = 5
RESAMPLES = 500
WHICH = "old", "new"
LEAST_CELLS = 30
LEAST_OF_A_CLASS = 8
MOST_FALL = 0.005
"""Of the AUC: less is the chance of a few pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class DecidedCells:
    """Cells with a label, and what HR says of them."""

    logit: Values
    """(n,)"""
    features: NDArray[np.float32]
    """(n, 2048)"""
    lesion: NDArray[np.bool_]
    """(n,)"""
    group: NDArray[np.str_]
    """(n,) what stays together."""
    normals_seen: float = 1.0
    """How many times rarer normal cells came to be decided than lesions, 0-1; 1 where
    they were chosen without HR."""

    def take(self, rows: NDArray[np.bool_]) -> "DecidedCells":
        """Return a part."""
        return replace(
            self,
            logit=self.logit[rows],
            features=self.features[rows],
            lesion=self.lesion[rows],
            group=self.group[rows],
        )

    @property
    def shift(self) -> float:
        """What the logit of these cells lies off that of all cells."""
        return float(np.log(self.normals_seen))


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What is done to HR's logit."""

    gain: float
    offset: float
    weight: Values
    """(2048,), zeros where the features say nothing."""
    centre: Values
    """(2048,) mean features of the cells."""
    spread: float
    """One of ``SPREADS``."""

    def logits(self, logit: Values, features: NDArray[np.float32]) -> Values:
        """Return new logits (n,)."""
        said = (features - self.centre) @ self.weight
        return np.asarray(self.gain * logit + self.offset + said, np.float64)


# ---------------------------------------------------------------------------
# The fit.


def fit_corrections(
    cells: DecidedCells, spreads: Sequence[float] = SPREADS
) -> list[Correction]:
    """Fit a correction for each spread.

    Args:
        cells: of both classes.
        spreads: see ``SPREADS``.
    """
    centre = cells.features.mean(axis=0, dtype=np.float64)
    axes = (
        _axes(cells.features - centre) if any(spreads) else np.zeros((0, len(centre)))
    )
    along = (cells.features - centre) @ axes.T
    fitted = []
    for spread in spreads:
        known = along if spread else along[:, :0]
        gain, offset, *rest = _minimise(cells, known, spread or 1.0)
        weight = np.array(rest) @ axes if spread else np.zeros(len(centre))
        fitted.append(Correction(gain, offset, weight, centre, spread))
    return fitted


def _axes(centred: Values) -> Values:
    """Directions (k, 2048) in which cells differ, in units of one standard cell.

    A ridge on the weights of standardised features never leaves the span of the cells,
    so as many weights as cells are enough, and the fit takes milliseconds.
    """
    deviation = centred.std(axis=0)
    usual = float(np.sqrt((deviation**2).mean()))
    scale = np.maximum(deviation, max(LEAST_SPREAD * usual, 1e-9))
    scale *= np.sqrt(centred.shape[1])
    standard = centred / scale
    some = standard[:: -(-len(standard) // MOST_AXES)]
    size, turned = np.linalg.eigh(some @ some.T)
    kept = size > 1e-6 * max(float(size[-1]), 1e-9)
    return np.asarray((turned[:, kept] / np.sqrt(size[kept])).T @ some / scale)


def _minimise(cells: DecidedCells, along: Values, spread: float) -> list[float]:
    """Return gain, offset and the weights of ``along`` (n, k)."""
    count = len(cells.logit)
    weight = class_weights(cells.lesion, MISS_COST) / count
    rows = np.column_stack([cells.logit, np.ones(count), along])
    usual = np.zeros(rows.shape[1])
    usual[0] = 1.0
    spreads = np.full(rows.shape[1], spread)
    spreads[:2] = GAIN_SPREAD, OFFSET_SPREAD

    def loss(values: Values) -> tuple[float, Values]:
        logit = rows @ values + cells.shift
        off = (values - usual) / spreads
        missed = weight * (np.exp(-np.logaddexp(0, -logit)) - cells.lesion)
        total = (weight * _log_loss(logit, cells.lesion)).sum()
        return (
            float(total + off @ off / 2 / count),
            rows.T @ missed + off / spreads / count,
        )

    found = minimize(loss, usual, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return [float(value) for value in found.x]


def _log_loss(logit: Values, lesion: NDArray[np.bool_]) -> Values:
    return np.asarray(np.logaddexp(0, logit) - lesion * logit)


def weighted_loss(cells: DecidedCells, logit: Values) -> Values:
    """Return the log loss (n,) of logits of cells, by the weights of their class."""
    weight = class_weights(cells.lesion, MISS_COST)
    return weight * _log_loss(logit + cells.shift, cells.lesion)


# ---------------------------------------------------------------------------
# Cross-validation.


def folds_of(cells: DecidedCells) -> NDArray[np.int64]:
    """Return the fold (n,) of each cell: whole groups, lesions shared out evenly."""
    names, place = np.unique(cells.group, return_inverse=True)
    lesions = np.bincount(place, cells.lesion, len(names))
    sizes = np.bincount(place, minlength=len(names))
    fold_of = np.zeros(len(names), np.int64)
    held = np.zeros((min(FOLDS, len(names)), 2))
    for group in np.lexsort((-sizes, -lesions)):
        # Groups without lesions fill up what is small.
        order = held[:, 1], held[:, 0] if lesions[group] else held[:, 1]
        fold = int(np.lexsort(order)[0])
        fold_of[group] = fold
        held[fold] += lesions[group], sizes[group]
    return fold_of[place]


def _across(
    cells: DecidedCells, say: Callable[[DecidedCells, DecidedCells], Values]
) -> Values:
    """Return for each cell what ``say`` makes of the cells of other folds and it.

    NaN where the other folds lack a class.
    """
    fold, parts = folds_of(cells), []
    answer = np.full(len(fold), np.nan)
    for number in range(int(fold.max()) + 1):
        known = fold != number
        others = cells.take(known)
        if others.lesion.any() and not others.lesion.all():
            said = say(others, cells.take(~known))
            parts.append((~known, said))
    if parts:
        answer = np.full((len(fold), *parts[0][1].shape[1:]), np.nan)
        for rows, said in parts:
            answer[rows] = said
    return answer


def choose(cells: DecidedCells) -> Correction:
    """Return the correction whose spread says most of cells left out.

    What the features add is surer of the cells that it was fitted on than of others.
    So its logits of cells left out are scaled and shifted first, as an old logit would
    be, and what that took is part of the correction.
    """

    def logits(known: DecidedCells, unseen: DecidedCells) -> Values:
        made = fit_corrections(known)
        new = [one.logits(unseen.logit, unseen.features) for one in made]
        return np.stack(new, axis=1)

    unseen = _across(cells, logits).reshape(len(cells.logit), -1)
    seen = np.asarray(np.isfinite(unseen).all(axis=1))
    part, none = cells.take(seen), np.zeros((int(seen.sum()), 0))
    if not 0 < part.lesion.sum() < len(none):
        return fit_corrections(cells, SPREADS[:1])[0]
    tried = []
    for spread, new in zip(SPREADS, unseen[seen].T, strict=True):
        gain, offset = _minimise(replace(part, logit=new), none, 1.0)
        loss = weighted_loss(part, gain * new + offset).mean()
        tried.append((float(loss), spread, gain, offset))
    _, spread, gain, offset = min(tried)
    (made,) = fit_corrections(cells, [spread])
    return replace(
        made,
        gain=gain * made.gain,
        offset=gain * made.offset + offset,
        weight=gain * made.weight,
    )


def held_out(cells: DecidedCells) -> Values:
    """Return new logits (n,), of each cell by a correction that never saw its group.

    Where the others lack a class nothing is learned: the old logit.
    """
    new = _across(
        cells, lambda known, one: choose(known).logits(one.logit, one.features)
    )
    return np.where(np.isfinite(new), new, cells.logit)


# ---------------------------------------------------------------------------
# What it is worth.


def false_at(logit: Values, lesion: NDArray[np.bool_], recall: float) -> float:
    """Return the normals of each hundred called where ``recall`` of lesions is called.

    >>> false_at(np.array([3.0, 1.0, 2.0, 0.0]), np.array([1, 1, 0, 0], bool), 1.0)
    50.0
    """
    if lesion.all() or not lesion.any():
        return float("nan")
    falling = np.sort(logit[lesion])[::-1]
    # A recall is so many of them, but for rounding.
    limit = falling[max(int(np.ceil(recall * len(falling) - 1e-9)) - 1, 0)]
    return float(100 * (logit[~lesion] >= limit).mean())


COMPARED: Mapping[str, tuple[tuple[int, ...], Callable[..., Range] | None]] = {
    "auc": ((0, 1), area_bounds),
    "log_loss": ((0, 1), None),
    "sensitivity": ((0,), share_bounds),
    "false_per_100_normals": ((1,), per_100_bounds),
    "false_at_old_recall": ((1,), per_100_bounds),
}
"""The rows that a figure counts (0 lesions, 1 normals) and its interval by counts."""
BOUNDS = {f"{name}_{which}": kind for name, kind in COMPARED.items() for which in WHICH}


def compare(cells: DecidedCells, new: Values) -> dict[str, Any]:
    """Return figures of the old and the new logits on the same cells, with intervals.

    ``NAME_old`` and ``NAME_new`` of: ``auc``; ``log_loss``; ``sensitivity`` and
    ``false_per_100_normals`` at one half; ``false_at_old_recall``, the normals of each
    hundred that are called where as many lesions are as the old logits called. The two
    gains are differences on the same resamples.
    """
    rng, fold = np.random.default_rng(SEED), folds_of(cells)
    drawn: dict[str, list[float]] = {}
    for _ in range(RESAMPLES):
        rows = np.array(resample_groups(cells.group, rng), np.int64)
        for name, value in _figures(cells, new, fold, rows).items():
            drawn.setdefault(name, []).append(value)
    classes = cells.lesion, ~cells.lesion
    table: dict[str, Any] = {}
    for name, value in _figures(cells, new, fold, np.arange(len(new))).items():
        low, high = (float(x) for x in np.percentile(drawn[name], [2.5, 97.5]))
        counted, bounds = BOUNDS.get(name, ((0, 1), None))
        basis = basis_of(cells.group, *(classes[place] for place in counted))
        limits = wider((low, high), value, basis, bounds) if bounds else (low, high)
        table |= told(name, value, limits, basis)
    return table


def _figures(
    cells: DecidedCells,
    new: Values,
    fold: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> dict[str, float]:
    """Return the figures of some rows; none where a class is missing."""
    lesion = cells.lesion[rows]
    if lesion.all() or not lesion.any():
        return {}
    recall = float((cells.logit[rows][lesion] >= 0).mean())
    table: dict[str, float] = {}
    for name, logit in zip(WHICH, (cells.logit, new), strict=True):
        said = logit[rows]
        table |= {
            f"auc_{name}": auc_within(said, lesion, fold[rows]),
            f"log_loss_{name}": float(weighted_loss(cells, logit)[rows].mean()),
            f"sensitivity_{name}": float((said[lesion] >= 0).mean()),
            f"false_per_100_normals_{name}": float(100 * (said[~lesion] >= 0).mean()),
            f"false_at_old_recall_{name}": false_at(said, lesion, recall),
        }
    table["auc_gain"] = table["auc_new"] - table["auc_old"]
    table["log_loss_gain"] = table["log_loss_old"] - table["log_loss_new"]
    return table


def auc_within(
    logit: Values, lesion: NDArray[np.bool_], fold: NDArray[np.int64]
) -> float:
    """Return the AUC over pairs of the same fold; NaN where none has both classes.

    Each fold was told by a correction of its own: pairs across folds would compare two.
    """
    pairs, area = 0, 0.0
    for number in np.unique(fold):
        own = fold == number
        both = int(lesion[own].sum()) * int((~lesion[own]).sum())
        if both:
            pairs, area = pairs + both, area + both * auc(logit[own], lesion[own])
    return area / pairs if pairs else float("nan")


# ---------------------------------------------------------------------------
# Where a correction is refused.


def require_enough(cells: DecidedCells, places: str, left_out: str = "") -> None:
    """Refuse cells that no correction can be fitted on and judged by.

    Args:
        cells: all that have a label and features.
        places: what a group is, for the message.
        left_out: how many decided cells are none of them, in words.

    Raises:
        SourceError: they are too few, too much of one class, or in too few groups.
    """
    lesions, count = int(cells.lesion.sum()), len(cells.lesion)
    rarer, least = ("lesion", lesions), min(lesions, count - lesions)
    if least < lesions:
        rarer = "normal", least
    groups = len(np.unique(cells.group))
    spread = min(
        len(np.unique(cells.group[cells.lesion == kind])) for kind in (True, False)
    )
    faults = {
        f"{count} cells, expected {LEAST_CELLS}": count < LEAST_CELLS,
        f"{least} of them {rarer[0]}, expected {LEAST_OF_A_CLASS}": (
            least < LEAST_OF_A_CLASS
        ),
        f"{groups} {places}, expected {LEAST_GROUPS}": groups < LEAST_GROUPS,
        f"the {rarer[0]} ones from 1 of the {places}, expected 2": spread == 1,
    }
    if any(faults.values()):
        raise SourceError(
            "too little was decided to learn a laboratory from: "
            f"{'; '.join(fault for fault, holds in faults.items() if holds)} at least"
            f"{left_out}; accept and reject more cells, on more of the slides"
        )


def digits(value: float | None) -> str:
    """Return a figure in three decimals; a dash where it is not known."""
    return "–" if value is None else f"{value:.3f}"


def require_help(figures: Mapping[str, Any]) -> None:
    """Refuse a correction that does not surely help on cells that it never saw.

    Raises:
        SourceError: the interval of what is gained in log loss does not lie above
            nothing, or the AUC falls.
    """
    gain, low, high = (figures[f"log_loss_gain{end}"] for end in ("", "_low", "_high"))
    if (low or 0.0) > 0 and (figures["auc_gain"] or 0.0) >= -MOST_FALL:
        return
    raise SourceError(
        "nothing was written: on decided cells held out the correction does not surely "
        f"help: log loss {digits(figures['log_loss_old'])} before, "
        f"{digits(figures['log_loss_new'])} after (gain {digits(gain)}, 95 % "
        f"{digits(low)} to {digits(high)}), AUC {digits(figures['auc_old'])} and "
        f"{digits(figures['auc_new'])}; keep "
        "the set as it is, or decide more cells"
    )
