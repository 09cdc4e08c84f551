"""White point, colour target and stain, on colours with known answers."""

import numpy as np
import pytest

from armicro.calibrate.colour import (
    apply_matrix,
    ciede2000,
    drift_of,
    fit_matrix,
    lab_of_linear,
    linear_of_lab,
    linear_of_srgb,
    read_patches,
    read_stain,
    srgb_of_linear,
    white_of,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.phantom import paint_field

# Sharma, Wu and Dalal 2005, table 1: two colours in Lab and their CIEDE2000.
SHARMA = """\
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.49 -0.001 50 -2.49 0.0009 7.1792
50 2.49 -0.001 50 -2.49 0.0010 7.1792
50 2.49 -0.001 50 -2.49 0.0011 7.2195
50 2.49 -0.001 50 -2.49 0.0012 7.2195
50 -0.001 2.49 50 0.0009 -2.49 4.8045
50 -0.001 2.49 50 0.0010 -2.49 4.8045
50 -0.001 2.49 50 0.0011 -2.49 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_ciede2000_gives_the_published_pairs() -> None:
    table = np.array([[float(v) for v in row.split()] for row in SHARMA.splitlines()])
    assert len(table) == 34
    for one, two in ((table[:, :3], table[:, 3:6]), (table[:, 3:6], table[:, :3])):
        np.testing.assert_allclose(ciede2000(one, two), table[:, 6], atol=5e-5)


def test_colours_come_back_through_every_space() -> None:
    levels = np.random.default_rng(0).uniform(0, 255, (200, 3))
    light = linear_of_srgb(levels)
    np.testing.assert_allclose(srgb_of_linear(light), levels, atol=1e-3)
    back = linear_of_lab(lab_of_linear(light), d50=False)
    np.testing.assert_allclose(back, light, atol=1e-6)
    # Red of sRGB under D65, and mid grey under either white.
    red = lab_of_linear(np.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(red, (53.24, 80.09, 67.20), atol=0.02)
    grey = linear_of_lab(np.array([50.0, 0.0, 0.0]))
    np.testing.assert_allclose(grey, grey.mean(), rtol=1e-3)


def glass(level: tuple[float, float, float]) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 1.0, (90, 120, 3))
    return np.clip(np.rint(np.array(level) + noise), 0, 255).astype(np.uint8)


def test_white_of_glass_is_balanced_up_to_its_brightest_colour() -> None:
    white, gains = white_of([glass((240, 228, 192))])
    assert white == pytest.approx((240, 228, 192), abs=0.1)
    assert gains == pytest.approx((1.0, 240 / 228, 240 / 192), abs=1e-3)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ((255, 240, 240), "at most 253"),
        ((60, 50, 30), "at least 100"),
        ((150, 140, 30), "in blue, expected at least 40"),
        ((240, 240, 80), "gain of 3.0"),
    ],
)
def test_glass_that_is_no_white_is_refused(
    level: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        white_of([glass(level)])


def test_matrix_undoes_what_the_camera_mixed() -> None:
    rng = np.random.default_rng(3)
    light = rng.uniform(0.02, 0.9, (24, 3))
    mixing = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.2, 0.78]])
    fit = fit_matrix(0.7 * light @ mixing.T, lab_of_linear(light))
    assert fit.before > 2
    assert fit.residual < 0.01
    assert fit.held_out < 0.02
    np.testing.assert_allclose(fit.matrix, np.linalg.inv(0.7 * mixing), atol=1e-3)
    pixels = srgb_of_linear(light @ mixing.T)[None].round().astype(np.uint8)
    shown = apply_matrix(pixels, np.linalg.inv(mixing))
    np.testing.assert_allclose(shown[0], srgb_of_linear(light), atol=4)


def test_too_few_patches_are_refused() -> None:
    with pytest.raises(CalibrationError, match="at least 8"):
        fit_matrix(np.ones((4, 3)), np.ones((4, 3)))


def test_patches_are_read_between_turned_corners() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    for row in range(2):
        for column in range(3):
            patch = picture[50 * row + 50 :, 60 * column + 60 :][:50, :60]
            patch[...] = 40 * (3 * row + column + 1)
    upright = np.array([[60.0, 50], [240, 50], [240, 150], [60, 150]])
    read = read_patches(picture, upright, (3, 2))
    assert read.levels[:, 0].tolist() == [40, 80, 120, 160, 200, 240]
    turned = read_patches(picture[::-1, ::-1], (299, 199) - upright, (3, 2))
    assert turned.levels[:, 1].tolist() == [40, 80, 120, 160, 200, 240]
    with pytest.raises(CalibrationError, match="outside"):
        read_patches(picture, upright + 100, (3, 2))


@pytest.fixture(scope="module")
def slide() -> Pixels:
    return paint_field(seed=11, width_px=600, height_px=500, lesions=2)[0]


WHITE = (252.0, 252.0, 252.0)


def thicker(slide: Pixels, factor: float) -> Pixels:
    """The slide with its optical density multiplied."""
    return np.rint(252 * (slide / 252.0).clip(0, 1) ** factor).astype(np.uint8)


def test_stain_is_steady_until_it_drifts(slide: Pixels) -> None:
    stored = read_stain([slide], WHITE, measured_at="then")
    same = drift_of(read_stain([slide], WHITE, measured_at="now"), stored)
    assert (same.verdict, same.largest_od, same.angle_deg) == ("steady", 0.0, 0.0)
    strong = read_stain([thicker(slide, 1.8)], WHITE, measured_at="now")
    drift = drift_of(strong, stored)
    assert drift.verdict == "drifted"
    assert min(drift.od_rgb) > 0


def test_another_place_of_the_slide_is_not_compared(slide: Pixels) -> None:
    dense = np.full_like(slide, 120)
    stored = read_stain([dense], WHITE, measured_at="then")
    empty = np.full_like(slide, 252)
    with pytest.raises(CalibrationError, match="stained"):
        read_stain([empty], WHITE, measured_at="now")
    mostly_empty = read_stain([dense, empty, empty], WHITE, measured_at="now")
    with pytest.raises(CalibrationError, match="same places"):
        drift_of(mostly_empty, stored)
