"""Every tcp address needs keys, loopback included; what cannot work says why."""

from pathlib import Path

import pytest

from armicro.errors import RigError
from armicro.wire.address import check_address, is_remote


@pytest.mark.parametrize(
    "address",
    ["tcp://*:5600", "tcp://0.0.0.0:5600", "tcp://192.0.2.1:5600", "tcp://[::]:5600",
     "tcp://scope:5600", "tcp://localhost.example:5600", "tcp://eth0:5600",
     "tcp://127.0.0.1:5600", "tcp://localhost:5600", "tcp://[::1]:5600",
     "tcp://127.9.9.9:*"],
)  # fmt: skip
@pytest.mark.parametrize("binds", [True, False])
def test_tcp_needs_keys_on_every_host(address: str, binds: bool) -> None:
    with pytest.raises(RigError, match="armicro keys DIR"):
        check_address(address, keyed=False, binds=binds)
    check_address(address, keyed=True, binds=binds)


def test_a_socket_in_a_private_folder_needs_no_keys() -> None:
    check_address("ipc:///nowhere/fields", keyed=False, binds=False)


@pytest.mark.parametrize(
    "address",
    ["", "scope:5600", "udp://scope:5600", "tcp://scope", "tcp://:5600", "ipc://",
     "tcp://scope:0", "tcp://scope:65536", "tcp://scope:x", "inproc://x",
     "tcp://scope:٥"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(RigError, match="tcp://HOST:PORT"):
        check_address(address, keyed=True, binds=True)


def test_a_socket_path_that_systems_would_cut_is_refused() -> None:
    with pytest.raises(RigError, match="TMPDIR"):
        check_address("ipc:///" + "x" * 110, keyed=False, binds=False)


def test_a_socket_folder_must_exist_and_be_private(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="No such file"):
        check_address(f"ipc://{tmp_path}/no/end", keyed=False, binds=True)
    tmp_path.chmod(0o750)
    with pytest.raises(RigError, match="mode 0700"):
        check_address(f"ipc://{tmp_path}/end", keyed=False, binds=True)
    tmp_path.chmod(0o700)
    check_address(f"ipc://{tmp_path}/end", keyed=False, binds=True)


def test_only_tcp_is_remote() -> None:
    assert is_remote("tcp://127.0.0.1:1")
    assert not is_remote("ipc:///x")
