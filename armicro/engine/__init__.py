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
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
