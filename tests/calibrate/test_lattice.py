"""Grids, dots and ChArUco boards of known scale."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from armicro.calibrate.lattice import (
    COLUMNS,
    ROWS,
    board,
    measure_charuco,
    measure_dots,
)
from armicro.calibrate.scale import measure_grid
from armicro.errors import CalibrationError

PITCH_UM = 20.0


def _plane(
    um_per_px: float, degrees: float, stretch: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Micrometres along and across, of each pixel."""
    y, x = np.mgrid[:480, :640].astype(np.float64)
    angle = np.deg2rad(degrees)
    y = y * stretch
    along = (np.cos(angle) * x + np.sin(angle) * y) * um_per_px
    across = (np.cos(angle) * y - np.sin(angle) * x) * um_per_px
    return along, across


def _off(micrometres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to the nearest multiple of the pitch."""
    return np.abs((micrometres / PITCH_UM + 0.5) % 1 - 0.5) * PITCH_UM


def _photo(edge_um: NDArray[np.float64], um_per_px: float) -> NDArray[np.uint8]:
    """Dark where ``edge_um`` is negative, a pixel soft, with noise."""
    rng = np.random.default_rng(1)
    light = 0.25 + 0.6 * np.clip(edge_um / um_per_px + 0.5, 0, 1)
    light += rng.normal(0, 0.01, edge_um.shape)
    grey = (np.clip(light, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _dots(um_per_px: float, degrees: float, stretch: float = 1.0) -> NDArray[np.uint8]:
    along, across = _plane(um_per_px, degrees, stretch)
    return _photo(np.hypot(_off(along), _off(across)) - 5, um_per_px)


def _grid(um_per_px: float, degrees: float, stretch: float = 1.0) -> NDArray[np.uint8]:
    along, across = _plane(um_per_px, degrees, stretch)
    return _photo(np.minimum(_off(along), _off(across)) - 1.2, um_per_px)


@pytest.mark.parametrize("degrees", [0.0, 28.0])
def test_dots_give_the_scale_both_ways(degrees: float) -> None:
    reading = measure_dots(_dots(0.6, degrees), pitch_um=PITCH_UM)
    assert reading.um_per_px == pytest.approx(0.6, rel=0.001)
    assert reading.anisotropy == pytest.approx(0, abs=0.001)


def test_a_grid_gives_the_scale_both_ways() -> None:
    reading = measure_grid(_grid(0.6, 28), division_um=PITCH_UM)
    assert reading.um_per_px == pytest.approx(0.6, rel=0.001)
    assert reading.anisotropy == pytest.approx(0, abs=0.001)


def test_a_stretched_picture_is_refused() -> None:
    with pytest.raises(CalibrationError, match="x and y disagree"):
        measure_dots(_dots(0.6, 0, stretch=1.01), pitch_um=PITCH_UM)
    with pytest.raises(CalibrationError, match="x and y disagree"):
        measure_grid(_grid(0.6, 0, stretch=1.01), division_um=PITCH_UM)


def test_charuco_gives_the_scale_at_any_rotation_and_in_part() -> None:
    square_px = 60
    drawn = board(1.0).generateImage((COLUMNS * square_px, ROWS * square_px))
    turn = cv2.getRotationMatrix2D((300, 240), 25, 0.8)
    picture = cv2.warpAffine(
        np.asarray(drawn), turn, (640, 480), flags=cv2.INTER_AREA, borderValue=(255,)
    )
    reading = measure_charuco(np.asarray(picture, np.uint8), square_um=100)
    assert reading.um_per_px == pytest.approx(100 / (0.8 * square_px), rel=0.002)


def test_what_is_no_target_is_refused() -> None:
    blank = np.full((480, 640, 3), 200, np.uint8)
    with pytest.raises(CalibrationError, match="expected at least"):
        measure_dots(blank, pitch_um=PITCH_UM)
    with pytest.raises(CalibrationError, match="expected at least"):
        measure_charuco(blank, square_um=PITCH_UM)
    along, _ = _plane(0.6, 10)
    with pytest.raises(CalibrationError, match="expected at least"):
        measure_grid(_photo(_off(along) - 1.2, 0.6), division_um=PITCH_UM)
