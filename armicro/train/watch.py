"""How a training does on cells that it never sees, and whether it still gets better.

Validation tiles are cut once, without augmentation. Early stopping looks at the mean of
the sources' AUC, so that one large source does not decide for the others.
"""

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from armicro.metrics import auc
from armicro.train.networks import HighResolution, LowResolution
from armicro.train.sample import Sample, TilePlan, cut_tile

TileNetwork = HighResolution | LowResolution
LEAST_GAIN = 0.001
"""AUC by which the best must be beaten to count as better."""


@dataclass(slots=True)
class Patience:
    """Early stopping: how many checks in a row brought nothing new."""

    limit: int
    """Checks to wait; 0 never stops."""
    best: float = 0.0
    waited: int = 0

    def is_best(self, scores: Mapping[str, float]) -> bool:
        """Take a check's AUC by source; say whether their mean is a new best.

        >>> patience = Patience(limit=2)
        >>> patience.is_best({"a": 0.9, "b": 0.7}), patience.is_best({"a": 0.8})
        (True, False)
        >>> patience.is_out, patience.is_best({"a": 0.7}), patience.is_out
        (False, False, True)
        """
        mean = float(np.mean(list(scores.values()))) if scores else 0.0
        better = mean > self.best + LEAST_GAIN
        self.best = mean if better else self.best
        self.waited = 0 if better else self.waited + 1
        return better

    @property
    def is_out(self) -> bool:
        """Whether training should stop."""
        return 0 < self.limit <= self.waited


def tile_logits(
    network: TileNetwork, tiles: Tensor, *, bfloat16: bool | None = None
) -> Tensor:
    """Return logits (n,) of tiles of any size, in bf16 or not; None: the faster."""
    with fast_arithmetic(tiles.device.type, bfloat16=bfloat16):
        if isinstance(network, HighResolution):
            return network.logits(tiles)[0].float()
        return network.logits(tiles).float()


def fast_arithmetic(device: str, *, bfloat16: bool | None = None) -> torch.autocast:
    """Return a context in which convolutions run in bf16 or not; None: the faster."""
    fast = bfloat16_is_fast(device) if bfloat16 is None else bfloat16
    return torch.autocast(device, torch.bfloat16, enabled=fast)


@cache
def bfloat16_is_fast(device: str) -> bool:
    """Say whether bf16 is faster than fp32 here: on GPUs, and on CPUs that show it.

    AVX512-BF16 doubles the speed of some CPUs and costs others a third, so a CPU that
    has it, or tile registers (AMX), is asked: a little training is timed in both.
    """
    if device != "cpu":
        return True
    instructions = (
        torch.cpu._is_avx512_bf16_supported(),  # noqa: SLF001
        torch.cpu._is_amx_tile_supported(),  # noqa: SLF001
    )
    if not any(instructions):
        return False
    return 1.2 * training_time(bfloat16=True) < training_time(bfloat16=False)


@torch.enable_grad()
def training_time(*, bfloat16: bool) -> float:
    """Return the seconds of a forward and backward pass of a middling convolution."""
    layer = torch.nn.Conv2d(256, 256, 3, padding=1)
    maps = torch.randn(8, 256, 16, 16).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            out = layer(maps)
        out.float().mean().backward()
        times.append(time.perf_counter() - start)
    return min(times)


def cut_validation(
    val: Sequence[Sample], plan: TilePlan
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return tiles and labels by source, cut without augmentation."""
    still = TilePlan(plan.tile_px, plan.um_per_px, 0.0, augmented=False)
    rng = np.random.default_rng(0)
    sources: dict[str, list[Sample]] = {}
    for sample in val:
        sources.setdefault(sample.source, []).append(sample)
    return {
        source: (
            torch.from_numpy(np.stack([cut_tile(s, still, rng) for s in members])),
            torch.tensor([float(s.lesion) for s in members]),
        )
        for source, members in sources.items()
    }


def validate(
    network: TileNetwork,
    sources: dict[str, tuple[Tensor, Tensor]],
    *,
    bfloat16: bool | None = None,
) -> dict[str, float]:
    """Return the AUC on each source that shows both classes."""
    return {
        source: auc(
            logits_of(network, tiles, bfloat16=bfloat16), wanted.numpy().astype(bool)
        )
        for source, (tiles, wanted) in sources.items()
        if 0 < wanted.mean() < 1
    }


@torch.no_grad()
def logits_of(
    network: TileNetwork, tiles: Tensor, *, bfloat16: bool | None = None
) -> NDArray[np.float64]:
    """Return logits (n,) of many tiles."""
    network.eval()
    device = next(network.parameters()).device
    parts = [
        tile_logits(network, part.to(device), bfloat16=bfloat16)
        for part in torch.split(tiles, 16)
    ]
    return torch.cat(parts).double().cpu().numpy()


def append_log(
    path: Path, facts: Mapping[str, Any], scores: Mapping[str, float]
) -> None:
    """Add a row to the CSV log."""
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow([*facts, *(f"auc_{name}" for name in scores), "unix_s"])
        aucs = [round(value, 4) for value in scores.values()]
        writer.writerow([*facts.values(), *aucs, int(time.time())])
