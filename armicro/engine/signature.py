"""What a network's inputs must look like, checked before anything reaches a backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from armicro.engine import Array
from armicro.errors import EngineError


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input: its type and its sides after the batch."""

    dtype: np.dtype[Any]
    sides: tuple[int | None, ...]
    """None where any length is taken."""

    def takes(self, array: Array) -> bool:
        """Whether a batch has this type and these sides."""
        return (
            array.dtype == self.dtype
            and array.ndim == 1 + len(self.sides)
            and all(
                side is None or side == seen
                for side, seen in zip(self.sides, array.shape[1:], strict=True)
            )
        )

    def __str__(self) -> str:
        sides = ("any" if side is None else str(side) for side in self.sides)
        return f"{self.dtype} (n, {', '.join(sides)})"


def check_inputs(
    network: str, specs: Mapping[str, InputSpec], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the inputs in the network's order, each in one piece of memory.

    Raises:
        EngineError: a name, dtype or shape is not the network's.
    """
    if set(inputs) != set(specs):
        raise EngineError(
            f"{network}: inputs are {sorted(inputs)}, expected {sorted(specs)}"
        )
    for name, spec in specs.items():
        if not spec.takes(inputs[name]):
            seen = inputs[name]
            raise EngineError(
                f"{network}: input {name} is {seen.dtype} {seen.shape}, expected {spec}"
            )
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1:
        raise EngineError(f"{network}: inputs of different batch sizes {counts}")
    return {name: np.ascontiguousarray(inputs[name]) for name in specs}
