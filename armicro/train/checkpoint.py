"""The state of a training run on disk: safetensors for numbers, JSON for the rest.

No pickle: a checkpoint from elsewhere can be opened without running its code. A file is
written beside its place and renamed, so a run stopped while writing keeps the last one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from armicro.errors import DiskError, EngineError
from armicro.file import beside

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
"""A training's last state and, with early stopping, its best running mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Tensors by name ("model.", "mean.", "optimiser." ...) and facts beside them."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one part, without its prefix."""
        start = f"{name}."
        return {
            key.removeprefix(start): value
            for key, value in self.tensors.items()
            if key.startswith(start)
        }


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in one step.

    Raises:
        DiskError: it could not be written; the last one stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.contiguous() for key, value in checkpoint.tensors.items()}
    facts = {"facts": json.dumps(dict(checkpoint.facts))}
    try:
        with beside(path) as part:
            save_file(tensors, part, facts)
    except SafetensorError as error:
        # A full disk comes as an error of the library's own.
        raise DiskError(
            f"{path}: {error}; free some space and go on with --resume"
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        EngineError: the file is missing or is not a checkpoint.
    """
    try:
        with safe_open(path, "pt") as stream:
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            facts = json.loads((stream.metadata() or {}).get("facts", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise EngineError(
            f"{path}: is not a checkpoint ({error}); expected a .safetensors file "
            "that armicro train wrote, or start weights"
        ) from error
    return Checkpoint(tensors, facts)


def fill(
    network: nn.Module, weights: Mapping[str, Tensor], name: str, remedy: str
) -> None:
    """Give a network weights, or say in a line that they are another's.

    Raises:
        EngineError: a weight is missing or has another shape.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        seen = str(error).splitlines()[0]
        raise EngineError(
            f"{name}: does not fit the network ({seen}); {remedy}"
        ) from error


def flatten_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's tensors as "index.name"."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what ``flatten_optimiser`` took."""
    whole = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**whole, "state": state})
