"""What should be seen again, on slides whose gaps are known."""

from typing import Literal

import numpy as np
import pytest

from armicro.cascade.tile import CellMask, pack_cells
from armicro.field import Place, Sight
from armicro.report import CellBits, FieldReport, FieldState, Finding, Revisit
from armicro.slide.coverage import Coverage, Ground
from armicro.slide.revisit import MOST, find_revisits

SIDE_UM = 512.0


def full(rows: int = 32, columns: int = 32) -> CellBits:
    mask = np.ones((rows, columns), np.bool_)
    return pack_cells(CellMask(mask, 16.0, (240, 240, 240)), pool=1)


def report(
    column: int,
    row: int,
    *,
    state: FieldState = "analysed",
    velocity: tuple[float, float] | None = None,
) -> FieldReport:
    return FieldReport(
        seq=0,
        state=state,
        place=Place(column * SIDE_UM, row * SIDE_UM, 0.1, "image_registration"),
        width_um=SIDE_UM,
        height_um=SIDE_UM,
        cells=None if state == "unreadable" else full(),
        sight=Sight(0.9, velocity),
    )


def square(
    side: int,
    *,
    without: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]
) -> list[FieldReport]:
    return [
        report(column, row)
        for row in range(side)
        for column in range(side)
        if (column, row) not in without
    ]


def revisits_of(
    reports: list[FieldReport], findings: tuple[Finding, ...] = ()
) -> tuple[Revisit, ...]:
    coverage = Coverage()
    for each in reports:
        coverage.take(each)
    return find_revisits(coverage, findings)


def inner_of(revisits: tuple[Revisit, ...]) -> list[Revisit]:
    """Those that are not the edge of what was seen."""
    return [revisit for revisit in revisits if revisit.reason != "edge"]


@pytest.mark.parametrize("state", ["unreadable", "out_of_focus", "moving"])
def test_field_that_could_not_be_read_is_to_be_seen_again(
    state: Literal["unreadable", "out_of_focus", "moving"],
) -> None:
    gap = report(1, 1, state=state)
    (only,) = inner_of(revisits_of([*square(3, without={(1, 1)}), gap]))
    assert only == Revisit(SIDE_UM, SIDE_UM, SIDE_UM, SIDE_UM, state)
    assert inner_of(revisits_of([*square(3), gap])) == []


def test_hole_between_seen_fields_was_skipped() -> None:
    (only,) = inner_of(revisits_of(square(3, without={(1, 1)})))
    assert only == Revisit(SIDE_UM, SIDE_UM, SIDE_UM, SIDE_UM, "skipped")


def test_slide_whose_rest_was_not_reached_yet_has_no_hole() -> None:
    assert inner_of(revisits_of(square(3, without={(2, 2), (1, 2), (0, 2)}))) == []


def test_hole_in_empty_glass_is_nothing_to_see() -> None:
    coverage = Coverage()
    mask = np.ones((96, 96), np.bool_)
    mask[32:64, 32:64] = False
    known = pack_cells(CellMask(mask, 16.0, (240, 240, 240)), pool=1)
    coverage.know_cells(known, 0.0, 0.0)
    for each in square(3, without={(1, 1)}):
        coverage.take(each)
    # The slide ends where its cells do: there is no more beyond the edge either.
    assert find_revisits(coverage, ()) == ()


def test_cells_cut_by_the_edge_of_what_was_seen_come_last() -> None:
    found = revisits_of([*square(3), report(9, 9, state="moving")])
    assert found[0].reason == "moving"
    assert {revisit.reason for revisit in found[1:]} == {"edge"}
    assert len(found) > 1


def finding(x_um: float, y_um: float, hr: float) -> Finding:
    return Finding(x_um, y_um, 62.0, 62.0, 0.9, hr, 0)


def test_suspicious_cell_seen_only_in_passing_comes_first() -> None:
    fast = [report(0, 0, velocity=(800.0, 0.0)), report(1, 0, velocity=(800.0, 0.0))]
    still = report(1, 0, velocity=(3.0, 1.0))
    seen = (
        finding(100.0, 100.0, 0.9),
        finding(700.0, 100.0, 0.8),
        finding(9.0, 9.0, 0.3),
    )
    found = revisits_of([*fast, still, report(5, 5, state="moving")], seen)
    assert [r.reason for r in found[:2]] == ["passing", "moving"]
    assert found[0] == Revisit(69.0, 69.0, 62.0, 62.0, "passing")
    assert "passing" not in {r.reason for r in found[1:]}


def test_places_are_bounded_and_independent_of_order() -> None:
    reports = [
        report(column, row, state="moving") for row in range(9) for column in range(9)
    ]
    assert len(revisits_of(reports)) == MOST
    reports += square(5)
    assert revisits_of(reports) == revisits_of(list(reversed(reports)))


def test_field_that_was_placed_far_away_by_mistake_is_left_out() -> None:
    hole = square(3, without={(1, 1)})
    far = report(900_000, 900_000)
    assert revisits_of([*hole, far]) == revisits_of(hole)


def test_what_was_shown_and_never_analysed_comes_first() -> None:
    coverage = Coverage()
    fast = report(0, 0, velocity=(800.0, 0.0))
    for each in (fast, report(1, 0), report(5, 5, state="moving")):
        coverage.take(each)
    shown = Ground()
    for column in (0, 1, 2):
        shown.add((column * SIDE_UM, 0.0, SIDE_UM, SIDE_UM))
    coverage.pass_by(shown)
    found = find_revisits(coverage, (finding(100.0, 100.0, 0.9),))
    assert [one.reason for one in found[:3]] == ["passed", "passing", "moving"]
    assert found[0] == Revisit(2 * SIDE_UM, 0.0, SIDE_UM, SIDE_UM, "passed")
    here = (2 * SIDE_UM, 0.0, SIDE_UM, SIDE_UM)
    others = find_revisits(coverage, (), in_work=here)
    assert "passed" not in {one.reason for one in others}


def test_a_whole_slide_that_was_passed_leaves_room_for_suspicious_cells() -> None:
    coverage = Coverage()
    coverage.take(report(0, 0, velocity=(800.0, 0.0)))
    shown = Ground()
    for column in range(20):
        for row in range(1, 20):
            shown.add((column * SIDE_UM, row * SIDE_UM, SIDE_UM, SIDE_UM))
    coverage.pass_by(shown)
    suspicious = tuple(finding(5.0 + 10 * n, 50.0, 0.9) for n in range(40))
    reasons = [one.reason for one in find_revisits(coverage, suspicious)]
    assert reasons == ["passed"] * (MOST // 2) + ["passing"] * (MOST // 2)
