"""What the guide says of fields whose faults are known."""

import cv2
import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("gain", "ok", "advice"),
    [(1.0, True, ""), (0.4, False, "lamp up"), (1.2, False, "lamp down")],
)
def test_light_is_judged_by_empty_glass(gain: float, advice: str, *, ok: bool) -> None:
    check = check_light(seen("glass", gain=gain))
    assert (check.ok, advice in check.advice) == (ok, True)


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
