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
from PIL import Image, ImageDraw, ImageFont

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import CalibrationError
from armicro.field import Pixels

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
class StageWalk:
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
class StageScale:
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


def scale_from_moves(matrix: Matrix) -> StageScale:
    """Scale of the picture, for a stage whose units are true micrometres.

    Both axes enter. The error is that of the fit; a lead screw's own scale, usually
    good to 0.1 %, is not in it.
    """
    um_per_px = 1 / step_px(matrix.px_per_step)
    # Two axes, each with the error of one entry along itself.
    relative = matrix.relative_error / math.sqrt(2)
    return StageScale(um_per_px, um_per_px * relative)


def require_sound(walked: StageWalk) -> None:
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


def table_of(walked: StageWalk, *, um_per_px: float, measured_at: str) -> StageTable:
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


# ---------------------------------------------------------------------------
# A picture of a stage's calibration: where its moves missed, and what its play is.


_FINE = 3
"""Drawn so much larger and shrunk, since Pillow draws with hard edges."""
_WIDTH, _HEIGHT = 1020, 484
_PANEL = 380
"""Side of the two square panels."""
_TOP = 56
_PAPER, _INK, _FAINT = (255, 255, 255), (33, 37, 41), (206, 212, 218)
_FIT, _HELD_OUT = (34, 113, 178), (213, 94, 0)
_LONGEST = 0.09
"""Longest arrow as a share of the panel."""


def draw_stage(walked: StageWalk, *, um_per_px: float) -> Pixels:
    """Draw errors where they were made, and all on one target.

    Returns:
        (484, 1020, 3) RGB.
    """
    sheet = _Sheet()
    _map_panel(sheet, walked)
    _target_panel(sheet, walked, um_per_px)
    play = walked.backlash.mean(axis=0)
    sheet.text(
        (40, _HEIGHT - 22),
        f"{len(walked.shifts_px)} moves fitted, rms "
        f"{rms(walked.matrix.residuals_px):.3f} px · held out "
        f"{rms(walked.held_out_px):.3f} px · rotation "
        f"{walked.matrix.rotation_deg:z.3f}° · play x {play[0]:z.2f}, y {play[1]:z.2f} "
        "steps",
        size=14,
    )
    return sheet.pixels()


def _map_panel(sheet: "_Sheet", walked: StageWalk) -> None:
    """Each move's error as an arrow at its place in the picture."""
    x0 = 40
    reach = 1.2 * float(np.abs(walked.shifts_px).max())
    longest = float(np.hypot(*walked.matrix.residuals_px.T).max())
    factor = _round_down(_LONGEST * 2 * reach / longest) if longest > 1e-3 else 1.0
    enlarged = f", {factor:,.0f} times enlarged" if factor > 1 else ""
    sheet.text((x0, 22), f"Error of each move{enlarged}", size=15)
    sheet.box(x0, _TOP)

    def at(shift: Array) -> tuple[float, float]:
        return (
            x0 + _PANEL / 2 * (1 + shift[0] / reach),
            _TOP + _PANEL / 2 * (1 + shift[1] / reach),
        )

    for shift, error in zip(walked.shifts_px, walked.matrix.residuals_px, strict=True):
        sheet.dot(at(shift - error), 2.5, _FAINT)
        sheet.line(at(shift - error), at(shift - error + factor * error), _FIT)
        sheet.dot(at(shift - error + factor * error), 2.5, _FIT)


def _target_panel(sheet: "_Sheet", walked: StageWalk, um_per_px: float) -> None:
    """All errors from one middle, with rings."""
    x0 = 480
    everything = np.concatenate((walked.matrix.residuals_px, walked.held_out_px))
    reach = max(0.6, 1.15 * float(np.hypot(*everything.T).max()))
    ring = _round_down(reach / 1.1)
    sheet.text((x0, 22), "Errors on one target", size=15)
    sheet.box(x0, _TOP)
    middle = x0 + _PANEL / 2, _TOP + _PANEL / 2
    for share in (0.5, 1.0):
        sheet.ring(middle, share * ring / reach * _PANEL / 2)
    for errors, colour in (
        (walked.matrix.residuals_px, _FIT),
        (walked.held_out_px, _HELD_OUT),
    ):
        for x, y in errors / reach * _PANEL / 2:
            sheet.dot((middle[0] + float(x), middle[1] + float(y)), 4, colour)
    right = x0 + _PANEL + 24
    for row, (colour, text) in enumerate(((_FIT, "fitted"), (_HELD_OUT, "held out"))):
        sheet.dot((right, _TOP + 12 + 24 * row), 4, colour)
        sheet.text((right + 12, _TOP + 12 + 24 * row), text, size=14)
    sheet.text((right - 4, _TOP + 72), f"outer ring {ring:g} px", size=14)
    sheet.text((right - 4, _TOP + 94), f"{ring * um_per_px:.3g} micrometres", size=14)


def _round_down(value: float) -> float:
    """The next smaller number of the kind 1, 2, 5, 10.

    >>> _round_down(0.73), _round_down(38.0)
    (0.5, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(value))
    lead = next(lead for lead in (5, 2, 1) if lead * power <= value * (1 + 1e-9))
    return round(lead * power, 12)


class _Sheet:
    """A drawing in units of the finished picture's pixels."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (_WIDTH * _FINE, _HEIGHT * _FINE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: tuple[float, float], text: str, *, size: int) -> None:
        """Write from the left, centred in height."""
        font = ImageFont.load_default(size * _FINE)
        self._draw.text(_fine(at), text, fill=_INK, font=font, anchor="lm")

    def box(self, x: float, y: float) -> None:
        """The frame of a panel."""
        corners = *_fine((x, y)), *_fine((x + _PANEL, y + _PANEL))
        self._draw.rectangle(corners, outline=_FAINT, width=_FINE)

    def dot(
        self, at: tuple[float, float], radius: float, colour: tuple[int, int, int]
    ) -> None:
        """A filled circle."""
        self._draw.circle(_fine(at), radius * _FINE, fill=colour)

    def ring(self, at: tuple[float, float], radius: float) -> None:
        """An open circle."""
        self._draw.circle(_fine(at), radius * _FINE, outline=_FAINT, width=_FINE)

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: tuple[int, int, int],
    ) -> None:
        """A straight line."""
        self._draw.line((*_fine(start), *_fine(end)), fill=colour, width=2 * _FINE)

    def pixels(self) -> Pixels:
        """The finished picture."""
        small = self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        return np.asarray(small, np.uint8)


def _fine(at: tuple[float, float]) -> tuple[float, float]:
    return at[0] * _FINE, at[1] * _FINE
