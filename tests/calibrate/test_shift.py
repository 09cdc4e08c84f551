"""Shifts between two pictures, against drawn ones moved by known amounts."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from armicro.calibrate.shift import measure_shift
from armicro.field import Pixels
from armicro.phantom import paint_field

WIDTH_PX, HEIGHT_PX = 480, 400


@pytest.fixture(scope="module")
def slide() -> Pixels:
    pixels, _ = paint_field(seed=5, width_px=1000, height_px=900, lesions=4)
    return pixels


def view(slide: Pixels, x_px: float, y_px: float, *, gain: float = 1.0) -> Pixels:
    """What a camera sees whose corner lies at (250 + x, 230 + y)."""
    whole_x, whole_y = round(x_px), round(y_px)
    # A margin, so that the spline does not see the crop's edge.
    rows = slice(222 + whole_y, 238 + whole_y + HEIGHT_PX)
    columns = slice(242 + whole_x, 258 + whole_x + WIDTH_PX)
    rest = whole_y - y_px, whole_x - x_px, 0
    moved = ndimage.shift(slide[rows, columns].astype(float), rest, order=2)
    noise = np.random.default_rng(abs(round(100 * x_px))).normal(0, 2, moved.shape)
    seen = gain * moved + noise
    return np.asarray(np.clip(seen[8:-8, 8:-8].round(), 0, 255), np.uint8)


@pytest.mark.parametrize(
    ("x_px", "y_px"),
    [(0, 0), (0.5, -0.5), (-12.35, 7.6), (101.3, 0.2), (-150.4, 120.7), (190.2, -9.9)],
)
def test_shift_is_found_to_hundredths_of_a_pixel(
    slide: Pixels, x_px: float, y_px: float
) -> None:
    shift = measure_shift(view(slide, 0, 0), view(slide, x_px, y_px))
    assert shift is not None
    assert (shift.x_px, shift.y_px) == pytest.approx((x_px, y_px), abs=0.03)


def test_dust_on_the_sensor_does_not_hold_the_view_fast(slide: Pixels) -> None:
    first, second = view(slide, 0, 0), view(slide, -60.3, 44.8)
    rng = np.random.default_rng(1)
    for x, y in zip(rng.integers(9, 470, 40), rng.integers(9, 390, 40), strict=True):
        for picture in (first, second):
            cv2.circle(picture, (int(x), int(y)), 2, (60, 60, 60), -1)
    shift = measure_shift(first, second)
    assert shift is not None
    assert (shift.x_px, shift.y_px) == pytest.approx((-60.3, 44.8), abs=0.15)


def test_light_that_changes_does_not_move_the_view(slide: Pixels) -> None:
    shift = measure_shift(view(slide, 0, 0), view(slide, 33.4, 5.2, gain=0.7))
    assert shift is not None
    assert (shift.x_px, shift.y_px) == pytest.approx((33.4, 5.2), abs=0.03)


def test_pictures_with_nothing_in_common_have_no_shift(slide: Pixels) -> None:
    other, _ = paint_field(seed=6, width_px=WIDTH_PX, height_px=HEIGHT_PX, lesions=2)
    assert measure_shift(view(slide, 0, 0), other) is None


def test_empty_glass_has_no_shift() -> None:
    rng = np.random.default_rng(0)
    first, second = (
        rng.normal(220, 2, (HEIGHT_PX, WIDTH_PX, 3)).astype(np.uint8) for _ in range(2)
    )
    assert measure_shift(first, second) is None
    assert measure_shift(0 * first, 0 * first) is None
