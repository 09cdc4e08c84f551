"""A folder of keys lets the right sides in, and says what is wrong with it."""

import os
import stat
import sys
from pathlib import Path

import pytest

from armicro.errors import RigError
from armicro.wire.keys import make_keys, read_client_keys, read_server_keys
from armicro.wire.link import new_key_pair

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", ("server", "client"), new_key_pair)
    return tmp_path / "keys"


def test_both_sides_read_what_was_made(folder: Path) -> None:
    server, client = read_server_keys(folder), read_client_keys(folder)
    assert server.allowed == {client.public}
    assert len({server.secret, client.secret, client.public, client.server}) == 4


@posix
def test_key_files_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written = make_keys(tmp_path / "keys", ("server", "client"), new_key_pair)
    finally:
        os.umask(before)
    assert len(written) == 4
    for path in (*written, tmp_path / "keys"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = (folder / "server.secret").read_bytes()
    with pytest.raises(RigError, match="already"):
        make_keys(folder, ("other", "server"), new_key_pair)
    assert (folder / "server.secret").read_bytes() == before
    assert not (folder / "other.secret").exists()


def test_each_client_can_be_shut_out_alone(folder: Path) -> None:
    make_keys(folder, ("teaching",), new_key_pair)
    assert len(read_server_keys(folder).allowed) == 2
    (folder / "teaching.public").unlink()
    assert read_server_keys(folder).allowed == {read_key(folder / "client.public")}


def test_a_machine_holds_one_client_secret(folder: Path) -> None:
    make_keys(folder, ("teaching",), new_key_pair)
    with pytest.raises(RigError, match="2 clients, expected one"):
        read_client_keys(folder)


def test_secrets_do_not_show_in_logs(folder: Path) -> None:
    server, client = read_server_keys(folder), read_client_keys(folder)
    assert server.secret not in repr(server)
    assert client.secret not in repr(client)


@posix
def test_a_secret_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "server.secret").chmod(0o640)
    with pytest.raises(RigError, match="chmod 600"):
        read_server_keys(folder)


@pytest.mark.parametrize("text", ["", "short", "x" * 41, "ü" * 40, "a b" * 13 + "c"])
def test_what_is_no_key_is_refused(folder: Path, text: str) -> None:
    (folder / "server.public").write_text(text, "utf-8")
    with pytest.raises(RigError, match=r"server\.public"):
        read_client_keys(folder)


@pytest.mark.parametrize("name", ["server.secret", "client.public"])
def test_a_missing_key_says_how_to_make_one(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(RigError, match=r"armicro keys DIR|allows no client"):
        read_server_keys(folder)
    with pytest.raises(RigError, match="armicro keys DIR"):
        read_client_keys(folder / "elsewhere")


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 80])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    def never() -> tuple[str, str]:
        raise AssertionError("made a key for a bad name")

    with pytest.raises(RigError, match="key name"):
        make_keys(tmp_path, (name,), never)
    assert not list(tmp_path.iterdir())


def read_key(path: Path) -> str:
    return path.read_text("ascii").strip()
