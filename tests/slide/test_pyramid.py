"""A written pyramid, read by the two readers that matter."""

import io
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from armicro.field import Pixels
from armicro.pyramid import Sheet, write_pyramid, write_pyramid_file


def draw_place(x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
    """Pixels whose colour says where they are."""
    x = (x_px + np.arange(width_px))[None] / 10
    y = (y_px + np.arange(height_px))[:, None] / 10
    blue = np.full((height_px, width_px), 90.0)
    planes = np.broadcast_arrays(x, y, blue)
    return np.stack(planes, axis=2).astype(np.uint8)


def colour_at(
    opened: openslide.OpenSlide, place: tuple[int, int], level: int = 0
) -> tuple[int, ...]:
    pixel = np.asarray(opened.read_region(place, level, (1, 1)))[0, 0]
    return tuple(int(channel) for channel in pixel[:3])


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "place.tif"
    write_pyramid_file(path, Sheet(2331, 1203, "colours of place"), draw_place)
    return path


def test_openslide_sees_scale_and_every_level(slide: Path) -> None:
    with openslide.OpenSlide(str(slide)) as opened:
        assert opened.level_dimensions == (
            (2331, 1203),
            (1166, 602),
            (583, 301),
            (292, 151),
        )
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(0.243)
        assert float(opened.properties["openslide.mpp-y"]) == pytest.approx(0.243)
        assert opened.properties["openslide.vendor"] == "generic-tiff"


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_level_shows_true_colours_at_their_place(slide: Path, level: int) -> None:
    with openslide.OpenSlide(str(slide)) as opened:
        size = opened.level_dimensions[level]
        seen = np.asarray(opened.read_region((0, 0), level, size))[..., :3]
    for share_x, share_y in ((0.1, 0.2), (0.5, 0.5), (0.9, 0.8)):
        x, y = int(share_x * size[0]), int(share_y * size[1])
        true = (x * 2**level / 10, y * 2**level / 10, 90)
        assert seen[y, x].astype(float) == pytest.approx(true, abs=4)


def test_tags_are_those_of_a_plain_tiled_jpeg_pyramid(slide: Path) -> None:
    with tifffile.TiffFile(slide) as opened:
        assert opened.is_bigtiff
        kinds = [page.aspage().tags["NewSubfileType"].value for page in opened.pages]
        assert kinds == [0, 1, 1, 1]
        first = opened.pages[0].aspage()
        assert first.tags["Compression"].value == tifffile.COMPRESSION.JPEG
        assert first.tags["PhotometricInterpretation"].value == 6
        assert first.tags["YCbCrSubSampling"].value == (2, 2)
        assert first.tags["ImageDescription"].value == "colours of place"


def test_a_slide_of_one_tile_has_one_level() -> None:
    file = io.BytesIO()
    done: list[int] = []
    write_pyramid(file, Sheet(300, 200, "small"), draw_place, done.append)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as opened:
        assert len(opened.pages) == 1
        assert opened.pages[0].shape == (200, 300, 3)
    assert sum(done) == 300 * 200


def test_only_a_few_tiles_are_ever_drawn_at_once() -> None:
    largest = 0

    def draw(x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        nonlocal largest
        largest = max(largest, width_px * height_px)
        return draw_place(x_px, y_px, width_px, height_px)

    write_pyramid(io.BytesIO(), Sheet(6000, 5000, "large"), draw)
    assert largest == 1024 * 1024


def test_what_is_empty_is_paper_on_every_level_and_costs_nothing(
    tmp_path: Path,
) -> None:
    drawn: list[tuple[int, int]] = []

    def draw(x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        drawn.append((x_px, y_px))
        return draw_place(x_px, y_px, width_px, height_px)

    sheet = Sheet(
        512 * 9,
        512 * 7,
        "mostly empty",
        paper_rgb=(10, 20, 30),
        um_per_px=0.34567,
        tiles=frozenset({(8, 6)}),
    )
    path = tmp_path / "empty.tif"
    write_pyramid_file(path, sheet, draw)
    assert drawn == [(8 * 512, 6 * 512)]
    assert path.stat().st_size < 200_000
    with openslide.OpenSlide(str(path)) as opened:
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(0.34567)
        for level, by in enumerate(opened.level_downsamples):
            seen = colour_at(opened, (100, 100), level)
            assert seen == pytest.approx((10, 20, 30), abs=3)
            place = int(8.5 * 512), int(6.5 * 512)
            seen = colour_at(opened, place, level)
            true = (place[0] // 10 % 256, place[1] // 10 % 256, 90)
            assert by > 8 or seen == pytest.approx(true, abs=30)
