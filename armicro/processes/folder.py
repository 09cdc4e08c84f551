"""A session's folder: made, kept to one session at a time, never overwritten."""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from armicro.errors import SourceError

LONGEST_NAME = 120
"""Characters of a folder's name: room for a number, and for what is kept inside."""


def folder_name(name: str) -> str:
    r"""A name that any file system takes and that leads nowhere else.

    >>> [folder_name(name) for name in ("a b", ".", "../x", "a\nb.", "")]
    ['a b', 'slide', 'x', 'a_b', 'slide']
    """
    shown = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name)
    return shown.strip(". _")[:LONGEST_NAME].rstrip(". ") or "slide"


def folder_names(slides: Iterable[Path]) -> list[str]:
    """A folder's name for each slide, no two of which any file system takes for one.

    >>> folder_names(map(Path, ("x/s.tif", "x/s-2.tif", "y/S.svs", "..tif")))
    ['s', 's-2', 'S-3', 'slide']
    """
    taken: set[str] = set()
    names = []
    for slide in slides:
        path = Path(os.path.abspath(slide))  # noqa: PTH100 (a link keeps its name)
        own = name = folder_name(path.name if path.is_dir() else path.stem)
        number = 1
        while _as_one(name) in taken:
            number += 1
            name = f"{own}-{number}"
        taken.add(_as_one(name))
        names.append(name)
    return names


def _as_one(name: str) -> str:
    """What a file system that minds neither case nor how accents are written sees."""
    return unicodedata.normalize("NFC", name.casefold())


def make_folder(folder: Path) -> None:
    """Make the folder, with those above it, if it is not there.

    Raises:
        SourceError: it cannot be made, or a file has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{folder}: {error.strerror or error}; expected a folder that can be "
            "written: choose another --out"
        ) from error


def set_aside(folder: Path) -> None:
    """Rename a session folder that is there already: results are never overwritten.

    Raises:
        SourceError: a session runs in it, or it cannot be renamed.
    """
    if not folder.exists():
        return
    number = 1
    while folder.with_name(f"{folder.name}.{number}").exists():
        number += 1
    with alone(folder):
        try:
            folder.rename(folder.with_name(f"{folder.name}.{number}"))
        except OSError as error:
            raise SourceError(
                f"{folder}: holds an earlier session and cannot be renamed "
                f"({error.strerror or error}); choose another --out"
            ) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other sessions out of a folder; the system lets go when this process ends.

    Raises:
        SourceError: another session has it, or it cannot be opened.
    """
    if sys.platform == "win32":
        # A folder cannot be locked there; an open journal keeps it from being renamed.
        yield
        return
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SourceError(
            f"{folder}: {error.strerror}; choose another --out"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SourceError(
                f"{folder}: another armicro is running there; wait for its end, or "
                "choose another --out"
            ) from error
        except OSError:
            # Some network drives have no locks: then nobody is kept out.
            pass
        yield
    finally:
        os.close(descriptor)
