"""A cache of a slide's own tiles: what makes reading overlapping fields cheap.

OpenSlide decodes and converts a field anew each time (over 100 ms for 2448×2048). Here
each tile is decoded once, composited on the slide's background and kept as RGB; a field
is then put together by copying. An unreadable tile is remembered with its reason and
shows background, so that a field says that it cannot be trusted and the run goes on.
"""

import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from armicro import tiff
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


# ---------------------------------------------------------------------------
# Decodes the JPEG tiles of a TIFF slide directly, the common case of whole slides.
#
# OpenSlide spends most of its time on conversion: 180 ms for the tiles of a 2448×2048
# field where libjpeg-turbo alone takes 25. So where a level is plain JPEG tiles, these
# are cut out of the file and decoded as they are. A level is read this way only if a
# sample of it equals what OpenSlide gives; all else, and every doubt, is OpenSlide's.

_VENDORS = frozenset({"aperio", "generic-tiff"})
"""Others shift or overlap their tiles."""
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""Marker that tells a decoder that the components are red, green and blue."""
_TOLERANCE = 4
"""Decoders may round differently, never more than this."""
_FOREIGN_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd9\xff]")
"""Nothing else follows 0xFF inside a baseline scan (ITU-T T.81, B.1.1.5)."""


@dataclass(frozen=True, slots=True)
class _Level:
    """Where the tiles of one level lie in the file."""

    columns: int
    tile_wh_px: tuple[int, int]
    offsets: tiff.Numbers
    byte_counts: tiff.Numbers
    prefix: bytes
    """Start of the stream with the tables that all tiles share."""


class JpegTiles:
    """Tiles of a slide, decoded directly in the levels that allow it."""

    def __init__(self, path: Path, regions: RegionTiles) -> None:
        """Find the levels that are plain JPEG tiles and check a sample of each."""
        self._regions = regions
        self._file = path.open("rb")
        self._levels: dict[int, _Level] = {}
        if regions.vendor in _VENDORS:
            self._levels = _find_levels(path, regions)
            for level in list(self._levels):
                if not self._agrees(level):
                    del self._levels[level]

    @property
    def direct_levels(self) -> tuple[int, ...]:
        """The levels whose tiles are decoded directly."""
        return tuple(self._levels)

    def level_size(self, level: int) -> tuple[int, int]:
        """Width and height of the level in pixels."""
        return self._regions.level_size(level)

    def tile_size(self, level: int) -> tuple[int, int]:
        """Width and height of the level's tiles in pixels."""
        direct = self._levels.get(level)
        return direct.tile_wh_px if direct else self._regions.tile_size(level)

    def read(self, level: int, column: int, row: int) -> Pixels:
        """Read one tile; see ``TileReader``."""
        direct = self._levels.get(level)
        if direct is None:
            return self._regions.read(level, column, row)
        width, height = direct.tile_wh_px
        level_width, level_height = self.level_size(level)
        x, y = column * width, row * height
        size = min(width, level_width - x), min(height, level_height - y)
        index = row * direct.columns + column
        if direct.byte_counts[index] == 0:
            # Not scanned: OpenSlide knows what to show there.
            return self._regions.read_box(level, (x, y, *size))
        stream = self._stream(direct, index)
        pixels = None
        # What a stream claims is believed by its decoder, memory and all.
        if _jpeg_size(stream) == direct.tile_wh_px:
            pixels = cv2.imdecode(
                np.frombuffer(stream, np.uint8),
                cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
            )
        if pixels is None or pixels.shape[:2] != (height, width):
            raise SourceError(f"tile at {x}, {y} of level {level}: not a JPEG tile")
        return np.asarray(pixels[: size[1], : size[0]], np.uint8)

    def _stream(self, direct: _Level, index: int) -> bytes:
        """Read a tile's bytes and make them a whole JPEG stream.

        Raises:
            SourceError: the stream is damaged; a decoder would show grey or garbage.
        """
        self._file.seek(int(direct.offsets[index]))
        tile = self._file.read(int(direct.byte_counts[index]))
        end = tile.rfind(b"\xff\xd9")
        scan = tile.find(b"\xff\xda")
        baseline = b"\xff\xc2" not in tile[: max(scan, 0)]
        if tile[:2] != b"\xff\xd8" or scan < 0 or end < scan:
            raise SourceError(f"JPEG tile {index} is cut short or overwritten")
        # An even block takes four bits at most, so a longer row of zeros is a hole.
        width, height = direct.tile_wh_px
        hole = bytes(max(64, width * height * 3 // 64 * 4 // 8))
        if baseline and (
            _FOREIGN_MARKER.search(tile, scan + 2, end) or hole in tile[scan:end]
        ):
            raise SourceError(f"JPEG tile {index} is damaged")
        return direct.prefix + tile[2:]

    def _agrees(self, level: int) -> bool:
        """Whether the middle tile looks the same through OpenSlide."""
        direct = self._levels[level]
        rows = len(direct.offsets) // direct.columns
        column, row = direct.columns // 2, rows // 2
        x, y = column * direct.tile_wh_px[0], row * direct.tile_wh_px[1]
        try:
            mine = self.read(level, column, row)
            height, width = mine.shape[:2]
            other = self._regions.read_box(level, (x, y, width, height))
        except SourceError:
            return False
        return int(np.abs(mine.astype(np.int16) - other).max()) <= _TOLERANCE

    def close(self) -> None:
        """Give the file back; may be called twice."""
        self._file.close()
        self._regions.close()


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG stream claims (SOF, ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", stream, at + 5)
            return width, height
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _find_levels(path: Path, regions: RegionTiles) -> dict[int, _Level]:
    """Levels that are JPEG tiles of three 8-bit components."""
    sizes = {regions.level_size(i): i for i in range(regions.level_count)}
    found: dict[int, _Level] = {}
    for page in tiff.read_pages(path):
        level = sizes.get((page.width, page.height))
        if level is None or level in found:
            continue
        if page.tile_wh is None or not _is_plain(page):
            continue
        tables = page.jpeg_tables or b"\xff\xd8\xff\xd9"
        marker = _ADOBE_RGB if page.photometric == tiff.RGB else b""
        found[level] = _Level(
            columns=page.columns,
            tile_wh_px=page.tile_wh,
            offsets=page.offsets,
            byte_counts=page.byte_counts,
            prefix=tables[:2] + marker + tables[2:-2],
        )
    return found


def _is_plain(page: tiff.Page) -> bool:
    return (
        page.compression == tiff.JPEG
        and page.photometric in (tiff.RGB, tiff.YCBCR)
        and page.samples == 3
        and page.bits == 8
        and not page.planes_apart
    )
