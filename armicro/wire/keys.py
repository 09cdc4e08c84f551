"""A folder of CURVE keys: who may speak to whom between machines.

============================  =========================================================
file                          what
============================  =========================================================
``server.secret``             proves that a binding side is ours; never leaves our own
                              machines
``server.public``             by it a connecting side knows the right server
``NAME.secret``               proves that a connecting side is NAME
``NAME.public``               beside ``server.secret``: NAME may connect; delete it, and
                              NAME may no more (after a restart)
============================  =========================================================

A key is 40 characters of Z85 in a text file of mode 0600, in a folder of mode 0700
that is its user's own: whoever may write there decides who may connect.
"""

import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from armicro.errors import RigError

SERVER = "server"
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

PairMaker = Callable[[], tuple[str, str]]
"""Gives a fresh (public, secret) pair; ``link.new_key_pair`` does."""


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a side that binds needs."""

    secret: str = field(repr=False)
    allowed: frozenset[str]
    """Public keys of the clients that may connect."""


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a side that connects needs."""

    public: str
    secret: str = field(repr=False)
    server: str
    """Public key of the only server to speak to."""


def make_keys(folder: Path, names: tuple[str, ...], new_pair: PairMaker) -> list[Path]:
    """Write a key pair for each name; existing keys are never overwritten.

    Raises:
        RigError: a name has keys already or is not usable, or the folder cannot be
            written.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise RigError(f"key name {name!r}; expected letters, digits, - and _")
        for kind in ("secret", "public"):
            if (folder / f"{name}.{kind}").exists():
                raise RigError(
                    f"{folder} has keys of {name!r} already; give another folder or "
                    "name, or delete them first"
                )
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(folder)
        for name in names:
            public, secret = new_pair()
            written.append(_write(folder / f"{name}.secret", secret))
            written.append(_write(folder / f"{name}.public", public))
    except OSError as error:
        raise RigError(
            f"keys in {folder}: {error.strerror or error}; expected a folder of your "
            "own; choose another"
        ) from error
    return written


def read_server_keys(folder: Path) -> ServerKeys:
    """Read what a binding side needs.

    Raises:
        RigError: a key is missing or malformed, or the folder is open to others.
    """
    _require_private(folder)
    allowed = [path for path in folder.glob("*.public") if path.stem != SERVER]
    if not allowed:
        raise RigError(f"{folder} allows no client: no NAME.public beside the server's")
    secret = _read_secret(folder / f"{SERVER}.secret")
    return ServerKeys(secret, frozenset(_read(path) for path in allowed))


def read_client_keys(folder: Path) -> ClientKeys:
    """Read what a connecting side needs.

    Raises:
        RigError: a key is missing or malformed, the folder is open to others, or it
            holds the secrets of several clients.
    """
    _require_private(folder)
    secrets = [path for path in folder.glob("*.secret") if path.stem != SERVER]
    if len(secrets) != 1:
        raise RigError(
            f"{folder} holds the secrets of {len(secrets)} clients, expected one; keep "
            "only that of this machine, or run `armicro keys DIR`"
        )
    return ClientKeys(
        public=_read(secrets[0].with_suffix(".public")),
        secret=_read_secret(secrets[0]),
        server=_read(folder / f"{SERVER}.public"),
    )


def _require_private(path: Path) -> None:
    """Refuse a folder or key that another user may read or change."""
    try:
        status = path.stat()
    except OSError as error:
        raise RigError(
            f"keys {path}: {error.strerror}; run `armicro keys DIR` and copy DIR to "
            "both machines"
        ) from error
    if sys.platform == "win32":
        return
    mode = "700" if stat.S_ISDIR(status.st_mode) else "600"
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise RigError(
            f"keys {path} are open to other users; run `chmod {mode} {path}`"
        )
    if status.st_uid != os.geteuid():
        raise RigError(f"keys {path} belong to another user; expected your own")


def _write(path: Path, key: str) -> Path:
    # Created with its mode, so that there is no moment in which others can read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{key}\n")
    return path


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            # A key and its line's end: what is longer is none, and stays unread.
            key = file.read(64).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RigError(
            f"key {path}: {error}; run `armicro keys DIR` and copy DIR to both machines"
        ) from error
    if not _KEY.fullmatch(key):
        raise RigError(f"key {path} is not a CURVE key of 40 characters")
    return key


def _read_secret(path: Path) -> str:
    _require_private(path)
    return _read(path)
