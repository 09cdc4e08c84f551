"""Is the rig's certificate made for what stands on the bench, and in force today?"""

from pathlib import Path

import pytest

from armicro.calibrate.certificate import Instrument, Scale
from armicro.certificate import record
from armicro.errors import CalibrationError, RigError
from armicro.rig import Rig, read_rig
from armicro.source import SourceCard
from armicro.source.identity import instrument_of, refuse_void, slide_sha256, why_void

CARD = SourceCard("acA2440 4711", 0.345, 64, 48)
MEASURED = "2026-11-01T10:00:00+00:00"
TODAY = "2026-11-24T10:00:00+00:00"
RIG = """\
objective = "20x"
certificate = "profiles/20x.toml"
[camera]
driver = "basler"
width_px = 64
height_px = 48
um_per_px = 0.345
"""


def rig_of(folder: Path, text: str = RIG, *, um_per_px: float = 0.343) -> Rig:
    """A rig whose certificate is in force for ``CARD``, unless ``text`` differs."""
    path = folder / "profiles" / "20x.toml"
    if not path.exists():
        instrument = Instrument(
            camera="acA2440 4711", width_px=64, height_px=48, objective="20x"
        )
        scale = Scale(measured_at=MEASURED, um_per_px=um_per_px, standard_error=1e-4)
        record(path, instrument, scale, by="tester")
    (folder / "rig.toml").write_text(text)
    return read_rig(folder / "rig.toml")


def test_measured_scale_stands_over_the_one_typed_in(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    assert rig.camera.um_per_px == 0.343
    assert rig.calibration is not None
    assert why_void(rig, CARD, TODAY) == ""


@pytest.mark.parametrize(
    ("card", "word"),
    [
        (SourceCard("acA2440 4712", 0.345, 64, 48), "connected is acA2440 4712"),
        (SourceCard("acA2440 4711", 0.345, 32, 24), "the camera gives 32x24"),
        (
            SourceCard("acA2440 4711", 0.345, 64, 48, binning=2),
            "binning 1, the camera has 2",
        ),
    ],
)
def test_another_camera_size_or_binning_voids_it(
    tmp_path: Path, card: SourceCard, word: str
) -> None:
    assert word in why_void(rig_of(tmp_path), card, TODAY)


def test_another_objective_voids_it_and_its_scale_is_not_used(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, RIG.replace("20x", "40x", 1))
    assert rig.camera.um_per_px == 0.345
    assert "for objective 20x, the rig has 40x" in why_void(rig, CARD, TODAY)


def test_expired_certificate_is_void_from_that_day_on(tmp_path: Path) -> None:
    rig = rig_of(tmp_path)
    assert why_void(rig, CARD, "2027-04-30T09:59:59+00:00") == ""
    assert "expired on 2027-04-30" in why_void(rig, CARD, "2027-04-30T10:00:00+00:00")


def test_edited_certificate_is_void(tmp_path: Path) -> None:
    rig_of(tmp_path)
    path = tmp_path / "profiles" / "20x.toml"
    path.write_text(path.read_text().replace("0.343", "0.333"))
    rig = rig_of(tmp_path)
    assert rig.camera.um_per_px == 0.345
    assert "edited" in why_void(rig, CARD, TODAY)
    with pytest.raises(CalibrationError, match="edited") as caught:
        refuse_void(rig, CARD, TODAY)
    assert caught.value.exit_status == 2
    # Also where slides are read, whatever the camera is.
    with pytest.raises(CalibrationError, match="edited") as caught:
        refuse_void(rig, None, TODAY)
    assert str(caught.value).count("measure the instrument") == 1


def test_scale_that_the_objective_does_not_allow_is_void(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, um_per_px=0.17)
    assert (
        "0.170 µm/px, objective and camera allow 0.259-0.431" in rig.calibration_fault
    )


def test_names_on_objective_and_sensor_say_more_than_the_scale_typed_in(
    tmp_path: Path,
) -> None:
    # 3.45 µm behind "20x" alone are 0.1725 µm/px, whatever um_per_px says.
    text = RIG.replace("um_per_px = 0.345", "um_per_px = 0.345\npixel_um = 3.45")
    assert "allow 0.129-0.216" in rig_of(tmp_path, text).calibration_fault


def test_missing_certificate_is_void(tmp_path: Path) -> None:
    rig = rig_of(tmp_path, RIG.replace("profiles", "nowhere"))
    assert "no certificate 20x.toml yet" in why_void(rig, CARD, TODAY)


@pytest.mark.parametrize(
    ("extra", "simulated", "void"),
    [("", False, True), ("uncalibrated = true", False, False), ("", True, False)],
)
def test_only_a_simulated_or_insisting_rig_does_without_a_certificate(
    tmp_path: Path, *, extra: str, simulated: bool, void: bool
) -> None:
    rig = rig_of(tmp_path, f'[camera]\ndriver = "basler"\n{extra}')
    card = SourceCard("acA2440 4711", 0.345, 64, 48, simulated=simulated)
    assert bool(why_void(rig, card, TODAY)) is void


def test_slide_that_plays_a_camera_is_not_asked_for_its_serial_number(
    tmp_path: Path,
) -> None:
    rig = rig_of(tmp_path)
    slide = SourceCard("slide", 0.343, 60, 40, fields_planned=9, simulated=True)
    assert instrument_of(rig, slide) == instrument_of(rig)
    assert why_void(rig, slide, TODAY) == ""


def test_certificate_is_part_of_the_rig_wherever_both_lie(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = (rig_of(tmp_path / name) for name in ("here", "there"))
    assert here.sha256 == there.sha256
    (tmp_path / "there" / "profiles" / "20x.toml").unlink()
    assert rig_of(tmp_path / "there", um_per_px=0.341).sha256 != here.sha256


def test_calibration_typed_into_a_rig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="no key of a rig"):
        rig_of(tmp_path, 'calibration_fault = "none"')


def make_slide(folder: Path, form: str) -> Path:
    (folder / "s").mkdir(parents=True)
    for number in range(3):
        (folder / "s" / f"{number}.dat").write_bytes(bytes([number]) * 5000)
    if form == "folder":
        return folder / "s"
    (folder / f"s.{form}").write_bytes(b"head" + bytes(300_000) + b"tail")
    return folder / f"s.{form}"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("form", "changed"),
    [
        ("tif", "s.tif"),
        ("mrxs", "s.mrxs"),
        ("mrxs", "s/1.dat"),
        ("folder", "s/2.dat"),
    ],
)
def test_slide_of_the_same_size_and_another_content_is_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    changed: str,
    whole: bool,
) -> None:
    if not whole:
        monkeypatch.setattr("armicro.source.identity._WHOLE_BYTES", 0)
    one, copy = (make_slide(tmp_path / name, form) for name in ("one", "copy"))
    assert slide_sha256(one) == slide_sha256(copy)
    (tmp_path / "copy" / "s" / "._1.dat").write_bytes(b"left by a Mac")
    assert slide_sha256(one) == slide_sha256(copy)
    path = tmp_path / "copy" / changed
    for at in (0, -1):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
        assert slide_sha256(one) != slide_sha256(copy)
        content[at] ^= 1
        path.write_bytes(content)


def test_content_of_gigabytes_is_told_by_a_bounded_read(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(8 * 2**30)
    empty = slide_sha256(path)
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"tail")
    assert slide_sha256(path) != empty
