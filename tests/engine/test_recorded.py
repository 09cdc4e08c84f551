from pathlib import Path

import numpy as np
import pytest

from armicro.engine.recorded import Recorder, read_recording, write_recording
from armicro.engine.registry import open_set
from armicro.errors import EngineError
from tests.engine.test_openvino import CROP, noise
from tests.engine.test_registry import rewrite, set_copy

__all__ = ["set_copy"]


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
