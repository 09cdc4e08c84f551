"""A DICOM slide is a folder: one file a level, all of one series.

OpenSlide, given one of them, finds the others beside it. So a slide may be named by its
folder or by any of its files, and is read once however often it is named.
"""

from collections.abc import Sequence
from pathlib import Path

from armicro.errors import SourceError

_HEAD_BYTES = 1 << 16
"""The series stands in the first elements, long before the pixels."""
_SERIES = b"\x20\x00\x0e\x00"
"""Series Instance UID (0020,000E), little-endian as every slide is stored."""


def series_of(path: Path) -> str | None:
    """The series of a DICOM file; None for any other file."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return None
    at = head.find(_SERIES, 132)
    if head[128:132] != b"DICM" or at < 0:
        return None
    # Explicit VR has its two letters and a short length, implicit a long one.
    explicit = head[at + 4 : at + 6] == b"UI"
    length = head[at + 6 : at + 8] if explicit else head[at + 4 : at + 8]
    uid = head[at + 8 : at + 8 + min(int.from_bytes(length, "little"), 64)]
    return uid.rstrip(b"\0 ").decode("ascii", "replace")


def slide_file(path: Path) -> Path:
    """The file by which a slide is opened: itself, or the largest of a DICOM folder.

    Raises:
        SourceError: it is a folder that holds no DICOM slide, or several.
    """
    if not path.is_dir():
        return path
    series: dict[str, Path] = {}
    files = [file for file in path.iterdir() if file.is_file()]
    for file in sorted(files, key=lambda file: file.stat().st_size):
        uid = series_of(file)
        if uid is not None:
            series[uid] = file
    if not series:
        raise SourceError(
            f"slide {path}: a folder, expected a slide's file or a folder of DICOM "
            "files; check the path"
        )
    if len(series) > 1:
        names = ", ".join(sorted(file.name for file in series.values())[:4])
        raise SourceError(
            f"slide {path}: a folder of {len(series)} DICOM slides, expected one; name "
            f"a file of each: {names}"
        )
    return next(iter(series.values()))


def once_each(paths: Sequence[Path]) -> list[Path]:
    """The paths without further files of a DICOM slide that was named before."""
    met: set[tuple[Path, str]] = set()
    kept = []
    for path in paths:
        is_folder = path.is_dir()
        uids = {series_of(file) for file in (path.iterdir() if is_folder else (path,))}
        keys = {
            ((path if is_folder else path.parent).resolve(), uid)
            for uid in uids
            if uid is not None
        }
        if keys and keys <= met:
            continue
        met |= keys
        kept.append(path)
    return kept
