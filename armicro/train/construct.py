"""Slide scoring: six RNNs trained and calibrated on constructed slides.

No slide with a label is in the data folder, so slides are constructed: some fields of
one laboratory with the cascade's finds of normal cells and, when positive, from a
handful to dozens of lesions. A slide is known by the features of its most suspicious
finds, chosen and ranked as the cascade does. The paper's rearrangement is kept: rows of
a slide change places, so that the order of near equals means little. Every figure from
these slides says "constructed".
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from armicro.cascade.locate import TOP_APART_UM, TOP_COUNT, keep_apart
from armicro.cascade.tile import view_of
from armicro.engine.manifest import Familiar, View
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.metrics import (
    FIGURES,
    Basis,
    auc,
    basis_of,
    full_specificity,
    sensitivity,
    specificity,
    wider,
)
from armicro.train.finds import Pool
from armicro.train.networks import Head, HighResolution, SlideRnn
from armicro.train.sample import Sample, TilePlan, cut_tile
from armicro.verdict import HR_UM_PER_PX, SUSPICIOUS

# ---------------------------------------------------------------------------
# Making probabilities mean what they say: temperature and offset on validation data.
#
# A network trained with balanced draws and smoothed labels is not calibrated. A logit
# is divided by a temperature and shifted (Platt scaling), fitted on validation samples
# with each class weighing a half, since no data set here has a slide's real prior. HR's
# shown probability then counts a missed lesion as four false ones: one half is what the
# overlay draws a box at, and a box too many costs a look. The LR gate is set for recall
# alone, as in the paper.

Values = NDArray[np.float64]

MISS_COST = 4.0
"""False boxes that a missed lesion is as bad as, in HR's probability."""

STILL = TilePlan(256, HR_UM_PER_PX, 0.0, augmented=False)
"""HR tiles as they are."""


def still_tiles(samples: Sequence[Sample], count: int, name: str) -> Iterator[Pixels]:
    """Yield HR tiles (n, 256, 256, 3) as they are, ``count`` at a time."""
    rng = np.random.default_rng(0)
    for start in tqdm(range(0, len(samples), count), desc=name, mininterval=10):
        part = samples[start : start + count]
        yield np.stack([cut_tile(sample, STILL, rng) for sample in part])


def class_weights(wanted: NDArray[np.bool_], miss_cost: float) -> Values:
    """Return weights (n,), of mean 1, by which positives weigh ``miss_cost`` to 1.

    >>> class_weights(np.array([True, False, False, False]), 1.0).round(2).tolist()
    [2.0, 0.67, 0.67, 0.67]
    """
    share = float(wanted.mean())
    high, low = miss_cost / (1 + miss_cost), 1 / (1 + miss_cost)
    return np.where(wanted, high / max(share, 1e-9), low / max(1 - share, 1e-9))


def fit_platt(
    logits: Values, wanted: NDArray[np.bool_], *, miss_cost: float = 1.0
) -> tuple[float, float]:
    """Return (temperature, offset) so that sigmoid(logit / temperature + offset) fits.

    The classes weigh ``miss_cost`` to 1, positives first, however many there are.

    >>> temperature, offset = fit_platt(np.array([-2.0, -1, 1, 2]),
    ...                                 np.array([False, True, False, True]))
    >>> temperature > 1, abs(offset) < 0.01
    (True, True)
    """
    (gain,), offset = fit_logistic(logits[None], wanted, miss_cost=miss_cost)
    return 1 / max(gain, 0.05), offset


def fit_logistic(
    columns: Values, wanted: NDArray[np.bool_], *, miss_cost: float = 1.0
) -> tuple[list[float], float]:
    """Return the gains of (k, n) columns and the offset of a logistic fit."""
    x, y = torch.from_numpy(columns), torch.from_numpy(wanted.astype(np.float64))
    weight = torch.from_numpy(class_weights(wanted, miss_cost))
    gains = torch.zeros(len(columns), dtype=torch.float64)
    gains[0] = 1.0
    gains.requires_grad_(True)
    offset = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([gains, offset], max_iter=100)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        # The small penalty keeps the gain finite when the classes part completely.
        loss = functional.binary_cross_entropy_with_logits(
            gains @ x + offset, y, weight=weight
        )
        loss = loss + 1e-3 * (gains.square().sum() + offset.square().sum())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return [float(gain) for gain in gains.detach()], float(offset.detach())


def recall_offset(
    logits: Values, wanted: NDArray[np.bool_], temperature: float, *, recall: float
) -> float:
    """Return the offset at which a gate of 0.5 passes ``recall`` of the positives."""
    return -float(np.quantile(logits[wanted] / temperature, 1 - recall))


def set_calibration(head: Head, temperature: float, offset: float) -> None:
    """Bake temperature and offset into a head."""
    head.temperature.fill_(temperature)
    head.offset.fill_(offset)


@torch.no_grad()
def calibrate_hr(
    network: HighResolution, samples: Sequence[Sample], views: Sequence[View] = ()
) -> dict[str, float]:
    """Fit and bake the HR head's temperature and offset; return them.

    They are of the mean logit of a tile as it is and in ``views``, as the cascade asks.
    """
    set_calibration(network.head, 1.0, 0.0)
    network.eval()
    logits = []
    for tiles in still_tiles(samples, 8, "HR calibration"):
        shown = (tiles, *(view_of(tiles, one) for one in views))
        said = [network.logits(network.middle(torch.from_numpy(t)))[0] for t in shown]
        logits.append(torch.stack(said).mean(dim=0).double().numpy())
    wanted, values = np.array([one.lesion for one in samples]), np.concatenate(logits)
    with torch.enable_grad():
        temperature, offset = fit_platt(values, wanted, miss_cost=MISS_COST)
    set_calibration(network.head, temperature, offset)
    return {"hr_temperature": temperature, "hr_offset": offset}


# ---------------------------------------------------------------------------
# The slide's RNNs.

HALVINGS = 20
SMOOTHING = 0.04
"""Of labels."""
BOUNDED = {name: name for name in FIGURES} | {"auc_top5": "auc"}
"""The figure of ``FIGURES`` that each of these is; a difference of two has no own."""
PLAIN_TOP = 5
NO_FIND = np.zeros(1, np.float32)
SPOT_UM = 10_000.0
"""Spots of a slide lie that far apart: a find outranks those of its own field only."""


@dataclass(frozen=True, slots=True)
class SlideSettings:
    """What constructed slides look like and how long the RNNs see them."""

    fewest_spots: int = 4
    """Fields (or crops) of a slide: from so many to all of a group, drawn evenly in
    the logarithm."""
    lesions: tuple[int, int] = (3, 60)
    """Lesion finds of a positive slide, drawn evenly in the logarithm."""
    steps: int = 60
    """Few: the finds of the training fields are soon known by heart."""
    batch: int = 24
    rate: float = 6e-4
    seed: int = 20214


@dataclass(frozen=True, slots=True, eq=False)
class Slides:
    """Constructed slides."""

    features: NDArray[np.float32]
    """(n, 30, 2048), most suspicious first, zero rows last."""
    positive: NDArray[np.bool_]
    plain: NDArray[np.float64]
    """(n,) mean logit of the five most suspicious: a score that nothing trained."""
    decades: NDArray[np.float64]
    """(n,) log10 of the cell area in mm²."""


def construct_slide(
    pool: Pool, group: str, *, positive: bool, settings: SlideSettings, rng: Generator
) -> tuple[NDArray[np.int64], float]:
    """Return a constructed slide: its finds, most suspicious first, and cell area.

    There are at most 30 finds, and the area is in mm². The rank of near equals is
    shaken by a little noise on the logit (rearrangement).
    """
    own = pool.group == group
    spots, first = np.unique(np.where(own, pool.spot, -1), return_index=True)
    spots, first = spots[spots >= 0], first[spots >= 0]
    count = min(draw_count((settings.fewest_spots, len(spots)), rng), len(spots))
    drawn = rng.choice(len(spots), count, replace=False)
    seen = np.isin(pool.spot, spots[drawn])
    chosen = np.flatnonzero(own & seen & ~pool.lesion)
    if positive:
        lesions = np.flatnonzero(own & pool.lesion)
        size = min(draw_count(settings.lesions, rng), len(lesions))
        chosen = np.concatenate([chosen, rng.choice(lesions, size, replace=False)])
    logit = logit_of(pool.probability[chosen]) + rng.normal(0, 0.3, len(chosen))
    ranked = chosen[np.argsort(-logit)]
    places = pool.xy_um[ranked]
    places[:, 0] += pool.spot[ranked] * SPOT_UM
    apart = keep_apart(places.tolist(), apart_um=TOP_APART_UM, count=TOP_COUNT)
    return np.asarray(ranked[apart], np.int64), float(pool.cell_mm2[first[drawn]].sum())


def draw_count(bounds: tuple[int, int], rng: Generator) -> int:
    """Return a number between two, drawn evenly in the logarithm."""
    low, high = np.log(min(bounds)), np.log(max(bounds))
    return round(float(np.exp(rng.uniform(low, high))))


def logit_of(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the logit of probabilities, kept off 0 and 1."""
    clipped = np.clip(probability.astype(np.float64), 1e-5, 1 - 1e-5)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def construct_slides(
    pool: Pool, count: int, settings: SlideSettings, rng: Generator
) -> Slides:
    """Return slides, half of them positive.

    Raises:
        SourceError: no laboratory shows both lesions and normal cells.
    """
    groups = pool.groups()
    if not groups:
        raise SourceError(
            "no source has both lesions and normal cells to construct slides of; give "
            "--data sources whose splits hold both"
        )
    positive = np.arange(count) % 2 == 0
    features = np.zeros((count, TOP_COUNT, pool.features.shape[1]), np.float32)
    plain, decades = np.zeros(count), np.zeros(count)
    for number in range(count):
        rows, cell_mm2 = construct_slide(
            pool,
            groups[int(rng.integers(len(groups)))],
            positive=bool(positive[number]),
            settings=settings,
            rng=rng,
        )
        features[number, : len(rows)] = pool.features[rows]
        top = pool.probability[rows[:PLAIN_TOP]] if len(rows) else NO_FIND
        plain[number] = logit_of(top).mean()
        decades[number] = np.log10(cell_mm2)
    return Slides(features, positive, plain, decades)


def fit_rnn(pool: Pool, settings: SlideSettings) -> SlideRnn:
    """Train the six RNNs, each on its own constructed slides."""
    torch.manual_seed(settings.seed)
    network = SlideRnn(pool.features.shape[1])
    # Features are of the order of ten: the first layer starts smaller.
    scale = 1 / max(float(np.sqrt((pool.features**2).mean())), 1e-6)
    with torch.no_grad():
        for weight in network.inputs:
            weight.mul_(scale)
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.rate, weight_decay=1e-2
    )
    rng = np.random.default_rng(settings.seed)
    for step in tqdm(range(settings.steps), desc="slide RNNs", mininterval=10):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * (1 - step / settings.steps)
        loss = torch.zeros(())
        for member in range(len(network.TOP)):
            slides = construct_slides(pool, settings.batch, settings, rng)
            noise = rng.normal(1, 0.1, slides.features.shape).astype(np.float32)
            shown = torch.from_numpy(slides.features * noise)
            logits = network.logits(shown, member)
            wanted = torch.from_numpy(slides.positive.astype(np.float32))
            loss = loss + functional.binary_cross_entropy_with_logits(
                logits, wanted * (1 - SMOOTHING) + SMOOTHING / 2
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network.eval()


@torch.no_grad()
def member_logits(
    network: SlideRnn, slides: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the logits (n, 6) of slides, before calibration."""
    shown = torch.from_numpy(slides)
    members = [network.logits(shown, member) for member in range(len(network.TOP))]
    return torch.stack(members, 1).double().numpy()


def fit_members(
    logits: NDArray[np.float64], slides: Sequence[Slides]
) -> NDArray[np.float64]:
    """Return temperature, offset and slope (3, 6) so that each RNN's score fits.

    The slope is what ten times the cell area takes off; it is never below nothing.
    """
    labels = np.concatenate([one.positive for one in slides])
    decades = np.concatenate([one.decades for one in slides])
    members = []
    for column in logits.T:
        (gain, more), offset = fit_logistic(np.stack([column, decades]), labels)
        if more > 0:
            temperature, offset = fit_platt(column, labels)
            members.append((temperature, offset, 0.0))
        else:
            members.append((1 / max(gain, 0.05), offset, -more))
    return np.array(members).T


def fused(
    logits: NDArray[np.float64], slides: Slides, members: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean score (n,) of calibrated members, less what size gives."""
    temperature, offset, slope = members
    shown = logits / temperature + offset - slope * slides.decades[:, None]
    return np.asarray((1 / (1 + np.exp(-shown))).mean(axis=1), np.float64)


def calibrate_rnn(
    network: SlideRnn, unseen: Pool, count: int, settings: SlideSettings
) -> dict[str, float]:
    """Set what a score of one half means, in place; return figures of unseen slides.

    The fields are halved again and again, and ``count`` slides constructed of each
    half: what one half sets is measured on the other, and the network gets what all
    say. A figure is the mean over the halves. As random half samples of the fields,
    they spread as a figure of all fields would from one choice of fields to the next,
    so their percentiles are its interval (McCarthy 1969).

    Raises:
        SourceError: no half of the fields has both lesions and normal cells.
    """
    rng = np.random.default_rng(settings.seed + 1)
    pictures = np.unique(unseen.picture)
    seen: list[tuple[Slides, NDArray[np.float64]]] = []
    told: list[dict[str, float]] = []
    for _ in range(HALVINGS):
        first = np.isin(unseen.picture, rng.permutation(pictures)[::2])
        parts = unseen.part(first), unseen.part(~first)
        if not all(part.groups() for part in parts):
            continue
        one, other = (construct_slides(part, count, settings, rng) for part in parts)
        pair = [(half, member_logits(network, half.features)) for half in (one, other)]
        for (slides, logits), (others, known) in (pair, pair[::-1]):
            members = fit_members(known, [others])
            told.append(score_figures(slides, fused(logits, slides, members)))
        seen += pair
    if not told:
        raise SourceError(
            "the validation fields cannot be halved so that both halves show lesions "
            "and normal cells; the slide RNNs are calibrated on such halves: give "
            "--data more fields whose split column says val"
        )
    temperature, offset, slopes = fit_members(
        np.concatenate([logits for _, logits in seen]), [slides for slides, _ in seen]
    )
    network.temperature.copy_(torch.from_numpy(temperature))
    network.offset.copy_(torch.from_numpy(offset))
    fields = basis_of(unseen.picture.astype(str), unseen.lesion, ~unseen.lesion)
    taken = {f"rnn_size_slope_{n}": float(one) for n, one in enumerate(slopes)}
    return {"constructed_slides": count * len(told), **taken, **sum_up(told, fields)}


def sum_up(told: Sequence[Mapping[str, float]], fields: Basis) -> dict[str, float]:
    """Return the mean of each figure over half samples, and its interval.

    However many slides are made of them, there are only so many ``fields`` with lesions
    and with normals: no interval is narrower than one that counts them, and too few
    leave it out.
    """
    figures: dict[str, float] = {}
    for name in told[0]:
        values = np.array([one[name] for one in told])
        value = float(values.mean())
        low, high = (float(bound) for bound in np.percentile(values, [2.5, 97.5]))
        if name in BOUNDED:
            kind = FIGURES[BOUNDED[name]]
            counts = [fields.groups[place] for place in kind.classes]
            basis = Basis(tuple(counts), tuple(counts))
            low, high = wider((low, high), value, basis, kind.bounds)
        figures[f"constructed_{name}"] = value
        if np.isfinite(low):
            figures[f"constructed_{name}_low"] = low
            figures[f"constructed_{name}_high"] = high
    return figures


def score_figures(slides: Slides, scores: NDArray[np.float64]) -> dict[str, float]:
    """Return what scores (n,) of slides are worth, beside the plain score.

    Small and large slides are the thirds with the least and the most cell area: the
    scores of negative ones should be alike.
    """
    labels = slides.positive
    negative, positive = (
        np.array_split(scores[kind][np.argsort(slides.decades[kind])], 3)
        for kind in (~labels, labels)
    )
    area, plain = auc(scores, labels), auc(slides.plain, labels)
    return {
        "auc": area,
        "auc_top5": plain,
        "auc_over_top5": area - plain,
        "sensitivity": sensitivity(scores, labels),
        "specificity": specificity(scores, labels),
        "specificity_at_full_sensitivity": full_specificity(scores, labels),
        "negative_score_small": float(negative[0].mean()),
        "negative_score_large": float(negative[-1].mean()),
        "sensitivity_small": float((positive[0] >= SUSPICIOUS).mean()),
        "sensitivity_large": float((positive[-1] >= SUSPICIOUS).mean()),
    }


# ---------------------------------------------------------------------------
# What HR knows: the plane near which the features of its cells lie.

KNOWN_AXES = 16
FEWEST_KNOWN = 10 * KNOWN_AXES
"""Cells that a plane needs."""
FEWEST_OF_A_KIND = 20
"""Cells of a laboratory whose mean distance counts."""


def fit_familiar(
    features: NDArray[np.float32],
    laboratory: NDArray[np.str_],
    lesion: NDArray[np.bool_],
    *,
    left_out: Sequence[str],
) -> Familiar | None:
    """Return what (n, 2048) features of known cells have in common.

    Laboratories or slide groups are left out in turn: the farthest that the lesions or
    the normal cells of one then lie, in the mean, is still known. So another laboratory
    is as a rule let pass, and what lies farther than any is something else. None:
    there are too few cells to say.
    """
    distances = []
    for name in left_out:
        own = laboratory == name
        kinds = [features[own & (lesion == one)] for one in (False, True)]
        judged = [kind for kind in kinds if len(kind) >= FEWEST_OF_A_KIND]
        if judged and (~own).sum() >= FEWEST_KNOWN:
            others = _plane_of(features[~own], math.inf)
            distances += [others.distance(kind) for kind in judged]
    return _plane_of(features, max(distances)) if distances else None


def _plane_of(features: NDArray[np.float32], farthest: float) -> Familiar:
    mean = features.mean(axis=0)
    axes = np.linalg.svd(features - mean, full_matrices=False)[2][:KNOWN_AXES]
    plane = Familiar(mean, axes, 1.0, farthest)
    return replace(plane, usual=plane.distance(features))
