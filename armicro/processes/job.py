"""What one session is about, and its folder.

The job is written once by the supervisor and read by its children. The folder is made,
kept to one session at a time, and never overwritten.
"""

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from armicro.errors import SourceError
from armicro.rig import Rig

LONGEST_NAME = 120
"""Characters of a folder's name: room for a number, and for what is kept inside."""

Mode = Literal["replay", "live"]
Display = Literal["window", "offscreen", "none"]
Pace = Literal["fast", "realtime"]
Part = Literal["all", "microscope", "inference"]
"""Which processes run here; the rig's ``[wire]`` says where the others are."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One slide through the stream."""

    session: str
    """Identity of the run on the wire."""
    mode: Mode
    rig: Rig
    out: str
    """The session's folder."""
    slide: str = ""
    """Path of the slide file or recording; empty for a camera."""
    um_per_px: float | None = None
    """Scale for a slide file that does not say its own."""
    region_px: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels of the slide file; None: all of it."""
    pace: Pace = "fast"
    display: Display = "none"
    part: Part = "all"
    record: bool = False
    """Save the fields that infer takes, losslessly, beside the journal."""
    map: bool = False
    """Stitch the fields of a slide file too."""
    field_bytes: int = 0
    """Size of a field's pixels; 0: that of the rig's camera."""
    ring: str = ""
    """Handle of the shared-memory ring."""
    addresses: dict[str, str] = {}
    """Topic to ZeroMQ address."""
    supervisor_pid: int = 0
    reader: str = ""
    """Who decides on cells; empty: the user of the machine."""

    @property
    def folder(self) -> Path:
        """The session's folder."""
        return Path(self.out)

    @property
    def journal(self) -> Path:
        """The session's journal."""
        return self.folder / "session.sqlite"

    @property
    def slot_bytes(self) -> int:
        """What a field's pixels take in the ring."""
        camera = self.rig.camera
        return self.field_bytes or camera.width_px * camera.height_px * 3


def write_job(job: Job, path: Path) -> None:
    """Write a job where only its owner can read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(job))


def read_job(path: Path) -> Job:
    """Read the job that the supervisor wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Job)


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

    An empty one holds no results, and may be that of a session that begins now.

    Raises:
        SourceError: a session runs in it, or it cannot be renamed.
    """
    while folder.exists():
        try:
            with alone(folder):
                if not folder.is_dir() or any(folder.iterdir()):
                    folder.rename(_free(folder))
        except SourceError as error:
            # Another session has set it aside in this moment.
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        except OSError as error:
            raise SourceError(
                f"{folder}: holds an earlier session and cannot be renamed "
                f"({error.strerror or error}); choose another --out"
            ) from error
        else:
            return


def _free(folder: Path) -> Path:
    """A name beside it that nothing has."""
    number = 1
    while folder.with_name(f"{folder.name}.{number}").exists():
        number += 1
    return folder.with_name(f"{folder.name}.{number}")


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
            raise SourceError(_taken(folder)) from error
        except OSError:
            # Some network drives have no locks: then nobody is kept out.
            pass
        if not _is_called(folder, descriptor):
            # Another has renamed it since it was opened, and begun its own.
            raise SourceError(_taken(folder))
        yield
    finally:
        os.close(descriptor)


def _is_called(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _taken(folder: Path) -> str:
    return (
        f"{folder}: another armicro is running there; wait for its end, or choose "
        "another --out"
    )
