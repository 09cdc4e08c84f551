"""Drawn slides and fields: repeatable, true, and what was asked for."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.phantom import (
    STAINS,
    PhantomSpec,
    ScannerOptics,
    Truth,
    paint_field,
    truth_paths,
    write_phantom,
)
from armicro.phantom.drawn import PhantomCanvas
from armicro.phantom.library import KINDS, library_of

SPEC = PhantomSpec(width_px=1500, height_px=1100, seed=3, lesions=5)


def green_at(pixels: Pixels, truth: Truth, *, um_per_px: float) -> NDArray[np.float64]:
    """Green of each cell's centre, where a nucleus is darkest."""
    smooth = cv2.blur(pixels[..., 1], (5, 5)).astype(float)
    x = np.clip(truth.x_um / um_per_px, 0, pixels.shape[1] - 1).astype(int)
    y = np.clip(truth.y_um / um_per_px, 0, pixels.shape[0] - 1).astype(int)
    return np.asarray(smooth[y, x], dtype=np.float64)


def test_same_specification_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for path in paths:
        write_phantom(path, SPEC)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    truths = [truth_paths(path)[0].read_bytes() for path in paths]
    assert truths[0] == truths[1]


def test_another_seed_gives_another_field() -> None:
    fields = [paint_field(seed=s, width_px=300, height_px=300)[0] for s in (1, 2)]
    assert (fields[0] != fields[1]).mean() > 0.2


@pytest.mark.parametrize(
    "optics", [ScannerOptics(), ScannerOptics(defocus_px=2, vignetting=0.3)]
)
def test_pixels_do_not_depend_on_how_much_is_drawn_at_once(
    optics: ScannerOptics,
) -> None:
    spec = PhantomSpec(width_px=1500, height_px=1100, seed=3, lesions=5, optics=optics)
    library = library_of(3, "classic")
    whole = PhantomCanvas(spec, library).draw(0, 0, 1500, 1100)
    part = PhantomCanvas(spec, library).draw(450, 380, 700, 500)
    assert (whole[380:880, 450:1150] == part).all()


def test_openslide_shows_what_was_drawn_and_the_truth_lies_on_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "slide.tif"
    done: list[int] = []
    truth = write_phantom(path, SPEC, progress=done.append)
    with openslide.OpenSlide(str(path)) as slide:
        assert slide.dimensions == (1500, 1100)
        seen = np.asarray(slide.read_region((0, 0), 0, (1500, 1100)))[..., :3]
    drawn = PhantomCanvas(SPEC, library_of(3, "classic")).draw(0, 0, 1500, 1100)
    assert np.abs(seen.astype(int) - drawn).mean() < 2
    assert (green_at(seen, truth, um_per_px=0.243) < 190).all()
    assert sum(done) == 1500 * 1100


def test_truth_files_hold_every_cell_in_micrometres_and_pixels(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    truth = write_phantom(path, SPEC)
    table, shapes = truth_paths(path)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    features = json.loads(shapes.read_text(encoding="utf-8"))["features"]
    assert len(rows) == len(features) == len(truth) > SPEC.lesions
    assert sum(row["lesion"] == "1" for row in rows) == SPEC.lesions
    assert {row["class"] for row in rows} <= set(KINDS)
    for row, feature in zip(rows, features, strict=True):
        x, y = feature["geometry"]["coordinates"]
        assert float(row["x_um"]) == pytest.approx(x * 0.243, abs=0.03)
        assert float(row["y_um"]) == pytest.approx(y * 0.243, abs=0.03)
        assert feature["properties"]["classification"]["name"] == row["class"]


@pytest.mark.parametrize("lesions", [0, 1, 7])
def test_a_field_has_exactly_the_lesion_cells_asked_for(lesions: int) -> None:
    _, truth = paint_field(
        seed=5, width_px=700, height_px=600, lesions=lesions, library_seed=3
    )
    assert truth.count(lesion=True) == lesions


@pytest.mark.parametrize("um_per_px", [0.15, 0.243, 0.486])
def test_nuclei_lie_where_the_truth_says_at_any_scale(um_per_px: float) -> None:
    pixels, truth = paint_field(
        seed=8,
        width_px=640,
        height_px=512,
        um_per_px=um_per_px,
        lesions=1,
        library_seed=3,
    )
    assert pixels.shape == (512, 640, 3)
    lesion = truth.lesion
    assert (green_at(pixels, truth, um_per_px=um_per_px)[lesion] < 170).all()


@pytest.mark.parametrize("stain", STAINS)
def test_each_stain_has_its_glass_and_darker_nuclei(stain: str) -> None:
    pixels, truth = paint_field(
        seed=2, width_px=512, height_px=512, lesions=2, stain=stain
    )
    glass = np.median(pixels[pixels.min(axis=2) > 200], axis=0)
    assert glass == pytest.approx(STAINS[stain].glass_rgb, abs=8)
    lesions = green_at(pixels, truth, um_per_px=0.243)[truth.lesion]
    assert (lesions < 0.55 * glass[1]).all()


def test_cells_that_overlap_multiply_their_light() -> None:
    canvas = PhantomCanvas(SPEC, library_of(3, "classic"))
    kind = KINDS.index("intermediate")
    once = np.full((400, 400, 3), 255, np.uint8)
    canvas._stamp(once, (kind, 0, 200, 200, 0, 0), 0, 0)
    twice = once.copy()
    canvas._stamp(twice, (kind, 0, 200, 200, 0, 0), 0, 0)
    product = once.astype(float) ** 2 / 255
    assert np.abs(twice - product).max() <= 1


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_sprite_cut_by_a_border_is_the_same_sprite(turn: int) -> None:
    canvas = PhantomCanvas(SPEC, library_of(3, "classic"))
    stamp = (KINDS.index("superficial"), 1, 200, 180, turn, 3)
    whole = np.full((400, 400, 3), 255, np.uint8)
    canvas._stamp(whole, stamp, 0, 0)
    part = np.full((130, 110, 3), 255, np.uint8)
    canvas._stamp(part, stamp, 150, 120)
    assert (whole[120:250, 150:260] == part).all()
    assert part.min() < 200


def test_lesion_nuclei_are_larger_than_normal_ones() -> None:
    library = library_of(3, "classic")

    def nucleus_um2(kind: str) -> float:
        areas = []
        for number in range(8):
            light = library.sprite(KINDS.index(kind), number).light
            y, x = light.shape[0] // 2, light.shape[1] // 2
            middle = light[max(y - 45, 0) : y + 45, max(x - 45, 0) : x + 45]
            density = -np.log10(np.maximum(middle, 1) / 255).sum(axis=2)
            areas.append((density > 0.95).sum() * 0.243**2)
        return float(np.median(areas))

    normal = max(nucleus_um2(kind) for kind in ("superficial", "intermediate"))
    for kind in ("enlarged", "high_nc", "koilocyte"):
        assert nucleus_um2(kind) > 2 * normal


def test_defocus_takes_detail_away_and_vignetting_light() -> None:
    def field(optics: ScannerOptics) -> Pixels:
        return paint_field(
            seed=4, width_px=900, height_px=700, optics=optics, library_seed=3
        )[0]

    plain = field(ScannerOptics())
    soft = field(ScannerOptics(defocus_px=4))
    shaded = field(ScannerOptics(vignetting=0.4))
    detail = [cv2.Laplacian(p, cv2.CV_64F).std() for p in (plain, soft)]
    assert detail[1] < 0.9 * detail[0]
    ratio = shaded[:40, :40].mean() / plain[:40, :40].mean()
    assert ratio == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stain": "purple"}, "expected one of classic"),
        ({"width_px": 10}, "at least 64 px"),
        ({"lesions": 500}, "ask for fewer"),
        ({"lesions": -1}, "expected 0 to"),
        ({"um_per_px": 0.0}, "expected 0.05 to 5"),
        ({"seed": -4}, "expected 0 or more"),
        ({"optics": ScannerOptics(defocus_px=-1)}, "expected 0 to 20"),
        ({"optics": ScannerOptics(vignetting=2)}, "expected a share"),
    ],
)
def test_what_cannot_be_drawn_is_said(change: dict[str, object], words: str) -> None:
    asked: dict[str, object] = {"seed": 1, "width_px": 200, "height_px": 200}
    with pytest.raises(SourceError, match=words):
        paint_field(**(asked | change))  # type: ignore[arg-type]
