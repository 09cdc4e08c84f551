"""The cache of tiles, on tiles whose pixels say where they lie."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from armicro.errors import SourceError, SourceLostError
from armicro.field import Pixels
from armicro.source.tile import RegionTiles, TileCache, composite

Draw = Callable[[int, int], Pixels]


class FakeTiles:
    """Tiles of 64 px from an array; counts what is read."""

    def __init__(self, pixels: Pixels, broken: tuple[int, int] | None = None) -> None:
        self.pixels, self.broken = pixels, broken
        self.reads: list[tuple[int, int]] = []

    def tile_size(self, level: int) -> tuple[int, int]:
        return 64, 64

    def level_size(self, level: int) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def read(self, level: int, column: int, row: int) -> Pixels:
        self.reads.append((column, row))
        if (column, row) == self.broken:
            raise SourceError("cut short")
        y, x = row * 64, column * 64
        return self.pixels[y : y + 64, x : x + 64]

    def close(self) -> None:
        self.reads.clear()


def test_any_region_is_put_together_pixel_for_pixel(coordinate_pixels: Draw) -> None:
    pixels = coordinate_pixels(300, 200)
    cache = TileCache(FakeTiles(pixels))
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = int(rng.integers(0, 280)), int(rng.integers(0, 180))
        width, height = int(rng.integers(1, 300 - x)), int(rng.integers(1, 200 - y))
        region, fault = cache.read(0, (x, y, width, height))
        np.testing.assert_array_equal(region, pixels[y : y + height, x : x + width])
        assert not fault


def test_a_tile_is_read_once_while_there_is_room(coordinate_pixels: Draw) -> None:
    tiles = FakeTiles(coordinate_pixels(300, 200))
    cache = TileCache(tiles)
    for x in range(0, 200, 10):
        cache.read(0, (x, 0, 100, 64))
    assert sorted(tiles.reads) == sorted(set(tiles.reads))


def test_cache_keeps_to_its_size_and_forgets_the_oldest(
    coordinate_pixels: Draw,
) -> None:
    tiles = FakeTiles(coordinate_pixels(640, 64))
    cache = TileCache(tiles, capacity_bytes=3 * 64 * 64 * 3)
    for x in (0, 64, 128, 0, 192, 0, 64):
        cache.read(0, (x, 0, 64, 64))
    assert tiles.reads == [(0, 0), (1, 0), (2, 0), (3, 0), (1, 0)]


def test_beyond_the_slide_lies_its_background(coordinate_pixels: Draw) -> None:
    pixels = coordinate_pixels(100, 80)
    cache = TileCache(FakeTiles(pixels), background=(9, 8, 7))
    region, _ = cache.read(0, (-20, -10, 150, 120))
    np.testing.assert_array_equal(region[10:90, 20:120], pixels)
    region[10:90, 20:120] = (9, 8, 7)
    assert (region == (9, 8, 7)).all()
    far, _ = cache.read(0, (500, 500, 4, 4))
    assert (far == (9, 8, 7)).all()


def test_broken_tile_shows_background_tells_why_and_is_not_tried_again(
    coordinate_pixels: Draw,
) -> None:
    pixels = coordinate_pixels(200, 100)
    tiles = FakeTiles(pixels, broken=(1, 0))
    cache = TileCache(tiles, background=(1, 2, 3))
    region, fault = cache.read(0, (0, 0, 200, 100))
    assert fault == "cut short"
    assert (region[:64, 64:128] == (1, 2, 3)).all()
    np.testing.assert_array_equal(region[:, :64], pixels[:, :64])
    assert cache.read(0, (64, 0, 10, 10))[1] == "cut short"
    assert not cache.read(0, (0, 0, 64, 64))[1]
    assert tiles.reads.count((1, 0)) == 1


def test_transparent_pixels_lie_on_the_background() -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]])
    mixed = composite(rgba.astype(np.uint8), (255, 255, 255))
    assert mixed[0].tolist() == [[200, 100, 0], [255, 255, 255], [244, 224, 204]]


class FailingSlide:
    """A slide that fails for ever once it has failed, as OpenSlide's do."""

    level_dimensions = ((1024, 512),)
    level_downsamples = (1.0,)
    properties: dict[str, str] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.failed = False

    def read_region(
        self, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image.Image:
        self.failed = self.failed or location == (0, 0)
        if self.failed:
            raise RuntimeError("cannot decode")
        return Image.new("RGBA", size, (1, 2, 3, 255))

    def close(self) -> None:
        self.failed = True


def test_slide_that_failed_is_opened_again_for_the_next_tile() -> None:
    tiles = RegionTiles(FailingSlide)
    with pytest.raises(SourceError, match="cannot decode"):
        tiles.read(0, 0, 0)
    assert (tiles.read(0, 1, 0) == (1, 2, 3)).all()
    tiles.close()


def test_slide_that_cannot_be_opened_again_is_lost() -> None:
    slides = [FailingSlide()]

    def open_once() -> FailingSlide:
        if not slides:
            raise SourceError("no such file")
        return slides.pop()

    cache = TileCache(RegionTiles(open_once))
    with pytest.raises(SourceLostError, match="no such file"):
        cache.read(0, (0, 0, 10, 10))
    cache.close()
