"""From an encoder to a place on the slide."""

import pytest

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import CalibrationError
from armicro.rig import Mechanics
from armicro.source.stage import Limits, SimulatedStage, place_of

TURNED = ((0.0, -2.0), (2.0, 0.0))
"""A step to the right moves the view 2 µm down."""


def table(**changes: object) -> StageTable:
    settings: dict[str, object] = {"measured_at": "", "um_per_step": TURNED}
    return StageTable(**({"standard_error": 0.0} | settings | changes))  # type: ignore[arg-type]


def test_place_is_the_reading_through_the_certificates_matrix() -> None:
    place = place_of((10.0, 1.0), (10.0, 1.0), table(), first=(0.0, 0.0))
    assert (place.x_um, place.y_um) == (-2.0, 20.0)
    assert place.origin == "stage_encoder"
    assert place.standard_error_um == 0.0


def test_standard_error_holds_motion_scatter_play_and_matrix() -> None:
    still = place_of((0.0, 0.0), (0.0, 0.0), table(), first=(0.0, 0.0))
    moving = place_of((0.0, 0.0), (10.0, 0.0), table(), first=(0.0, 0.0))
    assert still.standard_error_um == 0.0
    assert moving.standard_error_um == pytest.approx(20 / 12**0.5)
    assert moving.y_um == pytest.approx(10.0)
    worn = table(repeatability_um=0.3, backlash_um=(12.0, 0.0), standard_error=0.001)
    near = place_of((0.0, 0.0), (0.0, 0.0), worn, first=(0.0, 0.0))
    assert near.standard_error_um == pytest.approx((0.3**2 + 12**2 / 12) ** 0.5)
    far = place_of((0.0, 9e3), (0.0, 9e3), worn, first=(0.0, 0.0))
    assert far.standard_error_um == pytest.approx(18.0, rel=0.02)


def test_uncertified_place_is_only_as_sure_as_the_way_is_short() -> None:
    place = place_of((30.0, 40.0), (30.0, 40.0), None, first=(0.0, 0.0))
    assert (place.x_um, place.y_um) == (30.0, 40.0)
    assert place.standard_error_um == pytest.approx(50.0)


@pytest.mark.parametrize("far", [(20.0, 101.0), (float("nan"), 0.0)])
def test_a_stage_moves_nowhere_beyond_its_limits(far: tuple[float, float]) -> None:
    limits: Limits = (-100.0, -100.0, 100.0, 100.0)
    stage = SimulatedStage(Mechanics(um_per_step=TURNED), limits=limits)
    with pytest.raises(CalibrationError, match="soft limits"):
        stage.move_to(*far)
    assert stage.position() == (0.0, 0.0)
