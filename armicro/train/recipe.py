"""The shipped set's training: which data, which stages, which seeds.

The tables below are what ``armicro train`` runs and what the manifest records. Lesion
cells are told by nucleus and the cytoplasm around it, so most steps see small tiles: on
a CPU a 128-px tile costs a quarter of a 256-px one, and the global max pool accepts
both.
"""

from dataclasses import replace

from armicro.train.data import Dataset
from armicro.train.fit import FitSettings, Stage
from armicro.train.sample import (
    HR_UM_PER_PX,
    LR_UM_PER_PX,
    BalancedSampler,
    Sample,
    TilePlan,
    list_samples,
)

SOURCE_WEIGHTS = {"cric": 0.47, "sipakmed": 0.29, "herlev": 0.19, "phantom": 0.05}

FIRST_STAGES = {
    "hr": (
        Stage(300, TilePlan(128, HR_UM_PER_PX, 4.0), frozen=3),
        Stage(300, TilePlan(128, HR_UM_PER_PX, 4.0), frozen=4, hard_share=0.3),
        Stage(
            250, TilePlan(160, HR_UM_PER_PX, 8.0), frozen=4, hard_share=0.5, rate=6e-5
        ),
    ),
    "lr": (
        Stage(300, TilePlan(128, LR_UM_PER_PX, 20.0), frozen=3),
        Stage(500, TilePlan(128, LR_UM_PER_PX, 20.0), frozen=4, hard_share=0.15),
    ),
}
LAST_STAGES = {
    "hr": (
        Stage(
            450, TilePlan(160, HR_UM_PER_PX, 7.0), frozen=4, hard_share=0.4, rate=6e-5
        ),
    ),
    "lr": (
        Stage(
            100,
            TilePlan(256, LR_UM_PER_PX, 40.0, by_cell=False, mosaic=0.25),
            batch=8,
            frozen=4,
            hard_share=0.15,
            rate=6e-5,
        ),
    ),
}
"""What a set's weights go on with (``--go-on-from``). A new HR network runs both. LR's
last stage is on trial: 100 steps of it left the figures where they were, and the INT8
map of a drawn tile off by more than the engine's check allows.
"""
WHOLE = {"hr": FIRST_STAGES["hr"] + LAST_STAGES["hr"], "lr": FIRST_STAGES["lr"]}
SEEDS = {"hr": 20211, "lr": 20212}


def settings_of(
    name: str, *, going_on: bool, most_steps: int | None = None
) -> FitSettings:
    """Return the settings of a network: all stages, or the last of a set's weights.

    ``most_steps`` ends the training early, for trials.
    """
    stages = LAST_STAGES[name] if going_on else WHOLE[name]
    if most_steps is not None:
        before = [sum(one.steps for one in stages[:n]) for n in range(len(stages))]
        left = [most_steps - count for count in before]
        stages = tuple(
            replace(stage, steps=min(stage.steps, rest))
            for stage, rest in zip(stages, left, strict=True)
            if rest > 0
        )
    # Another seed than the stages that the weights have seen: other draws.
    return FitSettings(stages, seed=SEEDS[name] + 100 * going_on, validate_every=150)


MINED_WEIGHTS = {"cric": 0.42, "sipakmed": 0.26, "herlev": 0.32, "phantom": 0.04}
"""Of the annotated cells that HR's head sees beside the cascade's finds."""

FOVEA_PX = 160
"""The middle of an HR tile that the network looks at; chosen on validation cells."""

PHANTOM_TRAIN_SEEDS = tuple(range(7000, 7028))
PHANTOM_VAL_SEEDS = tuple(range(8000, 8008))

VAL_CELLS_PER_SOURCE = 160
"""Cells a source in the checks during training; the figures of the card use all."""


def training_sampler(dataset: Dataset, *, area_share: float = 0.25) -> BalancedSampler:
    """Return the balanced sampler over the training split."""
    return BalancedSampler(
        list_samples(dataset.split("train")),
        source_weights=SOURCE_WEIGHTS,
        area_share=area_share,
    )


def validation_samples(dataset: Dataset) -> list[Sample]:
    """Return a fixed, even choice of validation cells of every source."""
    chosen: list[Sample] = []
    samples = list_samples(dataset.split("val"), areas=False)
    for source in sorted({sample.source for sample in samples}):
        members = [sample for sample in samples if sample.source == source]
        stride = max(1, len(members) // VAL_CELLS_PER_SOURCE)
        chosen += members[::stride][:VAL_CELLS_PER_SOURCE]
    return chosen
