"""The scale of drawn micrometers, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from armicro.calibrate.reading import combine
from armicro.calibrate.scale import measure_ruler
from armicro.errors import CalibrationError
from tests.calibrate.micrometer import Design, View, case, draw

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


@pytest.mark.parametrize("seed", [3, 11, 22])
def test_faults_of_real_pictures_do_not_change_the_scale(seed: int) -> None:
    design, view = case(seed)
    reading = measure_ruler(draw(design, view), division_um=10)
    assert reading.um_per_px == pytest.approx(view.um_per_px, rel=0.003)


def test_bright_lines_on_dark_are_read_as_well() -> None:
    view = replace(SMALL, bright=True, rotation_deg=12)
    reading = measure_ruler(draw(Design(baseline=True), view), division_um=10)
    assert reading.um_per_px == pytest.approx(0.5, rel=0.001)


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
