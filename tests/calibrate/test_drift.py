"""A drawn field that a stage moves by other ways than its encoder says."""

import cv2
import numpy as np
import pytest

from armicro.calibrate.certificate import Certificate, Colour, Instrument
from armicro.calibrate.drift import LOOK_NS, DriftWatch, Verdict
from armicro.field import Field, Pixels, Place
from armicro.phantom import paint_field

UM_PER_PX = 0.5
WIDTH, HEIGHT = 480, 400
WHITE = (236.0, 232.0, 226.0)
CERTIFICATE = Certificate(
    instrument=Instrument(width_px=WIDTH, height_px=HEIGHT),
    made_at="2026-11-01T00:00:00+00:00",
    expires_at="2027-04-30T00:00:00+00:00",
    colour=Colour(measured_at="", white_rgb=WHITE, gains_rgb=(1.0, 1.0, 1.0)),
)


@pytest.fixture(scope="module")
def slide() -> Pixels:
    pixels, _ = paint_field(
        seed=5, width_px=1500, height_px=1100, um_per_px=UM_PER_PX, lesions=10
    )
    return pixels


def watched(
    slide: Pixels,
    *,
    stretch: float = 1.0,
    turn_deg: float = 0.0,
    gain_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0),
    certificate: Certificate | None = CERTIFICATE,
) -> Verdict:
    """Walk over the slide; the encoder says ``way``, the picture goes otherwise."""
    drift = DriftWatch(certificate)
    angle = np.radians(turn_deg)
    cos, sin = stretch * np.cos(angle), stretch * np.sin(angle)
    for step in range(9):
        way = np.array([70.0 * step, 30.0 * (step % 3)])
        x, y = cos * way[0] - sin * way[1], sin * way[0] + cos * way[1]
        move = np.array([[1.0, 0.0, -x - 60], [0.0, 1.0, -y - 60]])
        seen = cv2.warpAffine(slide, move, (WIDTH, HEIGHT))
        seen = np.clip(seen * np.array(gain_rgb), 0, 255).astype(np.uint8)
        place = Place(way[0] * UM_PER_PX, way[1] * UM_PER_PX, 0.0, "stage_encoder")
        drift.update(Field(UM_PER_PX, step, (step + 1) * LOOK_NS, place, pixels=seen))
    return drift.verdict


def glass_of(slide: Pixels) -> Certificate:
    """The certificate that was made in the light of these pictures."""
    red, green, blue = np.percentile(slide.reshape(-1, 3), 95, axis=0)
    white = float(red), float(green), float(blue)
    colour = Colour(measured_at="", white_rgb=white, gains_rgb=(1.0, 1.0, 1.0))
    return Certificate(
        instrument=CERTIFICATE.instrument, made_at="", expires_at="", colour=colour
    )


def test_an_instrument_that_is_as_it_was_is_left_alone(slide: Pixels) -> None:
    certificate = glass_of(slide)
    assert watched(slide, certificate=certificate) == Verdict()
    assert watched(slide, stretch=1.008, certificate=certificate) == Verdict()
    assert watched(slide, turn_deg=0.7, certificate=certificate) == Verdict()


@pytest.mark.parametrize(("stretch", "way"), [(1.05, "further"), (0.96, "less")])
def test_scale_that_drifted_turns_boxes_off(
    slide: Pixels, stretch: float, way: str
) -> None:
    void = watched(slide, stretch=stretch, certificate=None).void
    share = float(void.split(" go ")[1].split(" %")[0]) / 100
    assert share == pytest.approx(abs(stretch - 1), abs=0.002)
    assert f"% {way}" in void


def on_the_sensor(what: str) -> Pixels:
    """Share of the light that what lies on a sensor lets through, 0-255."""
    clear = np.full((HEIGHT, WIDTH), 255.0)
    rng = np.random.default_rng(3)
    if "dust" in what:
        for x, y in rng.uniform(20, 380, (int(what.split()[0]), 2)):
            cv2.circle(clear, (round(x), round(y)), int(rng.integers(2, 7)), 120.0, -1)
    if "corners" in what:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        clear *= 1 - 0.4 * ((x - 240) ** 2 + (y - 200) ** 2) / (240**2 + 200**2)
    return np.asarray(clear, np.uint8)


@pytest.mark.parametrize("cells", [False, True])
@pytest.mark.parametrize("noise", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("what", ["6 dust", "20 dust", "corners", "12 dust corners"])
def test_what_lies_on_the_sensor_is_no_drift(
    slide: Pixels, what: str, noise: float, cells: bool
) -> None:
    drift, shade = DriftWatch(None), on_the_sensor(what)[..., None] / 255.0
    rng = np.random.default_rng(1)
    for step in range(9):
        x, y = 70 * step, 30 * (step % 3)
        scene = np.full((HEIGHT, WIDTH, 3), 235.0)
        if cells:
            scene = slide[y : y + HEIGHT, x : x + WIDTH].astype(float)
        seen = scene * shade + rng.normal(0, noise, scene.shape)
        pixels = np.clip(seen, 0, 255).astype(np.uint8)
        place = Place(x * UM_PER_PX, y * UM_PER_PX, 0.0, "stage_encoder")
        drift.update(Field(UM_PER_PX, step, (step + 1) * LOOK_NS, place, pixels=pixels))
        assert drift.verdict == Verdict()


def test_stage_that_does_not_move_its_slide_turns_boxes_off(slide: Pixels) -> None:
    drift = DriftWatch(None)
    for step in range(9):
        place = Place(35.0 * step, 0.0, 0.0, "stage_encoder")
        pixels = slide[:HEIGHT, :WIDTH]
        drift.update(Field(UM_PER_PX, step, (step + 1) * LOOK_NS, place, pixels=pixels))
    assert "less than the stage" in drift.verdict.void


def test_turned_camera_turns_boxes_off(slide: Pixels) -> None:
    void = watched(slide, turn_deg=3.0, certificate=None).void
    assert float(void.split("by ")[1].split("°")[0]) == pytest.approx(3.0, abs=0.15)


def test_encoder_that_stands_still_says_nothing(slide: Pixels) -> None:
    drift = DriftWatch(None)
    field = slide[:HEIGHT, :WIDTH]
    for step in range(12):
        place = Place(0.0, 0.0, 0.0, "stage_encoder")
        drift.update(Field(UM_PER_PX, step, (step + 1) * LOOK_NS, place, pixels=field))
    assert drift.verdict == Verdict()


def test_place_of_registration_proves_no_scale(slide: Pixels) -> None:
    drift = DriftWatch(None)
    for step in range(9):
        seen = slide[:HEIGHT, 70 * step : 70 * step + WIDTH]
        place = Place(50.0 * step, 0.0, 1.0, "image_registration")
        drift.update(Field(UM_PER_PX, step, (step + 1) * LOOK_NS, place, pixels=seen))
    assert drift.verdict == Verdict()


@pytest.mark.parametrize(
    ("gain_rgb", "void", "warning"),
    [
        ((0.4, 0.4, 0.4), "40 % of the light", ""),
        ((0.65, 0.65, 0.65), "", "65 % of the light"),
        ((0.98, 0.98, 0.85), "", "13 % less blue"),
        ((0.95, 0.95, 0.95), "", ""),
    ],
)
def test_lamp_that_changed_is_said(
    slide: Pixels, gain_rgb: tuple[float, float, float], void: str, warning: str
) -> None:
    verdict = watched(slide, gain_rgb=gain_rgb, certificate=glass_of(slide))
    assert (void in verdict.void, warning in verdict.warning) == (True, True)
    assert (bool(verdict.void), bool(verdict.warning)) == (bool(void), bool(warning))


def test_looks_are_half_a_second_apart(slide: Pixels) -> None:
    drift = DriftWatch(glass_of(slide))
    dark = (slide[:HEIGHT, :WIDTH] * 0.3).astype(np.uint8)
    for step in range(40):
        # 25 fields a second: the watch has seen three of them.
        drift.update(Field(UM_PER_PX, step, step * 40_000_000, pixels=dark))
    assert drift.verdict == Verdict()
