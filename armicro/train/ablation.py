"""What each strategy is worth: short HR trainings that differ in one switch at a time.

Rows add up. All start from the same weights and see the same number of tiles, few
enough for a CPU, with only the last stage of the backbone moving: they rank the
switches, they do not reach the shipped network's figures. Sources that a row never
trained on are another laboratory to it, so their columns say what generalises.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armicro.metrics import auc, interval
from armicro.train.checkpoint import CHECKPOINT, read_checkpoint
from armicro.train.data import Dataset
from armicro.train.fit import fit
from armicro.train.recipe import SOURCE_WEIGHTS, validation_samples
from armicro.train.sample import BalancedSampler, Sample, TilePlan, list_samples
from armicro.train.stage import FitSettings, Stage
from armicro.train.watch import TileNetwork, cut_validation, logits_of
from armicro.verdict import HR_UM_PER_PX

PLAN = TilePlan(128, HR_UM_PER_PX, 4.0)
ONE_SOURCE = "cric"
RESAMPLES = 300
Logits = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; a training, or another set of weights of the last one."""

    name: str
    augmented: bool = True
    balanced: bool = True
    hard_share: float = 0.5
    stain: bool = True
    fade: bool = True
    all_sources: bool = True
    smoothing: float = 0.05
    found: bool = False
    """Learn from what LR took for lesions too."""
    mean: bool = False
    """Judge the running mean of the weights instead of the last ones."""


ROWS = (
    Row("plain: one source, as it comes", False, False, 0, False, False, False, 0),
    Row("+ augmentation in HSV and RGB", True, False, 0, False, False, False, 0),
    Row("+ balancing", True, True, 0, False, False, False, 0),
    Row("+ mining", True, True, 0.5, False, False, False, 0),
    Row("+ stain mixing", True, True, 0.5, True, False, False, 0),
    Row("+ fading of colour", True, True, 0.5, True, True, False, 0),
    Row("+ further sources", smoothing=0),
    Row("+ label smoothing"),
    Row("+ what LR found", found=True),
    Row("+ running mean of the weights", found=True, mean=True),
)


def run_ablation(
    dataset: Dataset,
    found: Sequence[Sample],
    start: Callable[[], TileNetwork],
    out: Path,
    *,
    steps: int,
    seeds: Sequence[int] = (20211,),
) -> list[dict[str, Any]]:
    """Train each row with each seed under ``out``; return and write the table.

    A training of these samples and settings whose logits are there already is not run
    again; other start weights want another folder.
    """
    samples, val = list_samples(dataset.split("train")), validation_samples(dataset)
    table = []
    for row in ROWS:
        runs = []
        for seed in seeds:
            # The mean belongs to the very training of the row above it.
            name = replace_mean(row).name.split(":")[0].strip("+ ").replace(" ", "-")
            used = row_settings(row, steps, seed)
            train = [*samples, *(found if row.found else ())]
            key = key_of([*train, *val], used)
            folder = out / f"{name}-steps{steps}-seed{seed}-{key}"
            done = folder / ("mean.npz" if row.mean else "last.npz")
            if not done.exists():
                train_row(replace_mean(row), train, val, start(), folder, used)
            runs.append(dict(np.load(done)))
        table.append({"row": row.name, "steps": steps, "seeds": len(seeds)})
        table[-1] |= judge_row(runs, val)
        (out / "ablation.json").write_text(json.dumps(table, indent=2), "utf-8")
    return table


def key_of(samples: Sequence[Sample], settings: FitSettings) -> str:
    """Return what tells a training from one of other samples or settings."""
    told = [
        (one.source, one.category, one.lesion, one.group, one.point_px)
        for one in samples
    ]
    return hashlib.sha256(repr((told, settings)).encode()).hexdigest()[:8]


def replace_mean(row: Row) -> Row:
    """Return the row of whose training this one's weights are."""
    return next(one for one in ROWS if replace(row, name=one.name, mean=False) == one)


def row_settings(row: Row, steps: int, seed: int) -> FitSettings:
    """Return a row's settings."""
    plan = replace(PLAN, augmented=row.augmented, stain=row.stain, fade=row.fade)
    stage = Stage(steps, plan, frozen=5, hard_share=row.hard_share, rate=2e-4)
    return FitSettings(
        (stage,), seed, row.smoothing, mine_every=10, checkpoint_every=steps
    )


def train_row(
    row: Row,
    train: Sequence[Sample],
    val: Sequence[Sample],
    network: TileNetwork,
    folder: Path,
    settings: FitSettings,
) -> None:
    """Train one row and write its logits on every source's validation cells."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        sample for sample in train if row.all_sources or sample.source == ONE_SOURCE
    ]
    sampler = BalancedSampler(
        samples, source_weights=SOURCE_WEIGHTS, balanced=row.balanced
    )
    trained = fit(network, sampler, (), settings, folder)
    tiles = cut_validation(val, PLAN)
    saved = read_checkpoint(folder / CHECKPOINT)
    wanted = {"model": "last"}
    if any(one.mean and replace_mean(one) == row for one in ROWS):
        wanted["mean"] = "mean"
    for part, name in wanted.items():
        trained.load_state_dict(saved.part(part))
        found = {key: logits_of(trained, own[0]) for key, own in tiles.items()}
        np.savez(folder / f"{name}.npz", **found)  # type: ignore[arg-type]
    (folder / CHECKPOINT).unlink()


def judge_row(runs: Sequence[Logits], val: Sequence[Sample]) -> dict[str, float]:
    """Return each source's AUC, the seeds' mean, with a 95 % interval over groups."""
    figures = {}
    for source in runs[0]:
        own = [sample for sample in val if sample.source == source]
        lesion = np.array([sample.lesion for sample in own])
        scores = np.array([run[source] for run in runs])
        low, high = auc_interval(scores, lesion, [sample.group for sample in own])
        figures[f"auc_{source}"] = round(mean_auc(scores, lesion), 4)
        figures[f"auc_{source}_low"] = round(low, 4)
        figures[f"auc_{source}_high"] = round(high, 4)
    return figures


def mean_auc(scores: NDArray[np.float64], lesion: NDArray[np.bool_]) -> float:
    """Return the mean over seeds of the AUC of (seeds, n) scores."""
    return float(np.mean([auc(score, lesion) for score in scores]))


def auc_interval(
    scores: NDArray[np.float64], lesion: NDArray[np.bool_], groups: Sequence[str]
) -> tuple[float, float]:
    """Return the 95 % interval of the mean AUC by drawing whole groups."""
    return interval(
        lambda rows: mean_auc(scores[:, rows], lesion[rows]),
        np.array(groups),
        resamples=RESAMPLES,
    )
