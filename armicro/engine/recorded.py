"""Recorded outputs in place of a network: exact, instant and without any backend.

A ``RecordedEngine`` says what a network once said of a sample, known by its content,
and refuses what it never saw. Samples are known one by one, so what was recorded serves
any batch that is made of them.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from armicro.engine import Array, Engine
from armicro.engine.manifest import INPUTS, OUTPUTS, Golden, read_arrays
from armicro.errors import EngineError

RECORDING_NAME = "recorded.npz"
"""Optional file of a set: samples and outputs beyond the golden ones."""
_MOST_BYTES = 1 << 30

Outputs = dict[str, Array]
"""Outputs of one sample, without the batch axis."""


class RecordedEngine:
    """Replays what was recorded for each sample."""

    def __init__(self, name: str, input_name: str, kept: Mapping[str, Outputs]) -> None:
        self._name = name
        self._input = input_name
        self._kept = dict(kept)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Look every sample up.

        Raises:
            EngineError: an input's name is wrong or a sample was never recorded.
        """
        if set(inputs) != {self._input}:
            raise EngineError(
                f"{self._name}: inputs are {sorted(inputs)}, expected [{self._input!r}]"
            )
        samples, found = inputs[self._input], []
        for index, sample in enumerate(samples):
            key = key_of(sample)
            if key not in self._kept:
                raise EngineError(
                    f"{self._name}: sample {index} of {sample.dtype} {sample.shape} "
                    f"is not among the {len(self._kept)} recorded ones; analyse "
                    "it with another backend"
                )
            found.append(self._kept[key])
        if not found:
            some = next(iter(self._kept.values()), {})
            return {k: np.empty((0, *v.shape), v.dtype) for k, v in some.items()}
        return {k: np.stack([said[k] for said in found]) for k in found[0]}

    def close(self) -> None:
        """Nothing to free."""


def key_of(sample: Array) -> str:
    """Name of a sample: a digest of its dtype, shape and values."""
    head = f"{sample.dtype.str}{sample.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(sample).tobytes()).hexdigest()


def kept_of(samples: Array, outputs: Mapping[str, Array]) -> dict[str, Outputs]:
    """Outputs of a batch, by sample."""
    return {
        key_of(sample): {name: array[index].copy() for name, array in outputs.items()}
        for index, sample in enumerate(samples)
    }


def read_recording(data: bytes) -> dict[str, dict[str, Outputs]]:
    """Read ``recorded.npz``: network, sample's key, outputs.

    Raises:
        EngineError: it is not a recording.
    """
    kept: dict[str, dict[str, Outputs]] = {}
    try:
        for path, array in read_arrays(data, _MOST_BYTES).items():
            network, key, name = path.split("/")
            kept.setdefault(network, {}).setdefault(key, {})[name] = array
    except ValueError as error:
        raise EngineError(f"{RECORDING_NAME}: {error}; record it again") from error
    return kept


def open_recorded(golden: Golden, contents: Mapping[str, bytes]) -> dict[str, Engine]:
    """Engines that replay a set's golden outputs and, where it has one, its recording.

    Raises:
        EngineError: the recording cannot be read.
    """
    recorded = contents.get(RECORDING_NAME)
    recording = read_recording(recorded) if recorded is not None else {}
    engines: dict[str, Engine] = {}
    for network, (input_name, array) in INPUTS.items():
        outputs = {
            output: golden[name]
            for name, (owner, output) in OUTPUTS.items()
            if owner == network
        }
        kept = kept_of(golden[array], outputs) | recording.get(network, {})
        engines[network] = RecordedEngine(network, input_name, kept)
    return engines
