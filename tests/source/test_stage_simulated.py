"""The simulated stage has the faults it is given, and its camera looks where it is."""

import contextlib
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from armicro.errors import CalibrationError, SourceError
from armicro.rig import Camera, Mechanics, Rig, StageSettings, read_rig
from armicro.source.open import open_source
from armicro.source.simulated import SimulatedSource
from armicro.source.stage import SimulatedStage


def test_play_is_lost_when_an_axis_turns() -> None:
    stage = SimulatedStage(Mechanics(backlash=(10.0, 4.0)))
    stage.move_to(100.0, 100.0)
    assert stage.true_xy_um == (95.0, 98.0)
    stage.move_to(91.0, 97.0)
    assert stage.true_xy_um == (95.0, 98.0)
    stage.move_to(80.0, 90.0)
    assert stage.true_xy_um == (85.0, 92.0)
    assert stage.position() == (80.0, 90.0)


def test_an_axis_that_stands_does_not_scatter() -> None:
    stage = SimulatedStage(Mechanics(repeatability=0.5, seed=1))
    stops = []
    for x in (10.0, 20.0, 10.0, 20.0, 10.0):
        stage.move_to(x, 0.0)
        stops.append((stage.true_xy_um[0] - x, stage.true_xy_um[1]))
    assert np.std([x for x, _ in stops]) > 0.1
    assert {y for _, y in stops} == {0.0}


def test_soft_limits_hold() -> None:
    stage = SimulatedStage(Mechanics(), limits=(-5.0, -5.0, 5.0, 5.0))
    for x, y in ((5.1, 0.0), (0.0, -6.0), (float("nan"), 0.0)):
        with pytest.raises(CalibrationError, match="soft limits are x -5 to 5"):
            stage.move_to(x, y)
    assert stage.position() == (0.0, 0.0)


def microscope(mechanics: Mechanics, **changes: object) -> Rig:
    settings: dict[str, object] = {
        "driver": "simulated", "width_px": 64, "height_px": 48, "um_per_px": 0.5,
        "frames_per_second": 1000.0,
    }  # fmt: skip
    camera = Camera(**(settings | changes))  # type: ignore[arg-type]
    return Rig(
        camera=camera, stage=StageSettings(driver="simulated", mechanics=mechanics)
    )


def test_camera_sees_what_lies_at_the_true_place() -> None:
    rows, columns = np.mgrid[:148, :164]
    slide = np.stack((columns, rows, 0 * rows), axis=-1).astype(np.uint8)
    mechanics = Mechanics(um_per_step=((0.0, 1.0), (1.0, 0.0)), backlash=(4.0, 0.0))
    stage = SimulatedStage(mechanics)
    source = SimulatedSource(microscope(mechanics), stage, slide=slide)
    fields = source.fields()
    first = next(fields)
    assert first.pixels[0, 0].tolist() == [50, 50, 0]
    assert first.place is not None
    stage.move_to(10.0, 3.0)
    second = next(fields)
    # x pushes the view down, less half its play; y pushes it to the right.
    assert second.pixels[0, 0].tolist() == [50 + 6, 50 + 16, 0]
    assert second.place is not None
    # Nothing says here which way the axes point.
    assert second.place.standard_error_um > 10


def test_camera_wanders_over_the_slide_where_the_rig_says_so() -> None:
    slide = np.zeros((400, 400, 3), np.uint8)
    times = iter(range(0, 10**12, 10**8))
    rig = microscope(Mechanics(), emulated_pan_um_per_s=50.0)
    stage = SimulatedStage(rig.stage.mechanics)
    source = SimulatedSource(rig, stage, slide=slide, clock=lambda: next(times))
    places = [field.place for field in islice(source.fields(), 20)]
    xs = [place.x_um for place in places if place is not None]
    assert len(xs) == 20
    assert max(xs) - min(xs) > 20
    assert max(abs(x) for x in xs) <= (400 - 64) * 0.25


def test_slide_smaller_than_a_field_or_missing_is_refused() -> None:
    rig = microscope(Mechanics())
    stage = SimulatedStage(rig.stage.mechanics)
    with pytest.raises(SourceError, match="smaller"):
        SimulatedSource(rig, stage, slide=np.zeros((40, 400, 3), np.uint8))
    with pytest.raises(SourceError, match="none named"):
        SimulatedSource(rig, stage)


def test_simulated_microscope_draws_its_own_slide() -> None:
    rig = microscope(Mechanics(), emulated_image="drawn", width_px=96, height_px=80)
    with contextlib.closing(open_source(rig)) as source:
        field = next(iter(source.fields()))
    assert source.card.simulated
    assert field.pixels.shape == (80, 96, 3)
    assert field.pixels.std() > 1


def test_shipped_microscope_is_turned_as_it_says() -> None:
    rig = read_rig(
        Path(__file__).parents[2] / "hardware/rigs/simulated-microscope.toml"
    )
    (a, _), (c, _) = rig.stage.mechanics.um_per_step
    assert math.degrees(math.atan2(c, a)) == pytest.approx(1.5, abs=0.001)
    assert math.hypot(a, c) == pytest.approx(1.0, abs=1e-4)
