"""The location branch: trained after the LR classifier, whose backbone stays frozen.

Since the backbone does not move, its stride-32 maps are computed once and kept (half
precision); an epoch over them takes seconds. The target is soft: a cell of the map
counts by its distance from the nearest lesion nucleus, so that the peak lies on the
nucleus and a nucleus on a border between cells pulls both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from armicro.train.batch import draw_batch
from armicro.train.networks import LowResolution
from armicro.train.sample import LR_UM_PER_PX, BalancedSampler, TilePlan
from armicro.train.watch import fast_arithmetic

STRIDE_PX = 32
SIGMA_PX = 16.0
"""7.8 µm: about a nucleus."""


@dataclass(frozen=True, slots=True)
class LocationSettings:
    """How the branch is trained."""

    tiles: int = 2400
    tile_px: int = 256
    mosaic: float = 0.25
    epochs: int = 12
    batch: int = 32
    rate: float = 1e-3
    lesion_weight: float = 4.0
    """Weight of lesion cells in the loss: they are few."""
    seed: int = 20213


def location_target(
    lesions_px: NDArray[np.float64], tile_px: int
) -> NDArray[np.float32]:
    """Return (h, w) 0-1: how surely a cell of the map holds a lesion nucleus.

    The cell nearest to a nucleus gets 1, its neighbours fall off as a Gaussian.

    >>> location_target(np.array([[48.0, 16.0]]), 96).argmax()
    np.int64(1)
    """
    cells = tile_px // STRIDE_PX
    centres = (np.arange(cells) + 0.5) * STRIDE_PX - 0.5
    target = np.zeros((cells, cells), np.float32)
    inside = ((lesions_px >= 0) & (lesions_px < tile_px)).all(axis=1)
    for x, y in lesions_px[inside]:
        squared = (centres[None, :] - x) ** 2 + (centres[:, None] - y) ** 2
        near = np.exp(-(squared - squared.min()) / (2 * SIGMA_PX**2))
        target = np.maximum(target, near.astype(np.float32))
    return target


@torch.no_grad()
def collect_maps(
    network: LowResolution,
    sampler: BalancedSampler,
    settings: LocationSettings,
    *,
    bfloat16: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Return features (n, 2048, h, w) half precision and targets (n, h, w)."""
    network.eval()
    shift_um = settings.tile_px * LR_UM_PER_PX / 3
    plan = TilePlan(
        settings.tile_px,
        LR_UM_PER_PX,
        shift_um,
        by_cell=not settings.mosaic,
        mosaic=settings.mosaic,
    )
    maps, targets = [], []
    for start in tqdm(
        range(0, settings.tiles, 8), desc="location maps", mininterval=10
    ):
        rng = np.random.default_rng((settings.seed, start))
        batch = draw_batch(sampler, plan, 8, rng)
        tiles = torch.from_numpy(batch.tiles)
        with fast_arithmetic(tiles.device.type, bfloat16=bfloat16):
            maps.append(network.backbone(network.normalise(tiles)).half())
        targets += [location_target(places, plan.tile_px) for places in batch.places]
    return torch.cat(maps), torch.from_numpy(np.stack(targets))


def fit_location(
    network: LowResolution, maps: Tensor, targets: Tensor, settings: LocationSettings
) -> list[float]:
    """Train the branch in place; return the loss of each epoch."""
    torch.manual_seed(settings.seed)
    branch: nn.Module = network.location
    branch.train()
    optimiser = torch.optim.AdamW(branch.parameters(), settings.rate, weight_decay=1e-3)
    steps = settings.epochs * -(-len(maps) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=steps
    )
    history = []
    for _ in tqdm(range(settings.epochs), desc="location branch", mininterval=10):
        losses = []
        for part in torch.split(torch.randperm(len(maps)), settings.batch):
            loss = location_loss(branch(maps[part].float()), targets[part], settings)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        history.append(float(np.mean(losses)))
    branch.eval()
    return history


def location_loss(
    logits: Tensor, targets: Tensor, settings: LocationSettings
) -> Tensor:
    """Return the cross-entropy of (n, 2, h, w) logits with soft targets (n, h, w)."""
    difference = logits[:, 1] - logits[:, 0]
    weight = 1 + targets * (settings.lesion_weight - 1)
    return functional.binary_cross_entropy_with_logits(
        difference, targets, weight=weight
    )
