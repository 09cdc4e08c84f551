"""Opens a slide file, whatever its format, as an object that looks like OpenSlide.

OpenSlide reads most formats, kfbslide reads KFB, and other packages add readers through
the entry-point group ``armicro.slide_reader``: the entry's name is the file suffix
("sdpc"), its value a function from a path to a ``SlideReader``.
"""

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide
from PIL import Image

from armicro import tiff
from armicro.errors import SourceError, missing_extra

ENTRY_POINT_GROUP = "armicro.slide_reader"
_PLAIN_TIFF = frozenset({"aperio", "generic-tiff", "leica", "philips", "trestle"})
"""Vendors whose offsets mean what the TIFF standard says."""
_COMPRESSIONS = tiff.READ_COMPRESSIONS | {50_000}
"""OpenSlide's libtiff has Zstandard as well."""
_APERIO_JPEG_2000 = frozenset({33_003, 33_005})
_REMEDY = (
    "export it as a tiled 8-bit RGB pyramid, for example with QuPath (OME-TIFF) or "
    "vips tiffsave --tile --pyramid"
)
_LOOKED_AT, _LOOK_PX = 8, 256
_LIT = 128
"""Glass reaches the upper half of what the bits can tell."""


class SlideReader(Protocol):
    """What armicro uses of OpenSlide; a reader of another format has the same."""

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each level, the largest first."""

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """How many pixels of level 0 one of this level spans."""

    @property
    def properties(self) -> Mapping[str, str]:
        """OpenSlide's names: ``openslide.mpp-x``, ``openslide.bounds-x`` and so on."""

    def read_region(
        self, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image.Image:
        """RGBA pixels; the location is in level 0, the size in the level's pixels."""

    def close(self) -> None:
        """Give the file back."""


PICTURES_ARE_LIVE = (
    "photographs and films are read by armicro live, as camera.device of a rig with "
    'driver = "video"'
)


def _open_openslide(path: Path) -> SlideReader:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SourceError(
            f"slide {path}: not a slide that OpenSlide reads; expected SVS, TIFF, "
            "NDPI, MRXS, SCN, DICOM and the like, or a format whose reader is "
            f"installed; {PICTURES_ARE_LIVE}"
        ) from error
    except openslide.OpenSlideError as error:
        raise SourceError(
            f"slide {path}: {error}; the file is damaged or incomplete, copy it again"
        ) from error


def _open_kfb(path: Path) -> SlideReader:
    try:
        import kfbslide
    except (ImportError, OSError) as error:
        said = missing_extra(error, "kfbslide")
        raise SourceError(f"slide {path}: {said}") from error
    try:
        reader: SlideReader = kfbslide.OpenSlide(str(path))
    except kfbslide.OpenSlideError as error:
        raise SourceError(
            f"slide {path}: {error}; expected a KFB file, copy it again"
        ) from error
    return reader


def _open_plugged_in(path: Path, load: Callable[[], object]) -> SlideReader:
    # A plug-in raises what it likes.
    try:
        return load()(str(path))  # type: ignore[operator, no-any-return]
    except Exception as error:
        raise SourceError(
            f"slide {path}: its reader says: {error}; check the file and the reader"
        ) from error


def open_reader(path: Path) -> SlideReader:
    """Open a slide file with the reader of its format.

    Raises:
        SourceError: the file is missing, truncated or not a slide.
    """
    if not path.is_file():
        seen = "a folder, expected a file" if path.is_dir() else "no such file"
        raise SourceError(f"slide {path}: {seen}; check the path")
    suffix = path.suffix.lower().removeprefix(".")
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=suffix):
        return _open_plugged_in(path, entry.load)
    if suffix == "kfb":
        return _open_kfb(path)
    vendor = openslide.OpenSlide.detect_format(path)
    pages = tiff.read_pages(path) if vendor is None or vendor in _PLAIN_TIFF else ()
    if pages:
        _refuse_pages(path, vendor, pages)
    reader = _open_openslide(path)
    if pages and pages[0].bits > 8:
        try:
            _refuse_dark(path, reader)
        except SourceError:
            reader.close()
            raise
    return reader


def missing_bytes(path: Path) -> int:
    """How far a TIFF's tiles reach beyond its end; 0 for other formats.

    Raises:
        SourceError: it is a TIFF whose directories are damaged or cut short.
    """
    size_bytes = path.stat().st_size
    pages = tiff.read_pages(path)
    return max((tiff.missing_bytes(page, size_bytes) for page in pages), default=0)


def _refuse_pages(path: Path, vendor: str | None, pages: Sequence[tiff.Page]) -> None:
    """Refuse what OpenSlide would read wrongly, or with memory for what is claimed.

    It opens a truncated slide without a word and fails at the first tile that is not
    there, which may be an hour later; and it shows the first of three grey pages.

    Raises:
        SourceError: with the reason and the remedy.
    """
    tiled = [page for page in pages if page.tile_wh is not None]
    if not tiled:
        raise SourceError(
            f"slide {path}: not a slide but a TIFF without tiles; {_REMEDY}"
        )
    size_bytes = path.stat().st_size
    broken = next(filter(None, (tiff.why_broken(p, size_bytes) for p in tiled)), "")
    missing = missing_bytes(path)
    if broken or missing:
        seen = broken or f"{missing} bytes are missing at its end"
        raise SourceError(
            f"slide {path}: {seen}; the file is truncated or damaged, copy it again"
        )
    first = tiled[0]
    read = _COMPRESSIONS | (_APERIO_JPEG_2000 if vendor == "aperio" else frozenset())
    why = tiff.why_unlike_light(first) or tiff.why_not_read(first, read)
    if not why and first.grey:
        alike = sum((p.width, p.height) == (first.width, first.height) for p in tiled)
        why = (
            f"its colours are {alike} grey pages, of which one would be shown"
            if alike > 1
            else "it is grey, and stains are judged by their colour"
        )
    if why:
        raise SourceError(f"slide {path}: {why}; {_REMEDY}")


def _refuse_dark(path: Path, reader: SlideReader) -> None:
    """Refuse 16-bit pixels of which fewer bits hold light: they would be shown black.

    Raises:
        SourceError: with the number of bits.
    """
    level = len(reader.level_dimensions) - 1
    width, height = reader.level_dimensions[level]
    scale = reader.level_downsamples[level]
    most = 0
    # The glass is bright all over: a few places tell.
    for row, column in itertools.product(range(_LOOKED_AT), repeat=2):
        x, y = width * column // _LOOKED_AT, height * row // _LOOKED_AT
        size = min(_LOOK_PX, width - x), min(_LOOK_PX, height - y)
        # What cannot be read is marked later, field by field.
        with contextlib.suppress(openslide.OpenSlideError):
            look = reader.read_region((int(x * scale), int(y * scale)), level, size)
            most = max(most, int(np.asarray(look)[..., :3].max()))
    if most < _LIT:
        # Libtiff divides by 257 and rounds.
        used = max(257 * most - 128, 0).bit_length()
        raise SourceError(
            f"slide {path}: at most {used} of its 16 bits a sample "
            f"hold light, and it would be shown too dark; {_REMEDY}"
        )
