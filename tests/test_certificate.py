from pathlib import Path

import pytest

from armicro.calibrate.certificate import Colour, Instrument, Scale
from armicro.certificate import read_certificate, record
from armicro.errors import CalibrationError

INSTRUMENT = Instrument(camera="cam 1", width_px=64, height_px=48, objective="20x")
SCALE = Scale(
    measured_at="2026-11-01T10:00:00+00:00", um_per_px=0.243, standard_error=1e-4
)
COLOUR = Colour(
    measured_at="2026-11-20T10:00:00+00:00",
    white_rgb=(240.0, 238.0, 230.0),
    gains_rgb=(1.0, 1.01, 1.04),
)


def test_a_certificate_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rig.toml"
    record(path, INSTRUMENT, SCALE, by="tester")
    written = record(path, INSTRUMENT, COLOUR, by="tester")
    read = read_certificate(path)
    assert read == written
    assert (read.scale, read.colour) == (SCALE, COLOUR)
    assert read.made_at == COLOUR.measured_at
    # The older of the two expires first.
    assert read.expires_at == "2027-04-30T10:00:00+00:00"


def test_an_edited_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    record(path, INSTRUMENT, SCALE)
    path.write_text(path.read_text().replace("0.243", "0.244"))
    with pytest.raises(CalibrationError, match="edited"):
        read_certificate(path)
    with pytest.raises(CalibrationError, match="again, into another file"):
        record(path, INSTRUMENT, SCALE)


def test_another_instrument_does_not_share_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    record(path, INSTRUMENT, SCALE)
    other = Instrument(camera="cam 2", width_px=64, height_px=48, objective="20x")
    with pytest.raises(CalibrationError, match="cam 2"):
        record(path, other, SCALE)


@pytest.mark.parametrize("text", ["", "format = 1", "not toml ["])
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match="measure the instrument again"):
        read_certificate(path)


def test_a_measurement_without_a_date_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    undated = Scale(measured_at="yesterday", um_per_px=0.243, standard_error=1e-4)
    with pytest.raises(CalibrationError, match="yesterday"):
        record(path, INSTRUMENT, undated)
    local = Scale(measured_at="2026-11-01", um_per_px=0.243, standard_error=1e-4)
    assert record(path, INSTRUMENT, local).expires_at == "2027-04-30T00:00:00+00:00"
