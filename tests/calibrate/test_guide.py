"""The way through the steps, with steps that know their answers."""

from collections.abc import Sequence

import numpy as np
import pytest

from armicro.calibrate.certificate import Scale
from armicro.calibrate.guide import FieldCheck, Guide, GuideStep, Outcome
from armicro.errors import CalibrationError
from armicro.field import Field

SCALE = Scale(measured_at="2026-11-24", um_per_px=0.25, standard_error=1e-4)


def field(level: int) -> Field:
    return Field(0.25, 0, 1, pixels=np.full((8, 8, 3), level, np.uint8))


def bright(seen: Field) -> Sequence[FieldCheck]:
    level = int(seen.pixels[0, 0, 0])
    return [
        FieldCheck("light", level >= 200, str(level), "" if level >= 200 else "more")
    ]


def mean(fields: Sequence[Field]) -> Outcome:
    level = np.mean([f.pixels[0, 0, 0] for f in fields])
    if level > 250:
        raise CalibrationError("too bright: turn it down")
    return Outcome((SCALE,), f"{level:.0f} of {len(fields)}")


def steps() -> list[GuideStep]:
    return [
        GuideStep(
            "scale", "Scale", "a micrometer", "micrometer", bright, mean, fields=3
        ),
        GuideStep("stage", "Stage", "cells", "cells", bright),
    ]


def test_nothing_is_measured_before_all_is_right() -> None:
    guide = Guide(steps())
    guide.start()
    assert guide.phase == "looking"
    guide.see(field(90))
    assert guide.checks == (FieldCheck("light", False, "90", "more"),)
    guide.start()
    assert (guide.ready, guide.phase) == (False, "looking")


def test_a_measurement_takes_its_fields_and_waits_to_be_accepted() -> None:
    guide = Guide(steps())
    guide.see(field(210))
    guide.start()
    for level in (220, 230, 240):
        assert guide.phase == "measuring"
        guide.see(field(level))
    assert guide.phase == "measured"
    # A later field changes nothing.
    guide.see(field(90))
    assert guide.outcome is not None
    assert guide.outcome.words == "230 of 3"
    assert guide.accept() is guide.accepted["scale"]
    assert (guide.step.name, guide.phase, guide.checks) == ("stage", "looking", ())


def test_repeat_throws_the_measurement_away() -> None:
    guide = Guide(steps())
    for level in (210, 220, 220, 220):
        guide.see(field(level))
        guide.start()
    assert guide.phase == "measured"
    guide.repeat()
    assert (guide.phase, guide.outcome, guide.accepted) == ("looking", None, {})


def test_a_refusal_says_why_and_may_be_repeated() -> None:
    guide = Guide(steps())
    for level in (210, 255, 255, 255):
        guide.see(field(level))
        guide.start()
    assert (guide.phase, guide.refusal) == ("refused", "too bright: turn it down")
    assert guide.accept() is None
    guide.repeat()
    assert guide.phase == "looking"


def test_the_host_measures_what_needs_moves() -> None:
    guide = Guide(steps())
    guide.skip()
    guide.see(field(210))
    guide.start()
    guide.see(field(210))
    assert guide.wants_host
    guide.finish(Outcome((SCALE,), "moved"))
    guide.accept()
    assert (guide.phase, list(guide.accepted)) == ("finished", ["stage"])
    guide.skip()
    guide.see(field(210))
    assert (guide.phase, guide.step.name) == ("finished", "stage")


def test_a_guide_without_steps_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Guide([])
