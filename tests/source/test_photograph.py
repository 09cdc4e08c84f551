"""Folders of pictures and stacks of pages: every one a field, none of it lost."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from armicro.errors import SourceError
from armicro.field import Field, Pixels
from armicro.report import Finding
from armicro.rig import Camera
from armicro.slide.coverage import BIN_UM
from armicro.source.photograph import PhotographSource, own_ground

Draw = Callable[[int, int], Pixels]
CAMERA = Camera(driver="video", um_per_px=0.4)


def write(path: Path, rgb: object) -> None:
    encoded = cv2.imencode(path.suffix.lower(), np.asarray(rgb)[..., ::-1])[1]
    path.write_bytes(encoded.tobytes())


def names_of(fields: list[Field]) -> list[str]:
    return [field.fault.removeprefix("unreadable: ").split(":")[0] for field in fields]


@pytest.fixture
def folder(tmp_path: Path, coordinate_pixels: Draw) -> Path:
    pixels = coordinate_pixels(300, 100)
    for index, name in enumerate(("img1.png", "img2.PNG", "img10.bmp")):
        write(tmp_path / name, pixels[:, index * 100 : index * 100 + 80])
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_pictures_come_in_the_natural_order_of_their_names(
    folder: Path, coordinate_pixels: Draw
) -> None:
    times = iter(range(100))
    source = PhotographSource(folder, CAMERA, clock=lambda: next(times))
    fields = list(source.fields())
    assert source.card.ends
    assert source.card.fields_planned == 3
    assert (source.card.width_px, source.card.height_px) == (80, 100)
    for index, field in enumerate(fields):
        expected = coordinate_pixels(300, 100)[:, index * 100 : index * 100 + 80]
        np.testing.assert_array_equal(field.pixels, expected)
        assert (field.seq, field.taken_ns) == (index, index)
        assert field.um_per_px == 0.4
    assert [field.seq for field in source.fields(done={1})] == [0, 2]
    source.close()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"cut", "not a picture"),
        ("a.png", b"", "empty"),
        ("a.tif", b"II*\0\x08\0\0\0", ""),
        ("a.png", "smaller", "100x50 px, most here have 80x100"),
        ("a.jpg", "half", "its end is missing"),
        ("a.jpg", "pipe", "no file"),
        ("a\udcff.png", b"cut", "not a picture"),
    ],
)
def test_one_odd_picture_costs_one_field_and_says_why(
    folder: Path, name: str, content: bytes | str, reason: str
) -> None:
    path = folder / name
    if content == "pipe":
        os.mkfifo(path)
    elif content == "smaller":
        write(path, np.full((50, 100, 3), 90, np.uint8))
    elif content == "half":
        noise = np.random.default_rng(1).integers(0, 255, (100, 80, 3), np.uint8)
        write(path, noise)
        path.write_bytes(path.read_bytes()[:4000])
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    first, *rest = PhotographSource(folder, CAMERA).fields()
    assert first.fault.startswith("unreadable: a")
    assert reason in first.fault
    assert str(folder) not in first.fault
    first.fault.encode()
    assert first.pixels.shape == (100, 80, 3)
    assert [field.fault for field in rest] == ["", "", ""]


@pytest.mark.parametrize("name", ["._img1.png", ".DS_Store", ".hidden.png", "sub.png"])
def test_names_that_begin_with_a_dot_and_folders_are_no_pictures(
    folder: Path, name: str
) -> None:
    if name == "sub.png":
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(b"mac")
    assert PhotographSource(folder, CAMERA).card.fields_planned == 3


@pytest.mark.parametrize("content", [None, b"cut"])
def test_folder_without_a_picture_that_can_be_read_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SourceError, match="no image"):
        PhotographSource(tmp_path, CAMERA)


def test_every_page_of_a_stack_is_a_field_and_an_odd_one_is_named(
    tmp_path: Path, coordinate_pixels: Draw
) -> None:
    pages = [coordinate_pixels(90 + 10 * (i == 2), 60) + i for i in range(5)]
    with tifffile.TiffWriter(tmp_path / "stack.tif") as stack:
        for page in pages:
            stack.write(page, photometric="rgb")
    for path in (tmp_path, tmp_path / "stack.tif"):
        fields = list(PhotographSource(path, CAMERA).fields())
        assert len(fields) == 5
        assert names_of(fields) == ["", "", "stack.tif page 3 of 5", "", ""]
        np.testing.assert_array_equal(fields[4].pixels, pages[4])


def test_levels_of_a_pyramid_are_one_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (128, 128, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
    assert PhotographSource(tmp_path / "pyramid.tif", CAMERA).card.fields_planned == 1


def test_size_of_most_pictures_is_the_size_though_the_first_differs(
    folder: Path,
) -> None:
    write(folder / "0.png", np.full((500, 400, 3), 200, np.uint8))
    fields = list(PhotographSource(folder, CAMERA).fields())
    assert names_of(fields) == ["0.png", "", "", ""]


@pytest.mark.parametrize("size_px", [(80, 100), (2448, 2048), (20, 9000)])
def test_no_two_grounds_are_near_enough_for_anything_of_them_to_meet(
    size_px: tuple[int, int],
) -> None:
    scale = 0.4
    places = [own_ground(seq, size_px, scale) for seq in range(300)]
    corners = np.array([(place.x_um, place.y_um) for place in places])
    gaps = np.abs(corners[:, None] - corners[None]) - np.array(size_px) * scale
    # Apart in x or in y.
    gap = gaps.max(axis=2)[~np.eye(len(places), dtype=bool)]
    # A top finding keeps others 200 µm away; a closing of coverage spans 33 bins.
    assert gap.min() > max(
        200 + Finding(0, 0, 62.2, 62.2, 1, 1, 0).width_um, 34 * BIN_UM
    )
    # About a square, so that they fit a map.
    assert np.ptp(corners[:, 0] / (size_px[0] * scale + 1000)) <= 17.1
