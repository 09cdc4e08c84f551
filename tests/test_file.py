import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from armicro.certificate import read_certificate
from armicro.engine.manifest import MANIFEST_NAME, read_manifest
from armicro.errors import ArmicroError
from armicro.file import (
    MOST_TOML_BYTES,
    create,
    decode_toml,
    make_own_folder,
    write_whole,
)
from armicro.rig import read_rig

HALF = MOST_TOML_BYTES // 2 - 10
HOSTILE: dict[str, bytes] = {
    "lists nested a thousand deep": b"a = " + b"[" * 1000 + b"]" * 1000,
    "lists nested without an end": b"a = " + b"[" * HALF,
    "tables nested a thousand deep": b"a = " + b"{a = " * 1000 + b"1" + b"}" * 1000,
    "a key of 64,000 parts": b"a" + b".a" * HALF + b" = 1",
    "a header of 32,000 parts": b"[a" + b" . a" * (HALF // 2) + b"]",
    "a key of 20,000 quoted parts": b'""' + b'.""' * 20_000 + b" = 1",
    "a key of parts with quotes in them": b'"\\""' + b'."\\""' * 10_000 + b" = 1",
    "a key of parts in single quotes": b"'x'" + b".'x'" * 10_000 + b" = 1",
    "a number of 5,000 digits": b"a = " + b"9" * 5000,
    "a number of 200 bits": b"a = 0x" + b"f" * 50,
    "bytes that are no UTF-8": b'a = "\xff"',
    "a zero byte": b"a = 1\0",
    "100 MB": b"#" * 100_000_000,
}
READERS: dict[str, Any] = {
    "rig": read_rig,
    "certificate": read_certificate,
    "manifest": lambda path: read_manifest(path.parent),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_line_and_status_2(
    tmp_path: Path, what: str, kind: str
) -> None:
    path = tmp_path / MANIFEST_NAME
    path.write_bytes(HOSTILE[what])
    with pytest.raises(ArmicroError, match=r"^[^\n]{1,400}$") as caught:
        READERS[kind](path)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("what", ["a pipe", "a device without an end", "a folder"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(
    tmp_path: Path, what: str, kind: str
) -> None:
    path = tmp_path / MANIFEST_NAME
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ArmicroError, match=r"^[^\n]{1,400}$"):
        READERS[kind](path)


def test_numbers_of_a_free_table_may_be_infinite() -> None:
    table = decode_toml(b"[free]\nx = inf", dict, free=("free",))
    assert table["free"]["x"] > 1
    with pytest.raises(msgspec.DecodeError, match=r"free\.x is inf"):
        decode_toml(b"[free]\nx = inf", dict)


def test_a_text_with_many_full_stops_is_no_key() -> None:
    text = "One. " * 20 + "1.2.3.4"
    assert decode_toml(f'a = "{text}"'.encode(), dict) == {"a": text}


@pytest.mark.parametrize("name", ["a.txt", ".a.txt.part"])
def test_a_link_in_the_place_of_a_file_is_replaced_and_never_written_through(
    tmp_path: Path, name: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    write_whole(folder / "a.txt", b"new")
    assert precious.read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    assert not (folder / "a.txt").is_symlink()
    assert (folder / "a.txt").read_bytes() == b"new"


WRITER = """
import sys
from pathlib import Path
from armicro.file import write_whole
for _ in range(300):
    write_whole(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)
"""


def test_a_file_that_two_processes_write_at_once_is_whole_at_any_time(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" * 100_000)
    whole = {letter * 100_000 for letter in (b"a", b"b")}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter])
        for letter in "ab"
    ]
    while any(writer.poll() is None for writer in writers):
        assert path.read_bytes() in whole
    assert [writer.returncode for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_and_what_another_writes_stays(
    tmp_path: Path,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {pid: f".a.txt.{pid}.part" for pid in (gone.pid, os.getppid(), 10**30)}
    for name in names.values():
        (tmp_path / name).touch()
    write_whole(tmp_path / "a.txt", b"new")
    left = {"a.txt", names[os.getppid()]}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_file_that_is_made_takes_the_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with create(tmp_path / "link") as file:
        file.write(b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "top").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="a link"):
        make_own_folder(tmp_path / "top")
