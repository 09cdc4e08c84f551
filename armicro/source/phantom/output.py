"""The slide file while it grows: beside its place, moved there when it is whole."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from armicro.errors import DiskError, SourceError
from armicro.file import written


@contextlib.contextmanager
def slide_file(path: Path, room_bytes: int) -> Iterator[BinaryIO]:
    """Open a file for writing that is called ``path`` at the end.

    Args:
        path: What the slide is to be called; an older one is replaced at the end only.
        room_bytes: Disk space that the slide may take.

    Raises:
        SourceError: no such folder, or not enough disk.
        DiskError: it could not be written after all.
    """
    _check_place(path, room_bytes)
    try:
        with written(path) as file:
            yield file
    except OSError as error:
        raise DiskError(_what_failed(path, error)) from error


def _check_place(path: Path, room_bytes: int) -> None:
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise SourceError(f"{path}: expected a name that ends in .tif; choose one")
    if path.is_dir():
        raise SourceError(f"{path} is a folder: expected a file name; choose another")
    if not path.parent.is_dir():
        raise SourceError(
            f"{path.parent} is no folder: expected one to write {path.name} into; "
            "make it first"
        )
    free = shutil.disk_usage(path.parent).free
    if free < room_bytes:
        raise SourceError(
            f"{free / 1e6:.0f} MB free at {path.parent}: expected "
            f"{room_bytes / 1e6:.0f} MB for this slide; free some, or ask for fewer "
            "megapixels"
        )


def _what_failed(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"the disk ran full while writing {path}: expected room for the whole "
            "slide; free some, or ask for fewer megapixels"
        )
    return (
        f"{path} cannot be written ({error.strerror}): expected a folder that you may "
        "write to; choose another or change its permissions"
    )
