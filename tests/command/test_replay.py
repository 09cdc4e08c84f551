import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.__main__ import main
from armicro.command import replay
from armicro.report import FieldReport, SlideScore
from armicro.session.record import Session


def parsed(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    return parser.parse_args(["slide.svs", *given])


@pytest.mark.parametrize("text", ["inf", "nan", "0", "-1", "1e9", "1e-9", "fine"])
def test_scale_that_no_microscope_has_is_wrong_use(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(f"--um-per-px={text}")
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_scale_that_the_cascade_refuses_may_be_asked_for() -> None:
    assert parsed("--um-per-px", "0.7").um_per_px == 0.7


def test_slide_without_a_score_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    reports = tuple(
        FieldReport(seq, "bad_scale", "scale 0.7 µm/px is outside 0.1-0.6 µm/px")
        for seq in range(4)
    )
    session = Session(score=SlideScore(fields=4), reports=reports)
    replay.show(session, tmp_path_factory.getbasetemp(), as_json=False)
    said = capsys.readouterr().out
    assert "no score" in said
    assert "4 of 4 fields: scale 0.7 µm/px is outside" in said


@pytest.mark.parametrize("name", ["film.avi", "photograph.jpg", "folder"])
def test_what_is_no_slide_is_shown_the_way_to_live(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    picture = np.full((64, 64, 3), 200, np.uint8)
    inside = path / "1.png" if name == "folder" else path
    inside.parent.mkdir(exist_ok=True)
    encoded = cv2.imencode(".jpg", picture)[1].tobytes()
    inside.write_bytes(encoded)
    assert main(["replay", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert (
        'read by armicro live, as camera.device of a rig with driver = "video"' in said
    )
    assert "\n" not in said
