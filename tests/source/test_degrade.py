"""Imperfections of a microscope, on pictures with known answers."""

import math

import numpy as np
import pytest

from armicro.field import Pixels
from armicro.rig import Camera, Scan
from armicro.source.scan import (
    Chance,
    Degrader,
    blur_sigma_um,
    draw_chance,
    motion_kernel,
)

CAMERA = Camera(exposure_us=10_000)
STILL = (0.0, 0.0)


def degrade(
    pixels: Pixels, scan: Scan, seq: int = 0, direction: tuple[float, float] = STILL
) -> Pixels:
    degrader = Degrader(CAMERA, scan, um_per_px=0.5)
    return degrader.apply(pixels, draw_chance(scan, seq), direction=direction)


def spot() -> Pixels:
    pixels = np.zeros((101, 101, 3), np.uint8)
    pixels[50, 50] = 255
    return pixels


def spread_px(pixels: Pixels) -> tuple[float, float]:
    """Standard deviation of the light along x and y."""
    light = pixels[..., 0].astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return tuple(
        math.sqrt((light * (axis - (light * axis).sum() / light.sum()) ** 2).sum())
        / math.sqrt(light.sum())
        for axis in (x, y)
    )  # type: ignore[return-value]


def test_perfect_microscope_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    np.testing.assert_array_equal(degrade(pixels, Scan()), pixels)


def test_fields_differ_by_number_and_seed_and_by_nothing_else() -> None:
    pixels = np.full((40, 50, 3), 128, np.uint8)
    scan = Scan(noise=0.05, seed=7)
    first = degrade(pixels, scan, 3)
    np.testing.assert_array_equal(first, degrade(pixels, scan, 3))
    assert (first != degrade(pixels, scan, 4)).any()
    assert (first != degrade(pixels, Scan(noise=0.05, seed=-7), 3)).any()


def test_noise_has_the_asked_deviation() -> None:
    pixels = np.full((300, 300, 3), 128, np.uint8)
    noisy = degrade(pixels, Scan(noise=0.04)).astype(float)
    assert noisy.std() == pytest.approx(0.04 * 255, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.1)


def test_blur_is_in_micrometres() -> None:
    pixels = np.zeros((101, 101, 3), np.uint8)
    pixels[40:61, 40:61] = 255
    before, after = spread_px(pixels)[0], spread_px(degrade(pixels, Scan(blur_um=2)))[0]
    assert math.sqrt(after**2 - before**2) * 0.5 == pytest.approx(2, rel=0.05)


def test_defocus_follows_the_aperture_and_chance() -> None:
    scan = Scan(defocus_um=3)
    focus_um = [draw_chance(scan, seq).focus_um for seq in range(2000)]
    assert np.std(focus_um) == pytest.approx(3, rel=0.05)
    assert np.mean(focus_um) == pytest.approx(0, abs=0.2)
    # NA 0.76 in n = 1.52 is a cone of 30°: a disc of radius z·tan 30°.
    sigma_um = blur_sigma_um(scan, 4.0, aperture=0.76)
    assert sigma_um == pytest.approx(4 * math.tan(math.pi / 6) / 2)
    assert blur_sigma_um(scan, -4.0, aperture=0.4) < sigma_um


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, -1.0), (0.6, 0.8)])
def test_stage_smears_along_its_way(direction: tuple[float, float]) -> None:
    # 1000 µm/s for 10 ms is 10 µm, at 0.5 µm/px 20 px.
    smeared = degrade(spot(), Scan(stage_um_per_s=1000), direction=direction)
    spread = spread_px(smeared)
    for axis in (0, 1):
        expected = 20 / math.sqrt(12) * abs(direction[axis])
        assert spread[axis] == pytest.approx(expected, abs=0.7)


def test_stage_that_stands_does_not_smear() -> None:
    np.testing.assert_array_equal(degrade(spot(), Scan(stage_um_per_s=1000)), spot())


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, 0.0), (7.5, -3.0), (-40, 9)])
def test_motion_kernel_neither_shifts_nor_darkens(dx: float, dy: float) -> None:
    kernel = motion_kernel(dx, dy)
    assert kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]]
    middle = (kernel.shape[0] - 1) / 2
    assert (kernel * x).sum() == pytest.approx(middle, abs=1e-3)
    assert (kernel * y).sum() == pytest.approx(middle, abs=1e-3)


def test_vignetting_darkens_the_corners_by_its_share() -> None:
    pixels = np.full((101, 151, 3), 200, np.uint8)
    dark = degrade(pixels, Scan(vignetting=0.4))
    assert dark[50, 75].tolist() == [200, 200, 200]
    for corner in (dark[0, 0], dark[-1, 0], dark[0, -1], dark[-1, -1]):
        assert corner.tolist() == [120, 120, 120]


def test_dropped_share_is_kept_over_many_fields() -> None:
    scan = Scan(dropped=0.2)
    dropped = [draw_chance(scan, seq).dropped for seq in range(3000)]
    assert np.mean(dropped) == pytest.approx(0.2, abs=0.03)
    assert not any(draw_chance(Scan(), seq).dropped for seq in range(100))


def test_noise_does_not_depend_on_what_else_is_injected() -> None:
    alone, more = Scan(noise=0.1), Scan(noise=0.1, dropped=0.3, defocus_um=2)
    seeds = [draw_chance(scan, 5).noise_seed for scan in (alone, more)]
    assert seeds[0] == seeds[1]
    assert isinstance(draw_chance(more, 5), Chance)
