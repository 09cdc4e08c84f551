"""The scale of drawn micrometers, and what is refused."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.calibrate.reading import combine
from armicro.calibrate.scale import measure_ruler
from armicro.command.calibrate.picture import read_pictures
from armicro.errors import CalibrationError
from tests.calibrate.micrometer import (
    Design,
    View,
    case,
    draw,
    draw_angle,
    draw_pair,
)

SMALL = View(um_per_px=0.5, width_px=800, height_px=600, noise=0.02)


@pytest.mark.parametrize("rotation_deg", [0.0, 33.0, 90.0, 147.5])
def test_scale_and_rotation_are_those_of_the_drawing(rotation_deg: float) -> None:
    view = replace(SMALL, rotation_deg=rotation_deg)
    reading = measure_ruler(draw(Design(), view), division_um=10)
    assert reading.um_per_px == pytest.approx(0.5, rel=0.001)
    assert abs(reading.um_per_px - 0.5) < 5 * reading.standard_error
    off = (reading.rotation_deg - rotation_deg + 90) % 180 - 90
    assert abs(off) < 0.1
    assert reading.every == 5


# 114: a crossing ruler on the last tick; 194: a numeral on the long ones.
@pytest.mark.parametrize("seed", [3, 11, 22, 114, 194])
def test_faults_of_real_pictures_do_not_change_the_scale(seed: int) -> None:
    design, view = case(seed)
    reading = measure_ruler(draw(design, view), division_um=10)
    assert reading.um_per_px == pytest.approx(view.um_per_px, rel=0.003)


def test_bright_lines_on_dark_are_read_as_well() -> None:
    view = replace(SMALL, bright=True, rotation_deg=12)
    reading = measure_ruler(draw(Design(baseline=True), view), division_um=10)
    assert reading.um_per_px == pytest.approx(0.5, rel=0.001)


@pytest.mark.parametrize("um_per_px", [0.25, 1.0])
@pytest.mark.parametrize("group", [5, 10, 20])
@pytest.mark.parametrize("scatter", [0.01, 0.02])
def test_groups_beside_their_places_are_read_with_an_error_that_says_so(
    um_per_px: float, group: int, scatter: float
) -> None:
    view = replace(SMALL, um_per_px=um_per_px, width_px=1280, height_px=400)
    design = Design(numerals=False, group=group, group_scatter=scatter)
    reading = measure_ruler(draw(design, view), division_um=10)
    assert reading.um_per_px == pytest.approx(um_per_px, rel=0.003)
    assert abs(reading.um_per_px - um_per_px) < 2 * reading.standard_error


@pytest.mark.parametrize("bright", [False, True])
@pytest.mark.parametrize("rotation_deg", [0.0, 7.0])
def test_divisions_of_five_pixels_are_read(bright: bool, rotation_deg: float) -> None:
    view = replace(SMALL, um_per_px=2.0, bright=bright, rotation_deg=rotation_deg)
    reading = measure_ruler(draw(Design(divisions=200), view), division_um=10)
    assert reading.um_per_px == pytest.approx(2.0, rel=0.003)


def test_a_dark_field_is_no_eyepiece_and_a_slanting_base_no_order() -> None:
    # Bright lines on black, whose far ends rise along the ruler.
    picture = np.zeros((300, 720), np.uint8)
    for tick in range(90):
        x, reach = 8 + tick * 7.75, 70 + tick * 0.12
        reach += (0, 40, 20)[(tick % 5 == 0) + (tick % 10 == 5)]
        top = (round(x * 16), round((200 - reach) * 16))
        cv2.line(picture, top, (round(x * 16), 3200), 190, 2, cv2.LINE_AA, 4)
    soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8)
    reading = measure_ruler(soft, division_um=10)
    assert reading.um_per_px == pytest.approx(10 / 7.75, rel=0.002)
    assert reading.every == 5


@pytest.mark.data
def test_a_real_dark_field_micrometer_is_read(data_folder: Path) -> None:
    path = data_folder.parent / "cases" / "micrometer-inverted.png"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    picture = read_pictures([path])[0]
    reading = measure_ruler(picture, division_um=10)
    assert reading.um_per_px == pytest.approx(1.293, abs=2 * reading.standard_error)


@pytest.mark.parametrize("other", [1.03, 1.1, 1.37, 2.0])
@pytest.mark.parametrize("way", ["stacked", "side by side"])
def test_two_rulers_of_different_scale_are_told(other: float, way: str) -> None:
    stacked = way == "stacked"
    view = replace(
        SMALL, um_per_px=1.0, width_px=640 if stacked else 480, height_px=240
    )
    design = Design(numerals=False)
    second = replace(view, um_per_px=other, centre=(50.3, 2))
    pair = [draw(design, view), draw(design, second)]
    picture = np.vstack(pair) if stacked else np.hstack(pair)
    with pytest.raises(CalibrationError, match="two scales"):
        measure_ruler(picture, division_um=10)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(
    ("ratio", "rotation_deg"), [(1.03, 20.0), (1.5, 45.0), (2.0, 20.0), (10.0, 33.0)]
)
def test_two_rulers_are_told_at_any_rotation(
    ratio: float, rotation_deg: float, stacked: bool
) -> None:
    um_per_px = 0.15 if ratio > 3 else 0.7
    view = replace(SMALL, um_per_px=um_per_px, rotation_deg=rotation_deg, width_px=1100)
    picture = draw_pair(view, ratio=ratio, stacked=stacked)
    with pytest.raises(CalibrationError, match="two scales"):
        measure_ruler(picture, division_um=10)


@pytest.mark.parametrize("bright", [False, True])
@pytest.mark.parametrize(
    ("ratio", "turn_deg"), [(1.03, 15.0), (1.37, 30.0), (2.0, 60.0), (1.03, 90.0)]
)
def test_two_rulers_at_an_angle_are_told(
    ratio: float, turn_deg: float, *, bright: bool
) -> None:
    view = replace(SMALL, width_px=1100, height_px=800, bright=bright)
    picture = draw_angle(view, ratio=ratio, turn_deg=turn_deg)
    with pytest.raises(CalibrationError, match="two scales"):
        measure_ruler(picture, division_um=10)


@pytest.mark.parametrize("turn_deg", [15.0, 90.0])
def test_a_second_ruler_of_the_same_scale_does_no_harm(turn_deg: float) -> None:
    picture = draw_angle(replace(SMALL, width_px=1100), ratio=1.0, turn_deg=turn_deg)
    reading = measure_ruler(picture, division_um=10)
    assert reading.um_per_px == pytest.approx(0.5, rel=0.001)


def test_broad_lines_are_measured_alike_in_a_smaller_picture() -> None:
    # A tick of 2.5 µm is 50 px wide here, and measured with a whole step less of them.
    view = View(um_per_px=0.05, width_px=2443, height_px=1201, rotation_deg=7)
    reading = measure_ruler(draw(Design(line=0.25), view), division_um=10)
    assert reading.um_per_px == pytest.approx(0.05, rel=0.0005)
    assert abs(reading.um_per_px - 0.05) < 3 * reading.standard_error


def test_long_ticks_alone_are_not_taken_for_divisions() -> None:
    # Only the far ends of every tenth tick reach into the picture.
    design = Design(numerals=False, fifths=False, long=40)
    view = replace(SMALL, centre=(50, 24), height_px=400, width_px=1200)
    with pytest.raises(CalibrationError, match="ambiguous"):
        measure_ruler(draw(design, view), division_um=10)


def test_stripes_are_no_ruler_unless_the_objective_vouches_for_them() -> None:
    design = Design(numerals=False, short=80, middle=80, long=80, centred=True)
    picture = draw(design, replace(SMALL, centre=(50, 0)))
    with pytest.raises(CalibrationError, match="--objective"):
        measure_ruler(picture, division_um=10)
    reading = measure_ruler(picture, division_um=10, expected=0.45)
    assert reading.um_per_px == pytest.approx(0.5, rel=0.001)


def test_scale_that_the_objective_cannot_make_is_refused() -> None:
    picture = draw(Design(), SMALL)
    with pytest.raises(CalibrationError, match="implausible"):
        measure_ruler(picture, division_um=10, expected=0.25)


@pytest.mark.parametrize(
    ("level", "noise", "specks", "words"),
    [
        (200, 0.0, 0, "no ruler found: the picture is empty"),
        (200, 1.0, 0, "no ruler found: the picture is empty"),
        (200, 4.0, 0, "no ruler found: the picture is empty"),
        (120, 2.0, 12, "no ruler found: the picture is empty"),
        (2, 1.0, 0, "no ruler found: the picture is dark"),
    ],
)
def test_empty_glass_is_refused_as_such(
    level: int, noise: float, specks: int, words: str
) -> None:
    rng = np.random.default_rng(specks)
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    light = level * (1 - 0.1 * (x * x + y * y))[..., None]
    picture = np.clip(light + rng.normal(0, noise, (300, 400, 3)), 0, 255)
    picture = picture.astype(np.uint8)
    for _ in range(specks):
        centre = int(rng.integers(400)), int(rng.integers(300))
        cv2.circle(picture, centre, int(rng.integers(1, 3)), (60, 60, 60), -1)
    with pytest.raises(CalibrationError, match=words):
        measure_ruler(picture, division_um=10)


def test_nothing_and_noise_are_refused() -> None:
    rng = np.random.default_rng(0)
    for picture in (
        np.full((300, 400, 3), 180, np.uint8),
        rng.integers(0, 256, (300, 400, 3)).astype(np.uint8),
    ):
        with pytest.raises(CalibrationError, match="expected"):
            measure_ruler(picture, division_um=10)


def test_two_pictures_must_agree() -> None:
    one = measure_ruler(draw(Design(), SMALL), division_um=10)
    turned = replace(SMALL, rotation_deg=90)
    two = measure_ruler(draw(Design(), turned), division_um=10)
    both = combine([one, two])
    assert both.anisotropy == pytest.approx(0, abs=0.002)
    stretched = measure_ruler(
        draw(Design(), replace(turned, um_per_px=0.505)), division_um=10
    )
    with pytest.raises(CalibrationError, match="disagree"):
        combine([one, stretched])
