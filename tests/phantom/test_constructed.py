"""Constructed slides from synthetic fields whose cells can be told apart."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest

from armicro.__main__ import main
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.phantom import ConstructedSpec, Truth, write_constructed
from armicro.phantom.material import read_material

Material = tuple[Path, Path]
MakeMaterial = Callable[..., Material]


def specification(material: Material, lesions: int) -> ConstructedSpec:
    return ConstructedSpec(*material, 1900, 1500, seed=1, lesions=lesions)


def pixels_of(path: Path) -> Pixels:
    with openslide.OpenSlide(str(path)) as slide:
        region = slide.read_region((0, 0), 0, slide.dimensions)
        return np.asarray(region)[..., :3].copy()


def colours(pixels: Pixels, truth: Truth) -> list[tuple[int, ...]]:
    smooth = cv2.medianBlur(pixels, 5)
    x = np.rint(truth.x_um / 0.243).astype(int)
    y = np.rint(truth.y_um / 0.243).astype(int)
    return [tuple(colour) for colour in smooth[y, x].tolist()]


def lesion_blobs(pixels: Pixels) -> int:
    """Number of red discs on the slide, known to the truth or not."""
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 120)
    mask = cv2.morphologyEx(red.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9)))
    return int(cv2.connectedComponents(mask)[0]) - 1


@pytest.mark.parametrize("lesions", [0, 1, 4, 12])
def test_a_slide_shows_exactly_the_lesion_cells_asked_for(
    tmp_path: Path, make_material: MakeMaterial, lesions: int
) -> None:
    path = tmp_path / "slide.tif"
    truth, account = write_constructed(path, specification(make_material(), lesions))
    pixels = pixels_of(path)
    assert truth.count(lesion=True) == account.lesions == lesions
    assert lesion_blobs(pixels) == lesions


def test_each_cell_lies_where_the_truth_says_and_only_once(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    path = tmp_path / "slide.tif"
    truth, _ = write_constructed(path, specification(make_material(), 5))
    seen = colours(pixels_of(path), truth)
    # Red says lesion; green (12 apart) and blue (40 apart) name the cell.
    assert [red > 110 for red, _, _ in seen] == truth.lesion.tolist()
    names = [
        ((g - 20) // 12, (b - 20) // 40)
        for red, g, b in np.asarray(seen) + 3
        if red % 180 < 30
    ]
    assert len(names) >= 10
    assert len(set(names)) == len(names)


def test_discs_keep_their_size_in_micrometres(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    path = tmp_path / "slide.tif"
    write_constructed(path, specification(make_material(), 3))
    pixels = pixels_of(path)
    red = ((pixels[..., 0] > 110) & (pixels[..., 1] < 130)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(red)
    areas_um2 = np.sort(stats[1:, cv2.CC_STAT_AREA])[-3:] * 0.243**2
    assert areas_um2 == pytest.approx(np.full(3, np.pi * (20.5 * 0.27) ** 2), rel=0.1)


def test_glass_between_the_pieces_is_the_fields_own_without_seams(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    path = tmp_path / "slide.tif"
    write_constructed(path, specification(make_material(), 2))
    pixels = pixels_of(path)
    # Far enough from every disc nothing but glass may be left, JPEG's ringing too.
    objects = cv2.dilate((pixels.min(axis=2) < 200).astype(np.uint8), np.ones((41, 41)))
    glass = pixels[objects == 0].astype(int)
    assert len(glass) > 0.5 * pixels[..., 0].size
    assert np.abs(glass - 240).max() <= 8


def test_same_specification_gives_the_same_bytes(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    spec = specification(make_material(), 4)
    paths = [tmp_path / name for name in ("a.tif", "b.tif", "c.tif")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        write_constructed(path, replace(spec, seed=seed))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_more_room_than_material_is_background_and_said(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    spec = replace(specification(make_material(), 0), width_px=3000, height_px=2400)
    _, account = write_constructed(tmp_path / "slide.tif", spec)
    assert account.whole_fields == 2
    share = 1 - account.material_megapixels / 7.2
    assert account.background_share == pytest.approx(share)
    assert account.background_share > 0.5


def test_a_split_keeps_the_other_fields_out(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    spec = replace(specification(make_material(), 6), split="val")
    path = tmp_path / "slide.tif"
    truth, _ = write_constructed(path, spec)
    fields = {round((g - 20) / 12) for _, g, _ in colours(pixels_of(path), truth)}
    assert fields == {5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lesions": 13}, "expected at most 12"),
        ({"lesions": -1}, "expected 0 or more"),
        ({"split": "test"}, "expected one of train, val"),
        ({"group": "blue"}, "expected one of pink"),
        ({"width_px": 20}, "at least 64 px"),
        ({"width_px": 300, "height_px": 300}, "no room"),
    ],
)
def test_what_cannot_be_built_is_said(
    tmp_path: Path, make_material: MakeMaterial, change: dict[str, object], words: str
) -> None:
    asked = specification(make_material(), 12)
    with pytest.raises(SourceError, match=words):
        write_constructed(tmp_path / "slide.tif", replace(asked, **change))  # type: ignore[arg-type]
    assert not (tmp_path / "slide.tif").exists()


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        ("fields.csv", "um_per_px", "scale", "no column um_per_px"),
        ("fields.csv", "slide_group", "stain", "no column slide_group"),
        ("cells.csv", "bethesda", "class", "no column bethesda"),
        ("fields.csv", "0.27", "fine", "um_per_px of field0.bmp is 'fine'; expected"),
        ("fields.csv", "0.27", "27", "expected 0.02 to 2"),
        ("cells.csv", "110", "", "expected a number"),
        ("cells.csv", "HSIL", "", "bethesda of field1.bmp .* is empty"),
        ("fields.csv", "field1.bmp", "gone.bmp", "'gone.bmp' .* is missing"),
        ("fields.csv", "field1.bmp", "field2.bmp", "an image twice"),
    ],
)
def test_a_wrong_table_is_named_with_its_fault(
    tmp_path: Path,
    make_material: MakeMaterial,
    table: str,
    old: str,
    new: str,
    words: str,
) -> None:
    spec = specification(make_material(), 1)
    path = tmp_path / table
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(SourceError, match=words):
        write_constructed(tmp_path / "slide.tif", spec)


@pytest.mark.parametrize("split", ["", "train"])
@pytest.mark.parametrize("how", ["unlabelled", "points lost"])
def test_a_field_that_nobody_annotated_is_no_background(
    tmp_path: Path, make_material: MakeMaterial, split: str, how: str
) -> None:
    fields, cells = make_material()
    if how == "unlabelled":
        text = fields.read_text()
        first = next(line for line in text.splitlines() if "field0" in line)
        marked = first.replace("train", "unlabelled")
        fields.write_text(text.replace(first, marked))
    else:
        rows = cells.read_text().splitlines(keepends=True)
        cells.write_text("".join(row for row in rows if "field0" not in row))
    kept = read_material(fields, cells, split)
    assert "field0.bmp" not in {field.path.name for field in kept}
    assert len(kept) == (4 if split else 5)


def test_missing_tables_and_broken_pictures_are_named(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    spec = specification(make_material(), 1)
    with pytest.raises(SourceError, match=r"none\.csv: cannot be read"):
        write_constructed(
            tmp_path / "slide.tif", replace(spec, cells_csv=tmp_path / "none.csv")
        )
    (tmp_path / "images" / "field1.bmp").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"field1\.bmp cannot be read"):
        write_constructed(tmp_path / "slide.tif", spec)


def test_images_may_lie_beside_the_table(
    tmp_path: Path, make_material: MakeMaterial
) -> None:
    spec = specification(make_material(), 1)
    for image in (tmp_path / "images").iterdir():
        shutil.move(image, tmp_path / image.name)
    truth, _ = write_constructed(tmp_path / "slide.tif", spec)
    assert truth.count(lesion=True) == 1


def test_the_command_says_what_a_constructed_slide_is_made_of(
    tmp_path: Path, make_material: MakeMaterial, capsys: pytest.CaptureFixture[str]
) -> None:
    fields, cells = make_material()
    out = tmp_path / "slide.tif"
    options = ["--megapixels", "2", "--lesions", "2", "--split", "train", "--json"]
    tables = ["--fields", str(fields), "--cells", str(cells)]
    assert main(["phantom", str(out), *options, *tables]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "constructed"
    assert told["lesions"] == told["material"]["lesions"] == 2
    assert told["material"]["group"] == "pink"


@pytest.mark.data
def test_real_fields_that_nobody_annotated_are_no_material(data: Path) -> None:
    tables = (data / "cric" / "fields.csv", data / "cric" / "cells.csv")
    material = read_material(*tables, "")
    assert len(material) == 207
    assert all(len(field.classes) for field in material)


@pytest.mark.data
def test_real_fields_make_a_negative_and_a_positive_slide(
    tmp_path: Path, data: Path
) -> None:
    tables = (data / "cric" / "fields.csv", data / "cric" / "cells.csv")
    for lesions in (0, 4):
        spec = ConstructedSpec(*tables, 2400, 1800, lesions=lesions, split="val")
        truth, account = write_constructed(tmp_path / "slide.tif", spec)
        assert truth.count(lesion=True) == lesions
        assert truth.count(lesion=False) > 10
        assert account.group == "cric-5"
