"""JPEG tiles decoded directly: the same as through OpenSlide, damage found."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.source.reader import open_reader
from armicro.source.tile import JpegTiles, RegionTiles

Photometric = Literal["rgb", "ycbcr"]
TILE_PX = 128


def smooth_picture(width: int, height: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    waves = np.stack((x / 30, y / 25, (x + y) / 40), axis=-1)
    return np.asarray(np.rint(127 + 100 * np.sin(waves)), np.uint8)


def encode(tile: Pixels, photometric: Photometric) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(
        buffer, "JPEG", quality=90, keep_rgb=photometric == "rgb"
    )
    stream = buffer.getvalue()
    # As scanners write it: nothing in the stream says that the components are RGB.
    marker = stream.find(b"\xff\xee")
    return stream if marker < 0 else stream[:marker] + stream[marker + 16 :]


@pytest.fixture
def write_jpeg_slide(tmp_path: Path) -> Callable[[Photometric], Path]:
    def tiles(pixels: Pixels, photometric: Photometric) -> Iterator[bytes]:
        for y in range(0, pixels.shape[0], TILE_PX):
            for x in range(0, pixels.shape[1], TILE_PX):
                part = pixels[y : y + TILE_PX, x : x + TILE_PX]
                missing = TILE_PX - part.shape[0], TILE_PX - part.shape[1]
                padding = ((0, missing[0]), (0, missing[1]), (0, 0))
                yield encode(np.pad(part, padding), photometric)

    def write(photometric: Photometric) -> Path:
        path = tmp_path / f"{photometric}.tif"
        with tifffile.TiffWriter(path) as tiff:
            for factor in (1, 2):
                pixels = smooth_picture(600, 400)[::factor, ::factor]
                tiff.write(
                    tiles(pixels, photometric),
                    shape=pixels.shape,
                    dtype=np.uint8,
                    tile=(TILE_PX, TILE_PX),
                    photometric=photometric,
                    compression="jpeg",
                    compressionargs={"outcolorspace": photometric},
                    subsampling=(2, 2) if photometric == "ycbcr" else None,
                    subfiletype=int(factor > 1),
                    metadata=None,
                    resolution=(40000 / factor, 40000 / factor),
                    resolutionunit="CENTIMETER",
                )
        return path

    return write


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_every_tile_equals_what_openslide_shows(
    write_jpeg_slide: Callable[[Photometric], Path], photometric: Photometric
) -> None:
    path = write_jpeg_slide(photometric)
    regions = RegionTiles(lambda: open_reader(path))
    tiles = JpegTiles(path, regions)
    assert tiles.direct_levels == (0, 1)
    for level, columns, rows in ((0, 5, 4), (1, 3, 2)):
        for column in range(columns):
            for row in range(rows):
                mine = tiles.read(level, column, row)
                height, width = mine.shape[:2]
                box = (column * TILE_PX, row * TILE_PX, width, height)
                other = regions.read_box(level, box)
                assert np.abs(mine.astype(int) - other).max() <= 4
    assert tiles.read(0, 4, 3).shape == (400 - 3 * TILE_PX, 600 - 4 * TILE_PX, 3)
    tiles.close()
    tiles.close()


@pytest.mark.parametrize("damage", ["head", "body", "tail"])
def test_damaged_tile_is_unreadable_and_the_others_are_not(
    write_jpeg_slide: Callable[[Photometric], Path], damage: str
) -> None:
    path = write_jpeg_slide("ycbcr")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        at, count = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    part = {
        "head": slice(at, at + 64),
        "body": slice(at + count - 700, at + count - 2),
        "tail": slice(at + count - 200, at + count),
    }[damage]
    random = np.random.default_rng(1).integers(1, 256, 1000, dtype=np.uint8)
    data[part] = random.tobytes()[: part.stop - part.start]
    path.write_bytes(data)
    tiles = JpegTiles(path, RegionTiles(lambda: open_reader(path)))
    assert 0 in tiles.direct_levels
    with pytest.raises(SourceError, match="tile"):
        tiles.read(0, 0, 0)
    assert tiles.read(0, 1, 0).shape == (TILE_PX, TILE_PX, 3)
    tiles.close()


def test_slide_of_another_compression_is_left_to_openslide(
    write_slide: Callable[..., Path], coordinate_pixels: Callable[[int, int], Pixels]
) -> None:
    pixels = coordinate_pixels(600, 400)
    path = write_slide(pixels, compression="deflate")
    tiles = JpegTiles(path, RegionTiles(lambda: open_reader(path)))
    assert tiles.direct_levels == ()
    np.testing.assert_array_equal(tiles.read(0, 0, 0), pixels[:512, :512][:400])
    tiles.close()


def test_hole_of_zeros_in_a_tile_is_found_and_an_even_tile_is_no_hole(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    even = np.full((TILE_PX, TILE_PX, 3), 128, np.uint8)
    rough = rng.integers(0, 256, (TILE_PX, TILE_PX, 3), np.uint8)
    buffer = io.BytesIO()
    # Optimised tables make the longest rows of zeros that are sound.
    Image.fromarray(even).save(buffer, "JPEG", quality=90, optimize=True)
    holed = bytearray(encode(rough, "ycbcr"))
    holed[-3000:-1000] = bytes(2000)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path,
        iter([encode(rough, "ycbcr"), buffer.getvalue(), bytes(holed)]),
        shape=(TILE_PX, 3 * TILE_PX, 3),
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=(2, 2),
        metadata=None,
    )
    tiles = JpegTiles(path, RegionTiles(lambda: open_reader(path)))
    assert tiles.direct_levels == (0,)
    assert (tiles.read(0, 1, 0) == 128).all()
    with pytest.raises(SourceError, match="damaged"):
        tiles.read(0, 2, 0)
    tiles.close()


@pytest.mark.data
def test_real_aperio_slide_is_decoded_directly(data: Path) -> None:
    path = data / "wsi" / "cmu-1-small-region.svs"
    tiles = JpegTiles(path, RegionTiles(lambda: open_reader(path)))
    assert tiles.direct_levels == (0,)
    tiles.close()
