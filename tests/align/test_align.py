"""Pairs of fields with a known shift, and pairs that share nothing."""

import cv2
import numpy as np
import pytest

from armicro.align.agree import fit, is_found
from armicro.align.look import look_at
from armicro.align.search import search
from tests.cells import cut, draw_cells


@pytest.mark.parametrize("shift", [(60, 0), (-250, 90), (310, -30), (5, 240)])
def test_search_and_fit_find_a_shift_to_a_part_of_a_pixel(
    shift: tuple[int, int],
) -> None:
    scene = draw_cells(1)
    a, b = (
        look_at(cut(scene, x, y), 1.0)
        for x, y in ((500, 400), (500 + shift[0], 400 + shift[1]))
    )
    found = fit(a, b, search(a, b)[0])
    assert found is not None
    assert is_found(found)
    error = np.hypot(found.dx_px - shift[0], found.dy_px - shift[1])
    assert error < 4 * found.standard_error_px < 1.0


def test_fields_that_share_nothing_are_never_found_together() -> None:
    looks = [look_at(cut(draw_cells(seed), 300, 300), 1.0) for seed in range(8)]
    fits = [
        fit(a, b, shift)
        for i, a in enumerate(looks)
        for b in looks[i + 1 :]
        for shift in search(a, b)
    ]
    assert len(fits) > 50
    assert not any(is_found(found) for found in fits if found is not None)


def test_light_exposure_and_blur_do_not_move_a_fit() -> None:
    scene = draw_cells(2)
    a = cut(scene, 400, 300)
    y, x = np.mgrid[:320, :400]
    light = (0.5 + 0.4 * x / 400) * (0.6 + 0.4 * y / 320)
    b = cut(scene, 480, 340) * light[..., None] * 0.9
    b = cv2.GaussianBlur(b.astype(np.uint8), (0, 0), 1.5)
    found = fit(look_at(a, 1.0), look_at(np.asarray(b, np.uint8), 1.0), (79.0, 42.0))
    assert found is not None
    assert is_found(found)
    assert np.hypot(found.dx_px - 80, found.dy_px - 40) < 0.3


def test_scale_of_the_camera_does_not_matter() -> None:
    scene = draw_cells(3)
    a = look_at(cut(scene, 400, 300), 1.0)
    fine = cv2.resize(
        scene[340:660, 480:880], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC
    )
    found = fit(a, look_at(np.asarray(fine, np.uint8), 0.25), (80.0, 40.0))
    assert found is not None
    assert is_found(found)
    assert np.hypot(found.dx_px - 80, found.dy_px - 40) < 0.3


def test_empty_glass_fits_nothing() -> None:
    rng = np.random.default_rng(0)
    glass = [
        look_at(
            np.clip(rng.normal(235, 3, (320, 400, 3)), 0, 255).astype(np.uint8), 1.0
        )
        for _ in (0, 1)
    ]
    a, b = glass
    fits = [fit(a, b, shift) for shift in [(0.0, 0.0), *search(a, b)]]
    assert not any(is_found(found) for found in fits if found is not None)


def test_shifts_are_not_drawn_to_whole_pixels() -> None:
    # A bias of a tenth of a pixel a step would be 30 µm after 300 fields.
    scene = cv2.resize(draw_cells(4), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    errors = []
    for part in range(8):
        a, b = (
            look_at(np.asarray(scene[800:2080, x : x + 1600], np.uint8), 0.25)
            for x in (900, 900 + 640 + part)
        )
        true = (640 + part) / 4
        found = fit(a, b, (round(true), 0.0))
        assert found is not None
        errors.append(found.dx_px - true)
    assert abs(np.mean(errors)) < 0.03
    assert np.max(np.abs(errors)) < 0.06
