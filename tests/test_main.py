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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["rebuild"], "armicro: argument COMMAND: invalid choice"),
        (["replay"], "armicro replay: the following arguments are required: SLIDE"),
        (["replay", "a.svs", "--um-per-px", "nan"], "armicro replay: argument --um"),
        (["calibrate", "scale", "--division"], "armicro calibrate scale: argument"),
    ],
)
def test_wrong_use_is_one_line_that_names_the_help(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(given)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.endswith(" --help\n")
    assert error.count("\n") == 1
