"""How pictures move when the stage does: matrix, play, scatter, and how surely.

Positions are in the stage's own units, shifts in pixels of the view (right and down).
``walk`` makes the moves; this file solves. Matrix and shifts come from moves that all
end in the same direction, so that play does not enter; play comes from places that
were approached from either side.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import CalibrationError

Array = NDArray[np.float64]

_LEAST_MOVES = 6
WORST_RESIDUAL = 0.05
"""RMS of the fit as a share of the moves; beyond, no matrix describes the stage."""
WORST_SKEW_DEG = 5.0
"""How far a stage's axes may be from square; beyond, one of them slipped."""


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """shift_px = px_per_step @ (position - centre) + offset_px."""

    px_per_step: Array
    """(2, 2)."""
    standard_error: Array
    """(2, 2), of its entries."""
    centre: Array
    """(2,) in the stage's units: mean of the positions."""
    offset_px: Array
    """(2,)."""
    residuals_px: Array
    """(n, 2)."""

    def predict_px(self, positions: Array) -> Array:
        """Shifts expected at positions (n, 2)."""
        return np.asarray(
            (positions - self.centre) @ self.px_per_step.T + self.offset_px
        )

    @property
    def relative_error(self) -> float:
        """Standard error of the entries as a share of the pixels a step moves."""
        return float(
            np.sqrt((self.standard_error**2).mean()) / step_px(self.px_per_step)
        )

    @property
    def rotation_deg(self) -> float:
        """Of the stage's x against the picture's rows, clockwise on the screen.

        Of both axes together: the nearest turn, after a mirror where the stage's y
        goes up.

        >>> turned = Matrix(np.array([[0.0, -2.0], [2.0, 0.0]]), *4 * [np.zeros(2)])
        >>> turned.rotation_deg
        90.0
        """
        (a, b), (c, d) = self.px_per_step
        if self.mirrored:
            b, d = -b, -d
        return math.degrees(math.atan2(c - b, a + d))

    @property
    def rotation_error_deg(self) -> float:
        """Standard error of the rotation: both axes tell it."""
        return math.degrees(self.relative_error) / math.sqrt(2)

    @property
    def mirrored(self) -> bool:
        """Whether the stage's y goes up on the screen when its x goes right."""
        return bool(np.linalg.det(self.px_per_step) < 0)

    @property
    def skew_deg(self) -> float:
        """How far the stage's axes are from square, as the picture sees them."""
        x, y = self.px_per_step.T
        cosine = float(x @ y) / float(np.hypot(*x) * np.hypot(*y))
        return abs(90.0 - math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """All that a walk measured."""

    matrix: Matrix
    shifts_px: Array
    """(n, 2) of the moves that were fitted."""
    backlash: Array
    """(k, 2): each row a measurement of x and y, in the stage's units."""
    scatter: tuple[Array, Array]
    """Where x and y stopped when they came to one place from one side, in units."""
    held_out_px: Array
    """(m, 2): error of moves that took no part in the fit."""
    first_tries_px: Array
    """(c, 2): error of moves to places in the picture, by the matrix alone."""
    last_tries_px: Array
    """(c, 2): and after correction by what was seen."""
    return_px: Array
    """(2,): how far the view was off when the stage came back at the end."""


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Micrometres a pixel, as a stage's moves tell it."""

    um_per_px: float
    standard_error: float
    """Of ``um_per_px``; holds the scatter of the moves, not the stage's own scale."""


def fit_matrix(positions: Array, shifts_px: Array) -> Matrix:
    """Fit by least squares, with an offset, since the reference has its own error.

    Args:
        positions: (n, 2) readings of the stage, in its units.
        shifts_px: (n, 2) of the view against one reference picture.

    Raises:
        CalibrationError: the moves are too few or all on one line.
    """
    centre = positions.mean(axis=0)
    design = np.column_stack((positions - centre, np.ones(len(positions))))
    spread = np.linalg.svd(design[:, :2], compute_uv=False)
    if len(positions) < _LEAST_MOVES or spread[1] < 0.1 * spread[0]:
        raise CalibrationError(
            f"stage: {len(positions)} moves, {spread[1]:.3g} against {spread[0]:.3g} "
            f"across; expected at least {_LEAST_MOVES} in both directions"
        )
    solution, *_ = np.linalg.lstsq(design, shifts_px, rcond=None)
    residuals = shifts_px - design @ solution
    free = len(positions) - 3
    covariance = np.linalg.inv(design.T @ design)
    variance = (residuals**2).sum(axis=0) / free
    errors = np.sqrt(np.outer(np.diag(covariance)[:2], variance)).T
    return Matrix(solution[:2].T, errors, centre, solution[2], residuals)


def step_px(px_per_step: Array) -> float:
    """Pixels that a step moves, as the geometric mean over directions."""
    return math.sqrt(abs(float(np.linalg.det(px_per_step))))


def rms(errors: Array) -> float:
    """Root of the mean squared length of errors (n, 2).

    >>> rms(np.array([[3.0, 4.0], [0.0, 0.0]])).__round__(3)
    3.536
    """
    return float(np.sqrt((errors**2).sum(axis=1).mean()))


def scale_from_moves(matrix: Matrix) -> Scale:
    """Scale of the picture, for a stage whose units are true micrometres.

    Both axes enter. The error is that of the fit; a lead screw's own scale, usually
    good to 0.1 %, is not in it.
    """
    um_per_px = 1 / step_px(matrix.px_per_step)
    # Two axes, each with the error of one entry along itself.
    relative = matrix.relative_error / math.sqrt(2)
    return Scale(um_per_px, um_per_px * relative)


def require_sound(walked: Walked) -> None:
    """Refuse a walk that no matrix describes.

    Raises:
        CalibrationError: moves scatter, axes are not square, or the slide slipped.
    """
    matrix = walked.matrix
    way_px = float(np.sqrt((np.ptp(walked.shifts_px, axis=0) ** 2).mean()))
    worst_px = rms(matrix.residuals_px)
    if worst_px > WORST_RESIDUAL * way_px:
        raise CalibrationError(
            f"stage: moves of {way_px:.0f} px scatter by {worst_px:.1f} px around any "
            f"matrix, expected at most {WORST_RESIDUAL:.0%}; fasten slide and camera, "
            "check the stage's drive, and repeat"
        )
    if matrix.skew_deg > WORST_SKEW_DEG:
        raise CalibrationError(
            f"stage: its axes are {matrix.skew_deg:.1f}° from square, expected at most "
            f"{WORST_SKEW_DEG:g}°; one of them slips, or pixels are not square"
        )
    off_px = float(np.hypot(*walked.return_px))
    if off_px > max(3.0, 6 * worst_px):
        raise CalibrationError(
            f"stage: {off_px:.1f} px off when it came back, though its moves scatter "
            f"by {worst_px:.1f} px; something drifts: wait until the stand is warm, "
            "fasten the slide, and repeat"
        )


def table_of(walked: Walked, *, um_per_px: float, measured_at: str) -> StageTable:
    """The certificate's table.

    Args:
        walked: what was measured.
        um_per_px: of the picture, which turns its pixels into µm at the slide.
        measured_at: ISO 8601, UTC.
    """
    matrix = walked.matrix
    um_per_step = um_per_px * matrix.px_per_step
    axis_um = np.hypot(*um_per_step)
    # A play below nothing is measurement error.
    backlash = np.maximum(walked.backlash.mean(axis=0), 0.0) * axis_um
    scatter = [axis.std(ddof=1) for axis in walked.scatter] * axis_um
    (a, b), (c, d) = um_per_step.tolist()
    return StageTable(
        measured_at=measured_at,
        um_per_step=((a, b), (c, d)),
        standard_error=matrix.relative_error,
        rotation_deg=matrix.rotation_deg,
        backlash_um=_pair(backlash),
        backlash_error_um=_pair(
            walked.backlash.std(axis=0, ddof=1)
            / math.sqrt(len(walked.backlash))
            * axis_um
        ),
        repeatability_um=float(np.sqrt((scatter**2).mean())),
        held_out_rms_um=rms(walked.held_out_px) * um_per_px,
        moves=len(walked.shifts_px),
    )


def _pair(values: Array) -> tuple[float, float]:
    return float(values[0]), float(values[1])
