"""Sharpness is the width of edges: the same for any stain, contrast and cell count."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from armicro.field import Field, Pixels, Sight
from armicro.slide.focus import edge_sigma_um, is_sharp, measure_focus, with_focus

UM_PER_PX = 0.25


def discs(count: int, *, depth: int, um_per_px: float = UM_PER_PX) -> Pixels:
    """Dark discs on glass with edges of one pixel's area."""
    rng = np.random.default_rng(count)
    fine = np.full((2048, 2560), 235, np.uint8)
    for x, y in rng.uniform(100, 1900, (count, 2)):
        radius = round(rng.uniform(4, 8) / um_per_px * 2)
        cv2.circle(fine, (round(x), round(y)), radius, 235 - depth, cv2.FILLED)
    small = cv2.resize(fine, (1280, 1024), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.merge([small] * 3), np.uint8)


def blurred(pixels: Pixels, sigma_um: float, um_per_px: float = UM_PER_PX) -> Pixels:
    soft = cv2.GaussianBlur(pixels, (0, 0), sigma_um / um_per_px)
    return np.asarray(soft, np.uint8)


@pytest.mark.parametrize("sigma_um", [0.5, 1.0, 1.6])
@pytest.mark.parametrize(("count", "depth"), [(6, 150), (60, 150), (60, 40)])
def test_edge_width_is_the_blur_whatever_contrast_and_count(
    sigma_um: float, count: int, depth: int
) -> None:
    soft = blurred(discs(count, depth=depth), sigma_um)
    assert edge_sigma_um(soft[..., 1], UM_PER_PX) == pytest.approx(sigma_um, rel=0.15)


@pytest.mark.parametrize("soft_px", [0.7, 2.0, 5.0])
@pytest.mark.parametrize("sigma_um", [0.0, 1.0, 2.0])
def test_rim_of_an_eyepiece_s_mask_is_no_edge_of_the_slide(
    sigma_um: float, soft_px: float
) -> None:
    bare = discs(80, depth=90)
    bare = blurred(bare, sigma_um) if sigma_um else bare
    y, x = np.mgrid[:1024, :1280]
    clear = (np.hypot(x - 640, y - 512) < 560).astype(np.float32)
    clear = cv2.GaussianBlur(clear, (0, 0), soft_px)
    masked = np.asarray(bare * (0.04 + 0.96 * clear[..., None]), np.uint8)
    told = measure_focus(bare, UM_PER_PX)
    assert measure_focus(masked, UM_PER_PX) == pytest.approx(told, abs=0.05)
    glass = np.asarray(235 * (0.04 + 0.96 * clear[..., None].repeat(3, 2)), np.uint8)
    assert measure_focus(glass, UM_PER_PX) is None


def test_scale_of_the_camera_does_not_change_the_sharpness() -> None:
    told = [
        measure_focus(blurred(discs(40, depth=120, um_per_px=um), 1.0, um), um)
        for um in (0.15, 0.3, 0.5)
    ]
    assert told == pytest.approx([0.5] * 3, abs=0.06)


@pytest.mark.parametrize("um_per_px", [0.17, 0.25, 0.5])
@pytest.mark.parametrize("noise", [3.0, 8.0, 10.0])
def test_noise_makes_no_blurred_field_sharp_and_no_sharp_one_blurred(
    um_per_px: float, noise: float
) -> None:
    sharp = discs(40, depth=120, um_per_px=um_per_px)
    grain = np.random.default_rng(1).normal(0, noise, sharp.shape)
    for sigma_um in (0.0, 1.0, 2.0):
        clean = blurred(sharp, sigma_um, um_per_px) if sigma_um else sharp
        noisy = np.clip(clean + grain, 0, 255).astype(np.uint8)
        told = measure_focus(noisy, um_per_px)
        assert told == pytest.approx(measure_focus(clean, um_per_px), abs=0.15)
        assert is_sharp(told) == (sigma_um == 0.0)


def _as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _with_spots(pixels: Pixels, level: int, share: float) -> Pixels:
    spotted = pixels.copy()
    spotted[np.random.default_rng(2).random(pixels.shape[:2]) < share] = level
    return spotted


SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    **{
        f"JPEG of quality {quality}": partial(_as_jpeg, quality=quality)
        for quality in (30, 50, 70, 90)
    },
    "hot pixels": partial(_with_spots, level=255, share=1e-3),
    "dead pixels": partial(_with_spots, level=0, share=1e-3),
    "many dead pixels": partial(_with_spots, level=0, share=5e-3),
}


@pytest.mark.parametrize("um_per_px", [0.17, 0.243, 0.345, 0.5])
@pytest.mark.parametrize("kind", SPOILT)
def test_blocks_and_bad_pixels_make_no_blurred_field_sharp_and_no_sharp_one_blurred(
    kind: str, um_per_px: float
) -> None:
    sharp = discs(40, depth=120, um_per_px=um_per_px)
    assert is_sharp(measure_focus(SPOILT[kind](sharp), um_per_px))
    soft = measure_focus(SPOILT[kind](blurred(sharp, 2.0, um_per_px)), um_per_px)
    assert soft is not None
    assert not is_sharp(soft)


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_empty_glass_is_nothing_to_judge_by(noise: float) -> None:
    rng = np.random.default_rng(1)
    glass = np.clip(rng.normal(235, noise, (512, 640, 3)), 0, 255).astype(np.uint8)
    assert measure_focus(glass, UM_PER_PX) is None
    assert measure_focus(glass[:20, :30], UM_PER_PX) is None


def test_what_somebody_judged_stays_and_faults_are_not_judged() -> None:
    sharp = Field(UM_PER_PX, 0, 1, pixels=discs(20, depth=100))
    sight = with_focus(sharp).sight
    assert sight is not None
    assert sight.focus is not None
    assert sight.focus > 0.8
    moving = Sight(None, (5.0, 1.0), 0.2)
    assert with_focus(replace(sharp, sight=moving)).sight == replace_focus(
        moving, sight
    )
    known = replace(sharp, sight=Sight(0.1))
    assert with_focus(known) is known
    broken = replace(sharp, fault="unreadable: tile 7")
    assert with_focus(broken) is broken


def replace_focus(sight: Sight, other: Sight) -> Sight:
    return Sight(other.focus, sight.velocity_xy_um_per_s, sight.smear_um)


@pytest.mark.data
@pytest.mark.parametrize("um_per_px", [0.15, 0.25, 0.35, 0.5])
def test_real_focus_stack_rises_strictly_to_one_peak_and_falls(
    data_folder: Path, um_per_px: float
) -> None:
    planes = sorted((data_folder / "focus_stack").glob("*.jpg"))
    assert len(planes) == 20
    focus = []
    for path in planes:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        focus.append(
            measure_focus(np.stack([grey.astype(np.uint8)] * 3, axis=2), um_per_px)
            or 0.0
        )
    peak = int(np.argmax(focus))
    steps = np.diff(focus)
    assert 10 <= peak <= 16
    assert (steps[:peak] > 0).all()
    assert (steps[peak:] < 0).all()


@pytest.mark.data
def test_fields_of_every_stain_tell_their_blur_alike(data_folder: Path) -> None:
    folder = data_folder / "cric"
    with (folder / "fields.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [
        row
        for group in sorted({row["slide_group"] for row in rows})
        for row in [r for r in rows if r["slide_group"] == group][:3]
    ]
    told = []
    for row in chosen:
        bgr = cv2.imread(str(folder / "images" / row["image"]))
        assert bgr is not None
        um_per_px = float(row["um_per_px"])
        pixels = np.asarray(bgr[..., ::-1], np.uint8)
        told.append(
            [
                measure_focus(
                    blurred(pixels, um, um_per_px) if um else pixels, um_per_px
                )
                for um in (0.0, 0.5, 1.0, 2.0)
            ]
        )
    focus = np.array(told, float)
    assert (np.diff(focus, axis=1) < -0.05).all()
    # One number a blur: no field of a blur is taken for the next one.
    assert (focus[:, :-1].min(axis=0) > focus[:, 1:].max(axis=0)).all()
    assert focus.std(axis=0).max() < 0.04
