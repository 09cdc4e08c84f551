"""What a set's manifest says of its training."""

from collections.abc import Mapping
from typing import Any

from armicro.train.checkpoint import Checkpoint
from armicro.train.data import Dataset
from armicro.train.location import LocationSettings
from armicro.train.recipe import FOVEA_PX, SEEDS


def describe(
    dataset: Dataset, command: str, trained: Mapping[str, Checkpoint]
) -> dict[str, Any]:
    """Return what the manifest says of the training.

    Args:
        dataset: what it saw.
        command: the words after ``armicro``.
        trained: the last checkpoint of each tile network.
    """
    return {
        "paper": "Cheng et al. 2021, Nat Commun 12:5639",
        "intended_use": "research only; not a diagnostic device",
        "command": f"armicro {command}",
        "steps_done": {name: one.facts["step"] for name, one in trained.items()},
        "start_weights": {name: one.facts["origin"] for name, one in trained.items()},
        "bfloat16": {name: one.facts["bfloat16"] for name, one in trained.items()},
        "stages": {name: one.facts.get("stages", []) for name, one in trained.items()},
        "fovea_px": FOVEA_PX,
        "splits": "fields by their split column (CRIC: slide group), crops by a hash "
        "of their field or case",
        "seeds": SEEDS | {"location": LocationSettings().seed},
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
