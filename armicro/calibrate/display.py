"""From camera pixels to display pixels: what the drawing in the eyepiece stands on.

A homography for place, rotation and perspective, and a radial term about the field's
centre only where held-out points say that the lens needs one. Lengths are judged at the
slide: an error of a display pixel is turned into camera pixels, then into micrometres.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from armicro.calibrate.pattern import Points, Seen
from armicro.errors import CalibrationError

Floats = NDArray[np.float64]

FEWEST_POINTS = 12
LEAST_COVERED = 0.25
"""Share of the field inside the found points: the mapping holds only between them."""
_WORTH = 0.85
"""A further radial term must bring the held-out error below this share."""
_OUTLIER = 5.0
"""Times the median distance from the fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Where a camera pixel lies on the display."""

    homography: Floats
    """(3, 3): display pixel ~ homography @ (undistorted camera pixel, 1)."""
    distortion: tuple[float, ...]
    camera_wh_px: tuple[int, int]

    def to_display(self, camera_xy: Points) -> Points:
        """Display pixels of camera pixels, (n, 2)."""
        return to_display(
            camera_xy, self.homography, self.distortion, self.camera_wh_px
        )


@dataclass(frozen=True, slots=True)
class Residual:
    """How far the mapping is off, at the slide."""

    rms_um: float
    largest_um: float
    points: int


def to_display(
    camera_xy: Points,
    homography: Floats | tuple[tuple[float, ...], ...],
    distortion: tuple[float, ...],
    camera_wh_px: tuple[int, int],
) -> Points:
    """Map camera pixels to display pixels, as a certificate's Display table says.

    Args:
        camera_xy: (n, 2); whole numbers are centres of pixels.
        homography: 3x3.
        distortion: radial terms of r², r⁴...; r is 1 in the field's corners. A point at
            offset d from the centre is moved to d (1 + k1 r² + ...).
        camera_wh_px: width and height of the field.

    Returns:
        (n, 2)

    >>> double = ((2, 0, 1), (0, 2, 0), (0, 0, 1))
    >>> to_display(np.array([[3.0, 4.0]]), double, (), (9, 9))
    array([[7., 8.]])
    """
    centre = (np.asarray(camera_wh_px, np.float64) - 1) / 2
    off = np.asarray(camera_xy, np.float64) - centre
    r2 = (off**2).sum(axis=1, keepdims=True) / _half2(camera_wh_px)
    bent = off.copy()
    for power, term in enumerate(distortion, start=1):
        bent += off * term * r2**power
    flat = np.column_stack((bent + centre, np.ones(len(off))))
    shown = flat @ np.asarray(homography, np.float64).T
    return np.asarray(shown[:, :2] / shown[:, 2:])


def solve_display(seen: Seen, camera_wh_px: tuple[int, int]) -> Mapping:
    """Fit the mapping to a board's corners.

    Raises:
        CalibrationError: too few corners, or they lie in a part of the field only.
    """
    count = len(seen.camera_xy)
    if count < FEWEST_POINTS:
        raise CalibrationError(
            f"display: {count} corners of the pattern found, expected at least "
            f"{FEWEST_POINTS}; dim the lamp, raise the display's brightness, bring the "
            "pattern into focus, take --background"
        )
    share = covered_share(seen.camera_xy, camera_wh_px)
    if share < LEAST_COVERED:
        raise CalibrationError(
            f"display: the pattern covers {share:.0%} of the field, expected at least "
            f"{LEAST_COVERED:.0%}; centre the display, or make its image larger"
        )
    first, mask = cv2.findHomography(
        seen.camera_xy, seen.display_xy, cv2.RANSAC, float(np.ptp(seen.display_xy) / 50)
    )
    if first is None:
        raise CalibrationError(
            "display: the corners fit no plane; expected a flat display, seen whole"
        )
    kept = np.asarray(mask, bool).ravel()
    mapping = Mapping(np.asarray(first, np.float64), (), camera_wh_px)
    for _ in range(2):
        mapping = _choose(mapping, seen.camera_xy[kept], seen.display_xy[kept])
        off = mapping.to_display(seen.camera_xy) - seen.display_xy
        distance = np.hypot(off[:, 0], off[:, 1])
        kept = distance <= _OUTLIER * max(float(np.median(distance)), 0.02)
    return mapping


def judge(mapping: Mapping, seen: Seen, *, um_per_px: float) -> Residual:
    """Compare a mapping with corners, best with those that it was not fitted to.

    Args:
        mapping: the fit.
        seen: corners.
        um_per_px: scale of the camera's picture at the slide.

    Raises:
        CalibrationError: there are no corners to compare with.
    """
    if not len(seen.camera_xy):
        raise CalibrationError(
            "display: the verification pattern was not found; show it (--pattern-out "
            "writes it beside the first) and give its picture too"
        )
    off_um = error_um(mapping, seen.camera_xy, seen.display_xy, um_per_px=um_per_px)
    rms = math.sqrt(float((off_um**2).mean()))
    return Residual(rms, float(off_um.max()), len(off_um))


def error_um(
    mapping: Mapping, camera_xy: Points, display_xy: Points, *, um_per_px: float
) -> Floats:
    """Distance at the slide between where points are shown and where they should be.

    Returns:
        (n,) micrometres.
    """
    shown = mapping.to_display(camera_xy)
    step = np.eye(2)
    right, down = (
        mapping.to_display(camera_xy + step[axis]) - shown for axis in (0, 1)
    )
    # Columns: how far the display's point moves when the camera's moves by a pixel.
    jacobian = np.stack((right, down), axis=-1)
    off_px = np.linalg.solve(jacobian, (display_xy - shown)[..., None])[..., 0]
    return np.asarray(np.hypot(off_px[:, 0], off_px[:, 1]) * um_per_px)


def covered_share(camera_xy: Points, camera_wh_px: tuple[int, int]) -> float:
    """Share of the field inside the outermost points."""
    hull = cv2.convexHull(camera_xy.astype(np.float32))
    return float(cv2.contourArea(hull)) / (camera_wh_px[0] * camera_wh_px[1])


def _choose(mapping: Mapping, camera_xy: Points, display_xy: Points) -> Mapping:
    """The simplest of no, one and two radial terms that the points ask for."""
    start = mapping.homography / mapping.homography[2, 2]
    # Every other point is held out in turn.
    odd = np.arange(len(camera_xy)) % 2 == 1
    chosen, best = 0, math.inf
    for terms in range(3):
        off: list[Floats] = []
        for part in (odd, ~odd):
            fit = _fit(start, terms, mapping, camera_xy[~part], display_xy[~part])
            off.append(fit.to_display(camera_xy[part]) - display_xy[part])
        error = float(np.sqrt((np.concatenate(off) ** 2).mean()))
        if error < best * _WORTH:
            chosen, best = terms, error
    return _fit(start, chosen, mapping, camera_xy, display_xy)


def _fit(
    start: Floats, terms: int, mapping: Mapping, camera_xy: Points, display_xy: Points
) -> Mapping:
    # Parameters of like size, else the solver's steps are lopsided.
    size = np.array([1, 1, 1e3, 1, 1, 1e3, 1e-3, 1e-3])

    def unpack(values: Floats) -> tuple[Floats, tuple[float, ...]]:
        homography = np.append(values[:8] * size, 1.0).reshape(3, 3)
        return homography, tuple(float(v) for v in values[8:])

    def off(values: Floats) -> Floats:
        shown = to_display(camera_xy, *unpack(values), mapping.camera_wh_px)
        return np.asarray((shown - display_xy).ravel())

    first = np.append(start.ravel()[:8] / size, np.zeros(terms))
    found = least_squares(off, first, loss="soft_l1", method="trf")
    homography, distortion = unpack(found.x)
    return Mapping(homography, distortion, mapping.camera_wh_px)


def _half2(camera_wh_px: tuple[int, int]) -> float:
    return ((camera_wh_px[0] - 1) ** 2 + (camera_wh_px[1] - 1) ** 2) / 4
