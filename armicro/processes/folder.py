"""A session's folder: made, kept to one session at a time, never overwritten."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from armicro.errors import SourceError


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
