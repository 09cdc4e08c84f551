"""What a live session keeps of its rig."""

import argparse
from pathlib import Path

import pytest

from armicro.__main__ import main
from armicro.command import live
from armicro.processes.job import Job
from armicro.processes.session import begin
from armicro.rig import read_rig
from armicro.session.record import Session
from armicro.slide.journal import Journal


def begin_only(job: Job, *, quiet: bool, seconds: float | None) -> tuple[Session, str]:
    begin(job)
    return Session(), ""


@pytest.mark.parametrize("driver", ["basler", "simulated"])
def test_two_sessions_of_a_rig_that_draws_its_slide_have_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setattr(live, "run_job", begin_only)
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'[camera]\ndriver = "{driver}"\nwidth_px = 64\nheight_px = 48\n'
        'emulated_image = "drawn"\n'
    )
    parser = argparse.ArgumentParser()
    live.add_arguments(parser)
    facts = []
    for name in ("a", "b"):
        asked = ["--rig", str(rig), "--out", str(tmp_path), "--name", name]
        live.run(parser.parse_args([*asked, "--headless"]))
        with Journal(tmp_path / name / "session.sqlite", must_exist=True) as journal:
            facts.append([journal.get(key, dict) for key in ("settings", "rig")])
    assert facts[0] == facts[1]
    assert facts[0][1] is not None
    assert facts[0][1]["sha256"] == read_rig(rig).sha256


@pytest.mark.parametrize("part", ["all", "microscope", "inference"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "*", "scope"])
def test_tcp_without_keys_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, host: str
) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(
        '[camera]\ndriver = "simulated"\n[wire]\n'
        f'capture = "tcp://{host}:5600"\ninfer = "tcp://{host}:5601"\n'
    )
    out = tmp_path / "out"
    asked = ["live", "--rig", str(rig), "--out", str(out), "--part", part]
    assert main(asked) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "armicro keys DIR" in error
    assert not out.exists()
