import json
from pathlib import Path

import pytest

from armicro.__main__ import main
from armicro.calibrate.certificate import Instrument, Scale
from armicro.certificate import now, record

SCALE = Scale(
    measured_at="2020-01-01T00:00:00+00:00",
    um_per_px=0.3432,
    standard_error=0.0002,
    divisions=80,
    division_um=10.0,
)
INSTRUMENT = Instrument(camera="cam 1", width_px=64, height_px=48, objective="20x")


def test_a_certificate_is_printed_to_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    record(path, INSTRUMENT, SCALE, by="Ada")
    assert main(["calibrate", "show", str(path)]) == 0
    said = capsys.readouterr().out
    for words in (
        "cam 1, 64x48, binning 1, objective 20x",
        "by Ada",
        "EXPIRED",
        "0.3432 ± 0.0002 µm/px",
        "80 divisions of 10 µm",
        "stage      not measured",
    ):
        assert words in said


def test_json_carries_the_digest_and_the_days_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    scale = Scale(measured_at=now(), um_per_px=0.3432, standard_error=0.0002)
    held = record(path, INSTRUMENT, scale)
    assert main(["calibrate", "show", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["digest"] == held.digest
    assert answer["days_left"] == pytest.approx(180, abs=0.1)
    assert answer["certificate"]["scale"]["um_per_px"] == 0.3432


def test_an_edited_one_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    record(path, INSTRUMENT, SCALE)
    path.write_text(path.read_text().replace("0.3432", "0.3333"))
    assert main(["calibrate", "show", str(path)]) == 2
    assert "edited" in capsys.readouterr().err
