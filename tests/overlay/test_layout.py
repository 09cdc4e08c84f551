from dataclasses import replace
from itertools import pairwise

import pytest
from msgspec import structs

from armicro.overlay.layout import BoxLayout, CanvasView, FindingIndex, lay_out
from armicro.overlay.snapshot import LiveField, OverlaySettings
from armicro.overlay.view import STALE, luminance, suspicion_rgb
from armicro.report import Finding
from tests.overlay.scene import field_at, finding_at, place_at, slide_with

SETTING = OverlaySettings()
WHOLE = CanvasView((0.0, 0.0, 400.0, 300.0), (30.0, 12.0))


def boxes_on(
    field: LiveField, *findings: Finding, sight: CanvasView = WHOLE, problem: str = ""
) -> BoxLayout:
    slide = slide_with(findings, problem=problem)
    return lay_out(FindingIndex(findings), field, slide, sight, SETTING)


def test_a_box_lies_on_its_cell_wherever_the_field_lies() -> None:
    for x_um, y_um in ((1000.0, 2000.0), (1013.5, 1990.25)):
        field = field_at(place_at(x_um, y_um))
        (box,) = boxes_on(field, finding_at(1050.0, 2030.0)).boxes
        x0, y0, x1, y1 = box.box_xyxy_px
        middle_um = (
            x_um + (x0 + x1) / 2 * field.um_per_px,
            y_um + (y0 + y1) / 2 * field.um_per_px,
        )
        assert middle_um == pytest.approx((1050.0, 2030.0))
        assert (x1 - x0, y1 - y0) == pytest.approx((40.0, 32.0))


def test_findings_out_of_sight_get_no_box() -> None:
    field = field_at(place_at(0.0, 0.0))
    inside, edge = finding_at(50.0, 40.0), finding_at(104.0, 40.0)
    outside = finding_at(106.0, 40.0)
    drawn = {box.finding for box in boxes_on(field, inside, edge, outside).boxes}
    assert drawn == {inside, edge}


def test_zoomed_in_only_what_the_window_shows_gets_a_box() -> None:
    field = field_at(place_at(0.0, 0.0))
    zoomed = replace(WHOLE, visible_xyxy_px=(0.0, 0.0, 100.0, 100.0))
    near, far = finding_at(12.0, 12.0), finding_at(80.0, 60.0)
    drawn = [box.finding for box in boxes_on(field, near, far, sight=zoomed).boxes]
    assert drawn == [near]


def test_improbable_findings_get_no_box() -> None:
    field = field_at(place_at(0.0, 0.0))
    layout = boxes_on(field, finding_at(50, 40, 0.49), finding_at(50, 60, 0.5))
    assert [box.label for box in layout.boxes] == ["0.500"]


@pytest.mark.parametrize(
    ("field", "problem", "word"),
    [
        (field_at(None), "", "place unknown"),
        (field_at(place_at(0, 0, 10.1)), "", "±10 µm"),
        (field_at(place_at(0, 0, float("nan"))), "", "place known only"),
        (field_at(place_at(0, 0), um_per_px=0.83), "", "0.83 µm/px is outside 0.1-0.6"),
        (field_at(place_at(0, 0), um_per_px=0.09), "", "outside"),
        (field_at(place_at(0, 0)), "other objective", "other objective"),
        (
            structs.replace(field_at(place_at(0, 0)), fault="unreadable"),
            "",
            "unreadable",
        ),
        (structs.replace(field_at(place_at(0, 0)), voided="expired"), "", "expired"),
    ],
)
def test_no_box_where_it_could_stand_wrongly_and_the_reason_is_said(
    field: LiveField, problem: str, word: str
) -> None:
    layout = boxes_on(field, finding_at(20.0, 20.0), problem=problem)
    assert layout.boxes == ()
    assert word in layout.reason
    assert "boxes off" in layout.reason


def test_boxes_fade_as_the_place_grows_unsure() -> None:
    opacities = [
        boxes_on(field_at(place_at(0, 0, error)), finding_at(20, 20)).boxes[0].opacity
        for error in (0.1, 2.0, 4.0, 8.0, 10.0)
    ]
    assert opacities[:2] == [1.0, 1.0]
    assert opacities == sorted(opacities, reverse=True)
    assert 0.2 < opacities[-1] < opacities[-2] < opacities[-3] < 1.0


def test_boxes_of_a_stale_state_are_grey_and_dashed() -> None:
    field = field_at(place_at(0.0, 0.0))
    (fresh,) = boxes_on(field, finding_at(50, 40)).boxes
    (stale,) = boxes_on(
        field, finding_at(50, 40), sight=replace(WHOLE, stale=True)
    ).boxes
    assert (fresh.dashed, stale.dashed) == (False, True)
    assert stale.rgb == STALE != fresh.rgb


def test_the_most_suspicious_are_drawn_when_there_are_too_many() -> None:
    field = field_at(place_at(0.0, 0.0))
    findings = [
        finding_at(5.0 + i % 40, 5.0 + i // 40, 0.5 + i / 1000) for i in range(80)
    ]
    layout = boxes_on(field, *findings)
    assert len(layout.boxes) == SETTING.most_boxes
    assert layout.hidden == 80 - SETTING.most_boxes
    kept = [box.finding.hr_probability for box in layout.boxes]
    assert kept == sorted((f.hr_probability for f in findings), reverse=True)[:60]


def test_the_chosen_finding_is_marked() -> None:
    field = field_at(place_at(0.0, 0.0))
    one, other = finding_at(50, 40), finding_at(80, 60)
    layout = boxes_on(field, one, other, sight=replace(WHOLE, chosen=other))
    assert {box.finding: box.chosen for box in layout.boxes} == {
        one: False,
        other: True,
    }


def test_a_chosen_finding_gets_its_box_however_improbable() -> None:
    field = field_at(place_at(0.0, 0.0))
    one, faint = finding_at(50, 40), finding_at(80, 60, 0.2)
    assert len(boxes_on(field, one, faint).boxes) == 1
    layout = boxes_on(field, one, faint, sight=replace(WHOLE, chosen=faint))
    assert [(box.finding, box.chosen) for box in layout.boxes] == [
        (one, False),
        (faint, True),
    ]
    away = replace(WHOLE, chosen=finding_at(5000, 60, 0.2))
    assert len(boxes_on(field, one, sight=away).boxes) == 1


def test_order_of_findings_does_not_change_the_layout() -> None:
    field = field_at(place_at(0.0, 0.0))
    findings = [finding_at(10.0 + 9 * i, 40.0, 0.6 + 0.03 * i) for i in range(9)]
    assert boxes_on(field, *findings) == boxes_on(field, *findings[::-1])


def test_suspicion_reads_without_colour_vision() -> None:
    steps = [luminance(suspicion_rgb(0.5 + 0.05 * i)) for i in range(11)]
    assert all(a > b for a, b in pairwise(steps))
    assert steps[0] / steps[-1] > 3
