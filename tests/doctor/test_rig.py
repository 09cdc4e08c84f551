"""What doctor says of a rig's certificate."""

from pathlib import Path

import pytest

from armicro.doctor.machine import rig_checks
from tests.source.test_identity import TODAY, rig_of


@pytest.mark.parametrize(
    ("at", "state", "word"),
    [
        (TODAY, "ok", "expires in 157 days"),
        ("2027-04-10T10:00:00+00:00", "missing", "expires in 20 days"),
    ],
)
def test_a_certificate_is_warned_of_before_it_expires(
    tmp_path: Path, at: str, state: str, word: str
) -> None:
    rig_of(tmp_path)
    _, check = rig_checks(tmp_path / "rig.toml", at)
    assert (check.state, word in check.found) == (state, True)
    assert bool(check.todo) is (state == "missing")


def test_a_camera_without_certificate_and_a_broken_rig_are_told(tmp_path: Path) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text('[camera]\ndriver = "basler"\n')
    assert "scale not measured" in rig_checks(rig)[1].found
    rig.write_text('[camera]\ndriver = "simulated"\n')
    assert rig_checks(rig)[1].state == "ok"
    rig.write_text("[camera]\nuncalibrated = true\n")
    assert "nobody measured" in rig_checks(rig)[1].found
    rig.write_text('[wire]\ncapture = "tcp://127.0.0.1:5600"\n')
    assert [check.state for check in rig_checks(rig)] == ["broken"]
    assert "armicro keys DIR" in rig_checks(rig)[0].found
    rig.write_text("= broken")
    assert [check.state for check in rig_checks(rig)] == ["broken"]
