"""What the guide says of fields whose faults are known."""

import cv2
import numpy as np
import pytest

from armicro.calibrate.colour import white_of
from armicro.calibrate.guide import (
    Specimen,
    check_cells,
    check_empty,
    check_focus,
    check_light,
    check_ticks,
    count_ticks,
    edge_blur_px,
)
from armicro.calibrate.light import lamp_of_glass
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels
from armicro.source.specimen import draw_specimen

UM_PER_PX = 0.3


def seen(
    specimen: Specimen, *, gain: float = 1.0, blur_px: float = 0.0, dust: int = 0
) -> Field:
    pixels = draw_specimen(specimen, (640, 480), UM_PER_PX) * gain
    if blur_px:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), blur_px), np.float64)
    rng = np.random.default_rng(2)
    for x, y in rng.integers(20, 460, (dust, 2)):
        cv2.circle(pixels, (int(x), int(y)), 9, (90.0, 90.0, 90.0), -1)
    noisy = pixels + rng.normal(0, 2, pixels.shape)
    return Field(UM_PER_PX, 0, 1, pixels=np.clip(noisy, 0, 255).astype(np.uint8))


def hot(field: Field, share: float) -> Field:
    """The same with a share of its pixels at the top of the scale."""
    pixels = field.pixels.copy()
    pixels[np.random.default_rng(0).random(pixels.shape[:2]) < share] = 255
    return Field(UM_PER_PX, 0, 1, pixels=pixels)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (seen("glass"), ""),
        (seen("glass", dust=1), ""),
        (hot(seen("glass"), 0.0003), ""),
        (hot(seen("glass"), 0.004), "reads 255 of 255"),
        (seen("glass", gain=1.2), "reads 255 of 255"),
        (seen("glass", gain=0.4), "of 255, expected at least 100; turn the lamp up"),
        (seen("glass", dust=12), "uneven"),
        (seen("cells", gain=0.95), "uneven"),
        (seen("micrometer", gain=0.95), "uneven"),
    ],
    ids=[
        "glass", "a speck", "hot pixels", "some clipped", "bright", "dark", "dust",
        "cells", "micrometer",
    ],
)  # fmt: skip
def test_guide_light_and_white_say_the_same_of_glass(field: Field, said: str) -> None:
    checks = check_light(field, empty=True), check_empty(field)
    refusals = []
    for measure in (lamp_of_glass, white_of):
        try:
            measure([field.pixels])
            refusals.append("")
        except CalibrationError as error:
            refusals.append(str(error).partition(": ")[2])
    assert refusals[0] == refusals[1]
    assert said in refusals[0]
    assert bool(said) == bool(refusals[0])
    assert all(check.ok for check in checks) == (not said)
    if said:
        advice = next(check for check in checks if not check.ok)
        assert refusals[0].startswith(advice.value)
        assert refusals[0].endswith(advice.advice)


def test_bright_edges_of_cells_are_no_light_that_is_too_much() -> None:
    assert check_light(hot(seen("cells"), 0.02)).ok


def test_a_ruler_out_of_focus_is_told_from_one_in_focus() -> None:
    assert check_focus(seen("micrometer")).ok
    assert not check_focus(seen("micrometer", blur_px=5.0)).ok
    assert "no edge" in check_focus(seen("glass")).value


@pytest.mark.parametrize("blur_px", [1.0, 2.0, 4.0])
def test_the_width_of_an_edge_is_measured(blur_px: float) -> None:
    step: Pixels = np.full((200, 200), 40, np.uint8)
    step[:, 100:] = 220
    blurred = cv2.GaussianBlur(step, (0, 0), blur_px)
    # Columns at the 99.5th percentile of slope are near the middle of the edge.
    found = edge_blur_px(np.asarray(blurred, np.uint8))
    assert found == pytest.approx(blur_px, rel=0.15)


def test_glass_with_dust_or_cells_is_not_empty() -> None:
    assert check_empty(seen("glass")).ok
    assert not check_empty(seen("glass", dust=12)).ok
    assert not check_empty(seen("micrometer")).ok


def test_cells_are_asked_for_where_moves_are_measured() -> None:
    assert check_cells(seen("cells")).ok
    assert not check_cells(seen("glass")).ok


@pytest.mark.parametrize("angle_deg", [0.0, 20.0, 90.0, 135.0])
def test_ticks_are_counted_at_any_angle(angle_deg: float) -> None:
    pixels = draw_specimen("micrometer", (900, 900), UM_PER_PX)
    turn = cv2.getRotationMatrix2D((450, 450), angle_deg, 1.0)
    turned = cv2.warpAffine(pixels, turn, (900, 900), borderMode=cv2.BORDER_REPLICATE)
    middle = np.asarray(turned[130:770, 130:770, 1], np.uint8)
    # 640 px of 0.3 µm, a tick every 10 µm; a field that is turned shows a few less.
    assert count_ticks(middle) == pytest.approx(19, abs=4)


def test_cells_and_glass_are_no_ruler() -> None:
    for specimen in ("cells", "glass"):
        assert not check_ticks(seen(specimen)).ok
    assert check_ticks(seen("micrometer")).ok
