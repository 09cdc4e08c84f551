"""``armicro calibrate display|flatfield|colour|latency``, on files."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.__main__ import main
from armicro.calibrate.colour import linear_of_srgb, srgb_of_linear
from armicro.calibrate.simulated_path import draw_path
from armicro.certificate import read_certificate
from armicro.field import Pixels

SIZE = 240, 200


def write(path: Path, pixels: Pixels) -> str:
    cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]))
    return str(path)


def answer_of(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def glass(seed: int, *, vignetting: float = 0.4) -> Pixels:
    x, y = (np.linspace(-1, 1, side) for side in SIZE)
    light = 1 - vignetting * (x[None] ** 2 + y[:, None] ** 2) / 2
    noise = np.random.default_rng(seed).normal(0, 1, (*SIZE[::-1], 3))
    level = light[..., None] * (236, 228, 205) + noise
    return np.asarray(np.clip(np.rint(level), 0, 255), np.uint8)


def test_display_is_mapped_from_photographs_of_its_patterns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = tmp_path / "pattern.png"
    options = ["calibrate", "display", "--display", "960x540"]
    assert main([*options, "--pattern-out", str(pattern)]) == 0
    capsys.readouterr()
    path = draw_path(3, camera_wh_px=(1224, 1024))
    seen = []
    for name in ("pattern-verify.png", "pattern.png"):
        shown = cv2.imread(str(tmp_path / name))
        assert shown is not None
        whole = cv2.resize(shown, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        photograph = path.show(np.asarray(whole, np.uint8))
        seen.append(write(tmp_path / f"seen-{name}", photograph))
    certificate, found = tmp_path / "rig.toml", tmp_path / "found.png"
    options += ["--pictures", *seen, "--um-per-px", "0.486", "--json"]
    options += ["--certificate", str(certificate), "--found", str(found)]
    assert main(options) == 0
    answer = answer_of(capsys)
    assert answer["mirrored"] == path.mirrored
    assert float(str(answer["largest_um"])) < 2
    display = read_certificate(certificate).display
    assert display is not None
    assert (display.width_px, display.height_px) == (960, 540)
    assert found.exists()
    # The first board alone verifies nothing.
    assert main([*options[:4], "--um-per-px", "0.5", "--pictures", seen[1]]) == 2


def test_flat_field_goes_into_the_certificate_with_its_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write(tmp_path / f"{seed}.png", glass(seed)) for seed in range(4)]
    certificate, shown = tmp_path / "rig.toml", tmp_path / "shown.png"
    options = ["--certificate", str(certificate), "--before-after", str(shown)]
    assert main(["calibrate", "flatfield", *files, *options, "--json"]) == 0
    answer = answer_of(capsys)
    assert answer["held_out"] is True
    light = read_certificate(certificate).light
    assert light is not None
    assert light.corner_before == pytest.approx(0.62, abs=0.03)
    assert light.corner_after == pytest.approx(1.0, abs=0.01)
    assert (tmp_path / light.flat).exists()
    assert shown.exists()
    # Pictures of another size are another camera's.
    other = write(tmp_path / "other.png", glass(0)[:-20])
    assert main(["calibrate", "flatfield", other, *options]) == 2


def test_colour_target_gives_a_matrix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    levels = np.random.default_rng(1).uniform(30, 220, (12, 3))
    with (tmp_path / "reference.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow("rgb")
        rows.writerows(levels)
    mixing = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.02, 0.2, 0.78]])
    mixed = srgb_of_linear(linear_of_srgb(levels) @ mixing.T)
    target = np.kron(mixed.reshape(3, 4, 3), np.ones((40, 50, 1))).round()
    picture = write(tmp_path / "target.png", target.astype(np.uint8))
    even = write(tmp_path / "glass.png", np.full((120, 200, 3), 240, np.uint8))
    certificate = tmp_path / "rig.toml"
    options = ["calibrate", "colour", even, "--target", picture, "--grid", "4x3"]
    options += ["--reference", str(tmp_path / "reference.csv")]
    options += ["--corners", "0,0", "199,0", "199,119", "0,119"]
    options += ["--certificate", str(certificate), "--json"]
    options += ["--before-after", str(tmp_path / "shown.png")]
    assert main(options) == 0
    answer = answer_of(capsys)
    assert (
        float(str(answer["ciede2000"])) < 0.5 < float(str(answer["ciede2000_before"]))
    )
    colour = read_certificate(certificate).colour
    assert colour is not None
    assert len(colour.matrix) == 3


def test_reference_slide_is_stored_then_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    stained = rng.integers(90, 200, (100, 100, 3)).astype(np.uint8)
    darker = np.asarray(stained * 0.8, np.uint8)
    even = write(tmp_path / "glass.png", np.full((120, 200, 3), 240, np.uint8))
    options = ["calibrate", "colour", even, "--stain", str(tmp_path / "stain.json")]
    slide = write(tmp_path / "slide.png", stained)
    assert main([*options, "--slide", slide]) == 0
    assert main([*options, "--slide", slide]) == 0
    assert "steady" in capsys.readouterr().out
    drifted = write(tmp_path / "drifted.png", darker)
    assert main([*options, "--slide", drifted]) == 1
    assert "drifted" in capsys.readouterr().out


def test_latency_of_a_session_is_what_it_painted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spans = "\n".join(str(20 + n % 10) for n in range(100))
    (tmp_path / "painted.csv").write_text(f"grab_to_painted_ms\n{spans}\n")
    # Fewer than twenty fields have no percentiles.
    rows = "".join(f"{n},{n},{n + 5_000_000}\n" for n in range(20))
    (tmp_path / "latency.csv").write_text(f"seq,taken_ns,ready_ns\n{rows}")
    assert main(["calibrate", "latency", "--session", str(tmp_path), "--json"]) == 0
    answer = answer_of(capsys)
    assert answer["median_ms"] == 24.5
    assert answer["glass_to_glass"] is False
    assert answer["stations"] == [
        {"start": "taken", "end": "ready", "fields": 20, "p50_ms": 5.0, "p95_ms": 5.0}
    ]


def test_pretended_display_gives_its_delay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "latency", "--simulated", "3", "--json"]) == 0
    assert float(str(answer_of(capsys)["median_ms"])) == pytest.approx(48, abs=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["display", "--display", "big"], "WIDTHxHEIGHT"),
        (["display"], "give --rig"),
        (["display", "--um-per-px", "1"], "give --rig"),
        (["flatfield"], "no picture"),
        (["flatfield", "nowhere.png"], "nowhere.png"),
        (["colour"], "empty glass"),
        (["colour", "x.png", "--target", "y.png"], "--reference"),
        (["latency"], "--session"),
        (["latency", "--session", "nowhere"], "painted.csv"),
    ],
)
def test_what_is_missing_is_said(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if options == ["display", "--display", "big"]:
        options = [*options, "--pattern-out", "out.png"]
    assert main(["calibrate", *options]) == 2
    assert message in capsys.readouterr().err
