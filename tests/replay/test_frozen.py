"""What commands take and write, held against a stored copy.

Moving code between rooms must change nothing here. Where a change is meant, write the
copy anew with ``ARMICRO_FREEZE=1 pytest tests/replay`` and read its diff line by line.
"""

import argparse
import csv
import json
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from armicro.__main__ import COMMANDS, main, parser_of
from armicro.phantom import PhantomSpec, write_phantom

FROZEN = Path(__file__).with_name("frozen.json")
VOLATILE = {"wall_s", "inference_s", "version", "sha256", "hash", "created", "rig"}
"""Of ``slide.json``: times, digests, and what a path would enter."""


def held(name: str, now: Any) -> None:
    """Compare with the stored copy; or store it, where that was asked for."""
    frozen = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
    now = json.loads(json.dumps(now))
    if os.environ.get("ARMICRO_FREEZE") == "1":
        frozen[name] = now
        FROZEN.write_text(json.dumps(frozen, indent=1, sort_keys=True) + "\n")
    assert frozen.get(name) == now


@pytest.fixture(scope="module")
def replayed(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a replay of a drawn slide with hand-made networks, as a user types."""
    folder = tmp_path_factory.mktemp("frozen")
    slide, rig = folder / "drawn.tif", folder / "rig.toml"
    write_phantom(slide, PhantomSpec(2800, 2100, seed=11, lesions=12))
    rig.write_text(
        'name = "small"\n[camera]\nwidth_px = 640\nheight_px = 512\n'
        "um_per_px = 0.4\n[network]\nthreads = 1\n"
    )
    given = ["replay", str(slide), "--rig", str(rig), "--engines", str(tiny_set)]
    assert main([*given, "--out", str(folder / "out"), "--headless"]) == 0
    return folder / "out" / "drawn"


def rounded(path: Path) -> list[list[float]]:
    """Rows of ``findings.csv``: µm to tenths, probabilities to hundredths.

    The networks' last digits differ from one CPU to the next.
    """
    with path.open(newline="") as stream:
        return [
            [
                round(float(value), 2 if name.endswith("probability") else 1)
                for name, value in row.items()
                if name not in ("rank", "slide", "verdict", "category")
            ]
            for row in csv.DictReader(stream)
        ]


def shape_of(value: Any) -> Any:
    """Keys and kinds of a JSON value, of a list those of its first."""
    if isinstance(value, dict):
        return {key: shape_of(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def test_a_replay_writes_these_files(replayed: Path) -> None:
    names = sorted(
        re.sub(r"_\d{4}\.jpg", "_PPPP.jpg", str(path.relative_to(replayed)))
        for path in replayed.rglob("*")
        if path.is_file()
    )
    held("files", names)


def test_a_replay_finds_these_cells(replayed: Path) -> None:
    with (replayed / "findings.csv").open() as stream:
        held("findings_columns", stream.readline().strip().split(","))
    held("findings", sorted(rounded(replayed / "findings.csv")))


def test_slide_json_says_this(replayed: Path) -> None:
    told = json.loads((replayed / "slide.json").read_text())
    held("slide_json_shape", shape_of(told))
    kept = {key: value for key, value in told.items() if key not in VOLATILE}
    held(
        "slide_json",
        {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in kept.items()
            if isinstance(value, (int, float, str)) and "sha256" not in key
        },
    )


def test_geojson_is_shaped_like_this(replayed: Path) -> None:
    held(
        "geojson_shape",
        shape_of(json.loads((replayed / "findings.geojson").read_text())),
    )


def test_the_journal_has_these_tables(replayed: Path) -> None:
    database = sqlite3.connect(replayed / "session.sqlite")
    schema = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name"
    ).fetchall()
    version = database.execute("PRAGMA user_version").fetchone()[0]
    keys = database.execute("SELECT key FROM meta ORDER BY key").fetchall()
    database.close()
    held("journal_schema", {"version": version, "tables": dict(schema)})
    held("journal_facts", [key for (key,) in keys])


def test_latency_csv_has_these_stations(replayed: Path) -> None:
    held("stations", (replayed / "latency.csv").read_text().splitlines()[0].split(","))


def test_the_report_has_these_chapters(replayed: Path) -> None:
    page = (replayed / "report.html").read_text()
    held("chapters", re.findall(r"<h[12][^>]*>([^<{]+)<", page))


def options_of(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Every argument of a command, and those of its subcommands."""
    told: dict[str, Any] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told |= {name: options_of(sub) for name, sub in action.choices.items()}
        elif action.dest != "help":
            choices = list(map(str, action.choices)) if action.choices else None
            told["/".join(action.option_strings) or action.dest] = choices
    return told


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_these_arguments(name: str) -> None:
    parser = parser_of(name)
    assert f"armicro {name}" in (parser.epilog or parser.format_help())
    held(f"arguments_{name}", options_of(parser))


Given = Callable[[Path, Path], list[str]]
JSON: dict[str, Given] = {
    "report": lambda replayed, _: ["report", str(replayed), "--json"],
    "doctor": lambda *_: ["doctor", "--json"],
    "engine list": lambda *_: ["engine", "list", "--json"],
    "engine check": lambda _, tiny: ["engine", "check", str(tiny), "--json"],
    "phantom": lambda replayed, _: [
        *("phantom", str(replayed.parent / "p.tif"), "--megapixels", "0.3", "--json")
    ],
    "keys": lambda replayed, _: ["keys", str(replayed.parent / "keys"), "--json"],
}


@pytest.mark.parametrize("name", JSON)
def test_json_of_a_command_is_shaped_like_this(
    name: str, replayed: Path, tiny_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(JSON[name](replayed, tiny_set))
    told = json.loads(capsys.readouterr().out)
    # What doctor finds is the machine's: its status too.
    held(f"json_{name}", [status if name != "doctor" else None, shape_of(told)])


WRONG: dict[str, list[str]] = {
    "no such slide": ["replay", "nothing.svs", "--headless"],
    "no such session": ["report", "nothing"],
    "no such set": ["engine", "check", "nothing"],
    "no such rig": ["live", "--rig", "nothing.toml"],
    "no such picture": ["calibrate", "scale", "nothing.png", "--division-um", "10"],
    "no such table": [
        *("validate", "crops", "nothing.csv", "--um-per-px", "0.2", "--out", "out")
    ],
    "an empty region": ["replay", "nothing.svs", "--region", "0,0,0,5"],
    "no such command": ["nothing"],
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_and_status_2(
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(WRONG[case])
    except SystemExit as end:
        status = int(end.code or 0)
    said = capsys.readouterr().err
    assert status == 2
    assert said.count("\n") == 1, said
    assert list(tmp_path.iterdir()) == []
