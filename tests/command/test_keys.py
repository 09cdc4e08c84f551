"""``armicro keys`` makes keys that work and says what to do with them."""

import argparse
import json
from pathlib import Path

import pytest

from armicro.command.keys import add_arguments, run
from armicro.errors import RigError
from armicro.wire.keys import read_client_keys, read_server_keys


def keys(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def test_the_command_makes_keys_for_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "keys"
    assert keys(str(folder)) == 0
    said = capsys.readouterr().out
    assert str(folder / "server.secret") in said
    assert "[wire]" in said
    client = read_client_keys(folder)
    assert read_server_keys(folder).allowed == {client.public}
    for path in folder.glob("*.secret"):
        assert path.read_text().strip() not in said


def test_the_command_adds_a_client(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys(str(tmp_path)) == 0
    capsys.readouterr()
    assert keys(str(tmp_path), "--client", "teaching", "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert written == [
        str(tmp_path / "teaching.secret"), str(tmp_path / "teaching.public"),
    ]  # fmt: skip
    assert len(read_server_keys(tmp_path).allowed) == 2


def test_the_command_never_overwrites(tmp_path: Path) -> None:
    assert keys(str(tmp_path)) == 0
    with pytest.raises(RigError, match="already"):
        keys(str(tmp_path))
