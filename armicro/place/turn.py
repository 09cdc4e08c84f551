"""By how much one picture is turned against another: told, found and undone.

A camera that is turned in its mount shows the same cells, and two fields of it may fit
for all that: where a few cells meet, 3° shift none of them by a cell's width. What
tells is the turn that is left in the very blocks that agree: 0.00 to 0.10° between real
fields of one camera, known to 0.01 to 0.1°. A larger turn is found by features (SIFT,
Lowe 2004), undone, and judged as any other fit.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.place.agree import BLOCK_PX, ShiftFit, fit
from armicro.place.look import Plane, Texture

_LEAST_TURN_DEG = 0.25
_SURE = 5.0
"""Standard errors from which a turn is believed: of 575 fits of drawn fields of one
camera, most of few cells, one had 5.1 and none more (real ones: at most 2.5)."""
_KNOWN_DEG, _UPRIGHT = 0.6, 2.0
"""Standard error with which a turn is known, and by how many of them what is upright
may seem turned: 1.5° never passes."""
_DOUBTED_DEG = 0.2
"""From this standard error on a turn is in doubt: 3 % of the fits of real fields that
overlap by 15 % have more, and at 30 % none."""
_MOST_DOUBT_DEG = 3.0
"""Nobody turns a camera by chance by more and does not see it."""
_STEPS = 3
_EDGE_PX = 6
_TEXTURE = 0.12
_EVERY = 2
"""Of so many rows one is looked at."""
_CORRELATED_PX = 6.25
"""As in ``align.agree``, at half the scale and every second row."""
_LEAST_ERROR_DEG = 1e-3
_RATIO = 0.8
"""Of a feature's distance to its match and to the second best (Lowe 2004)."""
_LEAST_MATCHES = 6
_NEAR_PX = 3.0
_SMALL_TURN_DEG = 15.0
"""By more a turned picture needs room, and has corners that nothing is known of."""
_CORNER_PX = 13


class Turn(NamedTuple):
    """A turn, of the second picture against the first, clockwise on the screen."""

    deg: float
    error_deg: float
    """Standard error."""


class Doubt(NamedTuple):
    """What is not known of a field's turn against its map, and from where on."""

    error_deg: float = 0.0
    """Standard error; 0 where some chain of fits to the map's first field tells it."""
    about_um: tuple[float, float] = (0.0, 0.0)

    def error_um(self, middle_um: tuple[float, float]) -> tuple[float, float]:
        """Error along x and y that it leaves in the place of a field's middle."""
        turn = math.radians(self.error_deg)
        x, y = (abs(a - b) for a, b in zip(middle_um, self.about_um, strict=True))
        return turn * y, turn * x

    def moved(self, x_um: float, y_um: float) -> "Doubt":
        """The same on a map that lies elsewhere by so much."""
        return self._replace(
            about_um=(self.about_um[0] + x_um, self.about_um[1] + y_um)
        )


NO_DOUBT = Doubt()


class Match(NamedTuple):
    """How features lay one picture on another."""

    turn_deg: float
    """As in ``Turn``."""
    scale: float
    """The first's pixels for one of the second's."""
    middle: tuple[float, float]
    """Of the second in the first, in pixels."""


def rest_of_turn(a: Texture, b: Texture, found: ShiftFit) -> Turn:
    """The turn that is left between what agrees of two pictures that fit.

    One Gauss-Newton step for shift and turn; beyond 1.5° it says somewhat too much.
    """
    parts = _overlap(a, b, (round(found.dx_px), round(found.dy_px)))
    part_a, part_b = a.coarse[parts[0]], b.coarse[parts[1]]
    height, width = part_a.shape
    if not height or not width:
        return Turn(0.0, math.inf)
    agree = _agreeing(part_a, part_b)
    for look, part in zip((a, b), parts, strict=True):
        if look.coarse_clean is not None:
            agree = agree * look.coarse_clean[part]
    rest = (part_a - part_b) * agree
    gx, gy = (
        (a.coarse_slopes[axis][parts[0]] + b.coarse_slopes[axis][parts[1]]) * agree
        for axis in (0, 1)
    )
    x = np.arange(width, dtype=np.float32) - np.float32(width / 2)
    y = _EVERY * (np.arange(height, dtype=np.float32) - np.float32(height / 2))
    around = x * gy - y[:, None] * gx
    slopes = (gx, gy, around)
    # The slopes are sums of two.
    normal = np.array([[float(np.vdot(p, q)) for q in slopes] for p in slopes]) / 4
    right = np.array([float(np.vdot(p, rest)) for p in slopes]) / 2
    try:
        inverse = np.linalg.inv(normal)
    except np.linalg.LinAlgError:
        return Turn(0.0, math.inf)
    left = max(0.0, float(np.vdot(rest, rest)) - float(right @ inverse @ right))
    left *= _CORRELATED_PX / max(1.0, float(agree.sum()))
    turn, error = -float(inverse[2] @ right), math.sqrt(left * max(0.0, inverse[2, 2]))
    return Turn(math.degrees(turn), math.degrees(error) + _LEAST_ERROR_DEG)


def _agreeing(a: Plane, b: Plane) -> Plane:
    """1 in the blocks that have texture and agree, of every second row."""
    height, width = a.shape
    wh = width // (BLOCK_PX // 2), height * _EVERY // (BLOCK_PX // 2)
    both, aa, bb = (
        cv2.resize(each, wh, interpolation=cv2.INTER_AREA)
        for each in (a * b, a * a, b * b)
    )
    agree = (np.maximum(aa, bb) > _TEXTURE) & (both > (aa + bb) / 4)
    return np.asarray(
        cv2.resize(
            agree.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST
        )
    )


def pooled_turn(turns: Sequence[Turn]) -> Turn:
    """What several fits of one picture say of its turn together."""
    # Of one cell that is round nothing is known: infinity.
    weights = [1.0 / turn.error_deg**2 for turn in turns]
    total = sum(weights)
    if total <= 0:
        return Turn(0.0, math.inf)
    mean = sum(w * turn.deg for w, turn in zip(weights, turns, strict=True)) / total
    return Turn(mean, math.sqrt(1.0 / total))


def is_turned(turn: Turn) -> bool:
    """Whether a turn is none by chance.

    >>> is_turned(Turn(1.5, 0.1)), is_turned(Turn(0.1, 0.01)), is_turned(Turn(2.0, 0.5))
    (True, False, False)
    """
    least = _LEAST_TURN_DEG + _UPRIGHT * turn.error_deg
    return abs(turn.deg) > max(least, _SURE * turn.error_deg)


def is_upright(turn: Turn, *, known_deg: float = _KNOWN_DEG) -> bool:
    """Whether a turn is known well enough, and to be none.

    >>> is_upright(Turn(0.1, 0.01)), is_upright(Turn(0.5, 0.1)), is_upright(Turn(0, 2))
    (True, False, False)
    """
    known = turn.error_deg <= known_deg
    return known and abs(turn.deg) <= _LEAST_TURN_DEG + _UPRIGHT * turn.error_deg


def passed_on(doubt: Doubt, turn: Turn, about_um: tuple[float, float]) -> Doubt:
    """The doubt of a field that fits another, where they meet, with a turn."""
    if turn.error_deg < _DOUBTED_DEG:
        return doubt
    error_deg = min(_MOST_DOUBT_DEG, math.hypot(doubt.error_deg, turn.error_deg))
    return Doubt(error_deg, doubt.about_um if doubt.error_deg else about_um)


def undo_turn(
    a: Texture, b: Texture, match: Match, is_sure: Callable[[ShiftFit], bool]
) -> float | None:
    """The turn of b against a in degrees, if b fits surely once it is undone.

    Args:
        a: the picture that stays.
        b: the other.
        match: the turn roughly, and where b's middle lies, in fine pixels.
        is_sure: the test of a fit.
    """
    turn_deg, middle = match.turn_deg, match.middle
    for _ in range(_STEPS):
        upright = turned(b, turn_deg)
        height, width = upright.fine.shape
        found = fit(a, upright, (middle[0] - width / 2, middle[1] - height / 2))
        if found is None or not is_sure(found):
            return None
        left = rest_of_turn(a, upright, found)
        if not is_turned(left):
            return turn_deg if is_turned(Turn(turn_deg, left.error_deg)) else None
        turn_deg += left.deg
        middle = found.dx_px + width / 2, found.dy_px + height / 2
    return None


def match_by_rest(a: Texture, b: Texture, found: ShiftFit, turn_deg: float) -> Match:
    """How a picture lies that fits, but for a turn about the middle of the overlap."""
    (height_a, width_a), (height, width) = a.fine.shape, b.fine.shape
    x = (max(0.0, -found.dx_px) + min(width, width_a - found.dx_px) - width) / 2
    y = (max(0.0, -found.dy_px) + min(height, height_a - found.dy_px) - height) / 2
    turn = math.radians(turn_deg)
    # b's middle goes round that of the overlap.
    cos, sin = math.cos(turn), math.sin(turn)
    middle = (
        found.dx_px + width / 2 + x - (cos * x - sin * y),
        found.dy_px + height / 2 + y - (sin * x + cos * y),
    )
    return Match(turn_deg, 1.0, middle)


class Features(NamedTuple):
    """What stands out in a picture, by SIFT."""

    points: NDArray[np.float64]
    """(n, 2), x and y in pixels."""
    words: NDArray[np.float32] | None
    """(n, 128); None where n is 0."""
    shape: tuple[int, ...]
    """Of the picture."""


def find_features(plane: Plane) -> Features:
    """Find what stands out in a picture: some 5 ms for a field at half the scale."""
    sift: Any = cv2.SIFT.create(nfeatures=3000, contrastThreshold=0.02)
    points, words = sift.detectAndCompute(_grey(plane), None)
    spots = np.array([point.pt for point in points]).reshape(-1, 2)
    return Features(spots, words, plane.shape)


def match_features(a: Features, b: Features) -> Match | None:
    """Lay b on a by features; None where too few of them match."""
    if min(len(a.points), len(b.points)) < _LEAST_MATCHES:
        return None
    matcher: Any = cv2.BFMatcher()
    pairs = matcher.knnMatch(b.words, a.words, k=2)
    good = [m for m, second in pairs if m.distance < _RATIO * second.distance]
    if len(good) < _LEAST_MATCHES:
        return None
    here = b.points[[m.queryIdx for m in good]]
    there = a.points[[m.trainIdx for m in good]]
    matrix, inside = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=_NEAR_PX, maxIters=5000
    )
    if not np.any(inside) or inside.sum() < _LEAST_MATCHES:
        return None
    x, y = matrix[:, :2] @ (b.shape[1] / 2, b.shape[0] / 2) + matrix[:, 2]
    return Match(
        math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])),
        math.hypot(matrix[0, 0], matrix[1, 0]),
        (float(x), float(y)),
    )


def turned(look: Texture, turn_deg: float) -> Texture:
    """A look turned clockwise about its middle, with the room that it needs then."""
    size = room_of(look.fine.shape, turn_deg)
    fine = turn_plane(look.fine, turn_deg, size, border=cv2.BORDER_CONSTANT)
    inside = np.ones(look.fine.shape, np.float32) if look.clean is None else look.clean
    known = turn_plane(inside, turn_deg, size, border=cv2.BORDER_CONSTANT)
    return Texture(fine).masked(whole_part(known))


def room_of(
    shape: tuple[int, ...], turn_deg: float, scale: float = 1.0
) -> tuple[int, int]:
    """Height and width that a turned picture needs, whole fours; as it is if little."""
    height, width = shape
    if abs(turn_deg) <= _SMALL_TURN_DEG and scale == 1.0:
        return height, width
    turn = math.radians(turn_deg)
    cos, sin = abs(scale * math.cos(turn)), abs(scale * math.sin(turn))
    high, wide = cos * height + sin * width, cos * width + sin * height
    return math.ceil(high / 4) * 4, math.ceil(wide / 4) * 4


def turn_plane(
    plane: Plane,
    turn_deg: float,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    border: int = cv2.BORDER_REPLICATE,
) -> Plane:
    """Turn a picture clockwise about its middle, which is that of the new size."""
    height, width = plane.shape
    if turn_deg == 0.0 and scale == 1.0:
        return plane
    middle = (width - 1) / 2, (height - 1) / 2
    matrix = cv2.getRotationMatrix2D(middle, -turn_deg, scale)
    matrix[:, 2] += (size[1] - width) / 2, (size[0] - height) / 2
    moved = cv2.warpAffine(
        plane, matrix, size[::-1], flags=cv2.INTER_CUBIC, borderMode=border
    )
    return np.asarray(moved, np.float32)


def whole_part(inside: Plane) -> Plane:
    """1 well within what a turned picture shows, 0 near its rim and beyond."""
    kernel = np.ones((_CORNER_PX, _CORNER_PX), np.uint8)
    return np.asarray(cv2.erode(inside, kernel) > 0.5, np.float32)


def _overlap(
    a: Texture, b: Texture, shift: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The whole blocks that both pictures show, in coarse pixels: every second row."""
    side = BLOCK_PX // 2
    spans = []
    for axis in (1, 0):
        first = max(0, shift[1 - axis]) + _EDGE_PX
        last = min(a.fine.shape[axis], shift[1 - axis] + b.fine.shape[axis]) - _EDGE_PX
        length = max(0, last - first) // BLOCK_PX * side
        in_a, in_b = first // 2, (first - shift[1 - axis]) // 2
        every = _EVERY if axis == 0 else 1
        spans.append(
            (slice(in_a, in_a + length, every), slice(in_b, in_b + length, every))
        )
    (xa, xb), (ya, yb) = spans
    return (ya, xa), (yb, xb)


def _grey(plane: Plane) -> NDArray[np.uint8]:
    return np.clip(128 - 32 * plane, 0, 255).astype(np.uint8)
