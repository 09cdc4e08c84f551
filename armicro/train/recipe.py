"""The shipped set's training: which data, which stages, which seeds.

The tables below are what ``armicro train`` runs and what the manifest records. LR comes
first, since HR's last stage also sees what LR hands over. A lesion cell is told by its
nucleus and the cytoplasm around it, so most steps see small tiles; the global max pool
accepts any size.
"""

from collections.abc import Sequence

from armicro.train.data import Dataset
from armicro.train.finds import FOUND
from armicro.train.fit import FitSettings, TrainingStage
from armicro.train.sample import (
    LR_UM_PER_PX,
    BalancedSampler,
    Sample,
    TilePlan,
    list_samples,
)
from armicro.verdict import HR_UM_PER_PX

SOURCE_WEIGHTS = {
    "cric": 0.47,
    "sipakmed": 0.29,
    "herlev": 0.19,
    "phantom": 0.05,
    FOUND: 0.5,
}
"""Relative; what the cascade found is a third where it takes part."""

STAGES = {
    "lr": (
        TrainingStage(
            1400, TilePlan(128, LR_UM_PER_PX, 20.0), frozen=0, hard_share=0.15
        ),
        TrainingStage(
            700,
            TilePlan(256, LR_UM_PER_PX, 40.0, by_cell=False, mosaic=0.25),
            batch=8,
            frozen=0,
            hard_share=0.15,
        ),
    ),
    # All layers move and nothing is mined: better on a slide group left out (card).
    "hr": (
        TrainingStage(
            1500, TilePlan(160, HR_UM_PER_PX, 6.0), frozen=0, without=(FOUND,)
        ),
        TrainingStage(900, TilePlan(160, HR_UM_PER_PX, 4.0), frozen=0),
    ),
}
SEEDS = {"hr": 20211, "lr": 20212}
VALIDATE_EVERY = 350


def settings_of(name: str, *, stop_at: int | None = None) -> FitSettings:
    """Return the settings of a network; ``stop_at`` ends the training early."""
    stages = STAGES[name]
    return FitSettings(
        stages,
        seed=SEEDS[name],
        validate_every=VALIDATE_EVERY,
        val_tile_px=stages[0].plan.tile_px,
        stop_at=stop_at,
    )


MINED_WEIGHTS = {"cric": 0.42, "sipakmed": 0.26, "herlev": 0.32, "phantom": 0.04}
"""Of the annotated cells that HR's head sees beside the cascade's finds at the end."""

FOVEA_PX = 160
"""The middle of an HR tile that the network looks at; chosen on validation cells."""

PHANTOM_TRAIN_SEEDS = tuple(range(7000, 7028))
PHANTOM_VAL_SEEDS = tuple(range(8000, 8008))

VAL_CELLS_PER_SOURCE = 160
"""Cells a source in the checks during training; the figures of the card use all."""


def training_sampler(dataset: Dataset, found: Sequence[Sample] = ()) -> BalancedSampler:
    """Return the balanced sampler over the training split and what was found there."""
    samples = [*list_samples(dataset.split("train")), *found]
    return BalancedSampler(samples, source_weights=SOURCE_WEIGHTS)


def validation_samples(dataset: Dataset) -> list[Sample]:
    """Return a fixed, even choice of validation cells of every source."""
    chosen: list[Sample] = []
    samples = list_samples(dataset.split("val"), areas=False)
    for source in sorted({sample.source for sample in samples}):
        members = [sample for sample in samples if sample.source == source]
        stride = max(1, len(members) // VAL_CELLS_PER_SOURCE)
        chosen += members[::stride][:VAL_CELLS_PER_SOURCE]
    return chosen
