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
@pytest.mark.parametrize(
    ("name", "mode", "remedy"),
    [
        ("server.secret", 0o640, "chmod 600"),
        ("client.secret", 0o604, "chmod 600"),
        (".", 0o755, "chmod 700"),
        (".", 0o770, "chmod 700"),
        (".", 0o701, "chmod 700"),
    ],
)
def test_keys_open_to_others_are_refused_in_one_line(
    folder: Path, name: str, mode: int, remedy: str
) -> None:
    (folder / name).chmod(mode)
    reads = (read_server_keys, read_client_keys)
    readers = [r for r in reads if name == "." or name.startswith(r.__name__[5:11])]
    assert readers
    for read in readers:
        with pytest.raises(RigError, match=remedy) as refused:
            read(folder)
        assert "\n" not in str(refused.value)


@posix
def test_no_key_is_written_where_others_may_enter(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    with pytest.raises(RigError, match="chmod 700"):
        make_keys(tmp_path / "keys", ("server",), new_key_pair)
    assert not list((tmp_path / "keys").iterdir())


def test_a_file_far_too_long_for_a_key_is_none(folder: Path) -> None:
    with (folder / "server.public").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RigError, match="not a CURVE key"):
        read_client_keys(folder)


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
