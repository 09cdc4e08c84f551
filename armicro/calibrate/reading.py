"""What one picture says of the scale, and what several say together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import LARGEST_SHARE_OFF
from armicro.errors import CalibrationError

Doubles = NDArray[np.float64]
OBJECTIVE_UM_PER_PX = (0.01, 100.0)
"""From 100x on small pixels to a lens that photographs a board."""
AGREE_ERRORS = 3.0
AGREE_SHARE = 1e-3
"""Beside their errors two scales may differ by so much: the makers' own tolerance."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The scale of one picture."""

    um_per_px: float
    standard_error: float
    """Of ``um_per_px``, in µm/px."""
    rotation_deg: float
    """Of the ruler against the picture's rows, clockwise on the screen, in [0, 180)."""
    divisions: int
    division_um: float
    residual_um: float
    """RMS distance of a tick from the fitted ruler."""
    method: str
    """ruler, grid, dots or charuco."""
    marks_xy_px: Doubles
    """(n, 2, 2): both ends of every tick that was used, in pixels of the picture."""
    residuals_um: Doubles
    """(n,) of the same ticks, along the ruler."""
    bend: float = 0.0
    """By how much the scale changes from end to end, as a share; 0: not measurably."""
    every: int = 0
    """One in so many ticks is longer; 0: all alike."""
    anisotropy: float | None = None
    """Scale along y over that along x, less 1; None: one direction was seen."""


def combine(readings: Sequence[Reading]) -> Reading:
    """One scale from several pictures of the same instrument, in any directions.

    The first one's ticks are kept. Pictures share their errors of optics and reading,
    so many do not make a much smaller error than the best.

    Raises:
        CalibrationError: two of them disagree beyond their errors.
    """
    scales = np.array([reading.um_per_px for reading in readings])
    errors = np.array([reading.standard_error for reading in readings])
    for i in range(len(readings)):
        for j in range(i):
            _check_agree(readings[j], readings[i])
    weights = 1 / errors**2
    mean = float(np.sum(weights * scales) / weights.sum())
    scatter = float(np.std(scales)) / np.sqrt(len(scales))
    return replace(
        readings[0],
        um_per_px=mean,
        standard_error=max(float(errors.min()) / np.sqrt(2), scatter)
        if len(readings) > 1
        else readings[0].standard_error,
        anisotropy=_anisotropy(readings),
    )


def check_axes(scales: Doubles, errors: Doubles) -> None:
    """Refuse when x and y disagree.

    Args:
        scales: (2,) µm per pixel along the two axes of a target.
        errors: (2,) their standard errors.

    Raises:
        CalibrationError: they differ by more than their errors.
    """
    if abs(scales[1] - scales[0]) > _allowed(scales.mean(), *errors):
        raise CalibrationError(
            f"x and y disagree: {scales[0]:.5f} ± {errors[0]:.5f} and {scales[1]:.5f} "
            f"± {errors[1]:.5f} µm/px; expected the same; lay the target flat, look "
            "straight at it, and see that the camera's picture is not stretched"
        )


def check_expected(um_per_px: float, expected: float | None) -> None:
    """Refuse a scale that objective and camera cannot make.

    Raises:
        CalibrationError: no objective gives it, or it is more than 25 % off.
    """
    least, most = OBJECTIVE_UM_PER_PX
    if not least <= um_per_px <= most:
        raise CalibrationError(
            f"implausible scale: measured {um_per_px:.3g} µm/px, objectives give "
            f"{least:g} to {most:g}; check --division-um (in micrometres)"
        )
    if expected is None or abs(um_per_px / expected - 1) <= LARGEST_SHARE_OFF:
        return
    raise CalibrationError(
        f"implausible scale: measured {um_per_px:.4f} µm/px, expected about "
        f"{expected:.4f} µm/px of this objective and camera; check which objective is "
        "in the light path, the adapter, --division-um and the camera's binning"
    )


def _check_agree(one: Reading, two: Reading) -> None:
    allowed = _allowed(one.um_per_px, one.standard_error, two.standard_error)
    if abs(one.um_per_px - two.um_per_px) > allowed:
        raise CalibrationError(
            f"pictures disagree: {one.um_per_px:.5f} ± {one.standard_error:.5f} µm/px "
            f"at {one.rotation_deg:.0f}° and {two.um_per_px:.5f} ± "
            f"{two.standard_error:.5f} µm/px at {two.rotation_deg:.0f}°; expected the "
            "same; use one objective and camera setting, and focus each picture"
        )


def _allowed(scale: float, one: float, two: float) -> float:
    return float(AGREE_ERRORS * np.hypot(one, two) + AGREE_SHARE * scale)


def _anisotropy(readings: Sequence[Reading]) -> float | None:
    """Of pictures in two directions about at right angles."""
    first = readings[0]
    for other in readings[1:]:
        apart = abs((other.rotation_deg - first.rotation_deg) % 180 - 90)
        if apart < 20:
            x, y = (first, other) if _is_x(first) else (other, first)
            return y.um_per_px / x.um_per_px - 1
    return first.anisotropy


def _is_x(reading: Reading) -> bool:
    return abs((reading.rotation_deg + 90) % 180 - 90) < 45
