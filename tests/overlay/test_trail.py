"""The way back to the last known place."""

import pytest
from msgspec.structs import replace

from armicro.field import Sight
from armicro.overlay.known import Trail
from armicro.overlay.snapshot import LiveField
from tests.overlay.scene import SECOND_NS, field_at, place_at


def at(x_um: float, y_um: float, *, ms: int) -> LiveField:
    field = field_at(place_at(x_um, y_um), seq=ms)
    return replace(field, taken_ns=SECOND_NS + ms * 1_000_000)


def test_back_is_against_the_last_motion() -> None:
    trail = Trail()
    trail.update(at(0.0, 0.0, ms=0))
    trail.update(at(30.0, 40.0, ms=100))
    trail.update(replace(at(0.0, 0.0, ms=200), place=None))
    assert trail.place == place_at(30.0, 40.0)
    assert trail.back_xy == pytest.approx((-0.6, -0.8))


def test_a_measured_velocity_says_it_better() -> None:
    trail = Trail()
    sight = Sight(velocity_xy_um_per_s=(0.0, 500.0))
    trail.update(replace(at(0.0, 0.0, ms=0), sight=sight))
    assert trail.back_xy == pytest.approx((0.0, -1.0))


@pytest.mark.parametrize("later", [at(1.0, 0.0, ms=100), at(900.0, 0.0, ms=5000)])
def test_who_stood_or_was_away_is_not_sent_anywhere(later: LiveField) -> None:
    trail = Trail()
    trail.update(at(0.0, 0.0, ms=0))
    trail.update(later)
    assert trail.back_xy is None


def test_before_the_first_place_there_is_no_way_back() -> None:
    trail = Trail()
    trail.update(field_at(None))
    assert (trail.place, trail.back_xy) == (None, None)
