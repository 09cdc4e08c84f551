import math
from typing import get_args

import pytest

from armicro.overlay.guide import REASONS, distance_text, guide, listed, pressing, top
from armicro.overlay.known import ANALYSED, PITCH_UM, UNREADABLE, VIEWED, SeenRaster
from armicro.overlay.view import rule
from armicro.report import Revisit, RevisitReason
from tests.overlay.scene import finding_at, place_at

SIGHT = (1000.0, 1000.0, 1600.0, 1500.0)


def test_the_way_leads_from_the_middle_of_what_is_in_sight() -> None:
    (goal,) = guide([finding_at(1300.0 + 300, 1250.0 - 400)], SIGHT)
    assert goal.way.distance_um == pytest.approx(500)
    assert goal.way.towards_xy == pytest.approx((0.6, -0.8))
    assert not goal.way.in_view


def test_a_finding_in_sight_needs_no_way() -> None:
    (goal,) = guide([finding_at(1010.0, 1490.0)], SIGHT)
    assert goal.way.in_view
    assert distance_text(goal.way) == "in view"


def test_without_a_place_nobody_is_led() -> None:
    (goal,) = guide([finding_at(0, 0)], None)
    assert goal.way.distance_um is None
    assert distance_text(goal.way) == "–"


def test_a_finding_in_the_very_middle_has_a_way_of_no_length() -> None:
    (goal,) = guide([finding_at(1300.0, 1250.0)], SIGHT)
    assert goal.way.distance_um == 0.0
    assert not any(math.isnan(part) for part in goal.way.towards_xy)


def part_at(x_um: float, reason: RevisitReason = "skipped") -> Revisit:
    return Revisit(x_um, 1000.0, 200.0, 100.0, reason)


def test_the_way_to_a_part_leads_to_its_middle() -> None:
    (goal,) = guide([part_at(2000.0)], SIGHT)
    assert goal.way.distance_um == pytest.approx(math.hypot(800, 200))
    assert goal.text == "not seen yet"


def test_suspicious_cells_seen_in_passing_come_first() -> None:
    parts = [part_at(0), part_at(1, "edge"), part_at(2, "passing"), part_at(3)]
    assert [one.x_um for one in pressing(parts)] == [2, 0, 1, 3]


def test_there_are_words_for_every_reason() -> None:
    assert set(REASONS) == set(get_args(RevisitReason))


def test_the_list_holds_the_most_suspicious_that_lie_apart() -> None:
    near, best = finding_at(0, 0, 0.8), finding_at(150, 0, 0.9)
    far = finding_at(500, 0, 0.6)
    assert top([near, far, best]) == (best, far)
    assert len(top([finding_at(300.0 * i, 0) for i in range(50)])) == 30


@pytest.mark.parametrize("um_per_px", [0.003, 0.1, 0.243, 0.5, 1.0, 3.3, 40.0])
def test_the_scale_bar_is_round_fits_and_is_true(um_per_px: float) -> None:
    ruler = rule(um_per_px, 200.0)
    assert 200 / 2.6 < ruler.length_px <= 200
    assert ruler.length_px * um_per_px == pytest.approx(ruler.length_um)
    digits = f"{ruler.length_um:e}"[0]
    assert digits in "125"


def test_seen_marks_only_ever_rise_in_any_order() -> None:
    updates = [
        (place_at(0, 0), VIEWED),
        (place_at(200, 100), ANALYSED),
        (place_at(100, 50), UNREADABLE),
        (place_at(-4000, -900), ANALYSED),
    ]
    rasters = []
    for order in (updates, updates[::-1], updates + updates):
        seen = SeenRaster()
        for place, mark in order:
            seen.update(place, (400.0, 300.0), mark)
        extent = seen.extent_xyxy_um
        rasters.append((extent, sorted(seen.marks[seen.marks > 0].tolist())))
    assert rasters[0] == rasters[1] == rasters[2]
    assert rasters[0][0] == (-4000.0, -900.0, 600.0, 400.0)


def test_seeing_a_field_twice_changes_nothing() -> None:
    seen = SeenRaster()
    assert seen.update(place_at(0, 0), (400.0, 300.0), ANALYSED)
    assert not seen.update(place_at(0, 0), (400.0, 300.0), VIEWED)
    assert (seen.marks == ANALYSED).sum() == (400 / PITCH_UM) * (300 / PITCH_UM)


def test_a_place_far_beyond_any_slide_takes_no_memory() -> None:
    seen = SeenRaster()
    seen.update(place_at(0, 0), (400.0, 300.0), VIEWED)
    size = seen.marks.size
    assert not seen.update(place_at(1e9, -1e9), (400.0, 300.0), VIEWED)
    assert seen.marks.size == size


@pytest.mark.parametrize(("x_um", "known"), [(1310.0, True), (5000.0, False)])
def test_nothing_is_a_distance_away_from_a_photograph(x_um: float, known: bool) -> None:
    (goal,) = guide([finding_at(x_um, 1250.0)], SIGHT, alone=True)
    assert (goal.way.in_view, goal.way.distance_um is not None) == (known, known)


def test_the_list_holds_every_suspicious_cell_also_of_a_cluster() -> None:
    cluster = [finding_at(20.0 * at, 0.0, 0.95 - 0.01 * at) for at in range(6)]
    weak = [finding_at(0.0, 30.0, 0.3), finding_at(900.0, 0.0, 0.2)]
    assert list(listed([*weak, *reversed(cluster)])) == [*cluster, weak[1]]
    assert top([*weak, *cluster]) == (cluster[0], weak[1])
    many = [finding_at(9.0 * at, 0.0, 0.9) for at in range(300)]
    assert len(listed(many)) == 200
