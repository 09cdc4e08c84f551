from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from armicro.engine import Array, Engine
from armicro.engine.recorded import (
    Outputs,
    RecordedEngine,
    kept_of,
    read_recording,
)
from armicro.engine.registry import open_set
from armicro.errors import EngineError
from tests.engine.test_openvino import CROP, noise
from tests.engine.test_registry import rewrite, set_copy

__all__ = ["set_copy"]


class Recorder:
    """Passes a batch on to an engine and keeps what it said of each sample."""

    def __init__(self, name: str, input_name: str, engine: Engine) -> None:
        self._name, self._input, self._engine = name, input_name, engine
        self.kept: dict[str, Outputs] = {}

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = self._engine.infer(inputs)
        self.kept |= kept_of(inputs[self._input], outputs)
        return outputs

    def replay(self) -> RecordedEngine:
        return RecordedEngine(self._name, self._input, self.kept)


def write_recording(path: Path, recorders: Mapping[str, Recorder]) -> None:
    """Write what recorders kept, by network, as ``recorded.npz``."""
    arrays = {
        f"{network}/{key}/{name}": value
        for network, recorder in recorders.items()
        for key, said in recorder.kept.items()
        for name, value in said.items()
    }
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def test_a_recorded_set_says_its_golden_outputs_and_nothing_else(
    tiny_set: Path,
) -> None:
    with open_set(tiny_set, backend="recorded") as networks:
        assert max(row.difference for row in networks.agreement) == 0
        with pytest.raises(EngineError, match=r"sample 0 .* not among the 4 recorded"):
            networks.hr.infer({"tiles": noise(1, CROP)})


def test_a_recording_replays_samples_in_any_batch(tiny_set: Path) -> None:
    tiles = noise(4, CROP)
    with open_set(tiny_set) as networks:
        recorder = Recorder("hr", "tiles", networks.hr)
        said = recorder.infer({"tiles": tiles})
    replayed = recorder.replay().infer({"tiles": tiles[[3, 0]]})
    np.testing.assert_array_equal(replayed["features"], said["features"][[3, 0]])
    np.testing.assert_array_equal(replayed["probability"], said["probability"][[3, 0]])


def test_a_recording_in_the_set_is_replayed_through_the_registry(
    set_copy: Path, tmp_path: Path
) -> None:
    tiles = noise(2, CROP)
    with open_set(set_copy) as networks:
        recorder = Recorder("hr", "tiles", networks.hr)
        said = recorder.infer({"tiles": tiles})
    write_recording(tmp_path / "recorded.npz", {"hr": recorder})
    rewrite(set_copy, {"recorded.npz": (tmp_path / "recorded.npz").read_bytes()})
    with open_set(set_copy, backend="recorded") as networks:
        again = networks.hr.infer({"tiles": tiles})
    np.testing.assert_array_equal(again["features"], said["features"])


def test_a_file_that_is_no_recording_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match=r"recorded\.npz"):
        read_recording(b"PK\x03\x04")
