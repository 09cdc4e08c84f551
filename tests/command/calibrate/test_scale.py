"""The scale from the command line."""

import json
from pathlib import Path

import cv2
import pytest

from armicro.__main__ import main
from armicro.certificate import read_certificate
from tests.calibrate.micrometer import Design, View, draw

OBJECTIVE = "10x/0.3 with 0.69x C-mount adapter"


@pytest.fixture
def micrometer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture of a micrometer at 0.5 µm/px; the working folder is its own."""
    monkeypatch.chdir(tmp_path)
    view = View(um_per_px=0.5, rotation_deg=20, width_px=640, height_px=480)
    cv2.imwrite("ruler.png", draw(Design(), view)[..., ::-1])
    return Path("ruler.png")


def test_json_names_the_scale_and_the_picture_with_the_ticks(
    micrometer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "scale", str(micrometer), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["um_per_px"] == pytest.approx(0.5, rel=0.002)
    assert 0 < answer["standard_error"] < 0.001
    assert answer["rotation_deg"] == pytest.approx(20, abs=0.2)
    assert answer["divisions"] >= 20
    drawn = cv2.imread(answer["picture"])
    assert drawn is not None
    assert drawn.shape == (480, 640, 3)


def test_the_certificate_holds_what_was_measured(micrometer: Path) -> None:
    words = ["--objective", OBJECTIVE, "--pixel-um", "3.45", "--certificate", "c.toml"]
    assert main(["calibrate", "scale", str(micrometer), *words]) == 0
    certificate = read_certificate(Path("c.toml"))
    assert certificate.scale is not None
    assert certificate.scale.um_per_px == pytest.approx(0.5, rel=0.002)
    assert certificate.instrument.objective == OBJECTIVE


def test_another_objective_is_refused_in_one_line_and_nothing_is_written(
    micrometer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--objective", "40x/0.95", "--pixel-um", "3.45", "--certificate", "c.toml"]
    assert main(["calibrate", "scale", str(micrometer), *words]) == 2
    said = capsys.readouterr().err
    assert "implausible scale" in said
    assert said.count("\n") == 1
    assert not Path("c.toml").exists()


def test_a_rig_measures_what_its_camera_sees(
    micrometer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("fields")
    folder.mkdir()
    for seq in range(2):
        (folder / f"{seq}.png").write_bytes(micrometer.read_bytes())
    Path("rig.toml").write_text(
        f'objective = "{OBJECTIVE}"\n[camera]\ndriver = "video"\ndevice = "fields"\n'
        "pixel_um = 3.45\nwidth_px = 640\nheight_px = 480\n"
    )
    assert main(["calibrate", "scale", "--rig", "rig.toml", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["expected_um_per_px"] == pytest.approx(0.5)
    assert len(answer["each_um_per_px"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["missing.png"],
        ["ruler.png", "--division-um", "0"],
        ["ruler.png", "--objective", "Plan", "--pixel-um", "3.45"],
        ["ruler.png", "--picture", "no/such/folder/out.png"],
    ],
)
@pytest.mark.usefixtures("micrometer")
def test_wrong_use_is_refused(words: list[str]) -> None:
    assert main(["calibrate", "scale", *words]) == 2


@pytest.mark.parametrize("kind", ["empty", "hidden", "text", "text in a folder"])
def test_what_holds_no_picture_is_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    if kind != "empty":
        name = ".hidden.png" if kind == "hidden" else "notes.txt"
        (folder / name).write_text("no picture")
    given = folder / "notes.txt" if kind == "text" else folder
    assert main(["calibrate", "scale", str(given)]) == 2
    said = capsys.readouterr().err
    assert "picture" in said
    assert said.count("\n") == 1
