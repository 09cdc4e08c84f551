"""What each strategy is worth: short HR trainings that differ in one switch at a time.

Rows add up. All start from the same weights and see the same number of tiles, few
enough for a CPU, with only the last stage of the backbone moving: they rank the
switches, they do not reach the shipped network's figures. Sources that a row never
trained on are another laboratory to it, so their columns say what generalises.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armicro.train.data import Dataset
from armicro.train.fit import FitSettings, Stage, fit
from armicro.train.recipe import SOURCE_WEIGHTS, validation_samples
from armicro.train.sample import (
    HR_UM_PER_PX,
    BalancedSampler,
    TilePlan,
    list_samples,
)
from armicro.train.watch import TileNetwork, cut_validation, validate

PLAN = TilePlan(128, HR_UM_PER_PX, 4.0)
ONE_SOURCE = "cric"


@dataclass(frozen=True, slots=True)
class Row:
    """One training of the table."""

    name: str
    augmented: bool = True
    balanced: bool = True
    hard_share: float = 0.0
    all_sources: bool = False


ROWS = (
    Row("plain: one source, as it comes", augmented=False, balanced=False),
    Row("+ augmentation", balanced=False),
    Row("+ balancing"),
    Row("+ mining", hard_share=0.5),
    Row("+ further sources", hard_share=0.5, all_sources=True),
)


def run_ablation(
    dataset: Dataset, start: Callable[[], TileNetwork], out: Path, *, steps: int
) -> list[dict[str, Any]]:
    """Train each row in its folder under ``out``; return and write the table.

    A row whose figures are there already is not trained again.
    """
    table = []
    for number, row in enumerate(ROWS):
        folder = out / f"row{number}"
        done = folder / "figures.json"
        if not done.exists():
            figures = train_row(row, dataset, start(), folder, steps=steps)
            done.write_text(json.dumps(figures), "utf-8")
        table.append(json.loads(done.read_text("utf-8")))
    (out / "ablation.json").write_text(json.dumps(table, indent=2), "utf-8")
    return table


def train_row(
    row: Row, dataset: Dataset, network: TileNetwork, folder: Path, *, steps: int
) -> Mapping[str, Any]:
    """Train one row and return its AUC on every source's validation cells."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [
        sample
        for sample in list_samples(dataset.split("train"))
        if row.all_sources or sample.source == ONE_SOURCE
    ]
    sampler = BalancedSampler(
        samples, source_weights=SOURCE_WEIGHTS, balanced=row.balanced
    )
    plan = replace(PLAN, augmented=row.augmented)
    stage = Stage(steps, plan, frozen=5, hard_share=row.hard_share, rate=2e-4)
    settings = FitSettings((stage,), checkpoint_every=steps, validate_every=steps)
    val = validation_samples(dataset)
    trained = fit(network, sampler, val, settings, folder)
    scores = validate(trained, cut_validation(val, PLAN))
    return {"row": row.name, "steps": steps} | {
        f"auc_{source}": round(value, 4) for source, value in scores.items()
    }
