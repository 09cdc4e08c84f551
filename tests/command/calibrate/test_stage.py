"""``armicro calibrate stage`` on a simulated microscope."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.__main__ import main
from armicro.calibrate.certificate import Certificate, Instrument
from armicro.certificate import now, read_certificate, write_certificate

RIG = """
objective = "simulated 20x"
[camera]
driver = "simulated"
width_px = 400
height_px = 340
um_per_px = 0.345
frames_per_second = 1000
emulated_image = "drawn"
[stage]
driver = "simulated"
limits = [-90.0, -90.0, 90.0, 90.0]
[stage.mechanics]
um_per_step = [[0.99939, 0.0349], [0.0349, -0.99939]]
backlash = [6.0, 11.0]
"""
"""Turned by 2°, y goes up."""


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    return path


def test_stage_of_the_simulated_microscope_is_measured_and_certified(
    rig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = tmp_path / "kept" / "20x.toml"
    told = ["calibrate", "stage", "--rig", str(rig), "--json"]
    assert main([*told, "--certificate", str(certificate)]) == 0
    answer = json.loads(capsys.readouterr().out)
    truth = ((0.99939, 0.0349), (0.0349, -0.99939))
    assert np.abs(np.subtract(answer["um_per_step"], truth)).max() < 0.002
    assert answer["rotation_deg"] == pytest.approx(2.0, abs=0.1)
    assert answer["mirrored"] is True
    assert answer["backlash_um"] == pytest.approx((6.0, 11.0), abs=1.0)
    assert answer["held_out_rms_px"] <= 0.5
    assert answer["scale_from_moves"]["um_per_px"] == pytest.approx(0.345, rel=0.002)
    assert cv2.imread(answer["picture"]) is not None
    stage = read_certificate(certificate).stage
    assert stage is not None
    assert stage.rotation_deg == answer["rotation_deg"]


def test_dry_run_says_what_it_would_do_and_writes_nothing(
    rig: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "stage", "--rig", str(rig), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "limits x -90 to 90" in said
    assert "nothing was moved" in said
    assert {path.name for path in tmp_path.iterdir()} == {"rig.toml"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (('"simulated"\nlimits', '"none"\nlimits'), "simulated with simulated"),
        (("90.0, 90.0]", "-60.0, -60.0]"), "too little room|soft limits"),
        (("= [[0.99939", "= [[0.0"), "clutch|square|moved"),
    ],
)
def test_stage_that_cannot_be_measured_is_wrong_use(
    rig: Path, capsys: pytest.CaptureFixture[str], changed: tuple[str, str], says: str
) -> None:
    rig.write_text(RIG.replace(*changed))
    assert main(["calibrate", "stage", "--rig", str(rig), "--json"]) == 2
    said = capsys.readouterr().err
    assert any(word in said for word in says.split("|"))
    assert math.isclose(said.count("\n"), 1)


def test_certificate_of_another_instrument_is_refused_before_anything_moves(
    rig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = tmp_path / "10x.toml"
    seen = Instrument(camera="another", width_px=400, height_px=340)
    write_certificate(
        certificate,
        Certificate(instrument=seen, made_at=now(), expires_at="2099-01-01T00:00:00Z"),
    )
    told = ["calibrate", "stage", "--rig", str(rig), "--dry-run"]
    assert main([*told, "--certificate", str(certificate)]) == 2
    assert "is for another" in capsys.readouterr().err
