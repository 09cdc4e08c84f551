"""Scale in both directions from a target of points: dots, or the corners of ChArUco.

Each point gets its whole number of pitches; one straight map from these numbers to
pixels then says scale, rotation and, by comparing its two axes, anisotropy.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from armicro.calibrate.reading import ScaleReading, check_axes
from armicro.calibrate.ruler.comb import READING_ERROR
from armicro.calibrate.ruler.prepare import flatten
from armicro.errors import CalibrationError

Points = NDArray[np.float64]
LEAST_POINTS = 16
COLUMNS, ROWS = 12, 9
"""Squares of the ChArUco board that calibration/targets/make.py draws."""
MARKER_SHARE = 0.7
DICTIONARY = cv2.aruco.DICT_5X5_250


@dataclass(frozen=True, slots=True, eq=False)
class _Lattice:
    """Points and the whole numbers of pitches at which they lie."""

    index: Points
    xy_px: Points


def board(square: float) -> cv2.aruco.CharucoBoard:
    """The ChArUco board of this house; ``square`` in any unit."""
    words = cv2.aruco.getPredefinedDictionary(DICTIONARY)
    return cv2.aruco.CharucoBoard((COLUMNS, ROWS), square, MARKER_SHARE * square, words)


def measure_charuco(pixels: NDArray[np.uint8], *, square_um: float) -> ScaleReading:
    """Scale from a picture of the ChArUco board, whole or in part.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
        square_um: side of a square in micrometres.

    Raises:
        CalibrationError: too little of the board is seen, or x and y disagree.
    """
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    # Typed as if it always found something.
    answer: tuple[Any, ...] = cv2.aruco.CharucoDetector(board(1.0)).detectBoard(grey)
    corners, names = answer[:2]
    count = 0 if names is None else len(names)
    if count < LEAST_POINTS:
        raise CalibrationError(
            f"ChArUco: {count} corners seen, expected at least {LEAST_POINTS} of the "
            f"{COLUMNS}x{ROWS} board that calibration/targets/make.py draws; focus on "
            "it and bring more of it into view"
        )
    row, column = np.divmod(np.asarray(names).ravel(), COLUMNS - 1)
    index = np.stack([column, row], axis=1).astype(np.float64)
    xy = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    return _solve(_Lattice(index, xy), square_um, "charuco")


def measure_dots(pixels: NDArray[np.uint8], *, pitch_um: float) -> ScaleReading:
    """Scale from a picture of round dots on a square lattice.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
        pitch_um: distance of neighbouring dots in micrometres.

    Raises:
        CalibrationError: no lattice of dots is seen, or x and y disagree.
    """
    soft = cv2.GaussianBlur(flatten(pixels).contrast, (0, 0), 1.0)
    contrast = np.asarray(soft, np.float32)
    best = max((_dots(sign * contrast) for sign in (-1, 1)), key=len)
    if len(best) < LEAST_POINTS:
        raise CalibrationError(
            f"dots: {len(best)} round dots of one size seen, expected at least "
            f"{LEAST_POINTS}; focus on the target and bring more of it into view"
        )
    lattice = _number(best)
    if len(lattice.xy_px) < 0.8 * len(best):
        raise CalibrationError(
            f"dots: {len(lattice.xy_px)} of {len(best)} lie on one square lattice, "
            "expected 80 %; clean the target and look straight at it"
        )
    return _solve(lattice, pitch_um, "dots")


def _dots(bright: NDArray[np.float32]) -> Points:
    """Centres of round spots of about one size."""
    level = 0.5 * float(np.percentile(bright, 99))
    mask = (bright > max(level, 0.02)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    height, width = mask.shape
    x, y, w, h, area = stats[1:].T.astype(np.float64)
    inside = (x > 0) & (y > 0) & (x + w < width) & (y + h < height)
    fill = area / np.maximum(w * h, 1)
    round_ = (np.maximum(w, h) < 1.35 * np.minimum(w, h)) & (fill > 0.6) & (fill < 0.92)
    good = inside & round_ & (area >= 9)
    if good.sum() < LEAST_POINTS:
        return np.empty((0, 2))
    usual = float(np.median(area[good]))
    good &= (area > 0.5 * usual) & (area < 2 * usual)
    weight = np.where(mask > 0, bright, 0).astype(np.float64).ravel()
    owner = labels.ravel()
    rows, columns = np.divmod(np.arange(owner.size), width)
    mass = np.bincount(owner, weight, count)[1:]
    centre_x = np.bincount(owner, weight * columns, count)[1:] / np.maximum(mass, 1e-9)
    centre_y = np.bincount(owner, weight * rows, count)[1:] / np.maximum(mass, 1e-9)
    return np.asarray(np.stack([centre_x, centre_y], axis=1)[good], np.float64)


def _number(xy: Points) -> _Lattice:
    """Whole numbers for points of a square lattice, from neighbour to neighbour."""
    tree = cKDTree(xy)
    distance, near = tree.query(xy, k=5)
    pitch = float(np.median(distance[:, 1]))
    steps = (xy[near[:, 1:]] - xy[:, None]).reshape(-1, 2)
    steps = steps[np.hypot(*steps.T) < 1.2 * pitch]
    # Four-fold angle: all four neighbours vote for one axis.
    turn = np.angle(np.mean(np.exp(4j * np.arctan2(steps[:, 1], steps[:, 0])))) / 4
    axes = pitch * np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    )
    start = int(tree.query(xy.mean(axis=0))[1])
    numbers = {start: (0, 0)}
    queue = [start]
    while queue:
        point = queue.pop(0)
        for way in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            off, other = tree.query(xy[point] + np.asarray(way) @ axes)
            if off < 0.2 * pitch and int(other) not in numbers:
                i, j = numbers[point]
                numbers[int(other)] = (i + way[0], j + way[1])
                queue.append(int(other))
    index = np.array(list(numbers.values()), dtype=np.float64)
    return _Lattice(index, xy[list(numbers)])


def _solve(lattice: _Lattice, pitch_um: float, method: str) -> ScaleReading:
    """The straight map from numbers to pixels; outliers are left out once."""
    design = np.column_stack([lattice.index, np.ones(len(lattice.index))])
    used = np.ones(len(design), dtype=bool)
    solution = np.linalg.lstsq(design, lattice.xy_px, rcond=None)[0]
    off = lattice.xy_px - design @ solution
    for _ in range(3):
        size = np.hypot(*off.T)
        used = size <= max(4 * float(np.median(size)), 0.2)
        solution = np.linalg.lstsq(design[used], lattice.xy_px[used], rcond=None)[0]
        off = lattice.xy_px - design @ solution
    if used.sum() < LEAST_POINTS or np.ptp(lattice.index[used], axis=0).min() < 2:
        raise CalibrationError(
            f"{method}: {int(used.sum())} points in one line; expected at least 3 rows "
            "and columns; bring more of the target into view"
        )
    pitches = np.hypot(*solution[:2].T)
    rms = float(np.sqrt(np.sum(off[used] ** 2) / (2 * used.sum() - 6)))
    if rms > max(0.02 * float(pitches.mean()), 0.3):
        raise CalibrationError(
            f"{method}: points lie {rms:.2f} px off their lattice, expected "
            f"{max(0.02 * float(pitches.mean()), 0.3):.2f} px at most; lay the target "
            "flat and look straight at it"
        )
    covariance = np.linalg.inv(design[used].T @ design[used]) * rms**2
    errors = np.sqrt(np.diag(covariance)[:2] + (READING_ERROR * pitches) ** 2)
    scales, scale_errors = pitch_um / pitches, pitch_um * errors / pitches**2
    check_axes(scales, scale_errors)
    along = solution[0] / pitches[0]
    reach = 0.2 * along * pitches[0]
    points = lattice.xy_px[used]
    scale = float(pitch_um / np.sqrt(pitches.prod()))
    return ScaleReading(
        um_per_px=scale,
        standard_error=float(np.hypot(*scale_errors) / 2),
        rotation_deg=float(np.degrees(np.arctan2(along[1], along[0])) % 180),
        divisions=int(np.ptp(lattice.index[used], axis=0).max()),
        division_um=pitch_um,
        residual_um=rms * scale,
        anisotropy=float(scales[1] / scales[0] - 1),
        method=method,
        marks_xy_px=np.stack([points - reach, points + reach], axis=1),
        residuals_um=off[used] @ along * scale,
    )
