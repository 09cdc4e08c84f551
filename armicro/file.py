"""Small files: a stranger's read within bounds, our own written whole.

What is read has a largest size and is a plain file: a pipe never ends and a device has
no size. What is written takes a name; it never goes through a link that has the name,
since whoever may put a link into a folder would choose what is overwritten elsewhere.
"""

import contextlib
import csv
import errno
import io
import math
import os
import re
import stat
import sys
import tomllib
from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

MOST_TOML_BYTES = 128 << 10
"""Of a rig, manifest or certificate, which have a few thousand; the parser's time may
grow with the square."""
_DEEPEST = 32
_LONG_KEY = re.compile(
    rb"""(?<![\w-])(?:(?:[\w-]+|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*')[ \t]*\.[ \t]*){%d}"""
    % _DEEPEST
)
"""A dotted key: the parser's memory grows with the square of its parts, to tens of
gigabytes from a file of this size."""
_LARGEST_INT = 2**63 - 1

Kind = TypeVar("Kind")


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a plain file of at most ``most_bytes``.

    Raises:
        OSError: it cannot be read, is larger, or is no plain file.
    """
    # Without O_NONBLOCK a pipe would be waited for here.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", str(path))
    return content


def decode_toml(content: bytes, kind: type[Kind], *, free: Container[str] = ()) -> Kind:
    """Decode TOML of any origin.

    Args:
        content: at most ``MOST_TOML_BYTES``, see ``read_bounded``.
        kind: the frozen struct to make of it.
        free: top-level tables whose numbers may be infinite or NaN.

    Raises:
        msgspec.DecodeError: it is not TOML, is nested deeper than any of ours, or a
            value is not what ``kind`` allows; numbers are finite and fit 64 bits.
    """
    if _LONG_KEY.search(content):
        raise msgspec.DecodeError(_too_deep())
    try:
        table = tomllib.loads(content.decode())
    except RecursionError:
        raise msgspec.DecodeError(_too_deep()) from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError("no text in UTF-8, expected TOML") from error
    except ValueError as error:
        # Also a number of more digits than Python reads.
        raise msgspec.DecodeError(str(error)) from error
    fault = next(filter(None, _faults(table, free)), "")
    if fault:
        raise msgspec.ValidationError(fault)
    return msgspec.convert(
        table, kind, builtin_types=(datetime, date, time), str_keys=True
    )


def create(path: Path, *, mode: int = 0o666) -> BinaryIO:
    """Open a new file of this name for writing; a file or link that has it goes.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
    return os.fdopen(os.open(path, flags, mode), "wb")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Name a file to write, which is called ``path`` when the block ends well.

    A link that has either name is replaced, and nothing half is left. Every file of
    ours that must be whole is written in this way, and several processes may write it
    at once: it is whole at any time, and in the end that of the last.

    Args:
        path: what it is to be called.

    Raises:
        OSError: it cannot be written; it names ``path`` where the system names none.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            _remove_left(path)
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, which is called ``path`` when the block ends well.

    Raises:
        OSError: it cannot be written.
    """
    with beside(path) as part, create(part) as file:
        yield file


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; a link that has its name is replaced.

    Raises:
        OSError: it cannot be written.
    """
    with written(path) as file:
        file.write(content)


def make_own_folder(path: Path) -> None:
    """Make a folder inside one of ours, where it is not there yet.

    Raises:
        OSError: it cannot be made, or a link has its name.
    """
    refuse_link(path)
    path.mkdir(exist_ok=True)


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file, also where there is none yet."""
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return one.resolve() == other.resolve()


def why_no_folder(path: Path, *, made: bool = True) -> str:
    """Why nothing can be written into a folder; empty where it can.

    Args:
        path: the folder.
        made: it is made where it is not there, and the folders above it.
    """
    above = (path, *path.absolute().parents)
    there = next(f for f in above if f.exists()) if made else path
    if there.is_dir():
        may = os.access(there, os.W_OK | os.X_OK)
        return "" if may else f"{there}: {os.strerror(errno.EACCES)}"
    return f"{there}: {os.strerror(errno.ENOTDIR if there.exists() else errno.ENOENT)}"


def refuse_link(path: Path) -> None:
    """Refuse a link where a file or folder of our own is written to in place.

    Raises:
        OSError: it is one.
    """
    if path.is_symlink():
        raise OSError(
            errno.ELOOP, "a link, and nothing is written through one", str(path)
        )


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


_BINARY = getattr(os, "O_BINARY", 0)


def _remove_left(path: Path) -> None:
    """Remove what writers of this name left when they were killed."""
    name = re.compile(re.escape(f".{path.name}") + r"(?:\.(\d+))?\.part")
    for left in path.parent.iterdir():
        mark = name.fullmatch(left.name)
        if mark and not _is_of_another(int(mark[1] or 0)):
            left.unlink(missing_ok=True)


def _is_of_another(pid: int) -> bool:
    """Whether it is another process, which may be at work on its file."""
    if pid in (0, os.getpid()):
        return False
    if sys.platform == "win32":
        # Asking would end it there.
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _faults(value: Any, free: Container[str]) -> Iterator[str]:
    """What no file of ours holds: depth, and numbers that no field can take."""
    waiting = [("", value, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if depth > _DEEPEST:
            yield _too_deep()
        elif isinstance(value, dict):
            waiting += [
                (f"{name}.{key}".lstrip("."), inner, depth + 1)
                for key, inner in value.items()
            ]
        elif isinstance(value, list):
            waiting += [(name, inner, depth + 1) for inner in value]
        elif isinstance(value, int) and abs(value) > _LARGEST_INT:
            yield f"{name} is a number of more than 64 bits"
        elif isinstance(value, float) and not math.isfinite(value):
            table = name.partition(".")[0]
            yield (
                "" if table in free else f"{name} is {value}; expected a finite number"
            )


def _too_deep() -> str:
    return f"tables or lists nested deeper than {_DEEPEST}"
