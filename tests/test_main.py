from pathlib import Path

import pytest

from armicro import __main__ as command_line
from armicro.__main__ import Command, main


def test_ctrl_c_while_a_command_loads_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "slow_to_load.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = {"slow": Command("slow_to_load", "load for ever")}
    monkeypatch.setattr(command_line, "COMMANDS", commands)
    assert main(["slow"]) == 1
    assert capsys.readouterr().err == "armicro slow: stopped\n"
