"""What a TIFF says of itself, read without believing any of it.

Slides and pictures come from strangers, and what decodes them takes a header at its
word: memory for the size that is claimed, a grey channel for the picture. So the header
is read here first, from bytes of the file alone, and judged. No length is trusted that
the file has not; what is read is bounded by what the file holds.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError

MOST_PAGES = 20_000
MOST_SIDE_PX = 1 << 20
"""Of any picture: 10 cm at 0.1 µm a pixel, more than any slide has."""
MOST_TILE_PX = 1 << 24
"""Of one tile: what decodes it takes memory for all of it."""
_MAGIC = {b"II": "<", b"MM": ">"}
# TIFF 6.0, page 15; 13 and 16 to 18 are those of later supplements.
_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    5: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    10: "i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_RATIONAL = (5, 10)
_MOST_TEXT = 1 << 20
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
DESCRIPTION, STRIPS, SAMPLES, STRIP_BYTES, MAX_VALUE = 270, 273, 277, 279, 281
PLANAR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 284, 322, 323, 324, 325
EXTRA, SAMPLE_FORMAT, JPEG_TABLES = 338, 339, 347
_WANTED = frozenset(
    {
        *(SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION),
        *(STRIPS, SAMPLES, STRIP_BYTES, MAX_VALUE, PLANAR, TILE_WIDTH, TILE_HEIGHT),
        *(TILES, TILE_BYTES, EXTRA, SAMPLE_FORMAT, JPEG_TABLES),
    }
)
GREY_INVERTED, GREY, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRICS = {
    4: "a mask",
    5: "inks (CMYK)",
    8: "CIE Lab",
    9: "ICC Lab",
    10: "ITU Lab",
    32803: "raw sensor data",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw sensor data",
}
UNCOMPRESSED, JPEG = 1, 7
READ_COMPRESSIONS = frozenset({UNCOMPRESSED, 5, JPEG, 8, 32773, 32946})
"""None, LZW, JPEG, Deflate, PackBits: what every decoder here reads."""
_COMPRESSIONS = {
    2: "CCITT (fax)",
    3: "CCITT (fax)",
    4: "CCITT (fax)",
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34676: "LogLuv",
    34677: "LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG (DNG)",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    22610: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    34926: "Zstandard",
    34927: "WebP",
}

Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One image of a TIFF, as its directory describes it."""

    width: int = 0
    height: int = 0
    bits: int = 1
    """Of the deepest sample."""
    compression: int = UNCOMPRESSED
    photometric: int = GREY
    samples: int = 1
    extra: tuple[int, ...] = ()
    """What each sample beyond the colours is: 0 unsaid, 1 and 2 alpha."""
    signed_or_float: bool = False
    planes_apart: bool = False
    reduced: bool = False
    """A smaller picture of another page (NewSubfileType), or a mask."""
    tile_wh: tuple[int, int] | None = None
    """None where it lies in strips."""
    offsets: Numbers = field(default_factory=lambda: np.zeros(0, np.uint64))
    byte_counts: Numbers = field(default_factory=lambda: np.zeros(0, np.uint64))
    description: str = ""
    jpeg_tables: bytes = b""
    most_value: int | None = None
    """The largest value that a sample may have, where it is said."""

    @property
    def grey(self) -> bool:
        """Whether it holds one channel of light."""
        return self.photometric in (GREY_INVERTED, GREY)

    @property
    def columns(self) -> int:
        """Tiles across."""
        return -(-self.width // self.tile_wh[0]) if self.tile_wh else 1


def is_tiff(start: bytes) -> bool:
    """Whether a file that begins so is a TIFF or a BigTIFF."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_pages(path: Path) -> tuple[Page, ...]:
    """The pages of a TIFF in the order of its directories; none for another file.

    Raises:
        SourceError: it cannot be opened, or is a TIFF that is damaged or cut short.
    """
    try:
        with path.open("rb") as stream:
            if not is_tiff(stream.read(4)):
                return ()
            return tuple(_Walk(stream).pages())
    except OSError as error:
        raise SourceError(
            f"{path}: {error.strerror or error}; check the path"
        ) from error
    except _DamagedError as error:
        raise SourceError(
            f"{path}: a TIFF, {error}; the file is truncated or damaged, copy it again"
        ) from error


class _DamagedError(Exception):
    """What is the matter with a TIFF, as part of a sentence."""


class _Walk:
    """Goes from directory to directory of an open file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = stream.seek(0, 2)
        head = self._bytes(0, min(16, self._size))
        self._order = _MAGIC[head[:2]]
        self._big = self._number("H", head[2:4]) == 43
        if len(head) < (16 if self._big else 8):
            raise _DamagedError("its header is cut short")
        self._first = (
            self._number("Q", head[8:]) if self._big else self._number("I", head[4:])
        )

    def _number(self, code: str, data: bytes) -> int:
        code = self._order + code
        if len(data) < struct.calcsize(code):
            raise _DamagedError("a directory is cut short")
        return int(struct.unpack_from(code, data)[0])

    def _bytes(self, at: int, count: int) -> bytes:
        if at + count > self._size:
            missing = at + count - self._size
            raise _DamagedError(f"{missing} bytes are missing at its end")
        self._stream.seek(at)
        return self._stream.read(count)

    def pages(self) -> Iterator[Page]:
        at, met = self._first, set[int]()
        while at:
            if at in met or len(met) >= MOST_PAGES:
                raise _DamagedError("its directories go round in a circle")
            met.add(at)
            tags, at = self._directory(at)
            yield _page(tags)

    def _directory(self, at: int) -> tuple[dict[int, NDArray[np.generic]], int]:
        count_bytes, entry_bytes, link = (8, 20, "Q") if self._big else (2, 12, "I")
        count = self._number("Q" if self._big else "H", self._bytes(at, count_bytes))
        if count > 0xFFFF:
            raise _DamagedError(f"a directory claims {count} entries")
        at += count_bytes
        entries = self._bytes(at, count * entry_bytes)
        # Some writers end the file without the link to the next.
        after = self._stream.read(struct.calcsize(link))
        ends = len(after) < struct.calcsize(link)
        tags: dict[int, NDArray[np.generic]] = {}
        for start in range(0, len(entries), entry_bytes):
            entry = entries[start : start + entry_bytes]
            tag = self._number("H", entry)
            if tag in _WANTED and tag not in tags:
                tags[tag] = self._values(entry, tag)
        return tags, 0 if ends else self._number(link, after)

    def _values(self, entry: bytes, tag: int) -> NDArray[np.generic]:
        kind = self._number("H", entry[2:])
        count = self._number("Q" if self._big else "I", entry[4:])
        held = entry[12:] if self._big else entry[8:]
        if kind not in _TYPES:
            raise _DamagedError(f"tag {tag} is of the unknown type {kind}")
        dtype = np.dtype(f"{self._order}{_TYPES[kind]}")
        if kind in _RATIONAL:
            count *= 2
        if tag == DESCRIPTION:
            count = min(count, _MOST_TEXT)
        size = count * dtype.itemsize
        if size > len(held):
            at = self._number("Q" if self._big else "I", held)
            held = self._bytes(at, size)
        return np.frombuffer(held, dtype, count)


def _page(tags: dict[int, NDArray[np.generic]]) -> Page:
    def number(tag: int, default: int) -> int:
        values = tags.get(tag)
        return default if values is None or not values.size else int(values[0].item())

    def table(tag: int) -> Numbers:
        return tags.get(tag, np.zeros(0)).astype(np.uint64)

    tiled = TILES in tags or TILE_WIDTH in tags
    description = tags.get(DESCRIPTION, np.zeros(0, np.uint8)).tobytes()
    bits = tags.get(BITS, np.ones(1))
    return Page(
        width=number(WIDTH, 0),
        height=number(HEIGHT, 0),
        bits=int(bits.max(initial=1)),
        compression=number(COMPRESSION, UNCOMPRESSED),
        photometric=number(PHOTOMETRIC, GREY),
        samples=number(SAMPLES, 1),
        extra=tuple(int(v.item()) for v in tags.get(EXTRA, np.zeros(0))[:16]),
        signed_or_float=any(v.item() != 1 for v in tags.get(SAMPLE_FORMAT, ())[:16]),
        planes_apart=number(PLANAR, 1) == 2,
        reduced=bool(number(SUBFILE, 0) & 0b101),
        tile_wh=(number(TILE_WIDTH, 0), number(TILE_HEIGHT, 0)) if tiled else None,
        # JPEG in TIFF keeps its tiles under the strips' tags in some files.
        offsets=table(TILES if TILES in tags else STRIPS),
        byte_counts=table(TILE_BYTES if TILE_BYTES in tags else STRIP_BYTES),
        description=description.rstrip(b"\0").decode("utf-8", "replace"),
        jpeg_tables=tags.get(JPEG_TABLES, np.zeros(0, np.uint8)).tobytes(),
        most_value=number(MAX_VALUE, 0) or None,
    )


def declared_bits(page: Page) -> int | None:
    """How many bits of a sample hold light, where the file says it (OME, tag 281)."""
    found = re.search(r'SignificantBits="(\d{1,2})"', page.description)
    if found:
        return int(found[1])
    return page.most_value.bit_length() if page.most_value else None


def why_broken(page: Page, file_bytes: int) -> str:
    """What a page claims that its file cannot hold; empty where all fits.

    Only tiles' tables are held to their size: strips are read in whole pictures.
    """
    if not 0 < page.width <= MOST_SIDE_PX or not 0 < page.height <= MOST_SIDE_PX:
        return f"it claims {page.width}×{page.height} px, expected 1 to {MOST_SIDE_PX}"
    if not page.offsets.size:
        return "it has no pixels"
    if page.tile_wh is not None:
        width, height = page.tile_wh
        if min(width, height) < 1 or width * height > MOST_TILE_PX:
            return f"it claims tiles of {width}×{height} px"
        planes = page.samples if page.planes_apart else 1
        tiles = page.columns * -(-page.height // height) * planes
        held = min(page.offsets.size, page.byte_counts.size)
        if held < tiles:
            return f"it claims {tiles} tiles and lists {held}"
    missing = missing_bytes(page, file_bytes)
    return f"{missing} bytes are missing at its end" if missing else ""


def missing_bytes(page: Page, file_bytes: int) -> int:
    """How far a page's tiles or strips reach beyond the end of its file."""
    held = min(page.offsets.size, page.byte_counts.size)
    counts = page.byte_counts[:held]
    # As floats: a sum of two wild offsets must not wrap round to a small one.
    ends = page.offsets[:held].astype(np.float64) + counts
    return max(0, int(ends.max(initial=0.0, where=counts > 0)) - file_bytes)


def why_unlike_light(page: Page) -> str:
    """What keeps a page from being a picture of light; empty where nothing does.

    Compression is not judged: decoders differ.
    """
    if page.photometric not in (GREY_INVERTED, GREY, RGB, PALETTE, YCBCR):
        unknown = f"of the unknown kind {page.photometric}"
        return f"its pixels are {_PHOTOMETRICS.get(page.photometric, unknown)}"
    if page.bits == 1:
        return "it has 1 bit a pixel, black or white"
    if page.signed_or_float:
        return f"its pixels are signed or floating-point numbers of {page.bits} bits"
    if page.bits not in (8, 16):
        return f"it has {page.bits} bits a sample, expected 8 or 16"
    colours = 1 if page.grey or page.photometric == PALETTE else 3
    extra = page.samples - colours
    if extra not in (0, 1) or (extra and page.extra[:1] not in ((1,), (2,))):
        return f"it has {page.samples} channels, expected {colours}"
    return ""


def why_not_read(page: Page, compressions: frozenset[int] = READ_COMPRESSIONS) -> str:
    """Why no decoder here reads the compression of a page; empty where one does."""
    if page.compression in compressions:
        return ""
    name = _COMPRESSIONS.get(page.compression, f"method {page.compression}")
    return f"it is compressed with {name}, which is not read here"


def channels(text: str) -> int:
    """How many channels a page's description gives each picture (OME, ImageJ)."""
    found = re.search(r'\bSizeC="(\d{1,4})"', text) or re.search(
        r"^channels=(\d{1,4})$", text, re.MULTILINE
    )
    return int(found[1]) if found else 1


def colour_order(text: str) -> tuple[int, int, int] | None:
    """Which of three grey pages in a row are red, green and blue, by OME-XML.

    Returns:
        Their indices; None where it does not say that they are the colours of one.

    >>> colour_order('<Pixels DimensionOrder="XYCZT" SizeC="3">')
    (0, 1, 2)
    >>> names = "".join(f'<Channel Name="{n}">' for n in ("blue", "green", "red"))
    >>> colour_order(f'<Pixels DimensionOrder="XYCZT" SizeC="3">{names}')
    (2, 1, 0)
    """
    if channels(text) != 3 or not re.search(r'\bDimensionOrder="XYC', text):
        return None
    wanted: list[str] = ["red", "green", "blue"]
    found = [
        name.strip().lower()
        for name in re.findall(r'<Channel\b[^>]*\bName="([^"]*)"', text)
    ]
    colours = re.findall(r'<Channel\b[^>]*\bColor="(-?\d{1,11})"', text)
    if len(colours) == 3:
        # OME writes red, green, blue and alpha as one signed number.
        found = [f"{(int(value) & 0xFFFFFFFF) >> 8:06x}" for value in colours]
        wanted = ["ff0000", "00ff00", "0000ff"]
    if not found:
        return 0, 1, 2
    if sorted(found) != sorted(wanted):
        return None
    red, green, blue = (found.index(value) for value in wanted)
    return red, green, blue
