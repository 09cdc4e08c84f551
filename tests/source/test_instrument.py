"""Carrying out a walk: the stage is brought back, whatever happens."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from armicro.calibrate.walk import Walk, WalkTarget, walk
from armicro.errors import SourceLostError
from armicro.field import Field
from armicro.rig import Camera, Mechanics, Rig, StageSettings
from armicro.source.open import OpenInstrument, carry_out
from armicro.source.simulated import SimulatedSource
from armicro.source.stage import SimulatedStage

LIMITS = (-100.0, -100.0, 100.0, 100.0)
START = 4.0, -3.0


@pytest.fixture
def instrument() -> OpenInstrument:
    noise = np.random.default_rng(0).normal(0, 1, (500, 600)).astype(np.float32)
    blobs = cv2.GaussianBlur(noise, (0, 0), 4)
    grey = np.clip(128 + 600 * blobs, 0, 255).astype(np.uint8)
    camera = Camera(
        driver="simulated", width_px=200, height_px=160, um_per_px=1.0,
        frames_per_second=1e4,
    )  # fmt: skip
    rig = Rig(camera=camera, stage=StageSettings(driver="simulated"))
    stage = SimulatedStage(Mechanics(backlash=(5.0, 8.0)), limits=LIMITS)
    stage.move_to(*START)
    slide = np.repeat(grey[..., None], 3, axis=2)
    return OpenInstrument(SimulatedSource(rig, stage, slide=slide), stage)


def plan() -> Walk:
    return walk(START, limits=LIMITS, field_wh_px=(200, 160), first_step=3.0)


def test_a_walk_measures_and_ends_where_it_began(instrument: OpenInstrument) -> None:
    walked = carry_out(plan(), instrument)
    assert walked.backlash.mean(axis=0) == pytest.approx((5.0, 8.0), abs=0.1)
    assert np.abs(walked.matrix.px_per_step - np.eye(2)).max() < 0.002
    assert instrument.stage.position() == START


def test_interrupted_walk_brings_the_stage_back(instrument: OpenInstrument) -> None:
    visited: list[WalkTarget] = []

    def interrupt(target: WalkTarget) -> None:
        visited.append(target)
        if len(visited) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(plan(), instrument, on_look=interrupt)
    assert visited[2].xy != START
    assert instrument.stage.position() == START


class Short:
    """A camera that ends after some fields."""

    def __init__(self, source: SimulatedSource) -> None:
        self._source = source
        self.card = source.card

    def fields(self, *, done: object = ()) -> Iterator[Field]:
        fields = self._source.fields()
        for _ in range(5):
            yield next(fields)

    def close(self) -> None:
        pass


def test_camera_that_ends_is_no_end_of_the_walk(instrument: OpenInstrument) -> None:
    assert isinstance(instrument.source, SimulatedSource)
    short = OpenInstrument(Short(instrument.source), instrument.stage)
    with pytest.raises(SourceLostError, match="no more fields"):
        carry_out(plan(), short)
    assert instrument.stage.position() == START
