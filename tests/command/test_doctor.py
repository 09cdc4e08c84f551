"""``armicro doctor`` examines this very machine and never fails on it."""

import json
from dataclasses import replace

import pytest

from armicro.__main__ import main
from armicro.doctor import examine
from armicro.doctor.probe import PROBES
from tests.patience import PATIENCE_S


def test_doctor_tells_of_everything_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What answers late on a busy machine is not broken.
    patient = {k: replace(probe, seconds=PATIENCE_S) for k, probe in PROBES.items()}
    monkeypatch.setattr(examine, "PROBES", patient)
    status = main(["doctor", "--quick", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert status == (0 if answer["usable"] else 1)
    groups = {check["group"] for check in answer["checks"]}
    assert groups == {
        "machine", "packages", "networks", "cameras", "screens", "slides", "wire",
    }  # fmt: skip
    by_name = {check["name"]: check for check in answer["checks"]}
    for name in ("OpenVINO", "OpenSlide", "ZeroMQ", "base"):
        assert by_name[name]["state"] == "ok", by_name[name]
    broken = [c["name"] for c in answer["checks"] if c["state"] == "broken"]
    assert answer["usable"] == (not broken)
    # Whoever reads that something is missing also reads what to do.
    assert all(c["todo"] for c in answer["checks"] if c["state"] != "ok")


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    assert "armicro doctor --json" in capsys.readouterr().out
