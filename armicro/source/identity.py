"""What stands on the bench, and whether the rig's certificate was made for it."""

from armicro.calibrate.certificate import SCALE_NOT_MEASURED, Instrument, why_not
from armicro.errors import CalibrationError
from armicro.rig import Rig
from armicro.source import Card


def instrument_of(rig: Rig, card: Card | None = None) -> Instrument:
    """The instrument as a certificate names it.

    Args:
        rig: names the objective.
        card: of the open source; None, or of a file that plays a camera: the camera is
            not known and its fields are those of the rig.
    """
    camera = rig.camera
    if card is None or card.ends:
        return Instrument(
            width_px=camera.width_px,
            height_px=camera.height_px,
            objective=rig.objective,
        )
    return Instrument(
        camera=card.name,
        width_px=card.width_px,
        height_px=card.height_px,
        binning=card.binning,
        objective=rig.objective,
    )


def why_void(rig: Rig, card: Card | None, now: str) -> str:
    """Why the scale of a source's fields cannot be trusted; empty when it can.

    Args:
        rig: as ``read_rig`` gives it.
        card: of the open source; None where slides are read, whatever the camera.
        now: ISO 8601, UTC.
    """
    if rig.calibration_fault:
        return rig.calibration_fault
    certificate = rig.calibration
    if certificate is not None:
        reason = why_not(certificate, instrument_of(rig, card), now)
        if reason:
            return reason
    measured = certificate is not None and certificate.scale is not None
    as_given = card is None or card.simulated or rig.camera.uncalibrated
    return "" if measured or as_given else SCALE_NOT_MEASURED


def refuse_void(rig: Rig, card: Card | None, now: str) -> None:
    """Refuse a batch whose fields would get no box.

    Raises:
        CalibrationError: the rig's certificate is not in force.
    """
    reason = why_void(rig, card, now)
    if reason:
        raise CalibrationError(
            f"rig {rig.name}: {reason}; measure the instrument again (armicro "
            "calibrate guide), or name another rig"
        )
