"""Training of a tile network, in stages, that survives being stopped.

A stage fixes tile size, learning rate and how much of the backbone moves. Every step's
tiles and dropout follow from (seed, step) alone, and the checkpoint holds weights,
their running mean and the optimiser, so a resumed run equals an unbroken one. Batch
normalisation keeps the start weights' statistics: with small batches of mixed sources
it would otherwise learn the mixture. The exported weights are the running mean.
"""

import copy
import csv
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from armicro.errors import EngineError
from armicro.metrics import auc
from armicro.train.checkpoint import (
    BEST,
    CHECKPOINT,
    Checkpoint,
    fill,
    flatten_optimiser,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from armicro.train.networks import HighResolution, LowResolution
from armicro.train.sample import (
    BalancedSampler,
    Batch,
    Sample,
    TilePlan,
    cut_tile,
    draw_batch,
)

# ---------------------------------------------------------------------------
# What a training run is told: its stages, and what holds for all of them.


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """One stretch of training at one setting."""

    steps: int
    plan: TilePlan
    batch: int = 16
    rate: float = 1e-4
    """AdamW learning rate of the backbone; the head's is five times that."""
    frozen: int = 2
    """How many of conv1, layer1 ... layer4 stay as they were."""
    hard_share: float = 0.0
    """Weight of mining: 0 draws evenly, 1 draws in proportion to the loss."""
    without: tuple[str, ...] = ()
    """Sources that wait for a later stage."""

    @property
    def text(self) -> str:
        """The stage in words, for the manifest; a resumed run must say the same."""
        plan = self.plan
        text = (
            f"{self.steps} steps of {self.batch} tiles {plan.tile_px} px at "
            f"{plan.um_per_px:g} µm/px, shift {plan.shift_um:g} µm, labelled by "
            f"{'its cell' if plan.by_cell else 'all lesions in it'}, rate "
            f"{self.rate:g}, first {self.frozen} layers frozen, mining "
            f"{self.hard_share:g}"
        )
        text += f", mosaics {plan.mosaic:g}" * bool(plan.mosaic)
        return text + f", without {' and '.join(self.without)}" * bool(self.without)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What holds for a whole run."""

    stages: tuple[TrainingStage, ...]
    seed: int = 20211
    mine_every: int = 50
    """Steps after which hard samples are told anew."""
    checkpoint_every: int = 50
    validate_every: int = 300
    val_tile_px: int = 128
    patience: int = 0
    """Checks without a better mean AUC after which training stops; 0: never."""
    threads: int = 0
    """CPU threads; 0 leaves torch's own choice."""
    origin: str = "random"
    """Start weights, as the manifest will name them."""
    stop_at: int | None = None
    """Step to stop at, for a trial; stages and rates stay those of a whole run."""

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def last(self) -> int:
        """The step after which training stops."""
        return self.steps if self.stop_at is None else min(self.stop_at, self.steps)

    def stage_at(self, step: int) -> tuple[int, TrainingStage]:
        """Return the stage of a step and its index."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, stage
            step -= stage.steps
        return len(self.stages) - 1, self.stages[-1]


# ---------------------------------------------------------------------------
# How a training does on cells that it never sees, and whether it still gets better.
#
# Validation tiles are cut once, without augmentation. Early stopping looks at the mean
# of the sources' AUC, so that one large source does not decide for the others.

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
        said = network.logits(tiles)
        return (said[0] if isinstance(said, tuple) else said).float()


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
    has = torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported  # noqa: SLF001
    if not any(is_supported() for is_supported in has):
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


# ---------------------------------------------------------------------------
# The fit.

HEAD_RATE_FACTOR = 5.0
WORTH_COMPILING = 100
"""Steps from which on a compiler, where there is one, saves more than it costs."""
SMOOTHING = 0.05
"""Of labels."""
MEAN_DECAY, WEIGHT_DECAY = 0.998, 0.02
FROZEN_LAYERS = ("conv1", "layer1", "layer2", "layer3", "layer4")


@dataclass(slots=True, eq=False)
class Run:
    """A training run in memory."""

    network: TileNetwork
    mean: TileNetwork
    """Running mean of the weights: what is validated and exported."""
    optimiser: torch.optim.Optimizer
    step: int = 0
    loss: float = 0.69
    """Running mean of the training loss."""
    sample_loss: dict[int, float] = field(default_factory=dict)
    """Last loss of each sample drawn, for mining."""
    patience: Patience = field(default_factory=lambda: Patience(0))
    bfloat16: bool = False
    """Arithmetic of the first start; a resumed run keeps to it."""
    origin: str = "random"
    stages: list[str] = field(default_factory=list)
    """In words."""


def fit(
    network: TileNetwork,
    sampler: BalancedSampler,
    val: Sequence[Sample],
    settings: FitSettings,
    folder: Path,
    *,
    resume: bool = False,
) -> TileNetwork:
    """Train and return the running mean of the network.

    Writes ``checkpoint.safetensors`` and ``log.csv`` under ``folder``, and with early
    stopping ``best.safetensors``, whose weights are returned.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = start_run(network.to(device), settings)
    path, best = folder / CHECKPOINT, folder / BEST
    if resume and path.exists():
        load_run(run, sampler, path)
    else:
        run.bfloat16, run.origin = bfloat16_is_fast(device.type), settings.origin
    remove_stale(folder, fresh=run.step == 0, stops_early=settings.patience > 0)
    plan = replace(settings.stages[0].plan, tile_px=settings.val_tile_px)
    val_tiles = cut_validation(val, plan)
    bar = tqdm(total=settings.last, initial=run.step, desc=folder.name, mininterval=10)
    while run.step < settings.last and not run.patience.is_out:
        take_step(run, sampler, settings)
        bar.update()
        bar.set_postfix(loss=f"{run.loss:.3f}")
        last = run.step == settings.last
        if val and (run.step % settings.validate_every == 0 or last):
            check(run, val_tiles, settings, folder)
        if run.step % settings.checkpoint_every == 0 or last or run.patience.is_out:
            write_checkpoint(path, save_run(run, sampler))
    bar.close()
    if settings.patience and best.exists():
        run.mean.load_state_dict(read_checkpoint(best).part("mean"))
    return run.mean


def start_run(network: TileNetwork, settings: FitSettings) -> Run:
    """Return a run at its first step, compiled where that pays."""
    run = Run(network, copy.deepcopy(network), make_optimiser(network))
    run.stages = [stage.text for stage in settings.stages]
    run.patience.limit = settings.patience
    if settings.last >= WORTH_COMPILING and shutil.which("c++"):
        network.backbone.compile()
    return run


def remove_stale(folder: Path, *, fresh: bool, stops_early: bool) -> None:
    """Remove what an older training left; without early stopping no best is kept."""
    names = [CHECKPOINT, "log.csv"] * fresh
    names += [BEST] * (fresh or not stops_early)
    for name in names:
        (folder / name).unlink(missing_ok=True)


def check(
    run: Run,
    val_tiles: dict[str, tuple[Tensor, Tensor]],
    settings: FitSettings,
    folder: Path,
) -> None:
    """Validate the running mean, log it, and keep the best where that is wanted."""
    scores = validate(run.mean, val_tiles, bfloat16=run.bfloat16)
    stage = settings.stage_at(run.step - 1)[0]
    facts = {"step": run.step, "stage": stage, "loss": round(run.loss, 4)}
    append_log(folder / "log.csv", facts, scores)
    if run.patience.is_best(scores) and settings.patience:
        tensors = {f"mean.{k}": v.cpu() for k, v in run.mean.state_dict().items()}
        write_checkpoint(folder / BEST, Checkpoint(tensors, facts))


def take_step(run: Run, sampler: BalancedSampler, settings: FitSettings) -> None:
    """Draw a batch, learn from it, update the running mean."""
    stage = settings.stage_at(run.step)[1]
    torch.manual_seed(settings.seed * 1_000_003 + run.step)
    rng = np.random.default_rng((settings.seed, run.step))
    if stage.hard_share and run.step % settings.mine_every == 0:
        set_difficulty(sampler, run.sample_loss, stage.hard_share)
    batch = draw_batch(sampler, stage.plan, stage.batch, rng, without=stage.without)
    freeze(run.network, stage.frozen)
    set_rate(run, stage, settings)
    losses = learn(run, batch).numpy()
    known = batch.weight > 0
    for number, loss in zip(batch.drawn[known], losses[known], strict=True):
        if number >= 0:
            run.sample_loss[int(number)] = float(loss)
    if known.any():
        run.loss = 0.98 * run.loss + 0.02 * float(losses[known].mean())
    run.step += 1
    update_mean(run)


def learn(run: Run, batch: Batch) -> Tensor:
    """Take one gradient step; return the loss of each tile."""
    device = next(run.network.parameters()).device
    wanted = torch.from_numpy(batch.lesion).to(device)
    tiles = torch.from_numpy(batch.tiles).to(device)
    logits = tile_logits(run.network, tiles, bfloat16=run.bfloat16)
    smooth = wanted * (1 - SMOOTHING) + SMOOTHING / 2
    losses = functional.binary_cross_entropy_with_logits(
        logits, smooth, torch.from_numpy(batch.weight).to(device), reduction="none"
    )
    run.optimiser.zero_grad(set_to_none=True)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.network.parameters(), 2.0)
    run.optimiser.step()
    return losses.detach().cpu()


def make_optimiser(network: TileNetwork) -> torch.optim.Optimizer:
    """Return AdamW with the backbone and the head as two groups."""
    parts = network.backbone, network.head
    groups = [{"params": list(part.parameters())} for part in parts]
    return torch.optim.AdamW(groups, lr=1e-4, weight_decay=WEIGHT_DECAY)


def set_rate(run: Run, stage: TrainingStage, settings: FitSettings) -> None:
    """Set the learning rates: 100 steps of warm-up, then half a cosine to nothing."""
    rate = stage.rate * min(1.0, (run.step + 1) / 100)
    rate *= 0.5 + 0.5 * math.cos(math.pi * run.step / settings.steps)
    backbone, head = run.optimiser.param_groups
    backbone["lr"], head["lr"] = rate, rate * HEAD_RATE_FACTOR


def freeze(network: TileNetwork, count: int) -> None:
    """Let the first layers rest, keep batch normalisation's statistics everywhere."""
    network.eval()
    network.head.train()
    for index, name in enumerate(FROZEN_LAYERS):
        for parameter in network.backbone.get_submodule(name).parameters():
            parameter.requires_grad_(index >= count)


def set_difficulty(
    sampler: BalancedSampler, losses: dict[int, float], share: float
) -> None:
    """Draw samples that were wrong more often: the paper's hard-sample mining."""
    difficulty = np.ones(len(sampler.samples))
    for number, loss in losses.items():
        difficulty[number] = 1 - share + share * min(4.0, loss / 0.35)
    sampler.difficulty = np.maximum(difficulty, 0.1)


@torch.no_grad()
def update_mean(run: Run) -> None:
    """Move the running mean towards the weights; faster at the start."""
    decay = min(MEAN_DECAY, (1 + run.step) / (10 + run.step))
    for mean, now in zip(run.mean.parameters(), run.network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def save_run(run: Run, sampler: BalancedSampler) -> Checkpoint:
    """Return the run as a checkpoint."""
    parts: dict[str, Mapping[str, Tensor]] = {
        "model": run.network.state_dict(),
        "mean": run.mean.state_dict(),
        "optimiser": flatten_optimiser(run.optimiser),
        "sampler": {"difficulty": torch.from_numpy(sampler.difficulty)},
    }
    tensors = {
        f"{part}.{key}": value.cpu()
        for part, values in parts.items()
        for key, value in values.items()
    }
    losses = {str(key): value for key, value in run.sample_loss.items()}
    facts = {"step": run.step, "loss": run.loss, "sample_loss": losses}
    waiting = {"best": run.patience.best, "waited": run.patience.waited}
    start = {"bfloat16": run.bfloat16, "origin": run.origin, "stages": run.stages}
    return Checkpoint(tensors, facts | waiting | start)


def load_run(run: Run, sampler: BalancedSampler, path: Path) -> None:
    """Continue from a checkpoint.

    Raises:
        EngineError: it is none, or is of another network or other data.
    """
    saved = read_checkpoint(path)
    facts = saved.facts
    difficulty = saved.part("sampler").get("difficulty", torch.zeros(0)).numpy()
    if len(difficulty) != len(sampler.samples):
        raise EngineError(
            f"{path}: knows {len(difficulty)} samples, the data folder has "
            f"{len(sampler.samples)}; resume with the same --data and --sources, or "
            "start anew without --resume"
        )
    begun = facts.get("stages", ["an older version's"])
    if begun != run.stages:
        raise EngineError(
            f"{path}: was begun with other stages ({'; '.join(begun)}); "
            "resume with the version of armicro that began it, or start anew without "
            "--resume"
        )
    remedy = "resume with the same --backbone, or start anew without --resume"
    fill(run.network, saved.part("model"), f"{path}", remedy)
    fill(run.mean, saved.part("mean"), f"{path}", remedy)
    restore_optimiser(run.optimiser, saved.part("optimiser"))
    sampler.difficulty = difficulty
    run.step, run.loss = int(facts["step"]), float(facts["loss"])
    run.patience.best, run.patience.waited = facts["best"], int(facts["waited"])
    run.sample_loss = {int(key): loss for key, loss in facts["sample_loss"].items()}
    run.bfloat16, run.origin = bool(facts["bfloat16"]), str(facts["origin"])
