"""The camera check, on fields with known faults and on pylon's emulator."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from armicro.field import Field

SCRIPT = Path(__file__).parents[2] / "hardware" / "check_camera.py"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_camera", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fields(level: int = 230, *, fps: float = 30.0, skip: int = 1) -> list[Field]:
    pixels = np.full((48, 64, 3), level, np.uint8)
    return [
        Field(0.3, seq, round(1e9 * (1 + seq / fps)), pixels=pixels)
        for seq in range(0, 90, skip)
    ]


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (fields(), set()),
        (fields(fps=20.0), {"rate"}),
        (fields(skip=2), {"loss"}),
        (fields(90), {"light"}),
        (fields(255), {"light", "saturation"}),
    ],
)
def test_each_fault_is_found_and_only_it(
    check: ModuleType, seen: list[Field], wrong: set[str]
) -> None:
    lines = check.judge(check.measure(seen, 30.0))
    assert {line.name for line in lines if not line.ok} == wrong
    assert all(line.todo for line in lines)


def test_the_emulator_is_judged(
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    pytest.importorskip("pypylon", reason="pypylon is not installed")
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    rig = tmp_path / "rig.toml"
    rig.write_text('[camera]\ndriver = "basler"\nwidth_px = 320\nheight_px = 240\n')
    assert check.main(["--rig", str(rig), "--seconds", "1", "--json"]) in (0, 1)
    answer = json.loads(capsys.readouterr().out)
    assert answer["checks"][0]["found"] == "Emulation 0815-0000, 320x240, binning 1"
    assert answer["figures"]["got_fps"] > 5


def test_no_camera_is_one_line_and_exit_2(
    check: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text('[camera]\ndriver = "video"\ndevice = "none.mp4"\n')
    assert check.main(["--rig", str(rig)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
