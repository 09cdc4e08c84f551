"""A cache of a slide's own tiles: what makes reading overlapping fields cheap.

OpenSlide decodes and converts a field anew each time (over 100 ms for 2448×2048). Here
each tile is decoded once, composited on the slide's background and kept as RGB; a field
is then put together by copying. An unreadable tile is remembered with its reason and
shows background, so that a field says that it cannot be trusted and the run goes on.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from armicro.errors import SourceError, SourceLostError
from armicro.field import Pixels
from armicro.source.reader import SlideReader

_LEAST_TILE_PX = 512
"""Smaller tiles are read several at a time, since each call has its price."""


class TileReader(Protocol):
    """Reads one tile of a level."""

    def tile_size(self, level: int) -> tuple[int, int]:
        """Width and height of the level's tiles in pixels."""

    def level_size(self, level: int) -> tuple[int, int]:
        """Width and height of the level in pixels."""

    def read(self, level: int, column: int, row: int) -> Pixels:
        """Pixels of the tile, smaller at the right and lower edge.

        Raises:
            SourceError: this tile cannot be read; others may.
            SourceLostError: the file is gone.
        """

    def close(self) -> None:
        """Give the file back; may be called twice."""


def background_rgb(reader: SlideReader) -> tuple[int, int, int]:
    """The colour that the scanner gave to what it did not scan; white if not said."""
    text = reader.properties.get("openslide.background-color", "FFFFFF").lstrip("#")
    if not re.fullmatch("[0-9A-Fa-f]{6}", text):
        return (255, 255, 255)
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def composite(rgba: Pixels, background: tuple[int, int, int]) -> Pixels:
    """Lay straight-alpha pixels on a background colour.

    Args:
        rgba: (height, width, 4).
        background: RGB.

    Returns:
        (height, width, 3) RGB.
    """
    alpha = rgba[..., 3]
    rgb: Pixels = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)  # type: ignore[assignment]
    if alpha.min(initial=255) == 255:
        return rgb
    weight = alpha[..., None].astype(np.float32) / 255
    mixed = rgb * weight + np.asarray(background, np.float32) * (1 - weight)
    return np.rint(mixed).astype(np.uint8)


class RegionTiles:
    """Tiles read with ``read_region``: works for every format."""

    def __init__(self, open_slide: Callable[[], SlideReader]) -> None:
        """Keep the way to open the slide: a failed OpenSlide object fails for ever."""
        self._open_slide = open_slide
        self._slide = open_slide()
        self._closed = False
        self.background = background_rgb(self._slide)
        self.vendor = self._slide.properties.get("openslide.vendor", "")
        self._levels = tuple(
            zip(
                self._slide.level_dimensions, self._slide.level_downsamples, strict=True
            )
        )
        self._sizes = tuple(
            (self._side(level, "width"), self._side(level, "height"))
            for level in range(len(self._levels))
        )

    def _side(self, level: int, side: str) -> int:
        text = self._slide.properties.get(f"openslide.level[{level}].tile-{side}", "0")
        tile_px = int(text) if text.isdecimal() else 0
        if not 0 < tile_px <= 4096:
            return _LEAST_TILE_PX
        return -(-_LEAST_TILE_PX // tile_px) * tile_px

    @property
    def level_count(self) -> int:
        """How many levels the pyramid has."""
        return len(self._levels)

    def tile_size(self, level: int) -> tuple[int, int]:
        """Width and height of the level's tiles in pixels."""
        return self._sizes[level]

    def level_size(self, level: int) -> tuple[int, int]:
        """Width and height of the level in pixels."""
        return self._levels[level][0]

    def read(self, level: int, column: int, row: int) -> Pixels:
        """Read one tile; see ``TileReader``."""
        width, height = self._sizes[level]
        level_width, level_height = self.level_size(level)
        x, y = column * width, row * height
        size = min(width, level_width - x), min(height, level_height - y)
        return self.read_box(level, (x, y, *size))

    def read_box(self, level: int, box_xywh_px: tuple[int, int, int, int]) -> Pixels:
        """Read a part of a level; after a failure open the slide for the next.

        Raises:
            SourceError: this part cannot be read; others may.
            SourceLostError: the file is gone.
        """
        x, y, width, height = box_xywh_px
        downsample = self._levels[level][1]
        at_level_0 = round(x * downsample), round(y * downsample)
        # Readers raise what they like.
        try:
            image = self._slide.read_region(at_level_0, level, (width, height))
            return composite(np.asarray(image.convert("RGBA")), self.background)
        except Exception as error:
            self._reopen()
            raise SourceError(f"tile at {x}, {y} of level {level}: {error}") from error

    def _reopen(self) -> None:
        self.close()
        try:
            self._slide = self._open_slide()
        except SourceError as error:
            raise SourceLostError(f"the slide was open and is gone: {error}") from error
        self._closed = False

    def close(self) -> None:
        """Give the file back; may be called twice."""
        if not self._closed:
            self._slide.close()
        self._closed = True


class TileCache:
    """Puts regions together from tiles, the latest of which it keeps."""

    def __init__(
        self,
        tiles: TileReader,
        *,
        background: tuple[int, int, int] = (255, 255, 255),
        capacity_bytes: int = 256 << 20,
    ) -> None:
        """Keep up to ``capacity_bytes`` of decoded tiles."""
        self._tiles = tiles
        self._background = np.asarray(background, np.uint8)
        self._capacity_bytes = capacity_bytes
        self._kept: OrderedDict[tuple[int, int, int], Pixels | str] = OrderedDict()
        self._bytes = 0

    def read(
        self, level: int, box_xywh_px: tuple[int, int, int, int]
    ) -> tuple[Pixels, str]:
        """Read a region of a level, background where it reaches beyond the slide.

        Returns:
            (height, width, 3) RGB, and why it cannot be trusted (empty when it can).

        Raises:
            SourceLostError: the file is gone.
        """
        x, y, width, height = box_xywh_px
        region = np.empty((height, width, 3), np.uint8)
        tile_w, tile_h = self._tiles.tile_size(level)
        level_size = self._tiles.level_size(level)
        right, bottom = min(x + width, level_size[0]), min(y + height, level_size[1])
        if min(x, y) < 0 or (right, bottom) != (x + width, y + height):
            # A row at a time: filling pixel by pixel takes 40 ms for a field.
            region[:] = np.tile(self._background, (width, 1))
        fault = ""
        for row in range(max(y, 0) // tile_h, -(-bottom // tile_h)):
            for column in range(max(x, 0) // tile_w, -(-right // tile_w)):
                tile = self._tile(level, column, row)
                if isinstance(tile, str):
                    fault = fault or tile
                    tile = np.tile(self._background, (tile_h, tile_w, 1))
                _paste(region, tile, (column * tile_w - x, row * tile_h - y))
        return region, fault

    def _tile(self, level: int, column: int, row: int) -> Pixels | str:
        key = level, column, row
        tile = self._kept.get(key)
        if tile is not None:
            self._kept.move_to_end(key)
            return tile
        try:
            tile = self._tiles.read(level, column, row)
        except SourceLostError:
            raise
        except SourceError as error:
            tile = str(error)
        self._kept[key] = tile
        self._bytes += _bytes_of(tile)
        while self._bytes > self._capacity_bytes and len(self._kept) > 1:
            self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])
        return tile

    def close(self) -> None:
        """Forget the tiles and give the file back; may be called twice."""
        self._kept.clear()
        self._bytes = 0
        self._tiles.close()


def _bytes_of(tile: Pixels | str) -> int:
    return len(tile) if isinstance(tile, str) else tile.nbytes


def _paste(region: Pixels, tile: Pixels, at_xy: tuple[int, int]) -> None:
    """Copy the part of a tile that lies in the region."""
    x, y = at_xy
    height, width = region.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + tile.shape[1], width), min(y + tile.shape[0], height)
    if x0 < x1 and y0 < y1:
        region[y0:y1, x0:x1] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
