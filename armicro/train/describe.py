"""What a set's manifest says of its training."""

import argparse
from typing import Any

from armicro.train.data import Dataset
from armicro.train.fit import Stage
from armicro.train.location import LocationSettings
from armicro.train.manifest import sha256_of
from armicro.train.recipe import FOVEA_PX, SEEDS, settings_of


def describe(dataset: Dataset, args: argparse.Namespace) -> dict[str, Any]:
    """Return what the manifest says of the training."""
    command = "armicro train all --data DATA --out OUT --init WEIGHTS"
    origin: dict[str, Any] = {}
    going_on = args.go_on_from is not None
    if going_on:
        command += f" --go-on-from SET --blend {args.blend:g}"
        command += " --keep-lr" * args.keep_lr
        digest = sha256_of(args.go_on_from / "manifest.toml")
        origin = {
            "went_on_from": f"{args.go_on_from.name}, manifest sha256:{digest}",
            "lr": "as it was" if args.keep_lr else "went on too",
            "hr": "went on" if args.blend else "as it was but for its head",
        }
    return origin | {
        "paper": "Cheng et al. 2021, Nat Commun 12:5639",
        "intended_use": "research only; not a diagnostic device",
        "command": command,
        "stages": stage_texts(),
        "fovea_px": FOVEA_PX,
        "splits": "fields by their split column (CRIC: slide group), crops by a hash "
        "of their field or case",
        "seeds": {
            name: settings_of(
                name, going_on=going_on and not (name == "lr" and args.keep_lr)
            ).seed
            for name in SEEDS
        }
        | {"location": LocationSettings().seed},
        "data": count_cells(dataset),
    }


def count_cells(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return how many lesions and normals each source has in each split."""
    sources: dict[str, dict[str, int]] = {}
    for field in dataset.fields:
        table = sources.setdefault(field.source, {})
        for lesion in field.lesion.tolist():
            key = f"{field.split}_{'lesions' if lesion else 'normals'}"
            table[key] = table.get(key, 0) + 1
    for crop in dataset.crops:
        table = sources.setdefault(crop.source, {})
        key = f"{crop.split}_{'lesions' if crop.lesion else 'normals'}"
        table[key] = table.get(key, 0) + 1
    return sources


def stage_texts() -> dict[str, list[str]]:
    """Return the stages of each network in words, the last ones last."""
    return {
        name: [stage_text(stage) for stage in settings_of(name, going_on=False).stages]
        for name in SEEDS
    }


def stage_text(stage: Stage) -> str:
    """Return a stage in words."""
    plan = stage.plan
    text = (
        f"{stage.steps} steps of {stage.batch} tiles {plan.tile_px} px, rate "
        f"{stage.rate:g}, first {stage.frozen} layers frozen, mining "
        f"{stage.hard_share:g}"
    )
    return text + f", mosaics {plan.mosaic:g}" * bool(plan.mosaic)
