"""Pairs of pictures with a known overlap, and pairs with none."""

import csv
import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.__main__ import main
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.place.overlap import find_overlap
from tests.cells import draw_cells


def read(path: Path) -> Pixels:
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def write(path: Path, pixels: Pixels) -> str:
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return str(path)


def test_command_prints_where_b_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = draw_cells(5)
    a = write(tmp_path / "a.png", scene[100:700, 200:900])
    b = write(tmp_path / "b.png", scene[350:850, 600:1300])
    assert main(["calibrate", "overlap", a, b, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["found"] is True
    assert told["dx_px"] == pytest.approx(400, abs=1)
    assert told["dy_px"] == pytest.approx(250, abs=1)
    assert told["rotation_deg"] == 0.0
    assert 0 < told["standard_error_px"] < 2


def test_pictures_of_different_places_are_not_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.png", draw_cells(5)[100:700, 200:900])
    b = write(tmp_path / "b.png", draw_cells(6)[100:700, 200:900])
    assert main(["calibrate", "overlap", a, b, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["found"] is False
    assert told["dx_px"] is None


@pytest.mark.parametrize(
    ("turn_deg", "scale"),
    [(1.2, 1.0), (-4.0, 1.0), (35.0, 1.0), (-90.0, 1.0), (178.0, 1.0), (20.0, 1.06)],
)
def test_turned_picture_is_found_with_its_turn(turn_deg: float, scale: float) -> None:
    scene = draw_cells(5)
    # The scene turned clockwise about a pixel that becomes b's middle.
    matrix = cv2.getRotationMatrix2D((799.5, 599.5), turn_deg, 1 / scale)
    turned = cv2.warpAffine(scene, matrix, (1400, 1100), flags=cv2.INTER_CUBIC)
    b = np.asarray(turned[350:850, 500:1100], np.uint8)
    found = find_overlap(scene[100:700, 200:900], b)
    assert found.found
    assert found.rotation_deg == pytest.approx(turn_deg, abs=0.15)
    assert found.scale == pytest.approx(scale, abs=0.005)
    radians = np.deg2rad(turn_deg)
    cos, sin = scale * np.cos(radians), scale * np.sin(radians)
    x = 800 - 200 - cos * 300 + sin * 250
    y = 600 - 100 - sin * 300 - cos * 250
    assert found.dx_px == pytest.approx(x, abs=2)
    assert found.dy_px == pytest.approx(y, abs=2)


def test_what_lies_on_the_sensor_places_no_field() -> None:
    rng = np.random.default_rng(3)
    pattern = np.repeat(rng.normal(1.0, 0.05, (1, 700)), 600, axis=0)
    for _ in range(40):
        centre = int(rng.integers(700)), int(rng.integers(600))
        cv2.circle(pattern, centre, int(rng.integers(3, 12)), 0.5, -1)
    a, b = (
        np.clip(draw_cells(seed)[100:700, 200:900] * pattern[..., None], 0, 255)
        for seed in (5, 6)
    )
    assert not find_overlap(a.astype(np.uint8), b.astype(np.uint8)).found


def draw_repeating(kind: str, *, pitch_px: float, turn_deg: float) -> list[Pixels]:
    """Two fields of a pattern, the second 250 px right of the first and 31 below."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:700, :1100].astype(np.float64)
    cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    u, v = (x * cos + y * sin) / pitch_px, (y * cos - x * sin) / pitch_px
    ink = {
        "dots": np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3,
        "grid": (u % 1 < 0.12) | (v % 1 < 0.12),
        "stripes": u % 1 < 0.5,
        "checks": (np.floor(u) + np.floor(v)) % 2,
        "one edge": u < 10,
        "one line": np.abs(u - 10) < 0.1,
    }[kind]
    scene = cv2.GaussianBlur(0.85 - 0.6 * ink.astype(np.float32), (0, 0), 1.2)
    fields = [scene[0:480, 0:640], scene[31:511, 250:890]]
    noisy = [field + rng.normal(0, 0.015, field.shape) for field in fields]
    grey = [(np.clip(field, 0, 1) * 255).astype(np.uint8) for field in noisy]
    return [np.repeat(field[..., None], 3, axis=2) for field in grey]


@pytest.mark.parametrize("kind", ["dots", "grid", "stripes", "checks"])
@pytest.mark.parametrize(("pitch_px", "turn_deg"), [(40.0, 0.0), (25.0, 17.0)])
def test_pictures_that_repeat_are_refused_with_the_remedy(
    kind: str, pitch_px: float, turn_deg: float
) -> None:
    a, b = draw_repeating(kind, pitch_px=pitch_px, turn_deg=turn_deg)
    with pytest.raises(CalibrationError, match=r"repeat.*cells or tissue.*--expect-px"):
        find_overlap(a, b)


@pytest.mark.parametrize("kind", ["one edge", "one line"])
def test_what_runs_one_way_once_is_no_repeat_and_no_place(kind: str) -> None:
    a, b = draw_repeating(kind, pitch_px=40.0, turn_deg=17.0)
    assert not find_overlap(a, b).found


@pytest.mark.parametrize("kind", ["dots", "grid"])
def test_a_repeating_picture_lies_where_it_is_expected(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = draw_repeating(kind, pitch_px=40.0, turn_deg=5.0)
    a, b = (
        write(tmp_path / f"{name}.png", field)
        for name, field in zip("ab", pair, strict=True)
    )
    command = ["calibrate", "overlap", a, b, "--json", "--expect-px"]
    assert main([*command, "256", "25"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dx_px"] == pytest.approx(250, abs=0.5)
    assert told["dy_px"] == pytest.approx(31, abs=0.5)
    # Half a period from everything that fits.
    assert main([*command, "270", "31"]) == 2
    assert "repeat" in capsys.readouterr().err


def test_unreadable_picture_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    path.write_text("no picture")
    assert main(["calibrate", "overlap", str(path), str(path)]) == 2
    assert "expected PNG" in capsys.readouterr().err


@pytest.mark.data
def test_unstained_tissue_is_found_through_noise_of_rows_and_lens(
    data_folder: Path,
) -> None:
    names = ("tissue-a.png", "tissue-b.png")
    paths = [data_folder.parent / "cases" / name for name in names]
    if not all(path.is_file() for path in paths):
        pytest.skip("needs the cases beside the data")
    a, b = (read(path) for path in paths)
    found = find_overlap(a, b)
    assert found.dx_px is not None
    assert found.standard_error_px is not None
    assert abs(found.dx_px - 453) < 2 * found.standard_error_px < 3
    assert found.dy_px == pytest.approx(0, abs=2 * found.standard_error_px)
    # Other tissue of the same slide and camera, with the same noise.
    assert not find_overlap(a[256:, :220], b[150:, 300:]).found
    assert not find_overlap(a[:, :220], b[:, 100:320]).found


@pytest.mark.parametrize("seed", range(4))
def test_pale_noisy_fields_of_different_places_are_not_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stripes = rng.normal(0, 2, (1, 700, 1))
    pale = (
        236 + (draw_cells(other)[100:600, 200:900] - 236.0) * 0.12 + stripes
        for other in (2 * seed, 2 * seed + 1)
    )
    a, b = (
        np.clip(each + rng.normal(0, 4, each.shape[:2])[..., None], 0, 255)
        for each in pale
    )
    assert not find_overlap(a.astype(np.uint8), b.astype(np.uint8)).found


@pytest.mark.data
@pytest.mark.slow
def test_real_pairs_are_found_and_others_are_not(data_folder: Path) -> None:
    folder = data_folder / "overlap_chain"
    pictures = {path.name: read(path) for path in sorted((folder / "images").iterdir())}
    with (folder / "pairs.csv").open() as file:
        pairs = {(row["image_a"], row["image_b"]): row for row in csv.DictReader(file)}
    for a, b in itertools.combinations(pictures, 2):
        found = find_overlap(pictures[a], pictures[b])
        assert found.found is ((a, b) in pairs)
        if found.dx_px is not None and found.dy_px is not None:
            row = pairs[a, b]
            error_px = float(row["error_px"])
            assert abs(found.dx_px - float(row["dx_px"])) <= error_px
            assert abs(found.dy_px - float(row["dy_px"])) <= error_px
