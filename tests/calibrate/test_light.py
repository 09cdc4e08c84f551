"""The lamp's light, found on glass and among cells, against a known fall-off."""

import numpy as np
import pytest

from armicro.calibrate.light import (
    FEWEST_FIELDS,
    Lamp,
    corner_ratio,
    dark_of,
    enlarge,
    gains_of,
    lamp_of_fields,
    lamp_of_glass,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.phantom import paint_field

SIZE = 612, 512


def falloff(corner: float = 0.6, *, off: float = 0.0) -> np.ndarray:
    """Share of light, least in a corner; ``off`` shifts the brightest place."""
    width, height = SIZE
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    r2 = ((x[None] - off) ** 2 + y[:, None] ** 2) / 2
    return np.asarray(1 - (1 - corner) * r2)[..., None]


def lit(picture: np.ndarray, light: np.ndarray, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, 1.5, picture.shape)
    return np.asarray(np.clip(np.rint(picture * light + noise), 0, 255), np.uint8)


def left_over(lamp: Lamp, light: np.ndarray) -> np.ndarray:
    """What the correction leaves of the fall-off, 1 in the middle."""
    ratio = light / lamp.at(*SIZE)
    middle = ratio[250:262, 300:312].mean(axis=(0, 1))
    return np.asarray(ratio / middle)


@pytest.fixture(scope="module")
def fields() -> list[Pixels]:
    """Fields of a drawn slide: cells everywhere, in other places each."""
    return [
        paint_field(
            seed=seed,
            width_px=SIZE[0],
            height_px=SIZE[1],
            um_per_px=0.972,
            lesions=3,
            library_seed=1,
        )[0]
        for seed in range(FEWEST_FIELDS)
    ]


@pytest.mark.parametrize("off", [0.0, 0.2])
def test_one_picture_of_glass_makes_the_field_even(off: float) -> None:
    light = falloff(off=off)
    glass = np.full((SIZE[1], SIZE[0], 3), (236.0, 228.0, 205.0))
    lamp = lamp_of_glass([lit(glass, light)])
    assert np.abs(left_over(lamp, light) - 1).max() < 0.01


def test_fields_full_of_cells_make_the_field_even(fields: list[Pixels]) -> None:
    light = falloff()
    shown = [lit(field, light, seed) for seed, field in enumerate(fields)]
    lamp = lamp_of_fields(shown)
    corners = left_over(lamp, light)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert light[0, 0, 0] == pytest.approx(0.6)
    assert np.abs(corners - 1).max() < 0.01
    assert np.abs(left_over(lamp, light) - 1).max() < 0.015


def test_even_light_stays_as_it_is(fields: list[Pixels]) -> None:
    lamp = lamp_of_fields(fields)
    assert np.abs(left_over(lamp, falloff(1.0)) - 1).max() < 0.01


def test_dirt_on_one_of_three_pictures_is_left_out() -> None:
    light = falloff()
    glass = np.full((SIZE[1], SIZE[0], 3), 230.0)
    dirty = glass.copy()
    dirty[200:300, 100:200] = 40
    lamp = lamp_of_glass([lit(glass, light), lit(dirty, light), lit(glass, light, 2)])
    assert np.abs(left_over(lamp, light) - 1).max() < 0.01


def test_dark_level_is_taken_off_before_the_light_is_read() -> None:
    light = falloff(0.5)
    glass = np.full((SIZE[1], SIZE[0], 3), 200.0)
    dark = [lit(np.full_like(glass, 12.0), falloff(1.0))]
    seen = np.clip(lit(glass, light).astype(int) + 12, 0, 255).astype(np.uint8)
    level = dark_of(dark)
    assert level == pytest.approx((12, 12, 12), abs=0.1)
    lamp = lamp_of_glass([seen], dark_rgb=level)
    assert np.abs(left_over(lamp, light) - 1).max() < 0.01
    wrong = lamp_of_glass([seen])
    assert np.abs(left_over(wrong, light) - 1).max() > 0.02


@pytest.mark.parametrize(
    ("level", "message"), [(254.0, "at most 253"), (20.0, "at least 100")]
)
def test_badly_exposed_glass_is_refused(level: float, message: str) -> None:
    glass = np.full((SIZE[1], SIZE[0], 3), level)
    with pytest.raises(CalibrationError, match=message):
        lamp_of_glass([lit(glass, falloff(1.0))])


def test_cells_are_not_taken_for_empty_glass(fields: list[Pixels]) -> None:
    with pytest.raises(CalibrationError, match="uneven"):
        lamp_of_glass([np.asarray(fields[0] * 0.9, np.uint8)])


def test_too_few_fields_and_lit_darks_are_refused(fields: list[Pixels]) -> None:
    with pytest.raises(CalibrationError, match="at least 12"):
        lamp_of_fields(fields[:-1])
    with pytest.raises(CalibrationError, match="dark picture reads"):
        dark_of(fields)
    with pytest.raises(CalibrationError, match="one size"):
        lamp_of_glass([fields[0], fields[0][:-2]])


def test_gains_are_never_below_one_and_balance_the_colours() -> None:
    share = np.full((2, 2, 3), 1.0, np.float32)
    share[1, 1] = 0.5
    gains = gains_of(share, (1.0, 1.1, 1.3))
    np.testing.assert_allclose(gains[0, 0], (1.0, 1.1, 1.3), rtol=1e-6)
    np.testing.assert_allclose(gains[1, 1], (2.0, 2.2, 2.6), rtol=1e-6)
    assert gains.min() == 1.0


def test_small_map_reaches_the_field_s_edges() -> None:
    ramp = np.linspace(0.5, 1, 48, dtype=np.float32)[None, :, None]
    nodes = np.repeat(np.repeat(ramp, 40, axis=0), 3, axis=2)
    whole = enlarge(nodes, 500, 300)
    np.testing.assert_allclose(whole[0, :, 0], np.linspace(0.5, 1, 500), atol=1e-4)
    assert corner_ratio(whole) < 0.72
