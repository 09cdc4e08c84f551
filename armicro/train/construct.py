"""Slide scoring: six RNNs trained on constructed slides.

No slide with a label is in the data folder, so slides are constructed: a number of
normal finds of one group (a stain style) and, when positive, from a handful to dozens
of lesion cells of the same group. A slide is known by the features of its most
suspicious finds, ranked by HR probability as the cascade ranks them. The paper's
rearrangement is kept: rows of a slide change places, so that the order of near equals
means little. Every figure from these slides says "constructed".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch.nn import functional
from tqdm import tqdm

from armicro.field import Pixels
from armicro.train.networks import SlideRnn
from armicro.train.sample import Sample, TilePlan, cut_tile

Look = Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""HR tiles (n, 256, 256, 3) to probability (n,) and features (n, 2048)."""

ROWS = 30
RESAMPLES = 300


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Finds that slides are made of."""

    features: NDArray[np.float32]
    """(n, 2048)"""
    probability: NDArray[np.float32]
    lesion: NDArray[np.bool_]
    group: NDArray[np.str_]

    def groups(self) -> list[str]:
        """Return the groups that have both lesions and normals."""
        names = np.unique(self.group)
        return [
            str(name)
            for name in names
            if len(set(self.lesion[self.group == name].tolist())) == 2
        ]


@dataclass(frozen=True, slots=True)
class SlideSettings:
    """What constructed slides look like and how long the RNNs see them."""

    normals: tuple[int, int] = (0, 400)
    """Normal finds of a slide, drawn evenly between."""
    lesions: tuple[int, int] = (3, 60)
    """Lesion finds of a positive slide, drawn evenly in the logarithm."""
    steps: int = 160
    batch: int = 24
    rate: float = 6e-4
    seed: int = 20214


def build_pool(
    samples: Sequence[Sample], look: Look, plan: TilePlan, seed: int
) -> Pool:
    """Look at one tile of each sample through the HR network."""
    probability, features = [], []
    for start in tqdm(range(0, len(samples), 16), desc="slide pool", mininterval=10):
        rng = np.random.default_rng((seed, start))
        part = samples[start : start + 16]
        tiles = np.stack([cut_tile(sample, plan, rng) for sample in part])
        one, many = look(tiles)
        probability.append(one)
        features.append(many)
    return Pool(
        np.concatenate(features),
        np.concatenate(probability),
        np.array([sample.lesion for sample in samples]),
        np.array([group_of(sample) for sample in samples]),
    )


def group_of(sample: Sample) -> str:
    """Return the style that a constructed slide keeps to."""
    if sample.source == "cric" or sample.source == "phantom":
        return f"{sample.source}/{sample.picture.group}"
    return sample.source


def construct_slide(
    pool: Pool, group: str, *, positive: bool, settings: SlideSettings, rng: Generator
) -> NDArray[np.float32]:
    """Return the top features (30, 2048) of a constructed slide, zero rows last.

    The rank of near equals is shaken by a little noise on the logit (rearrangement).
    """
    own = pool.group == group
    normals = np.flatnonzero(own & ~pool.lesion)
    lesions = np.flatnonzero(own & pool.lesion)
    low, high = settings.normals
    count = min(int(rng.integers(low, high + 1)), len(normals))
    chosen = rng.choice(normals, count, replace=False)
    if positive:
        few, many = np.log(settings.lesions)
        size = min(round(float(np.exp(rng.uniform(few, many)))), len(lesions))
        chosen = np.concatenate([chosen, rng.choice(lesions, size, replace=False)])
    clipped = np.clip(pool.probability[chosen], 1e-5, 1 - 1e-5)
    logit = np.log(clipped / (1 - clipped)) + rng.normal(0, 0.3, len(chosen))
    best = chosen[np.argsort(-logit)][:ROWS]
    rows = np.zeros((ROWS, pool.features.shape[1]), np.float32)
    rows[: len(best)] = pool.features[best]
    return rows


def construct_slides(
    pool: Pool, count: int, settings: SlideSettings, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return features (count, 30, 2048) and labels, half of them positive."""
    groups = pool.groups()
    labels = np.arange(count) % 2 == 0
    slides = [
        construct_slide(
            pool,
            groups[int(rng.integers(len(groups)))],
            positive=bool(label),
            settings=settings,
            rng=rng,
        )
        for label in labels
    ]
    return np.stack(slides), labels


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
            slides, labels = construct_slides(pool, settings.batch, settings, rng)
            noisy = slides * rng.normal(1, 0.1, slides.shape).astype(np.float32)
            logits = network.logits(torch.from_numpy(noisy), member)
            wanted = torch.from_numpy(labels.astype(np.float32))
            loss = loss + functional.binary_cross_entropy_with_logits(
                logits, wanted * 0.96 + 0.02
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return network.eval()


@torch.no_grad()
def score_constructed(
    network: SlideRnn, pool: Pool, count: int, settings: SlideSettings
) -> dict[str, float]:
    """Return AUC and specificity at full sensitivity on constructed slides.

    The intervals draw slides; slides of one group share cells, so they are too narrow.
    """
    rng = np.random.default_rng(settings.seed + 1)
    slides, labels = construct_slides(pool, count, settings, rng)
    scores = network(torch.from_numpy(slides)).mean(1).numpy()
    drawn = [rng.integers(0, count, count) for _ in range(RESAMPLES)]
    figures = {}
    for name, figure in (
        ("constructed_auc", roc_auc_score),
        ("constructed_specificity_at_full_sensitivity", full_specificity),
    ):
        values = [figure(labels[rows], scores[rows]) for rows in drawn]
        low, high = np.percentile(values, [2.5, 97.5])
        figures[name] = float(figure(labels, scores))
        figures[f"{name}_low"], figures[f"{name}_high"] = float(low), float(high)
    return figures | {"constructed_slides": count}


def full_specificity(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """Return the share of negative slides below the lowest positive one."""
    return float((scores[~labels] < scores[labels].min()).mean())
