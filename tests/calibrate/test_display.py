"""The display's place before the camera, on pretended paths with known truth."""

from dataclasses import replace

import numpy as np
import pytest

from armicro.calibrate.display import (
    FoundCorners,
    Mapping,
    Points,
    draw_pattern,
    error_um,
    find_pattern,
    judge,
    solve_display,
    to_display,
)
from armicro.calibrate.simulated_path import SimulatedPath, draw_path
from armicro.errors import CalibrationError
from armicro.field import Pixels

CAMERA = (1224, 1024)
UM_PER_PX = 0.486


def truth_points(path: SimulatedPath) -> tuple[Points, Points]:
    """A grid over the field, where the display is behind it."""
    axes = [np.linspace(0, side - 1, 30) for side in path.camera_wh_px]
    camera = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    display = path.to_display(camera)
    inside = ((display >= 0) & (display <= np.array(path.display_wh_px) - 1)).all(1)
    return camera[inside], display[inside]


def errors_um(mapping: Mapping, path: SimulatedPath) -> Points:
    camera, display = truth_points(path)
    return error_um(mapping, camera, display, um_per_px=UM_PER_PX)


def look(
    path: SimulatedPath, *, verify: bool = False, **options: object
) -> FoundCorners:
    pattern = draw_pattern(*path.display_wh_px, verify=verify)
    picture = path.show(pattern, **options)  # type: ignore[arg-type]
    return find_pattern(picture, path.display_wh_px, verify=verify)


@pytest.mark.parametrize("seed", [0, 5])
def test_turned_tilted_bent_display_is_mapped_to_two_micrometres(seed: int) -> None:
    path = draw_path(seed, camera_wh_px=CAMERA)
    assert 1 <= abs(path.rotation_deg) <= 5
    seen = look(path)
    assert seen.mirrored == path.mirrored
    mapping = solve_display(seen, CAMERA)
    assert errors_um(mapping, path).max() < 2.0
    held_out = look(path, verify=True)
    residual = judge(mapping, held_out, um_per_px=UM_PER_PX)
    assert residual.points > 40
    assert residual.largest_um < 2.0


def test_corners_of_a_picture_lie_between_its_pixels() -> None:
    for verify in (False, True):
        pattern = draw_pattern(960, 540, verify=verify)
        seen = find_pattern(pattern, (960, 540), verify=verify)
        assert len(seen.camera_xy) > 60
        np.testing.assert_allclose(seen.camera_xy, seen.display_xy, atol=0.05)


def test_two_boards_are_never_taken_for_each_other() -> None:
    size = 640, 360
    pattern = draw_pattern(*size)
    assert len(find_pattern(pattern, size, verify=True).camera_xy) == 0
    first = find_pattern(pattern, size).display_xy
    verify = draw_pattern(*size, verify=True)
    second = find_pattern(verify, size, verify=True).display_xy
    gaps = np.linalg.norm(first[:, None] - second[None], axis=-1)
    assert gaps.min() > 15


def seen_of(path: SimulatedPath, noise_px: float = 0.05) -> FoundCorners:
    camera, display = truth_points(path)
    rng = np.random.default_rng(0)
    return FoundCorners(camera + rng.normal(0, noise_px, camera.shape), display)


def test_lens_term_is_there_only_where_the_points_ask_for_it() -> None:
    flat = replace(draw_path(1), distortion=(0.0, 0.0))
    assert solve_display(seen_of(flat), flat.camera_wh_px).distortion == ()
    bent = replace(flat, distortion=(0.02, 0.0), axis_px=(0.0, 0.0))
    mapping = solve_display(seen_of(bent), bent.camera_wh_px)
    assert mapping.distortion[0] == pytest.approx(0.02, abs=0.002)


def test_corners_that_were_misread_do_not_move_the_rest() -> None:
    path = draw_path(4)
    seen = seen_of(path)
    seen.camera_xy[::9] += 60
    mapping = solve_display(seen, path.camera_wh_px)
    assert errors_um(mapping, path).max() < 0.5


@pytest.fixture(scope="module")
def slide() -> Pixels:
    """Dark blobs on light ground."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(60, 200, (16, 19, 3)).astype(np.uint8)
    return np.asarray(np.kron(coarse, np.ones((64, 65, 1), np.uint8))[:1024, :1224])


def test_dim_pattern_over_a_slide_is_found_without_the_slide(slide: Pixels) -> None:
    path = replace(draw_path(2, camera_wh_px=CAMERA), brightness=20.0)
    pattern = draw_pattern(*path.display_wh_px)
    shown = path.show(pattern, slide=slide, seed=1).astype(np.int16)
    alone = shown - path.show(None, slide=slide, seed=2)
    picture = np.clip(alone * 10, 0, 255).astype(np.uint8)
    seen = find_pattern(picture, path.display_wh_px)
    assert errors_um(solve_display(seen, CAMERA), path).max() < 2.0


def test_nothing_is_solved_without_a_pattern(slide: Pixels) -> None:
    seen = find_pattern(slide, (1920, 1080))
    with pytest.raises(CalibrationError, match="0 corners"):
        solve_display(seen, CAMERA)
    mapping = Mapping(np.eye(3), (), CAMERA)
    with pytest.raises(CalibrationError, match="verification"):
        judge(mapping, seen, um_per_px=1.0)


def test_pattern_in_a_part_of_the_field_is_refused() -> None:
    seen = seen_of(draw_path(0))
    inside = (seen.camera_xy < (900, 800)).all(axis=1)
    part = FoundCorners(seen.camera_xy[inside], seen.display_xy[inside])
    with pytest.raises(CalibrationError, match="of the field"):
        solve_display(part, (2448, 2048))


def test_certificate_maps_as_the_solver_does() -> None:
    path = draw_path(6)
    mapping = solve_display(seen_of(path), path.camera_wh_px)
    camera, _ = truth_points(path)
    rows = mapping.homography.tolist()
    again = to_display(
        camera,
        tuple((a, b, c) for a, b, c in rows),
        mapping.distortion,
        path.camera_wh_px,
    )
    np.testing.assert_allclose(again, mapping.to_display(camera))


def test_display_too_small_for_a_pattern_is_refused() -> None:
    with pytest.raises(CalibrationError, match="too small"):
        draw_pattern(200, 100)
