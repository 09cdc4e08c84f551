"""Decodes the JPEG tiles of a TIFF slide directly, the common case of whole slides.

OpenSlide spends most of its time on conversion: 180 ms for the tiles of a 2448×2048
field where libjpeg-turbo alone takes 25. So where a level is plain JPEG tiles, these
are cut out of the file and decoded as they are. A level is read this way only if a
sample of it equals what OpenSlide gives; all else, and every doubt, is OpenSlide's.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from armicro import tiff
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.source.tile import RegionTiles

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
