"""Trials that choices rest on: unseen laboratories, narrow views, one to beat."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from armicro.cascade.tile import view_of
from armicro.console import json_text
from armicro.engine.manifest import VIEWS
from armicro.errors import SourceError
from armicro.file import write_whole, written
from armicro.metrics import Judged, auc, interval, judge, sensitivity_at
from armicro.train.assemble import features_of, look_through
from armicro.train.checkpoint import CHECKPOINT, read_checkpoint
from armicro.train.data import Dataset
from armicro.train.export import export_onnx
from armicro.train.fit import (
    FitSettings,
    TileNetwork,
    TrainingStage,
    cut_validation,
    fit,
    logits_of,
    validate,
)
from armicro.train.networks import HighResolution, load_backbone
from armicro.train.recipe import FOVEA_PX, SOURCE_WEIGHTS
from armicro.train.sample import (
    AREA_CATEGORY,
    BalancedSampler,
    Sample,
    TilePlan,
    groups_of,
    list_samples,
    spread,
)
from armicro.verdict import HR_UM_PER_PX

# ---------------------------------------------------------------------------
# What each choice of HR's recipe is worth on laboratories and stains never seen.
#
# Rows differ from the first in one switch, the last is the recipe that is shipped. Each
# row is trained without one group at a time (a laboratory, or a slide group of one),
# and scored on all groups that this training never saw; nothing is chosen on a group
# that took part. All start from the same weights and see the same number of tiles, few
# enough for a CPU: the rows rank the switches, they do not reach the shipped figures.

ONE_SOURCE = "cric"
TILE_PX, MIDDLE_PX = 256, 160
"""The whole HR tile, and the part of it that the shipped network looks at."""
SHIFT_UM = 3.4
JUDGED = 400
"""Cells of a group that are scored, evenly spread over it."""
FALSE_SHARE = 0.01
"""Share of normal cells called at the operating point of a slide that is read for
rare lesions."""
RESAMPLES = 300
Logits = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Study:
    """What is trained: each row without each group, with each seed."""

    rows: Sequence[str]
    left_out: Sequence[str]
    steps: int
    seeds: Sequence[int] = (20211,)


@dataclass(frozen=True, slots=True)
class Row:
    """One choice of a recipe."""

    name: str
    tile_px: int = MIDDLE_PX
    frozen: int = 0
    hard_share: float = 0.0
    all_sources: bool = True
    areas: bool = False
    """Learn from places far from every lesion too."""

    def settings(self, steps: int, seed: int) -> FitSettings:
        """Return the training that this row is."""
        plan = TilePlan(self.tile_px, HR_UM_PER_PX, SHIFT_UM)
        stage = TrainingStage(
            steps, plan, frozen=self.frozen, hard_share=self.hard_share
        )
        return FitSettings((stage,), seed, mine_every=10, checkpoint_every=25)

    def takes(self, sample: Sample) -> bool:
        """Whether a sample is of those that this row learns from."""
        known = self.all_sources or sample.source == ONE_SOURCE
        return known and (self.areas or sample.category != AREA_CATEGORY)


ROWS: Mapping[str, Row] = {
    "plain": Row("the middle of a tile, all sources, all layers move"),
    "whole": Row("whole tiles", tile_px=TILE_PX),
    "one": Row("one source", all_sources=False),
    "frozen": Row("first two layers frozen", frozen=2),
    "mining": Row("hard samples more often", hard_share=0.3),
    "areas": Row("places far from lesions too", areas=True),
    "shipped": Row("the last three", frozen=2, hard_share=0.3, areas=True),
}


def run_ablation(
    dataset: Dataset,
    start: Callable[[], TileNetwork],
    out: Path,
    study: Study,
) -> list[dict[str, Any]]:
    """Train each row without each group, with each seed; return and write the table.

    A training that was stopped goes on from its checkpoint, and one whose logits are
    there is not run again; other start weights want another folder.

    Raises:
        SourceError: there is no such row or group.
    """
    samples = list_samples(dataset)
    known = {group for one in samples for group in groups_of(one)}
    for what, asked, there in (
        ("row", study.rows, ROWS),
        ("group", study.left_out, known),
    ):
        if missing := sorted(set(asked) - set(there)):
            raise SourceError(
                f"no {what} {', '.join(missing)}; there are {', '.join(sorted(there))}"
            )
    table: list[dict[str, Any]] = []
    runs: dict[str, list[Logits]] = {}
    for seed, name, group in product(study.seeds, study.rows, study.left_out):
        row = ROWS[name]
        used = row.settings(study.steps, seed)
        train = [s for s in samples if row.takes(s) and group not in groups_of(s)]
        folder = out / f"{name}-steps{study.steps}-{key_of(train, used)}"
        done = folder / "logits.npz"
        if not done.exists():
            train_row(train, unseen(samples, train), start(), folder, used)
        runs.setdefault(name, []).append(dict(np.load(done)))
        table = judge_rows(runs, samples)
        write_whole(out / "ablation.json", json_text(table).encode())
    return table


def unseen(
    samples: Sequence[Sample], train: Sequence[Sample]
) -> dict[str, list[Sample]]:
    """Return the judged cells of each group of which a training saw no picture."""
    seen = {id(one.picture) for one in train}
    held: dict[str, list[Sample]] = {}
    for one in samples:
        if one.category != AREA_CATEGORY:
            # The narrowest group: a laboratory is the sum of its slide groups.
            held.setdefault(groups_of(one)[-1], []).append(one)
    chosen = {
        group: spread(own, JUDGED)
        for group, own in held.items()
        if not any(id(one.picture) in seen for one in own)
    }
    both = {False, True}
    return {g: own for g, own in chosen.items() if {s.lesion for s in own} == both}


def key_of(samples: Sequence[Sample], settings: FitSettings) -> str:
    """Return what tells a training from one of other samples or settings."""
    told = [(s.source, s.category, s.lesion, s.group, s.point_px) for s in samples]
    return hashlib.sha256(repr((told, settings)).encode()).hexdigest()[:8]


def train_row(
    train: Sequence[Sample],
    held: Mapping[str, Sequence[Sample]],
    network: TileNetwork,
    folder: Path,
    settings: FitSettings,
) -> None:
    """Train one row and write its logits on the cells of each group held out."""
    folder.mkdir(parents=True, exist_ok=True)
    sampler = BalancedSampler(train, source_weights=SOURCE_WEIGHTS)
    trained = fit(network, sampler, (), settings, folder, resume=True)
    saved = read_checkpoint(folder / CHECKPOINT)
    # So short a training's running mean still remembers its start.
    trained.load_state_dict(saved.part("model"))
    plan = settings.stages[0].plan
    logits = {}
    for group, own in held.items():
        alone = [replace(one, source=group) for one in own]
        tiles = cut_validation(alone, plan)[group][0]
        logits[group] = views_of(trained, tiles)
    with written(folder / "logits.npz") as file:
        np.savez(file, **logits)  # type: ignore[arg-type]
    (folder / CHECKPOINT).unlink()


def views_of(network: TileNetwork, tiles: Tensor) -> NDArray[np.float64]:
    """Return the logits (views, n) of tiles in each of their views."""
    shown = [tiles, *(torch.from_numpy(view_of(tiles.numpy(), one)) for one in VIEWS)]
    return np.stack([logits_of(network, one) for one in shown])


def judge_rows(
    runs: Mapping[str, Sequence[Logits]], samples: Sequence[Sample]
) -> list[dict[str, Any]]:
    """Return, for each row and group never seen, AUC and recall at few false calls.

    ``auc_gain`` is the difference to the first row on the same cells; its 95 % interval
    draws whole fields or cases. Figures are means over the trainings of a row that
    never saw the group. A second row says what the mean logit of all views does.
    """
    first = next(iter(runs))
    cells = unseen(samples, ())
    table = []
    for name, own in runs.items():
        for group in cells:
            told = [run[group] for run in own if group in run]
            plain = [run[group] for run in runs[first] if group in run]
            if not (told and plain):
                continue
            one, first_one = np.array(told), np.array(plain)[:, 0]
            for views, scores in (("plain", one[:, 0]), ("all", one.mean(axis=1))):
                row = {"row": name, "group": group, "trainings": len(told)}
                figures = judge_row(scores, first_one, cells[group])
                table.append(row | {"views": views} | figures)
    return table


def judge_row(
    scores: NDArray[np.float64], plain: NDArray[np.float64], cells: Sequence[Sample]
) -> dict[str, Any]:
    """Return the figures of (trainings, n) logits against those of the first row.

    The bounds are None where the cells are of too few fields or cases.
    """
    lesion = np.array([one.lesion for one in cells])
    group = np.array([one.group for one in cells])

    def gain(rows: NDArray[np.int64]) -> float:
        lesions = lesion[rows]
        return mean_auc(scores[:, rows], lesions) - mean_auc(plain[:, rows], lesions)

    low, high = interval(gain, group, resamples=RESAMPLES)
    figures = {
        "auc": mean_auc(scores, lesion),
        "recall_at_1_percent": float(
            np.mean([sensitivity_at(one, lesion, FALSE_SHARE) for one in scores])
        ),
        "auc_gain": gain(np.arange(len(cells))),
        "auc_gain_low": low,
        "auc_gain_high": high,
    }
    return {
        name: round(value, 4) if np.isfinite(value) else None
        for name, value in figures.items()
    }


def mean_auc(scores: NDArray[np.float64], lesion: NDArray[np.bool_]) -> float:
    """Return the mean over trainings of the AUC of (trainings, n) scores."""
    return float(np.mean([auc(score, lesion) for score in scores]))


# ---------------------------------------------------------------------------
# How much of an HR tile should the network look at? A table of AUC by view.
#
# A global max pool does not know where in a tile a lesion lies, so in a crowd a wide
# view lights up for neighbours; a narrow one cuts cytoplasm off. ``armicro train
# fovea`` judges the trained network on validation cells at several views.

VIEWS_PX = (96, 128, 160, 192, 256)


def measure_fovea(
    network: HighResolution, val: Sequence[Sample], out: Path
) -> list[dict[str, Any]]:
    """Return and write the AUC of each source at each view."""
    table: list[dict[str, Any]] = []
    for view_px in VIEWS_PX:
        tiles = cut_validation(val, TilePlan(view_px, HR_UM_PER_PX, 0.0))
        scores = validate(network, tiles)
        table.append(
            {"view_px": view_px, "cells": len(val)}
            | {f"auc_{name}": round(value, 4) for name, value in scores.items()}
        )
        write_whole(out / "fovea.json", json_text(table).encode())
    return table


# ---------------------------------------------------------------------------
# The reference to beat: ImageNet features of the same tiles and a logistic regression.
#
# Same cells, same tiles, same held-out split as the HR network; only the features were
# never trained on a cell. ``armicro train baseline`` writes ``OUT/baseline.json``: for
# each source the figures of ``armicro validate``, with 95 % intervals, so that the two
# stand side by side.

REGULARISATION = 0.001
"""C of the regression: 2,048 features, a few thousand cells."""


def measure_baseline(
    dataset: Dataset, weights: Path, *, backbone: str
) -> dict[str, Any]:
    """Return under ``sources`` what each source's validation cells say."""
    network = HighResolution(backbone, fovea_px=FOVEA_PX)
    load_backbone(network.backbone, read_checkpoint(weights).tensors)
    look = look_through(export_onnx(network))
    train = list_samples(dataset.split("train"), areas=False)
    val = list_samples(dataset.split("val"), areas=False)
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=300),
    )
    model.fit(features_of(train, look), [sample.lesion for sample in train])
    score = model.predict_proba(features_of(val, look))[:, 1]
    source = np.array([sample.source for sample in val])
    lesion = np.array([sample.lesion for sample in val])
    group = np.array([sample.group for sample in val])
    judged = Judged(score, lesion, group, source)
    return {
        "method": "ImageNet features, logistic regression",
        "sources": {
            name: judge(judged.take(source == name))
            for name in sorted(set(source.tolist()))
        },
    }
