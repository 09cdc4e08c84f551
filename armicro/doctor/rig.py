"""A rig and its certificate: in force, and for how long still."""

from pathlib import Path

from armicro.calibrate.certificate import SCALE_NOT_MEASURED, days_left
from armicro.certificate import now
from armicro.doctor.check import Check
from armicro.errors import RigError
from armicro.rig import Rig, read_rig
from armicro.wire.address import check_wire

GROUP = "rig"
SOON_DAYS = 30
_AGAIN = "measure the instrument: armicro calibrate guide --rig"
_PLAYED = frozenset({"slide", "recording", "simulated"})
"""Drivers whose scale is as given."""


def rig_checks(path: Path, at: str = "") -> list[Check]:
    """Look at a rig file and what its certificate is worth today (or ``at``)."""
    try:
        rig = read_rig(path)
        check_wire(rig.wire)
    except RigError as error:
        return [Check(GROUP, path.stem, "broken", str(error), "correct the rig file")]
    camera = rig.camera
    found = f"{camera.driver}, {camera.um_per_px:.4g} µm/px, {rig.objective or '–'}"
    return [
        Check(GROUP, path.stem, "ok", found),
        _certificate(rig, path, at or now()),
    ]


def _certificate(rig: Rig, path: Path, at: str) -> Check:
    def said(found: str, todo: str = "") -> Check:
        return Check(GROUP, "certificate", "missing" if todo else "ok", found, todo)

    if rig.calibration_fault:
        return said(f"{rig.calibration_fault}; boxes off", f"{_AGAIN} {path}")
    if rig.camera.uncalibrated:
        return said("boxes at a scale that nobody measured", f"{_AGAIN} {path}")
    if rig.calibration is None:
        if rig.camera.driver in _PLAYED or rig.camera.emulated_image:
            return said("none, and none is needed: nothing real is measured")
        return said(f"none; {SCALE_NOT_MEASURED}", f"{_AGAIN} {path}")
    days = days_left(rig.calibration, at)
    found = f"{Path(rig.certificate).name}, expires in {days:.0f} days"
    return said(found, "" if days > SOON_DAYS else f"{_AGAIN} {path}")
