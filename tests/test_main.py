import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from armicro import __main__ as command_line
from armicro.__main__ import COMMANDS, Command, main, parser_of
from armicro.errors import EXTRAS


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


def paths_of(parser: argparse.ArgumentParser, path: str) -> Iterator[str]:
    """A command and its subcommands."""
    yield path
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from paths_of(below, f"{path} {name}")


HELP_WITHOUT_EXTRAS = """
import contextlib, io, sys
for name in {modules!r}:
    sys.modules[name] = None
from armicro.__main__ import main
for path in {paths!r}:
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            status = main([*path.split(), "--help"])
        except SystemExit as ended:
            status = ended.code
    print(path, status, error.getvalue().strip(), sep="|")
"""


def test_help_needs_no_extra_or_names_the_one_it_needs_in_a_line() -> None:
    modules = " ".join(EXTRAS.values()).split()
    paths = ["train"]
    for name in COMMANDS:
        if name != "train":
            paths += paths_of(parser_of(name), name)
    script = HELP_WITHOUT_EXTRAS.format(modules=modules, paths=paths)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    told = dict(line.split("|", 1) for line in run.stdout.splitlines())
    assert told.pop("train") == (
        "2|armicro train: torch is not installed; expected the extra train: "
        "pip install 'armicro[train]'"
    )
    assert {path: said for path, said in told.items() if said != "0|"} == {}
    assert len(told) == len(paths) - 1


def test_a_module_that_no_extra_brings_is_no_matter_of_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import armicro_none_such\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = {"broken": Command("broken", "break")}
    monkeypatch.setattr(command_line, "COMMANDS", commands)
    with pytest.raises(ModuleNotFoundError):
        main(["broken"])
