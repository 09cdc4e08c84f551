"""The whole guide: a simulated microscope in text, pylon's emulator in a window."""

import io
import json
from pathlib import Path

import cv2
import pytest
from msgspec import structs
from pytestqt.qtbot import QtBot

from armicro.__main__ import main
from armicro.calibrate.course import course
from armicro.calibrate.guide import Guide
from armicro.calibrate.procedure import ProcedureSettings
from armicro.certificate import now, read_certificate, write_certificate
from armicro.command.calibrate.guide import TRUE_SHARE, GuideHost
from armicro.overlay.procedure import ProcedureWindow
from armicro.rig import read_rig
from armicro.source.specimen import CORNERS, GLASS_RGB, draw_specimen
from tests.patience import wait_until

UM_PER_PX, SIZE = 0.6, (480, 400)
TRUE = TRUE_SHARE * UM_PER_PX


def rig_of(folder: Path, driver: str, rest: str = "") -> Path:
    path = folder / "rig.toml"
    path.write_text(
        'objective = "20x"\ncertificate = "made/20x.toml"\n[camera]\n'
        f'driver = "{driver}"\nwidth_px = {SIZE[0]}\nheight_px = {SIZE[1]}\n'
        f"um_per_px = {UM_PER_PX}\nemulated_image = 'drawn'\nframes_per_second = 40\n"
        f"{rest}"
    )
    return path


def test_guide_in_text_makes_a_certificate_that_is_true_and_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = (
        '[stage]\ndriver = "simulated"\nlimits = [-200.0, -200.0, 200.0, 200.0]\n'
        "[stage.mechanics]\num_per_step = [[0.9998, -0.0175], [0.0175, 0.9998]]\n"
        "backlash = [6.0, 9.0]\n"
    )
    rig = rig_of(tmp_path, "simulated", rest)
    assert main(["calibrate", "guide", "--rig", str(rig), "--yes", "--by", "Ada"]) == 0
    said = capsys.readouterr().out
    assert "by Ada" in said
    held = read_certificate(rig.parent / "made" / "20x.toml")
    assert held.instrument.camera == "simulated microscope"
    assert held.scale is not None
    assert held.scale.um_per_px == pytest.approx(TRUE, rel=1e-3)
    assert held.light is not None
    assert held.light.corner_before == pytest.approx(CORNERS, abs=0.03)
    assert held.light.corner_after == pytest.approx(1.0, abs=0.01)
    assert held.colour is not None
    assert held.colour.white_rgb == pytest.approx(GLASS_RGB, rel=0.03)
    assert held.stage is not None
    assert held.stage.backlash_um == pytest.approx((6.0, 9.0), abs=1.0)
    assert held.stage.um_per_step[0][0] == pytest.approx(0.9998, abs=2e-3)
    assert abs(held.stage.rotation_deg) == pytest.approx(1.0, abs=0.1)
    assert held.display is not None
    assert held.display.residual_um < 0.5
    # Now the rig works at the scale that was measured.
    taken = read_rig(rig)
    assert taken.calibration_fault == ""
    assert taken.camera.um_per_px == held.scale.um_per_px
    _verify(rig, capsys)


def _verify(rig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = rig.parent
    ruler = draw_specimen("micrometer", SIZE, 1.02 * TRUE)
    cv2.imwrite(str(folder / "other.png"), ruler[..., ::-1])
    glass = draw_specimen("glass", SIZE, TRUE)
    cv2.imwrite(str(folder / "same.png"), glass[..., ::-1])
    cv2.imwrite(str(folder / "dim.png"), (0.8 * glass[..., ::-1]).round())
    given = ["calibrate", "verify", "--rig", str(rig)]
    assert main([*given, str(folder / "same.png")]) == 0
    # A file does not say of which camera it is.
    assert "yes, if of simulated microscope" in capsys.readouterr().out
    assert main([*given, str(folder / "other.png"), "--json"]) == 1
    said = capsys.readouterr().out
    lines = json.loads(said[said.index("{\n") :])["lines"]
    assert [line["name"] for line in lines if not line["fits"]] == ["scale"]
    # What the certificate lacks is not passed over.
    held = read_certificate(folder / "made" / "20x.toml")
    less = structs.replace(held, light=None)
    write_certificate(folder / "made" / "20x.toml", less)
    assert main([*given, str(folder / "same.png")]) == 0
    assert "not measured before: light\n" in capsys.readouterr().out
    write_certificate(folder / "made" / "20x.toml", held)
    assert main([*given, str(folder / "dim.png")]) == 1
    assert "!!  light" in capsys.readouterr().out


def test_guide_in_the_window_ends_with_the_certificate(
    tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypylon", reason="pypylon is not installed")
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    rig = rig_of(tmp_path, "basler")
    path = rig.parent / "made" / "20x.toml"
    guide = Guide(course(ProcedureSettings(UM_PER_PX, 10.0, now())))
    bench = GuideHost(read_rig(rig), path, by="Ada")
    window = ProcedureWindow(guide, bench, where=path.name)
    qtbot.addWidget(window)
    window.show()

    def is_finished() -> bool:
        window.tick()
        for name in ("measure", "accept"):
            button = window.buttons[name]
            if button.isVisible() and button.isEnabled():
                button.click()
        return guide.phase == "finished"

    wait_until(is_finished)
    window.close()
    bench.close()
    assert "µm/px" in window.result.text()
    held = read_certificate(path)
    assert held.scale is not None
    assert held.scale.um_per_px == pytest.approx(TRUE, rel=1e-3)


def test_guide_whose_questions_nobody_can_answer_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig = rig_of(tmp_path, "simulated")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["calibrate", "guide", "--rig", str(rig), "--text"]) == 2
    assert "nobody answers" in capsys.readouterr().err


def test_guide_needs_a_camera_and_a_place_for_its_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rig.toml"
    path.write_text("")
    given = ["calibrate", "guide", "--rig", str(path)]
    assert main(given) == 2
    assert "names no certificate" in capsys.readouterr().err
    assert main([*given, "--certificate", str(tmp_path / "c.toml")]) == 2
    assert "is no camera" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
