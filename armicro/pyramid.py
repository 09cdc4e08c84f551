"""A pyramidal tiled BigTIFF written in one pass and in bounded memory.

Levels are separate directories, as OpenSlide needs (it shows one of sub-directories).
Tiles are JPEG, encoded here, so that no codec package is needed. They come in the order
of a quad tree: a tile of a level is made from its four children as soon as these are
there, so only a few tiles a level are ever in memory. The directories come last. Where
nothing is to be drawn (``Sheet.tiles``) all tiles are one and the same piece of paper.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.file import create
from armicro.verdict import HR_UM_PER_PX

TILE_PX = 512

Draw = Callable[[int, int, int, int], Pixels]
"""``draw(x_px, y_px, width_px, height_px)`` of the largest level."""

Progress = Callable[[int], None]
"""Called with the number of pixels just finished."""

SHORT, LONG, RATIONAL, ASCII, LONG8 = 3, 4, 5, 2, 16
FORMATS = {SHORT: "H", LONG: "I", RATIONAL: "I", ASCII: "s", LONG8: "Q"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a slide file is, apart from its pixels."""

    width_px: int
    height_px: int
    description: str
    quality: int = 85
    paper_rgb: tuple[int, int, int] = (255, 255, 255)
    """Colour of the padding beyond the right and lower side, and of what is empty."""
    um_per_px: float = HR_UM_PER_PX
    tiles: frozenset[tuple[int, int]] | None = None
    """(column, row) of the tiles that are drawn, the others are empty; None: all."""


class _Level:
    """Tile table of one level, and which of its tiles are not empty."""

    def __init__(
        self, width_px: int, height_px: int, tiles: frozenset[tuple[int, int]] | None
    ) -> None:
        self.tiles = tiles
        self.width_px, self.height_px = width_px, height_px
        self.across, self.down = -(-width_px // TILE_PX), -(-height_px // TILE_PX)
        self.offsets: NDArray[np.uint64] = np.zeros(
            (self.down, self.across), dtype=np.uint64
        )
        self.lengths: NDArray[np.uint32] = np.zeros(
            (self.down, self.across), dtype=np.uint32
        )


def write_pyramid(
    file: BinaryIO, sheet: Sheet, draw: Draw, progress: Progress | None = None
) -> None:
    """Write a whole slide.

    Args:
        file: Open for writing and seeking.
        sheet: Size, description, quality.
        draw: Gives any rectangle of the largest level as (height, width, 3) RGB.
        progress: Called with the number of pixels just finished.
    """
    _Writer(file, sheet, draw, progress or _ignore).write()


def write_pyramid_file(
    path: Path, sheet: Sheet, draw: Draw, progress: Progress | None = None
) -> None:
    """``write_pyramid`` into a new file."""
    with create(path) as file:
        write_pyramid(file, sheet, draw, progress)


def _ignore(_pixels: int) -> None:
    return


class _Writer:
    def __init__(
        self, file: BinaryIO, sheet: Sheet, draw: Draw, progress: Progress
    ) -> None:
        self._file, self._sheet, self._draw = file, sheet, draw
        self._progress = progress
        self._levels = [_Level(sheet.width_px, sheet.height_px, sheet.tiles)]
        while max(self._levels[-1].across, self._levels[-1].down) > 1:
            last = self._levels[-1]
            half = (-(-last.width_px // 2), -(-last.height_px // 2))
            above = last.tiles and frozenset((x // 2, y // 2) for x, y in last.tiles)
            self._levels.append(_Level(*half, above))
        self._blank = np.full((TILE_PX, TILE_PX, 3), sheet.paper_rgb, np.uint8)
        self._parameters = [
            cv2.IMWRITE_JPEG_QUALITY,
            sheet.quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        ]

    def write(self) -> None:
        self._file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        if self._sheet.tiles is not None:
            self._paper()
        top = len(self._levels) - 1
        if top == 0:
            self._leaf(0, 0)
        else:
            self._branch(top, 0, 0)
        self._directories()

    def _paper(self) -> None:
        """Let every tile be empty until it is drawn."""
        self._put(0, 0, 0, self._blank)
        first = self._levels[0]
        offset, length = first.offsets[0, 0], first.lengths[0, 0]
        for level in self._levels:
            level.offsets[:], level.lengths[:] = offset, length

    def _branch(self, number: int, column: int, row: int) -> Pixels:
        """Make and write a tile of a level above the largest, children first."""
        level = self._levels[number]
        if column >= level.across or row >= level.down:
            return self._blank
        if level.tiles is not None and (column, row) not in level.tiles:
            return self._blank
        if number == 1:
            quad = self._leaves(2 * column, 2 * row)
        else:
            quad = np.empty((2 * TILE_PX, 2 * TILE_PX, 3), np.uint8)
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                child = self._branch(number - 1, 2 * column + dx, 2 * row + dy)
                y, x = dy * TILE_PX, dx * TILE_PX
                quad[y : y + TILE_PX, x : x + TILE_PX] = child
        tile = cv2.resize(quad, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
        self._put(number, column, row, np.asarray(tile, dtype=np.uint8))
        return np.asarray(tile, dtype=np.uint8)

    def _leaves(self, column: int, row: int) -> Pixels:
        """Draw and write the up to four largest-level tiles below one of level 1."""
        quad = self._drawn(column * TILE_PX, row * TILE_PX, 2 * TILE_PX)
        level = self._levels[0]
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            if column + dx < level.across and row + dy < level.down:
                y, x = dy * TILE_PX, dx * TILE_PX
                tile = quad[y : y + TILE_PX, x : x + TILE_PX]
                self._put(0, column + dx, row + dy, tile)
        return quad

    def _leaf(self, column: int, row: int) -> None:
        self._put(0, column, row, self._drawn(0, 0, TILE_PX))

    def _drawn(self, x_px: int, y_px: int, side_px: int) -> Pixels:
        """A square of the slide, padded where the slide ends."""
        width = min(side_px, self._sheet.width_px - x_px)
        height = min(side_px, self._sheet.height_px - y_px)
        pixels = self._draw(x_px, y_px, width, height)
        self._progress(width * height)
        if (width, height) == (side_px, side_px):
            return pixels
        square = np.empty((side_px, side_px, 3), np.uint8)
        square[:] = self._sheet.paper_rgb
        square[:height, :width] = pixels
        return square

    def _put(self, number: int, column: int, row: int, tile: Pixels) -> None:
        bgr = cv2.cvtColor(tile, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, self._parameters)[1].tobytes()
        level = self._levels[number]
        level.offsets[row, column] = self._file.tell()
        level.lengths[row, column] = len(data)
        self._file.write(data)

    def _directories(self) -> None:
        link = 8  # where the offset of the next directory is to be written
        for number, level in enumerate(self._levels):
            tags = self._tags(number, level)
            self._file.seek(0, 2)
            values = [self._value(kind, count, data) for _, kind, count, data in tags]
            self._file.write(bytes(-self._file.tell() % 8))
            start = self._file.tell()
            self._file.write(struct.pack("<Q", len(tags)))
            for (tag, kind, count, _), value in zip(tags, values, strict=True):
                self._file.write(struct.pack("<HHQ", tag, kind, count) + value)
            self._file.write(bytes(8))
            self._file.seek(link)
            self._file.write(struct.pack("<Q", start))
            link = start + 8 + 20 * len(tags)
        self._file.seek(0, 2)

    def _value(self, kind: int, count: int, data: bytes) -> bytes:
        """The eight bytes of a tag's value: the data, or where it was written."""
        if len(data) <= 8:
            return data.ljust(8, b"\0")
        self._file.write(bytes(-self._file.tell() % 8))
        place = self._file.tell()
        self._file.write(data)
        return struct.pack("<Q", place)

    def _tags(self, number: int, level: _Level) -> list[tuple[int, int, int, bytes]]:
        # Pixels per centimetre as a ratio that gives the scale back exactly.
        scale = self._levels[0].width_px / level.width_px
        density = (1_000_000_000, round(self._sheet.um_per_px * scale * 100_000))
        text = self._sheet.description.encode("ascii", "replace") + b"\0"
        tiles = level.offsets.size
        rows = [
            (254, LONG, (1 if number else 0,)),
            (256, LONG, (level.width_px,)),
            (257, LONG, (level.height_px,)),
            (258, SHORT, (8, 8, 8)),
            (259, SHORT, (7,)),  # JPEG
            (262, SHORT, (6,)),  # YCbCr
            (277, SHORT, (3,)),
            (282, RATIONAL, density),
            (283, RATIONAL, density),
            (284, SHORT, (1,)),
            (296, SHORT, (3,)),  # centimetre
            (322, LONG, (TILE_PX,)),
            (323, LONG, (TILE_PX,)),
            (530, SHORT, (2, 2)),
        ]
        packed = [
            (
                tag,
                kind,
                len(v) // (2 if kind == RATIONAL else 1),
                struct.pack(f"<{len(v)}{FORMATS[kind]}", *v),
            )
            for tag, kind, v in rows
        ]
        packed.append((270, ASCII, len(text), text))
        packed.append((324, LONG8, tiles, level.offsets.astype("<u8").tobytes()))
        packed.append((325, LONG, tiles, level.lengths.astype("<u4").tobytes()))
        return sorted(packed)
