"""Slides and pictures as a stranger may send them: made by recipe, damaged by seed.

``mutant(kind, seed)`` is the same bytes on every machine with the same libraries, so a
mutant that ever went wrong is kept as a kind and a number.
"""

import io
import struct
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import tifffile

from armicro.field import Pixels

Rng = np.random.Generator
_ABSURD = (0, 1, 3, 17, 65_535, 65_536, 10_000_000, 2**31 - 1, 2**31, 2**32 - 1)
_HEAD_BYTES = 16


@cache
def draw(side: int = 700) -> Pixels:
    """Cells on bright glass, (side, side + 150, 3) RGB."""
    rng = np.random.default_rng(5)
    picture = np.full((side, side + 150, 3), (233, 236, 240), np.uint8)
    for x, y, radius in rng.integers((0, 0, 4), (side + 150, side, 20), (90, 3)):
        centre = int(x), int(y)
        cv2.circle(picture, centre, int(radius) * 2, (205, 190, 215), -1)
        cv2.circle(picture, centre, int(radius), (110, 70, 140), -1)
    return picture


def _pyramid(**how: object) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bool(how.pop("bigtiff", False))) as tiff:
        for level in range(3):
            factor = 2**level
            resolution = 1e4 / 0.25 / factor
            options: dict[str, object] = {
                "tile": (128, 128),
                "photometric": "rgb",
                "subfiletype": int(level > 0),
                "resolution": (resolution, resolution),
                "resolutionunit": "CENTIMETER",
                "metadata": None,
                **how,
            }
            if level:
                options.pop("description", None)
            tiff.write(np.ascontiguousarray(draw()[::factor, ::factor]), **options)  # type: ignore[arg-type]
    return file.getvalue()


def _aperio() -> bytes:
    said = "Aperio Image Library v11\r\n850x700 (128x128) JPEG|AppMag = 40|MPP = 0.25"
    return _pyramid(compression="jpeg", description=said, subfiletype=0)


def _ome() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        draw(),
        ome=True,
        tile=(128, 128),
        photometric="rgb",
        compression="zlib",
        resolution=(4e4, 4e4),
        resolutionunit="CENTIMETER",
    )
    return file.getvalue()


def _encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, draw(300)[..., ::-1])[1].tobytes()


KINDS: dict[str, Callable[[], bytes]] = {
    "jpeg.tif": lambda: _pyramid(compression="jpeg"),
    "deflate.tif": lambda: _pyramid(compression="zlib"),
    "plain.tif": _pyramid,
    "big.tif": lambda: _pyramid(compression="jpeg", bigtiff=True),
    "aperio.svs": _aperio,
    "ome.tif": _ome,
    "picture.png": lambda: _encoded(".png"),
    "picture.jpg": lambda: _encoded(".jpg"),
    "picture.tif": lambda: _encoded(".tif"),
}
PICTURES = frozenset(name for name in KINDS if name.startswith("picture"))


@cache
def whole(kind: str) -> bytes:
    """The undamaged file of a kind."""
    return KINDS[kind]()


def mutant(kind: str, seed: int) -> bytes:
    """A damaged file of a kind."""
    rng = np.random.default_rng([seed, *kind.encode()])
    content = bytearray(whole(kind))
    entries = _entries(content)
    for _ in range(rng.integers(1, 4)):
        ways = _WAYS if entries else _WAYS[:3]
        ways[rng.integers(len(ways))](content, entries, rng)
        entries = [at for at in entries if at[0] + 20 <= len(content)]
    return bytes(content)


Entry = tuple[int, bool, str]
"""Where a tag stands, whether the TIFF is big, and its byte order."""


def _entries(content: bytearray) -> list[Entry]:
    """Every tag of every directory of an undamaged TIFF."""
    if bytes(content[:2]) not in (b"II", b"MM"):
        return []
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    word = f"{order}{'Q' if big else 'I'}"
    at = struct.unpack_from(word, content, 8 if big else 4)[0]
    found: list[Entry] = []
    while at:
        count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, at)[0]
        at += 8 if big else 2
        size = 20 if big else 12
        found += [(at + i * size, big, order) for i in range(count)]
        at = struct.unpack_from(word, content, at + count * size)[0]
    return found


def _flip_bits(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    for at in rng.integers(0, len(content), rng.integers(1, 40)):
        content[at] ^= 1 << int(rng.integers(8))


def _overwrite(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    at = int(rng.integers(0, len(content)))
    size = min(int(rng.integers(1, 5000)), len(content) - at)
    fill = rng.integers(0, 256, size, np.uint8) if rng.random() < 0.5 else bytes(size)
    content[at : at + size] = bytes(fill)


def _cut(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    del content[int(rng.integers(_HEAD_BYTES, len(content))) :]


def _set_value(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    """An absurd number in the place of a tag's value, or of where it lies."""
    at, big, order = entries[rng.integers(len(entries))]
    value = _ABSURD[rng.integers(len(_ABSURD))]
    if rng.random() < 0.5:
        struct.pack_into(f"{order}H", content, at + 2, 4)
    struct.pack_into(f"{order}I", content, at + (12 if big else 8), value)


def _set_count(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    at, _, order = entries[rng.integers(len(entries))]
    value = _ABSURD[rng.integers(len(_ABSURD))]
    struct.pack_into(f"{order}I", content, at + 4, value)


def _set_type(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    at, _, order = entries[rng.integers(len(entries))]
    struct.pack_into(f"{order}H", content, at + 2, int(rng.integers(0, 20)))


def _swap(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    """Two tags change their values."""
    (a, big, _), (b, _, _) = (entries[i] for i in rng.integers(len(entries), size=2))
    size = 20 if big else 12
    first, second = content[a + 2 : a + size], content[b + 2 : b + size]
    content[a + 2 : a + size], content[b + 2 : b + size] = second, first


def _set_table(content: bytearray, entries: list[Entry], rng: Rng) -> None:
    """One entry of a table of tiles, where such a table lies."""
    at, big, order = entries[rng.integers(len(entries))]
    table = struct.unpack_from(f"{order}I", content, at + (12 if big else 8))[0]
    at = int(table) + 4 * int(rng.integers(0, 30))
    if at + 4 <= len(content):
        struct.pack_into(f"{order}I", content, at, _ABSURD[rng.integers(len(_ABSURD))])


Way = Callable[[bytearray, list[Entry], Rng], None]
_WAYS: tuple[Way, ...] = (
    _flip_bits,
    _overwrite,
    _cut,
    _set_value,
    _set_value,
    _set_value,
    _set_count,
    _set_type,
    _swap,
    _set_table,
)
