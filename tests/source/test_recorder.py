"""The recorder beside a live session."""

import time
from pathlib import Path

import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.field import Field
from armicro.source import Card
from armicro.source.recorder import Recorder
from armicro.source.recording import RecordingSource

CARD = Card(name="camera", um_per_px=0.25, width_px=1024, height_px=1024)


def big_field(seq: int) -> Field:
    rng = np.random.default_rng(seq)
    return Field(rng.integers(0, 256, (1024, 1024, 3), np.uint8), 0.25, seq, seq)


def test_every_field_is_either_recorded_exactly_or_counted_as_skipped(
    tmp_path: Path,
) -> None:
    fields = [big_field(seq) for seq in range(8)]
    with Recorder(tmp_path / "r", CARD) as recorder:
        taken = [field.seq for field in fields if recorder.offer(field)]
        # The camera was not held up: most came while the first was compressed.
        assert len(taken) < 8
    assert recorder.recorded == len(taken) >= 1
    assert recorder.skipped == 8 - len(taken)
    played = list(RecordingSource(tmp_path / "r").fields())
    assert [field.seq for field in played] == taken
    for field in played:
        np.testing.assert_array_equal(field.pixels, fields[field.seq].pixels)
    recorder.close()
    assert not recorder.offer(fields[0])


def test_slow_camera_loses_nothing(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r", CARD) as recorder:
        for seq in range(3):
            while not recorder.offer(big_field(seq)):
                time.sleep(0.005)
    assert len(list(RecordingSource(tmp_path / "r").fields())) == 3


def test_disk_that_fails_is_told_at_the_next_offer_or_the_end(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", CARD)
    (tmp_path / "r" / "pixels").rmdir()
    recorder.offer(big_field(0))
    with pytest.raises(SourceError, match="recording"):
        recorder.close()
    recorder.close()
