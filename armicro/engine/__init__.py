"""Engines: the three networks behind one protocol, checked before they are used.

A network set is a folder of ONNX files with a ``manifest.toml``. ``manifest`` hashes
and reads it, ``openvino``, ``tensorrt`` and ``recorded`` run it, ``registry`` finds it
by name and refuses one that does not reproduce its golden outputs.

Inputs and outputs (images are uint8 RGB, NHWC; normalisation is inside the graph):

=======  =================================  ===========================================
network  input                              outputs
=======  =================================  ===========================================
``lr``   tiles (n, 512, 512, 3) uint8, or   probability (n, rows, cols) float32, one
         512 + 384 k a side (whole field)   a tile; location (n, H/32, W/32) float32
``hr``   tiles (n, 256, 256, 3) uint8       probability (n,); features (n, 2048)
``rnn``  features (n, 30, 2048) float32,    scores (n, 6): 10a 10b 20a 20b 30a 30b
         most suspicious first, then zeros
=======  =================================  ===========================================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from armicro.errors import EngineError

Array = NDArray[Any]
Features = NDArray[np.float32]


class Engine(Protocol):
    """One network on one backend."""

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch of any size; a sample's result does not depend on the batch.

        Raises:
            EngineError: an input's name, dtype or shape is not the network's, or the
                backend failed.
        """

    def close(self) -> None:
        """Free the device; may be called twice."""


# ---------------------------------------------------------------------------
# What a network's inputs must look like, checked before anything reaches a backend.


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
