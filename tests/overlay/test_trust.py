"""Where boxes are aimed, how boldly, and why not: monitor and eyepiece."""

from dataclasses import replace

import pytest
from msgspec import structs

from armicro.field import Sight as Seeing
from armicro.overlay.layout import BoxLayout, CanvasView, FindingIndex, lay_out
from armicro.overlay.snapshot import DisplayOptics, LiveField, OverlaySettings
from armicro.overlay.words import aim_of, motion_words, why_no_boxes
from armicro.verdict import badge_text
from tests.overlay.scene import SECOND_NS, field_at, finding_at, place_at, slide_with

MONITOR = OverlaySettings()
STRAIGHT = DisplayOptics(((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)), size_px=(400, 300))
EYEPIECE = OverlaySettings(optical=True, latency_ms=20.0, optics=STRAIGHT)
WHOLE = CanvasView((0.0, 0.0, 400.0, 300.0), (30.0, 12.0))


def moving(
    x_um_per_s: float, y_um_per_s: float = 0.0, *, error_um: float = 0.3
) -> LiveField:
    sight = Seeing(velocity_xy_um_per_s=(x_um_per_s, y_um_per_s))
    return structs.replace(field_at(place_at(0.0, 0.0, error_um)), sight=sight)


def boxes_on(
    field: LiveField,
    setting: OverlaySettings,
    *,
    age_ms: float = 30.0,
    x_um: float = 50.0,
) -> BoxLayout:
    findings = (finding_at(x_um, 40.0),)
    sight = replace(WHOLE, now_ns=SECOND_NS + round(age_ms * 1e6))
    return lay_out(FindingIndex(findings), field, slide_with(findings), sight, setting)


def middle_um(layout: BoxLayout, field: LiveField) -> tuple[float, float]:
    (box,) = layout.boxes
    x0, y0, x1, y1 = box.box_xyxy_px
    return (x0 + x1) / 2 * field.um_per_px, (y0 + y1) / 2 * field.um_per_px


def test_a_display_that_nobody_measured_shows_no_box_and_says_what_to_do() -> None:
    layout = boxes_on(moving(0.0), replace(EYEPIECE, optics=None))
    assert not layout.boxes
    said = why_no_boxes(moving(0.0), None, SECOND_NS, replace(EYEPIECE, optics=None))
    assert "nobody measured where the display lies" in said
    assert "armicro calibrate display" in said
    # A monitor shows the picture itself: there is nothing to measure.
    assert boxes_on(moving(0.0), MONITOR).boxes


def test_in_the_eyepiece_a_box_stands_where_its_cell_will_be() -> None:
    field = moving(100.0, -40.0)
    # 30 ms old and 20 ms until it lights up: the view went on by 5 and -2 µm.
    layout = boxes_on(field, EYEPIECE)
    assert middle_um(layout, field) == pytest.approx((45.0, 42.0))
    assert middle_um(boxes_on(field, MONITOR), field) == pytest.approx((50.0, 40.0))


def test_a_cell_that_will_have_come_into_view_gets_its_box_now() -> None:
    field = moving(100.0)
    assert boxes_on(field, EYEPIECE, x_um=106.0).boxes
    assert not boxes_on(field, MONITOR, x_um=106.0).boxes


def test_a_measured_way_from_glass_to_glass_is_the_least_that_is_looked_ahead() -> None:
    measured = replace(EYEPIECE, glass_to_glass_ms=80.0)
    for age_ms, ahead_um in ((10.0, 8.0), (75.0, 9.5)):
        aim = aim_of(moving(100.0), SECOND_NS + round(age_ms * 1e6), measured)
        assert aim is not None
        assert aim.place.x_um == pytest.approx(ahead_um)


@pytest.mark.parametrize("optical", [False, True])
def test_the_way_during_the_latency_counts_as_error_only_in_the_eyepiece(
    optical: bool,
) -> None:
    setting = EYEPIECE if optical else MONITOR
    opacities = []
    for speed in (0.0, 60.0, 120.0, 180.0):
        layout = boxes_on(moving(speed), setting)
        opacities.append(layout.boxes[0].opacity)
    assert (opacities == sorted(set(opacities), reverse=True)) == optical
    assert (set(opacities) == {1.0}) != optical


@pytest.mark.parametrize(
    ("field", "age_ms", "word"),
    [
        (moving(260.0), 30.0, "off by 13 µm"),
        (moving(0.0, error_um=12.0), 30.0, "±12 µm"),
        (structs.replace(moving(0.0), sight=Seeing()), 30.0, "motion unknown"),
        (moving(0.0), 400.0, "no picture"),
        (field_at(None), 30.0, "place unknown"),
    ],
)
def test_in_the_eyepiece_no_box_where_it_could_stand_wrongly(
    field: LiveField, age_ms: float, word: str
) -> None:
    layout = boxes_on(field, EYEPIECE, age_ms=age_ms)
    assert layout.boxes == ()
    assert word in layout.reason


def test_on_a_monitor_speed_and_age_take_no_box_away() -> None:
    assert boxes_on(moving(9e3), MONITOR, age_ms=5e3).boxes
    assert boxes_on(structs.replace(moving(0.0), sight=Seeing()), MONITOR).boxes


@pytest.mark.parametrize(
    ("sight", "words"),
    [
        (None, ""),
        (Seeing(focus=0.9), ""),
        (Seeing(focus=None), ""),
        (Seeing(focus=0.1), badge_text("out_of_focus")),
        (Seeing(focus=0.1, smear_um=3.0), badge_text("moving")),
    ],
)
def test_what_keeps_a_field_from_being_analysed_is_said_in_a_few_words(
    sight: Seeing | None, words: str
) -> None:
    field = structs.replace(field_at(place_at(0, 0)), sight=sight)
    assert motion_words(field, MONITOR) == words
