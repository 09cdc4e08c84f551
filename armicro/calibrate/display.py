"""From camera pixels to display pixels: what the drawing in the eyepiece stands on.

A homography for place, rotation and perspective, and a radial term about the field's
centre only where held-out points say that the lens needs one. Lengths are judged at the
slide: an error of a display pixel is turned into camera pixels, then into micrometres.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from armicro.errors import CalibrationError
from armicro.field import Pixels

# ---------------------------------------------------------------------------
# What the display shows to be measured: a board whose every corner knows its name.
#
# Two ChArUco boards, told apart by the names of their markers: one to solve with, and
# one half a square beside it, whose corners lie where the first has none, to verify
# with. Names make a partly hidden, turned or dim board as good as a whole one. A beam
# splitter mirrors, and mirrored markers cannot be read, so a picture is read both ways.


Points = NDArray[np.float64]
"""(n, 2) x and y."""

SQUARES = 16
"""Along the longer side of the display."""
_MARKER_CELLS = 7
_MARKER_SHARE = 0.72
_VERIFY_FROM_ID = 128
"""Half of the squares hold a marker."""
_ENOUGH = 0.6
"""Share of a board's corners after which no other way of reading it is tried."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundCorners:
    """Corners that were found, in both pictures."""

    camera_xy: Points
    """In camera pixels; whole numbers are centres of pixels."""
    display_xy: Points
    mirrored: bool = False
    """The camera sees the display mirrored."""


def draw_pattern(width_px: int, height_px: int, *, verify: bool = False) -> Pixels:
    """Draw what the display is to show, pixel for pixel.

    Args:
        width_px: of the display.
        height_px: of the display.
        verify: the second board, that takes no part in the fit.

    Returns:
        (height, width, 3).

    Raises:
        CalibrationError: the display is too small for a board.
    """
    board, corner_px, square_px = _board(width_px, height_px, verify=verify)
    columns, rows = board.getChessboardSize()
    size = columns * square_px, rows * square_px
    picture = np.full((height_px, width_px), 255, np.uint8)
    x, y = corner_px
    picture[y : y + size[1], x : x + size[0]] = board.generateImage(size)
    return np.repeat(picture[..., None], 3, axis=2)


def find_pattern(
    picture: Pixels, display_wh_px: tuple[int, int], *, verify: bool = False
) -> FoundCorners:
    """Find a board's corners in the camera's picture.

    Args:
        picture: (height, width, 3) RGB.
        display_wh_px: width and height of the display.
        verify: look for the second board.

    Returns:
        No points where there is no such board in the picture.
    """
    board, corner_px, square_px = _board(*display_wh_px, verify=verify)
    detector = cv2.aruco.CharucoDetector(board)
    columns, rows = board.getChessboardSize()
    best = FoundCorners(np.empty((0, 2)), np.empty((0, 2)))
    for grey, mirrored in _readings(picture):
        # Typed as if it always found something.
        answer: tuple[Any, ...] = detector.detectBoard(grey)
        found, names = answer[:2]
        if names is None or len(names) <= len(best.camera_xy):
            continue
        camera = np.asarray(found, np.float64).reshape(-1, 2)
        if mirrored:
            camera[:, 0] = picture.shape[1] - 1 - camera[:, 0]
        row, column = np.divmod(names.ravel(), columns - 1)
        inner = np.stack((column + 1, row + 1), axis=1) * square_px
        # Corners lie between pixels, whose centres are whole numbers.
        best = FoundCorners(camera, inner + np.asarray(corner_px) - 0.5, mirrored)
        if len(names) >= _ENOUGH * (columns - 1) * (rows - 1):
            break
    return best


def _readings(picture: Pixels) -> Iterator[tuple[Pixels, bool]]:
    """The picture as it is, then with what is dim made plain; straight and mirrored."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    for plain, mirrored in product((False, True), (False, True)):
        shown = grey
        if plain:
            even = cv2.createCLAHE(8.0, (8, 8)).apply(grey)
            shown = np.asarray(cv2.GaussianBlur(even, (0, 0), 1.5), np.uint8)
        yield (np.ascontiguousarray(shown[:, ::-1]) if mirrored else shown), mirrored


def _board(
    width_px: int, height_px: int, *, verify: bool
) -> tuple[cv2.aruco.CharucoBoard, tuple[int, int], int]:
    """The board, its top left corner on the display, and the side of a square."""
    square_px = max(width_px, height_px) // SQUARES // 2 * 2
    marker_px = round(square_px * _MARKER_SHARE / _MARKER_CELLS) * _MARKER_CELLS
    columns, rows = (side // max(1, square_px) for side in (width_px, height_px))
    if marker_px < 2 * _MARKER_CELLS or min(columns, rows) < 4:
        raise CalibrationError(
            f"display of {width_px}x{height_px} px: too small for a pattern of "
            f"{SQUARES} squares; expected at least 512x256"
        )
    first, shift = 0, 0
    if verify:
        columns, rows, first, shift = columns - 1, rows - 1, _VERIFY_FROM_ID, 1
    names = np.arange(first, first + columns * rows // 2)
    words = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250)
    board = cv2.aruco.CharucoBoard(
        (columns, rows), float(square_px), float(marker_px), words, names
    )
    spare = (
        (width_px - (columns + shift) * square_px) // 2,
        (height_px - (rows + shift) * square_px) // 2,
    )
    corner = spare[0] + shift * square_px // 2, spare[1] + shift * square_px // 2
    return board, corner, square_px


# ---------------------------------------------------------------------------
# From camera to display.


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


def solve_display(seen: FoundCorners, camera_wh_px: tuple[int, int]) -> Mapping:
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


def judge(mapping: Mapping, seen: FoundCorners, *, um_per_px: float) -> Residual:
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
