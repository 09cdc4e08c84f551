"""Opens a slide file, whatever its format, as an object that looks like OpenSlide.

OpenSlide reads most formats, kfbslide reads KFB, and other packages add readers through
the entry-point group ``armicro.slide_reader``: the entry's name is the file suffix
("sdpc"), its value a function from a path to a ``SlideReader``.
"""

import contextlib
import struct
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import openslide
import tifffile
from PIL import Image

from armicro.errors import SourceError

ENTRY_POINT_GROUP = "armicro.slide_reader"
_PLAIN_TIFF = frozenset({"aperio", "generic-tiff", "leica", "philips", "trestle"})
"""Vendors whose offsets mean what the TIFF standard says."""
TIFF_ERRORS = (
    tifffile.TiffFileError,
    IndexError,
    KeyError,
    OSError,
    ValueError,
    struct.error,
)
"""What tifffile raises on files that it does not understand."""


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


def _open_openslide(path: Path) -> SlideReader:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SourceError(
            f"slide {path}: not a slide that OpenSlide reads; expected SVS, TIFF, "
            "NDPI, MRXS, SCN, DICOM and the like, or a format whose reader is installed"
        ) from error
    except openslide.OpenSlideError as error:
        raise SourceError(
            f"slide {path}: {error}; the file is damaged or incomplete, copy it again"
        ) from error


def _open_kfb(path: Path) -> SlideReader:
    try:
        import kfbslide
    except ImportError as error:
        raise SourceError(
            f"slide {path}: KFB needs the kfbslide package; "
            "install it with: pip install 'armicro[kfb]'"
        ) from error
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
    reader = _open_openslide(path)
    vendor = reader.properties.get("openslide.vendor", "")
    missing = missing_bytes(path) if vendor in _PLAIN_TIFF else 0
    if missing:
        reader.close()
        raise SourceError(
            f"slide {path}: {missing} bytes are missing at its end; "
            "the file is truncated, copy it again"
        )
    return reader


def missing_bytes(path: Path) -> int:
    """How far a TIFF's tiles reach beyond its end; 0 for other formats.

    OpenSlide opens a truncated slide without a word and fails at the first tile that
    is not there, which may be an hour later.
    """
    end = 0
    # What it does not understand is OpenSlide's business.
    with (
        contextlib.suppress(*TIFF_ERRORS),
        tifffile.TiffFile(path) as tiff,
    ):
        for page in tiff.pages:
            spans = zip(page.dataoffsets, page.databytecounts, strict=False)
            end = max(end, max((at + count for at, count in spans), default=0))
    return max(0, end - path.stat().st_size)
