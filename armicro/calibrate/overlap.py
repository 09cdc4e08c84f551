"""Where one field lies against another, of unknown scale and perhaps a little turned.

Features (SIFT, matched both ways and fitted by RANSAC) and correlation propose; what
they propose is turned back, refined and judged by the same test as live registration
(``align.agree``). So two fields that do not overlap are said not to.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.align.agree import Fit, fit, is_found
from armicro.align.look import Look, band_pass, normalise, reduce_light
from armicro.align.search import search
from armicro.field import Pixels

_SIDE_PX = 700
"""Fields are judged at this length of the longer side: cells are some 20 px there."""
_BEYOND = 6.0
_RATIO = 0.8
"""Of a feature's distance to its match and to the second best (Lowe 2004)."""
_LEAST_MATCHES = 6
_NEAR_PX = 3.0
_MOST_TURN_DEG = 15.0
_TURN_STEPS = 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """Where field B lies against field A."""

    found: bool
    dx_px: float | None = None
    dy_px: float | None = None
    """B's origin (the corner of its first pixel) in A's pixels."""
    rotation_deg: float | None = None
    """Of B against A, clockwise on the screen."""
    standard_error_px: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    turn_deg: float
    shift: tuple[float, float]
    """Of the turned B's corner in A, in fine pixels."""


def find_overlap(a: Pixels, b: Pixels) -> Overlap:
    """Find where field b lies against field a.

    Args:
        a: (height, width, 3) RGB.
        b: of the same scale; its size may be another.
    """
    scale = min(1.0, _SIDE_PX / max(*a.shape[:2], *b.shape[:2]))
    light_a, light_b = reduce_light(a, scale), reduce_light(b, scale)
    look_a = normalise(band_pass(light_a))
    best: tuple[Fit, float] | None = None
    for proposal in _proposals(look_a, light_b):
        judged = _refine(look_a, light_b, proposal)
        if judged is not None and (best is None or judged[0].beyond > best[0].beyond):
            best = judged
        if best is not None and best[0].beyond > 10 * _BEYOND:
            break
    if best is None:
        return Overlap(found=False)
    found, turn_deg = best
    x, y = _origin(light_b.shape, turn_deg, (found.dx_px, found.dy_px))
    return Overlap(
        found=True,
        dx_px=x / scale,
        dy_px=y / scale,
        rotation_deg=turn_deg,
        standard_error_px=found.standard_error_px / scale,
    )


def _proposals(look_a: Look, light_b: NDArray[np.float32]) -> Iterator[_Proposal]:
    upright = normalise(band_pass(light_b))
    by_features = _match_features(look_a, upright)
    if by_features is not None:
        yield by_features
    for turn_deg in (0.0, 1.5, -1.5, 3.0, -3.0):
        look_b = normalise(band_pass(_turned(light_b, turn_deg)))
        for shift in search(look_a, look_b):
            yield _Proposal(turn_deg, shift)


def _match_features(a: Look, b: Look) -> _Proposal | None:
    sift: Any = cv2.SIFT.create(nfeatures=3000, contrastThreshold=0.02)
    (points_a, words_a), (points_b, words_b) = (
        sift.detectAndCompute(_grey(look), None) for look in (a, b)
    )
    if words_a is None or words_b is None or min(len(words_a), len(words_b)) < 2:
        return None
    pairs = cv2.BFMatcher().knnMatch(words_b, words_a, k=2)
    good = [m for m, second in pairs if m.distance < _RATIO * second.distance]
    if len(good) < _LEAST_MATCHES:
        return None
    here = np.array([points_b[m.queryIdx].pt for m in good])
    there = np.array([points_a[m.trainIdx].pt for m in good])
    matrix, inside = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=_NEAR_PX, maxIters=5000
    )
    if matrix is None or int(inside.sum()) < _LEAST_MATCHES:
        return None
    turn_deg = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    if abs(turn_deg) > _MOST_TURN_DEG:
        return None
    # What the middle of b is moved by, it is moved by turned or not.
    height, width = b.fine.shape
    middle = np.array([width / 2, height / 2])
    shift = matrix[:, :2] @ middle + matrix[:, 2] - middle
    return _Proposal(turn_deg, (float(shift[0]), float(shift[1])))


def _grey(look: Look) -> NDArray[np.uint8]:
    return np.clip(128 - 32 * look.fine, 0, 255).astype(np.uint8)


def _refine(
    look_a: Look, light_b: NDArray[np.float32], proposal: _Proposal
) -> tuple[Fit, float] | None:
    """Fit a turned b, and turn it again by what is left, until nothing is."""
    turn_deg, shift = proposal.turn_deg, proposal.shift
    found: Fit | None = None
    for _ in range(_TURN_STEPS):
        look_b = normalise(band_pass(_turned(light_b, turn_deg)))
        found = fit(look_a, look_b, shift)
        if found is None or not is_found(found):
            return None
        rest_deg = _rest_of_turn(look_a, look_b, found)
        if abs(rest_deg) < 0.005:
            break
        turn_deg, shift = turn_deg + rest_deg, (found.dx_px, found.dy_px)
    if found is None or not is_found(found, beyond=_BEYOND):
        return None
    return found, turn_deg


def _rest_of_turn(a: Look, b: Look, found: Fit) -> float:
    """Turn of b against a that is left at a fit, in degrees; least squares."""
    dx, dy = round(found.dx_px), round(found.dy_px)
    height, width = b.fine.shape
    x0, x1 = max(0, dx), min(a.fine.shape[1], dx + width)
    y0, y1 = max(0, dy), min(a.fine.shape[0], dy + height)
    in_a = slice(y0, y1), slice(x0, x1)
    in_b = slice(y0 - dy, y1 - dy), slice(x0 - dx, x1 - dx)
    gx, gy = (
        (a.fine_slopes[i][in_a] + b.fine_slopes[i][in_b]).astype(np.float64) / 2
        for i in (0, 1)
    )
    y, x = np.mgrid[in_b].astype(np.float64)
    x, y = x + 0.5 - width / 2, y + 0.5 - height / 2
    rest = (a.fine[in_a] - b.fine[in_b]).astype(np.float64)
    slopes = np.stack([g.ravel() for g in (gx, gy, gy * x - gx * y)])
    answer = np.linalg.lstsq(slopes @ slopes.T, -(slopes @ rest.ravel()), rcond=None)
    return float(np.clip(math.degrees(answer[0][2]), -1.0, 1.0))


def _turned(light: NDArray[np.float32], turn_deg: float) -> NDArray[np.float32]:
    """Turn a picture clockwise about its middle; its edge is drawn out."""
    if turn_deg == 0.0:
        return light
    height, width = light.shape
    middle = (width - 1) / 2, (height - 1) / 2
    matrix = cv2.getRotationMatrix2D(middle, -turn_deg, 1.0)
    turned = cv2.warpAffine(
        light,
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(turned, np.float32)


def _origin(
    shape: tuple[int, ...], turn_deg: float, shift: tuple[float, float]
) -> tuple[float, float]:
    """Where b's corner lies in a, once b was turned about its middle and shifted."""
    x, y = shape[1] / 2, shape[0] / 2
    turn = math.radians(turn_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    return x - cos * x + sin * y + shift[0], y - sin * x - cos * y + shift[1]
