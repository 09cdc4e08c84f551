"""Hard-sample mining for HR: its head learns from what the LR network hands over.

An annotated normal cell is mostly an easy one; what HR must tell apart are the places
that LR took for lesions, seldom centred. Training draws them among the cells
(``found``); at its end the head alone is fitted again on features of such finds in the
training fields, which now weigh more than annotated cells of every source. The backbone
rests, and each tile is looked at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional

from armicro.train.finds import Pool
from armicro.train.networks import Head


@dataclass(frozen=True, slots=True)
class MineSettings:
    """How the head is fitted again."""

    share: float = 0.8
    """Of finds in a batch; the rest are annotated cells."""
    weights: Mapping[str, float] | None = None
    """Of the annotated cells' sources; None: the same for each."""
    steps: int = 400
    batch: int = 64
    rate: float = 5e-4
    smoothing: float = 0.05
    noise: float = 0.1
    """Relative, on every feature."""
    seed: int = 20216


def fit_head(head: Head, finds: Pool, cells: Pool, settings: MineSettings) -> None:
    """Fit a trained head again, in place."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    chances = even_chances(finds, None), even_chances(cells, settings.weights)
    hard = round(settings.batch * settings.share)
    counts = hard, settings.batch - hard
    optimiser = torch.optim.AdamW(head.parameters(), settings.rate, weight_decay=0.02)
    smooth = settings.smoothing
    head.train()
    for _ in range(settings.steps):
        drawn = [
            draw(pool, chance, count, rng)
            for pool, chance, count in zip((finds, cells), chances, counts, strict=True)
        ]
        # A smaller backbone's features are followed by zeros.
        features = np.concatenate([one for one, _ in drawn])[:, : head.features]
        features = features * rng.normal(1, settings.noise, features.shape)
        wanted = torch.from_numpy(np.concatenate([two for _, two in drawn]))
        shown = torch.from_numpy(features.astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(
            head(shown[:, :, None, None])[:, 0, 0],
            wanted * (1 - smooth) + smooth / 2,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    head.eval()


def draw(
    pool: Pool, chance: NDArray[np.float64], count: int, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features (count, n) and labels (count,) of drawn finds."""
    rows = rng.choice(len(chance), count, p=chance)
    return pool.features[rows], pool.lesion[rows].astype(np.float32)


def even_chances(
    pool: Pool, weights: Mapping[str, float] | None
) -> NDArray[np.float64]:
    """Return chances (n,): lesions a half, and of each half a source by its weight."""
    sources = np.array([name.split("/")[0] for name in pool.group])
    chance = np.zeros(len(sources))
    for source in np.unique(sources):
        weight = 1.0 if weights is None else weights.get(str(source), 0.1)
        for lesion in (False, True):
            members = (sources == source) & (pool.lesion == lesion)
            chance[members] = weight / max(1, int(members.sum()))
    for lesion in (False, True):
        half = pool.lesion == lesion
        if half.any():
            chance[half] /= chance[half].sum()
    return np.asarray(chance / chance.sum(), np.float64)
