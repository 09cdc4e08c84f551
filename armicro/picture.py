"""What one picture is: a file made (height, width, 3) RGB, or the reason why not.

A decoder gives what it can: a red channel for a colour picture, 12 bits of light as
darkness, black for a compression that it lacks, grey for the part that is missing. So
the header is judged first, the decoder sees only what it reads rightly, and the size is
bounded before any memory is taken.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from armicro import tiff
from armicro.errors import SourceError
from armicro.field import Pixels

MOST_PX = 170_000_000
"""Of one picture: more than any camera has; a slide is read tile by tile."""
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "GIF", "JPEG2000", "PPM")
_FOREIGN = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"ftypheic": "HEIC",
    b"ftypmif1": "HEIF",
    b"ftypavif": "AVIF",
}
DARK = 0.25
"""Of the light of glass: darker than that is no cell of any stain over so large a part
of a field that touches its border."""
_LEAST_DARK = 0.01
_DARK_RIM = 7
"""Of 4 µm, a side, by which a dark part grows: 12 µm, its blurred rim."""
_UNLIKE_LIGHT = {
    "1": "1 bit a pixel, black or white",
    "CMYK": "inks (CMYK)",
    "F": "floating-point numbers",
    "LAB": "CIE Lab",
}
_CAMERA_BITS = (10, 12, 14, 16)
"""Bits of light that cameras store in pixels of 16."""
_REMEDY = "save it as 8-bit RGB (PNG, TIFF or JPEG)"
_COPY_AGAIN = "the file is truncated or damaged, copy it again"

Levels = NDArray[Any]
"""(height, width) or (height, width, 3 or 4) as OpenCV decodes it."""


def read_picture(path: Path, index: int = 0) -> Pixels:
    """Read a picture of a file.

    Args:
        path: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000 or PPM.
        index: which one, of those that ``picture_sizes`` lists.

    Returns:
        (height, width, 3) RGB, turned as its EXIF says.

    Raises:
        SourceError: the file is missing, damaged, too large, or not a picture of light
            in a form that is read rightly.
    """
    pages = tiff.read_pages(path)
    if pages:
        return _read_tiff(path, pages, index)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path}: {error.strerror or error}; expected a picture, check the path"
        ) from error
    return decode_picture(content, str(path))


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a file's first picture; raises as ``picture_sizes`` does."""
    return picture_sizes(path)[0]


def picture_sizes(path: Path) -> list[tuple[int, int]]:
    """Width and height of each picture of a file, by its header.

    A file has more than one where it is a TIFF of several pages; the levels of a
    pyramid are one, and so are three colour channels.

    Raises:
        SourceError: the file is missing, no picture, or a TIFF that is damaged or does
            not say whether its grey pages are pictures or colours.
    """
    pages = tiff.read_pages(path)
    if pages:
        firsts = (pages[group[0]] for group in _pictures_of(pages, path))
        return [(page.width, page.height) for page in firsts]
    try:
        with path.open("rb") as stream:
            header = _header(stream.read(1 << 20), str(path))
    except OSError as error:
        raise SourceError(
            f"{path}: {error.strerror or error}; expected a picture, check the path"
        ) from error
    width, height = header.size
    # Decoders turn it as its EXIF says.
    return [(height, width) if _is_on_its_side(header) else (width, height)]


def _is_on_its_side(header: Image.Image) -> bool:
    try:
        return header.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    # As for the header itself.
    except Exception:  # noqa: BLE001
        return False


def check_header(content: bytes, name: str, *, kind: str, most_px: int) -> None:
    """Refuse a small picture that is another kind, or larger than it can be.

    A few bytes can claim gigabytes of pixels, so no decoder sees them before this.

    Raises:
        SourceError: it is no ``kind`` ("JPEG", "PNG"), or has more than ``most_px``.
    """
    header = _header(content, name)
    width, height = header.size
    if header.format != kind or width * height > most_px:
        _refuse(
            name,
            f"{header.format} of {width}×{height} px, expected {kind} of up to "
            f"{most_px:,} px",
            "restore the file from a copy",
        )


def decode_picture(content: bytes, name: str) -> Pixels:
    """Decode the bytes of a picture that is no TIFF; see ``read_picture``."""
    header = _header(content, name)
    if header.mode in _UNLIKE_LIGHT:
        _refuse(name, f"its pixels are {_UNLIKE_LIGHT[header.mode]}")
    if _is_cut_short(content, header.format or ""):
        _refuse(name, "its end is missing", _COPY_AGAIN)
    alpha = header.mode in ("RGBA", "LA", "PA") or "transparency" in header.info
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    levels = _decode(content, cv2.IMREAD_UNCHANGED if alpha else flags)
    if levels is None:
        _refuse(name, "it cannot be decoded", _COPY_AGAIN)
    return _rgb_of(_to_8_bits(levels, _bits_of_png(content), name))


def _refuse(name: str, seen: str, remedy: str = _REMEDY) -> Never:
    raise SourceError(f"picture {name}: {seen}; {remedy}")


def _header(content: bytes, name: str) -> Image.Image:
    """What Pillow reads of a header; no pixel is decoded."""
    if not content:
        _refuse(name, "the file is empty", "expected a picture, copy it again")
    try:
        # Pillow warns of large pictures, which here are meant.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            header = Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError:
        _refuse(name, "it claims more pixels than any camera has", _COPY_AGAIN)
    # A plug-in of Pillow raises what it likes on bytes of strangers.
    except Exception as error:
        kind = next(
            (kind for magic, kind in _FOREIGN.items() if magic in content[:16]), ""
        )
        seen = f"{kind}, which is not read here" if kind else "not a picture"
        raise SourceError(
            f"picture {name}: {seen}; expected PNG, JPEG, TIFF, BMP or WebP"
        ) from error
    _check_size(header.size, name)
    return header


def _check_size(size_wh: tuple[int, int], name: str) -> None:
    width, height = size_wh
    if not 0 < width * height <= MOST_PX:
        _refuse(
            name,
            f"it claims {width}×{height} px, expected up to {MOST_PX:,} in all",
            "cut it, or give it as a slide",
        )


def _is_cut_short(content: bytes, kind: str) -> bool:
    """Whether the mark of the end is missing: decoders show grey instead."""
    if kind == "PNG":
        return b"IEND" not in content
    if kind in ("JPEG", "MPO"):
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    return False


def _decode(content: bytes, flags: int) -> Levels | None:
    try:
        levels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if levels is None else np.asarray(levels)


def _bits_of_png(content: bytes) -> int | None:
    """Significant bits of a PNG's samples, where it says them (sBIT)."""
    at = content.find(b"sBIT", 0, 4096) if content[1:4] == b"PNG" else -1
    return max(content[at + 4 : at + 7]) if at > 0 else None


def _to_8_bits(levels: Levels, bits: int | None, name: str) -> Pixels:
    """Make 8 bits of the bits that hold light.

    Where the file does not say how many they are, its brightest pixel does: the glass
    of a bright field lies in the upper half of what a camera can tell.
    """
    if levels.dtype == np.uint8:
        return np.asarray(levels, np.uint8)
    if levels.dtype != np.uint16:
        _refuse(name, f"its pixels are {levels.dtype} numbers, expected 8 or 16 bits")
    # Alpha is full where the light is not.
    most = int(levels[..., :3].max(initial=0))
    used = most.bit_length()
    if bits is None and used in _CAMERA_BITS:
        bits = used
    if bits is None or not max(used, 8) <= bits <= 16:
        _refuse(
            name,
            f"it has 16 bits a sample, the brightest is {most} of 65535, and it does "
            "not say how many bits hold light",
        )
    return np.asarray(levels >> (bits - 8), np.uint8)


def _rgb_of(picture: Pixels) -> Pixels:
    """RGB of what OpenCV decoded: grey, BGR, or BGR with alpha, which lies on white."""
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
    rgb = np.asarray(picture[..., 2::-1])
    if picture.shape[2] == 4:
        weight = picture[..., 3:].astype(np.float32) / 255
        rgb = np.rint(rgb * weight + 255 * (1 - weight)).astype(np.uint8)
    return np.ascontiguousarray(rgb)


def _pictures_of(pages: Sequence[tiff.Page], path: Path) -> list[tuple[int, ...]]:
    """The pages of each picture: one, or its red, green and blue."""
    whole = [i for i, page in enumerate(pages) if not page.reduced] or [0]
    first, text = pages[whole[0]], pages[0].description
    if not first.grey or len(whole) == 1:
        return [(i,) for i in whole]
    order, count = tiff.colour_order(text), tiff.channels(text)
    if order and len(whole) % 3 == 0:
        groups = [whole[i : i + 3] for i in range(0, len(whole), 3)]
        return [tuple(group[i] for i in order) for group in groups]
    if count > 1 or len(whole) == 3:
        _refuse(
            str(path),
            f"{len(whole)} grey pages, and it does not say whether they are pictures "
            "or the colours of one",
        )
    return [(i,) for i in whole]


def _read_tiff(path: Path, pages: Sequence[tiff.Page], index: int) -> Pixels:
    pictures = _pictures_of(pages, path)
    if not 0 <= index < len(pictures):
        _refuse(str(path), f"it has {len(pictures)} pictures", "name one of them")
    size_bytes = path.stat().st_size
    planes = []
    for at in pictures[index]:
        page = pages[at]
        broken = tiff.why_broken(page, size_bytes)
        if broken:
            _refuse(str(path), broken, _COPY_AGAIN)
        _check_size((page.width, page.height), str(path))
        why = tiff.why_unlike_light(page) or tiff.why_not_read(page)
        if not why and page.planes_apart and page.bits > 8:
            why = "its colours lie in separate planes of 16 bits"
        if why:
            _refuse(str(path), why)
        planes.append(_decode_page(path, at, page))
    if len(planes) == 1:
        return planes[0]
    if len({plane.shape for plane in planes}) > 1:
        _refuse(str(path), "its colours differ in size")
    return np.ascontiguousarray(np.dstack([plane[..., 0] for plane in planes]))


def _decode_page(path: Path, at: int, page: tiff.Page) -> Pixels:
    """One page as RGB; Pillow's decoder of 8 bits fails where OpenCV's shows black."""
    # Both raise what they like.
    try:
        if page.bits == 8:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path, formats=("TIFF",)) as opened:
                    opened.seek(at)
                    return _flat(opened)
        # A stack may be larger than memory.
        content = np.memmap(path, np.uint8, "r")
        _, found = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED, range=(at, at + 1))
        levels = np.asarray(found[0])
    except Exception as error:
        raise SourceError(f"picture {path}: {error}; {_COPY}") from error
    return _rgb_of(_to_8_bits(levels, tiff.declared_bits(page), str(path)))


def _flat(picture: Image.Image) -> Pixels:
    """RGB of a Pillow image, alpha laid on white."""
    if picture.mode in ("RGBA", "LA"):
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


# ---------------------------------------------------------------------------
# Pictures as a camera sends them, made RGB.

_COPY = -1
# Best first: raw Bayer is a third of the bytes on the cable. GenICam names a Bayer
# pattern by its first row from the first pixel, and so do OpenCV's four-letter names.
CONVERSIONS = {
    "BayerRG8": cv2.COLOR_BayerRGGB2RGB,
    "BayerGR8": cv2.COLOR_BayerGRBG2RGB,
    "BayerGB8": cv2.COLOR_BayerGBRG2RGB,
    "BayerBG8": cv2.COLOR_BayerBGGR2RGB,
    "RGB8": _COPY,
    "RGB8Packed": _COPY,
    "BGR8": cv2.COLOR_BGR2RGB,
    "BGR8Packed": cv2.COLOR_BGR2RGB,
    "Mono8": cv2.COLOR_GRAY2RGB,
}


def to_rgb(raw: Pixels, pixel_format: str) -> Pixels:
    """Convert a camera's picture to RGB.

    Args:
        raw: (height, width) or (height, width, 3), as the camera sent it.
        pixel_format: its GenICam name, one of those that ``basler`` asks for.

    Returns:
        (height, width, 3) RGB, a copy.
    """
    code = CONVERSIONS[pixel_format]
    return (
        raw.copy() if code == _COPY else np.asarray(cv2.cvtColor(raw, code), np.uint8)
    )


def apply_gains(pixels: Pixels, gains: tuple[float, float, float]) -> Pixels:
    """Multiply red, green and blue by gains, as a camera's white balance does."""
    levels = np.arange(256)[:, None] * np.asarray(gains)[None, :]
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


# ---------------------------------------------------------------------------
# What of a live picture is not the slide.


def dark_from_border(dark: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """What of the dark reaches in from the border: an eyepiece's mask, not the slide.

    Args:
        dark: (rows, columns) of some 4 µm, True where there is less light than
            ``DARK`` of that of glass.

    Returns:
        The same size, with the blurred rim; None where no such part is large.
    """
    rim = np.ones_like(dark)
    rim[1:-1, 1:-1] = False
    if not (dark & rim).any():
        return None
    _, parts = cv2.connectedComponents(dark.astype(np.uint8))
    outside = np.isin(parts, np.unique(parts[dark & rim])).astype(np.uint8)
    if outside.mean() < _LEAST_DARK:
        return None
    grown = cv2.dilate(outside, np.ones((_DARK_RIM, _DARK_RIM), np.uint8))
    return np.asarray(grown, np.bool_)
