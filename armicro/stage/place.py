"""From encoder readings to a field's place, and from a place back to the stage."""

import math

import numpy as np

from armicro.calibrate.certificate import Stage as StageTable
from armicro.field import Place
from armicro.stage import Stage
from armicro.stage.limit import is_inside, require_inside

Point = tuple[float, float]
_EVEN = math.sqrt(12)
"""Width of an even distribution over its standard deviation."""
_OVERSHOOT = 1.5
"""Plays that a move goes too far, so that it always ends in the same direction."""


def place_of(
    before: Point, after: Point, calibration: StageTable | None, *, first: Point
) -> Place:
    """Where a field lies that was exposed between two readings of the encoder.

    The encoder's zero is the origin, so that a place stays what it is when camera or
    stage are opened again. The standard error holds how far the stage went meanwhile,
    and by the certificate its scatter, the play that a reading cannot see, and the
    matrix's own error over the way from the first reading. Without a certificate
    nobody knows which way the axes point: the way itself is then the error.

    Args:
        before: reading before the exposure, in the stage's units.
        after: and after it.
        calibration: how pictures move when the stage does; None: not measured.
        first: the first reading of the session.

    Returns:
        The place of the field's top left corner, but for a constant offset.
    """
    matrix = np.eye(2) if calibration is None else np.asarray(calibration.um_per_step)
    x_um, y_um = matrix @ (np.add(before, after) / 2)
    spread_um = math.hypot(*(matrix @ np.subtract(after, before))) / _EVEN
    way_um = math.hypot(*(matrix @ np.subtract(after, first)))
    if calibration is None:
        error_um = math.hypot(spread_um, way_um)
    else:
        error_um = math.hypot(
            spread_um,
            calibration.repeatability_um,
            math.hypot(*calibration.backlash_um) / _EVEN,
            calibration.standard_error * way_um,
        )
    return Place(
        x_um=float(x_um),
        y_um=float(y_um),
        standard_error_um=error_um,
        origin="stage_encoder",
    )


def go_to(stage: Stage, calibration: StageTable, slide_xy_um: Point) -> Point:
    """Bring a place of the slide back under the objective.

    The last stretch goes up in both axes, as when the stage was calibrated, so that its
    play lies on the same side; where the soft limits leave no room for that, it goes
    straight.

    Args:
        stage: moved; keeps its soft limits.
        calibration: of this stage, from the certificate.
        slide_xy_um: where the field's top left corner shall be, as in ``place_of``.

    Returns:
        What the stage was told, in its units.

    Raises:
        CalibrationError: the place lies outside the soft limits; nothing was moved.
        SourceLostError: the stage does not answer.
    """
    matrix = np.asarray(calibration.um_per_step)
    x, y = (float(v) for v in np.linalg.solve(matrix, np.asarray(slide_xy_um)))
    require_inside(x, y, stage.limits)
    step_um = np.hypot(*matrix)
    back = _OVERSHOOT * np.asarray(calibration.backlash_um) / step_um
    via = x - float(back[0]), y - float(back[1])
    if back.any() and is_inside(*via, stage.limits):
        stage.move_to(*via)
    stage.move_to(x, y)
    return x, y
