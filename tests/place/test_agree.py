"""Pairs of fields with a known shift, and pairs that share nothing."""

import cv2
import numpy as np
import pytest

from armicro.place.agree import fit, is_cell, is_edge, is_found, is_near, search
from armicro.place.look import look_at
from tests.cells import cut, draw_cells, draw_line


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


LINES = ["edge", "hair", "two hairs", "fringes", "arc of 3 mm"]


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("noise", [1.0, 3.0, 6.0])
def test_straight_edge_fits_nowhere_wherever_it_is_slid(
    kind: str, noise: float
) -> None:
    for seed in range(2):
        scene, along = draw_line(seed, kind)
        at = 500 + round(70 * along[0]), 400 + round(70 * along[1])
        a = look_at(cut(scene, 500, 400, noise=noise), 1.0)
        b = look_at(cut(scene, *at, noise=noise, seed=1), 1.0)
        for shift in [(0.0, 0.0), *search(a, b)]:
            found = fit(a, b, shift)
            assert found is None or not (
                is_near(found) or is_found(found) or is_cell(found)
            )


@pytest.mark.parametrize("cells", [20, 60])
@pytest.mark.parametrize("kind", ["edge", "hair", "arc of 3 mm"])
def test_cells_beside_an_edge_say_where_or_nothing_does(kind: str, cells: int) -> None:
    placed = 0
    for seed in range(4):
        scene, along = draw_line(seed, kind, cells=cells)
        dx, dy = round(70 * along[0]), round(70 * along[1])
        a = look_at(cut(scene, 500, 400), 1.0)
        b = look_at(cut(scene, 500 + dx, 400 + dy, seed=1), 1.0)
        for shift in search(a, b):
            found = fit(a, b, shift)
            if found is None or not is_found(found):
                continue
            placed += 1
            assert abs(found.dx_px - dx) < max(4 * found.standard_error_px, 0.3)
            assert abs(found.dy_px - dy) < max(4 * found.standard_error_px, 0.3)
    assert placed >= (cells - 20) // 20


@pytest.mark.parametrize("noise", [6.0, 10.0, 14.0])
def test_plain_noise_does_not_disagree(noise: float) -> None:
    scene = draw_cells(5, cells=60)
    a = look_at(cut(scene, 500, 400, noise=noise), 1.0)
    b = look_at(cut(scene, 590, 440, noise=noise, seed=1), 1.0)
    found = fit(a, b, search(a, b)[0])
    assert found is not None
    assert is_found(found)
    assert not is_edge(found)
    assert np.hypot(found.dx_px - 90, found.dy_px - 40) < 1.0


@pytest.mark.parametrize("axis", [0, 1])
def test_error_is_larger_along_an_edge_and_honest_on_each_axis(axis: int) -> None:
    ratios = []
    for seed in range(6):
        scene = draw_cells(seed, cells=60)
        # A pen's stroke, along x or along y.
        stroke = (slice(540, 600), slice(None)) if axis == 0 else np.s_[:, 680:740]
        scene[stroke] = scene[stroke] // 3
        a, b = (
            look_at(cut(scene, x, y, noise=4.0, seed=seed), 1.0)
            for x, y in ((500, 400), (537, 421))
        )
        found = fit(a, b, (36.0, 22.0))
        assert found is not None
        if not is_near(found):
            continue
        errors = np.array(found.standard_error_xy_px)
        assert errors[axis] > errors[1 - axis]
        assert found.standard_error_px == errors.max()
        ratios.append(np.array([found.dx_px - 37, found.dy_px - 21]) / errors)
    assert len(ratios) >= 3
    assert np.sqrt(np.mean(np.square(ratios), axis=0)).max() < 2.0


@pytest.mark.parametrize("away_px", [8, 14, 20])
def test_guess_far_off_ends_at_the_truth_or_nowhere(away_px: int) -> None:
    # Large and smooth things still agree a little beside their place.
    scene = cv2.GaussianBlur(draw_cells(3, cells=1500), (0, 0), 6.0)
    a, b = (
        look_at(cut(np.asarray(scene, np.uint8), *at), 1.0)
        for at in ((300, 300), (340, 330))
    )
    for shift in ((40.0 + away_px, 30.0), (40.0, 30.0 - away_px)):
        found = fit(a, b, shift)
        if found is None or not is_near(found):
            continue
        assert abs(found.dx_px - 40) < 0.3
        assert abs(found.dy_px - 30) < 0.3


@pytest.mark.parametrize("seed", [10, 34])
def test_arc_with_few_cells_is_not_believed_where_it_was_slid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene, along = draw_line(seed, "arc of 3 mm", cells=20)
    dx, dy = (round(rng.uniform(-150, 150) * part) for part in along)
    noise = float(rng.choice([1.0, 3.0, 6.0]))
    a = look_at(cut(scene, 500, 400, noise=noise), 1.0)
    b = look_at(cut(scene, 500 + dx, 400 + dy, noise=noise, seed=1), 1.0)
    for shift in [(0.0, 0.0), *search(a, b)]:
        found = fit(a, b, shift)
        if found is not None and is_near(found):
            assert np.hypot(found.dx_px - dx, found.dy_px - dy) < 10.0
