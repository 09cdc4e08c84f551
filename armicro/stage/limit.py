"""Soft limits: where a stage may go, whatever it is told."""

from armicro.errors import CalibrationError

Limits = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y, in the stage's units."""
_ANYWHERE: Limits = (-1e9, -1e9, 1e9, 1e9)
"""No stage is larger, but a NaN is not even in here."""


def is_inside(x: float, y: float, limits: Limits | None) -> bool:
    """Whether a place may be gone to; NaN may not.

    >>> is_inside(5, 5, (0, 0, 10, 10)), is_inside(5, 11, (0, 0, 10, 10))
    (True, False)
    """
    left, top, right, bottom = limits or _ANYWHERE
    return left <= x <= right and top <= y <= bottom


def require_inside(x: float, y: float, limits: Limits | None) -> None:
    """Refuse a place that lies outside the limits, or is no number.

    Raises:
        CalibrationError: it does.
    """
    if not is_inside(x, y, limits):
        left, top, right, bottom = limits or _ANYWHERE
        raise CalibrationError(
            f"stage: asked to go to ({x:.6g}, {y:.6g}), its soft limits are x "
            f"{left:g} to {right:g} and y {top:g} to {bottom:g}; choose a nearer place "
            "or correct stage.limits of the rig"
        )
