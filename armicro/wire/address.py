"""Which addresses a link may use: sockets in a private folder, or tcp with keys.

Loopback is no exception: every user and every program of a machine reaches it.
"""

import ipaddress
import os
import stat
import sys
from pathlib import Path

from armicro.errors import RigError
from armicro.rig import Wire

IPC_LONGEST = 103
"""Bytes of a socket's path: the least that any system allows (macOS)."""


def is_remote(address: str) -> bool:
    """Whether pixels must travel with their message: the peer may lack the ring.

    >>> is_remote("tcp://127.0.0.1:5600"), is_remote("ipc:///run/armicro/view")
    (True, False)
    """
    return address.startswith("tcp://")


def is_local(address: str) -> bool:
    """Whether the peer is on this machine and shares its clock.

    >>> is_local("tcp://127.0.0.1:5600"), is_local("tcp://192.0.2.1:5600")
    (True, False)
    """
    host = address.removeprefix("tcp://").rpartition(":")[0]
    return not is_remote(address) or _is_loopback(host)


def check_wire(wire: Wire) -> None:
    """Refuse a rig's addresses before anything is started.

    Raises:
        RigError: as ``check_address``.
    """
    for address in filter(None, (wire.capture, wire.infer)):
        check_address(address, keyed=bool(wire.keys), binds=False)


def check_address(address: str, *, keyed: bool, binds: bool) -> None:
    """Refuse an address that cannot work, or that strangers could use.

    Raises:
        RigError: neither ipc nor tcp, no port, a path that is too long or whose folder
            others may enter, or tcp without keys.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "ipc" and rest:
        _check_path(Path(rest), binds=binds)
    elif scheme == "tcp":
        _check_host(address, rest, keyed=keyed)
    else:
        raise RigError(
            f"address {address!r}; expected tcp://HOST:PORT (or ipc:///PATH for "
            "processes of one machine)"
        )


def _check_path(path: Path, *, binds: bool) -> None:
    if len(os.fsencode(path)) > IPC_LONGEST:
        raise RigError(
            f"socket path {path} is longer than {IPC_LONGEST} bytes; set TMPDIR to a "
            "shorter folder"
        )
    if not binds or sys.platform == "win32":
        return
    try:
        status = path.parent.stat()
    except OSError as error:
        raise RigError(f"socket folder {path.parent}: {error.strerror}") from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise RigError(
            f"socket folder {path.parent} is open to other users; expected one of "
            "your own with mode 0700"
        )


def _check_host(address: str, rest: str, *, keyed: bool) -> None:
    host, colon, port = rest.rpartition(":")
    if not colon or not host or not (port == "*" or _is_port(port)):
        raise RigError(f"address {address!r}; expected tcp://HOST:PORT")
    if not keyed:
        raise RigError(
            f"address {address} is open to {_who(host)} and no keys are set: anybody "
            "there could read the slide or forge it; run `armicro keys DIR`, copy DIR "
            'to both machines and set keys = "DIR" under [wire] in both rigs'
        )


def _who(host: str) -> str:
    return "every user of this machine" if _is_loopback(host) else "other machines"


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and 0 < int(port) < 65_536


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
