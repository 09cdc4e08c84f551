"""Stages that move the slide: one small protocol, one file a driver."""

import math
from typing import Protocol

import numpy as np

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import CalibrationError
from armicro.field import Place
from armicro.rig import Mechanics

# ---------------------------------------------------------------------------
# Soft limits: where a stage may go, whatever it is told.

Limits = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y, in the stage's units."""
_ANYWHERE: Limits = (-1e9, -1e9, 1e9, 1e9)
"""No stage is larger, but a NaN is not even in here."""


def require_inside(x: float, y: float, limits: Limits | None) -> None:
    """Refuse a place that lies outside the limits, or is no number.

    Raises:
        CalibrationError: it does.
    """
    left, top, right, bottom = limits or _ANYWHERE
    if not (left <= x <= right and top <= y <= bottom):
        raise CalibrationError(
            f"stage: asked to go to ({x:.6g}, {y:.6g}), its soft limits are x "
            f"{left:g} to {right:g} and y {top:g} to {bottom:g}; choose a nearer place "
            "or correct stage.limits of the rig"
        )


# ---------------------------------------------------------------------------
# The protocol.


class StageDriver(Protocol):
    """A motorised stage, in its own units (micrometres by its maker's word)."""

    @property
    def limits(self) -> Limits | None:
        """Where it may go; None where the rig names no soft limits."""

    def position(self) -> tuple[float, float]:
        """Where it stands, x and y, from its encoder or step counter.

        Raises:
            SourceLostError: the stage does not answer any more.
        """

    def move_to(self, x: float, y: float) -> None:
        """Go there and return when it stands.

        Raises:
            CalibrationError: the place lies outside the soft limits.
            SourceLostError: the stage does not answer any more.
        """

    def close(self) -> None:
        """Give it back; may be called twice."""


# ---------------------------------------------------------------------------
# From encoder readings to a field's place.

Point = tuple[float, float]
_EVEN = math.sqrt(12)
"""Width of an even distribution over its standard deviation."""


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


# ---------------------------------------------------------------------------
# A stage with known faults: play, scatter, a turned camera, soft limits.
#
# Its step counter says what it was told; ``true_xy_um`` says where the view really is,
# which a real stage keeps to itself. ``source.simulated`` renders what is seen there.


class SimulatedStage:
    """A stage that is computed; it moves at once."""

    def __init__(self, mechanics: Mechanics, *, limits: Limits | None = None) -> None:
        """Stand at (0, 0), in the middle of the play of both axes."""
        self._mechanics = mechanics
        self.limits = limits
        self._rng = np.random.default_rng(mechanics.seed)
        self._told = np.zeros(2)
        self._pulled = np.zeros(2)
        """Where the table was pulled to, before scatter."""
        self._scatter = np.zeros(2)

    def position(self) -> tuple[float, float]:
        """What the step counter says: where it was told to go."""
        return float(self._told[0]), float(self._told[1])

    def move_to(self, x: float, y: float) -> None:
        """Turn the spindles; the table follows once the play is used up.

        Raises:
            CalibrationError: the place lies outside the soft limits.
        """
        require_inside(x, y, self.limits)
        told = np.array((x, y), float)
        turned = told != self._told
        half = np.asarray(self._mechanics.backlash) / 2
        self._told = told
        self._pulled = np.clip(self._pulled, told - half, told + half)
        scatter = self._rng.normal(0.0, self._mechanics.repeatability, 2)
        # An axis that was not moved stays where it stopped.
        self._scatter = np.where(turned, scatter, self._scatter)

    @property
    def true_xy_um(self) -> tuple[float, float]:
        """How far the view truly is from where it was at (0, 0), right and down."""
        matrix = np.asarray(self._mechanics.um_per_step)
        x, y = matrix @ (self._pulled + self._scatter)
        return float(x), float(y)

    def close(self) -> None:
        """Nothing to give back."""
