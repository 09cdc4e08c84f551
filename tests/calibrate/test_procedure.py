"""One measurement for command line, guide and verification: they say the same."""

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from armicro.__main__ import main
from armicro.calibrate.certificate import Instrument, Scale
from armicro.calibrate.course import course
from armicro.calibrate.display import FoundCorners
from armicro.calibrate.guide import Guide
from armicro.calibrate.procedure import (
    LARGEST_RMS_UM,
    ProcedureSettings,
    measure_display,
    measure_light,
)
from armicro.certificate import now, read_certificate, record
from armicro.field import Field, Pixels
from armicro.source.specimen import draw_specimen

UM_PER_PX, SIZE = 0.6, (320, 256)
SETTING = ProcedureSettings(UM_PER_PX, 10.0, now())


def glass(corner: float) -> Pixels:
    """Empty glass whose corners have that share of the middle's light."""
    x, y = (np.linspace(-1, 1, side) for side in SIZE)
    light = 1 - (1 - corner) * (x[None] ** 2 + y[:, None] ** 2) / 2
    return np.rint(light[..., None] * (236, 228, 205)).astype(np.uint8)


def led(pictures: list[Pixels], step: str) -> Guide:
    """A guide that has seen the pictures at a step."""
    guide = Guide([one for one in course(SETTING) if one.name == step])
    # The field that it is started on is not measured.
    for index, pixels in enumerate((pictures[-1], *pictures)):
        guide.see(Field(UM_PER_PX, index, index, pixels=pixels))
        guide.start()
    return guide


def written(folder: Path, pictures: list[Pixels]) -> list[str]:
    paths = [str(folder / f"{index}.png") for index in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        cv2.imwrite(path, np.ascontiguousarray(pixels[..., ::-1]))
    return paths


@pytest.mark.parametrize(
    ("step", "words"), [("scale", ["scale"]), ("light", ["flatfield", "colour"])]
)
def test_guide_and_command_make_the_same_tables_of_the_same_pictures(
    step: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ruler = draw_specimen("micrometer", SIZE, UM_PER_PX)
    pictures = [ruler] if step == "scale" else 4 * [glass(0.8), glass(0.81)]
    guide = led(pictures, step)
    assert guide.outcome is not None, guide.refusal or guide.checks
    for word in words:
        paths = written(tmp_path, pictures)
        assert main(["calibrate", word, *paths, "--certificate", "made.toml"]) == 0
    held = read_certificate(Path("made.toml"))
    for table in guide.outcome.tables:
        name = type(table).__name__.lower()
        kept, found = (msgspec.to_builtins(one) for one in (getattr(held, name), table))
        for told in (kept, found):
            # Of the day, and of the file beside the certificate.
            for key in ("measured_at", "flat", "flat_sha256"):
                told.pop(key, None)
        assert kept == found


def test_light_that_the_command_refuses_is_refused_by_the_guide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The diaphragm was moved between the pictures.
    pictures = 4 * [glass(0.7), glass(0.85)]
    guide = led(pictures, "light")
    assert (guide.phase, guide.accept()) == ("refused", None)
    assert "after correction, expected within 2%" in guide.refusal
    shown = tmp_path / "shown.png"
    given = ["calibrate", "flatfield", *written(tmp_path, pictures)]
    given += ["--certificate", str(tmp_path / "made.toml"), "--before-after"]
    assert main([*given, str(shown)]) == 2
    assert guide.refusal in capsys.readouterr().err
    # It may be looked at, and is not kept.
    assert shown.exists()
    assert not (tmp_path / "made.toml").exists()


def test_light_is_shown_before_and_after_at_a_size_for_people() -> None:
    outcome = measure_light([glass(0.7)], "2026-11-29")
    assert outcome.picture is not None
    height, width = outcome.picture.shape[:2]
    half = (width - 12) // 2
    before, after = outcome.picture[:, :half], outcome.picture[:, -half:]
    assert height == 700
    assert float(before[:20, :20].mean() / before[350, half // 2].mean()) < 0.75
    assert float(after[:20, :20].mean() / after[350, half // 2].mean()) > 0.97


@pytest.mark.parametrize("other", ["another board", "the same board"])
@pytest.mark.parametrize("off_px", [0.0, 40.0])
def test_display_is_judged_on_corners_that_took_no_part(
    other: str, off_px: float
) -> None:
    x, y = np.meshgrid(np.linspace(20, 300, 14), np.linspace(20, 230, 10))
    camera = np.stack((x.ravel(), y.ravel()), axis=1)
    display = 4.0 * camera + 7.0
    held_out = FoundCorners(camera + 3.0, 4.0 * (camera + 3.0) + 7.0 + off_px)
    if other == "the same board":
        display[1::2] += off_px
    outcome = measure_display(
        np.zeros((*SIZE[::-1], 3), np.uint8),
        (FoundCorners(camera, display), held_out if other == "another board" else None),
        display_wh_px=(1280, 1024),
        um_per_px=UM_PER_PX,
        measured_at="2026-11-29",
    )
    assert outcome.numbers["points_verified"] == (140 if "another" in other else 70)
    residual = float(str(outcome.numbers["residual_um"]))
    assert residual == pytest.approx(off_px / 4 * UM_PER_PX * 2**0.5, abs=0.01)
    assert bool(outcome.refusal) == (residual > LARGEST_RMS_UM)
    if off_px:
        says = "verification pattern" if "another" in other else "took no part"
        assert says in outcome.refusal
    assert outcome.picture is not None
    assert outcome.picture.any()


RIG = (
    'objective = "20x"\ncertificate = "held.toml"\n[camera]\ndriver = "video"\n'
    f'device = "fields"\nwidth_px = {SIZE[0]}\nheight_px = {SIZE[1]}\n'
    f"um_per_px = {UM_PER_PX}\n"
)


@pytest.mark.parametrize(
    ("word", "count"), [("flatfield", 2), ("colour", 2), ("scale", 2), ("scale", 9)]
)
def test_a_camera_that_ends_gives_what_it_has(
    word: str,
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fields").mkdir()
    ruler = draw_specimen("micrometer", SIZE, UM_PER_PX)
    written(tmp_path / "fields", count * [ruler if word == "scale" else glass(0.8)])
    Path("rig.toml").write_text(RIG.replace('certificate = "held.toml"\n', ""))
    assert main(["calibrate", word, "--rig", "rig.toml", "--json"]) == 0
    each = json.loads(capsys.readouterr().out).get("each_um_per_px", [])
    assert len(each) == (min(count, 5) if word == "scale" else 0)


def test_verification_measures_as_the_guide_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fields").mkdir()
    ruler = draw_specimen("micrometer", SIZE, UM_PER_PX)
    written(tmp_path / "fields", 3 * [ruler])
    Path("rig.toml").write_text(RIG)
    width, height = SIZE
    instrument = Instrument(width_px=width, height_px=height, objective="20x")
    scale = Scale(measured_at=now(), um_per_px=UM_PER_PX, standard_error=0.001)
    record(Path("held.toml"), instrument, scale)
    path = str(tmp_path / "fields" / "0.png")
    assert main(["calibrate", "verify", "--rig", "rig.toml", path, "--json"]) == 0
    (_, line) = json.loads(capsys.readouterr().out)["lines"]
    outcome = led([ruler], "scale").outcome
    assert outcome is not None
    (table,) = outcome.tables
    assert isinstance(table, Scale)
    assert line["fresh"] == f"{table.um_per_px:.4f} µm/px"
