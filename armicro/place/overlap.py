"""Where one field lies against another, of unknown scale, perhaps turned or resized.

Features (SIFT, matched both ways and fitted by RANSAC) and correlation propose; what
they propose is undone, refined and judged by the same test as live registration
(``align.agree``). So two fields that do not overlap are said not to. A picture that
repeats (dots, a grid, stripes) agrees a period off as well: one that agrees with itself
somewhere else is refused, unless it is said where the second field is expected.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.place.agree import (
    ShiftFit,
    fit,
    is_edge,
    is_found,
    is_near,
    score_shifts,
    search,
)
from armicro.place.look import (
    Plane,
    Texture,
    band_pass,
    noise_power,
    normalise,
    reduce_light,
)
from armicro.place.turn import (
    find_features,
    match_features,
    room_of,
    turn_plane,
    whole_part,
)

_SIDE_PX = 700
"""Fields are judged at this length of the longer side: cells are some 20 px there."""
_BEYOND = 6.0
_UNDOUBTED = 60.0
_NARROW_SHARE = 0.35
_NARROW_BEYOND = 12.0
"""From these a refusal is narrow, and noise may be to blame. It counts if at half the
scale, where noise is half as loud, all agrees: of different places 0.43 there at most
(tests/benchmarks/bench_register.py --part strangers)."""
_SAME_PX = 2.0
_STILL_PX = 16.0
"""Dirt on the sensor agrees with itself about so far from no shift at all."""
_UPRIGHT_DEG = 0.5
"""A smaller turn by features is left to the parts of the overlap to show."""
_UPRIGHT_SCALE = 0.01
"""A scale by features nearer to 1 is 1: fields of one camera have no other."""
_MOST_SCALE = 0.1
_TURN_STEPS = 4
_LEAST_TURN_DEG = 0.01
_SURE = 5.0
"""Standard errors from which a turn is believed: fields of one camera have none."""
_PART_PX = 110
_PART_EVIDENCE = 4.0
_LEAST_PARTS = 4
_MOST_PERIODS = 24
_LEAST_PERIOD_PX = 12
_LEAST_REPEATED = 0.25
"""Share of a picture that is compared with its own shifted copy."""
_DIP = 0.3
_REPEATED_SHARE = 0.85
_MOST_OFF = 0.3
"""Of a period: so far from a place that fits may one be expected, to be that one."""
_REPEATS = (
    "ambiguous: the pictures repeat (dots, a grid, stripes), and agree a period off as "
    "well; expected texture that does not repeat; use a field of cells or tissue, or "
    "say about where B lies with --expect-px X Y"
)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Where field B lies against field A."""

    found: bool
    dx_px: float | None = None
    dy_px: float | None = None
    """B's origin (the corner of its first pixel) in A's pixels."""
    rotation_deg: float | None = None
    """Of B against A, clockwise on the screen."""
    scale: float | None = None
    """A's pixels for one of B's."""
    standard_error_px: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Proposal:
    turn_deg: float
    scale: float
    middle: tuple[float, float]
    """Of B in A, in fine pixels."""


class _Seen(NamedTuple):
    """A field's light, and the noise in it."""

    light: Plane
    noise: Plane

    def look(self, turn_deg: float = 0.0, scale: float = 1.0) -> Texture:
        """The texture of the field turned clockwise and resized about its middle."""
        upright = self.light.shape
        size = room_of(upright, turn_deg, scale)
        light = turn_plane(self.light, turn_deg, size, scale=scale)
        small = (
            size[0] * self.noise.shape[0] // upright[0],
            (size[1] * self.noise.shape[1] // upright[1]),
        )
        noise = turn_plane(self.noise, turn_deg, small, scale=scale)
        look = normalise(band_pass(light), np.maximum(noise, 0.0))
        clean = self.inside(turn_deg, scale)
        return look if clean is None else look.masked(clean)

    def halved(self) -> "_Seen":
        """The same at half the scale."""
        height, width = (side // 8 * 8 for side in self.light.shape)
        light = cv2.resize(
            self.light[:height, :width],
            (width // 2, height // 2),
            interpolation=cv2.INTER_AREA,
        )
        halved = np.asarray(light, np.float32)
        return _Seen(halved, noise_power(halved, 1.0))

    def inside(self, turn_deg: float, scale: float) -> Plane | None:
        """0 in the corners that nothing is known of, else 1; None without corners."""
        upright = self.light.shape
        size = room_of(upright, turn_deg, scale)
        if size == upright:
            return None
        whole = np.ones(upright, np.float32)
        border = cv2.BORDER_CONSTANT
        return whole_part(turn_plane(whole, turn_deg, size, scale=scale, border=border))


class _Answer(NamedTuple):
    fit: ShiftFit
    middle: tuple[float, float]
    turn_deg: float
    scale: float
    error_px: float

    def proposal(self, beside: tuple[float, float]) -> _Proposal:
        """To look for b beside this place, by x and y in fine pixels."""
        middle = self.middle[0] + beside[0], self.middle[1] + beside[1]
        return _Proposal(self.turn_deg, self.scale, middle)


_Refine = Callable[[_Proposal], _Answer | None]


def find_overlap(
    a: Pixels, b: Pixels, *, expected_xy_px: tuple[float, float] | None = None
) -> Overlap:
    """Find where field b lies against field a.

    Args:
        a: (height, width, 3) RGB.
        b: of the same scale within a tenth; its size and turn may be any.
        expected_xy_px: about where b's origin lies in a; chooses where a picture
            that repeats leaves several places.

    Raises:
        CalibrationError: the pictures repeat, and several places fit as well.
    """
    scale = min(1.0, _SIDE_PX / max(*a.shape[:2], *b.shape[:2]))
    seen_a, seen_b = _see(a, scale), _see(b, scale)
    look_a = seen_a.look()
    best: _Answer | None = None
    for proposal in _proposals(look_a, seen_b):
        answer = _refine(seen_a, look_a, seen_b, proposal)
        if answer is not None and (best is None or answer.fit.beyond > best.fit.beyond):
            best = answer
        if best is not None and best.fit.beyond > _UNDOUBTED:
            break
    if best is None:
        if _own_shifts(look_a) and _own_shifts(seen_b.look()):
            raise CalibrationError(_REPEATS)
        return Overlap(found=False)
    periods = _own_shifts(look_a)
    refine = partial(_refine, seen_a, look_a, seen_b)
    if _fits_elsewhere(refine, best, periods):
        if expected_xy_px is None:
            raise CalibrationError(_REPEATS)
        near = expected_xy_px[0] * scale, expected_xy_px[1] * scale
        best = _nearest(refine, seen_b.light.shape, best, periods, near)
    x, y = _origin(seen_b.light.shape, best)
    return Overlap(
        found=True,
        dx_px=x / scale,
        dy_px=y / scale,
        rotation_deg=best.turn_deg,
        scale=best.scale,
        standard_error_px=best.error_px / scale,
    )


def _own_shifts(look: Texture) -> list[tuple[float, float]]:
    """Shifts other than none, in fine pixels, at which a picture agrees with itself.

    A straight edge agrees with itself wherever it is slid along: that is one ridge
    without a dip, and no period.
    """
    score = score_shifts(look, look, least_overlap=_LEAST_REPEATED)
    middle = np.array(score.shape)[::-1] // 2
    found = []
    for shift in search(look, look, count=_MOST_PERIODS, least_overlap=_LEAST_REPEATED):
        end = middle + np.array(shift) / 2
        steps = int(np.hypot(*shift))
        if steps < _LEAST_PERIOD_PX:
            continue
        x, y = np.linspace(middle, end, steps).round().astype(int).T
        own = fit(look, look, shift)
        dips = float(score[y, x].min()) < _DIP * float(score[y[-1], x[-1]])
        if dips and own is not None and own.share >= _REPEATED_SHARE:
            found.append((own.dx_px, own.dy_px))
    return found


def _fits_elsewhere(
    refine: _Refine, best: _Answer, periods: list[tuple[float, float]]
) -> bool:
    """Whether b fits as surely a period off."""
    return any(refine(best.proposal(period)) is not None for period in periods)


def _nearest(
    refine: _Refine,
    shape: tuple[int, ...],
    best: _Answer,
    periods: list[tuple[float, float]],
    near: tuple[float, float],
) -> _Answer:
    """The place, whole periods from one that fits, nearest to where b is expected.

    Raises:
        CalibrationError: none is plainly the nearest.
    """
    one, *more = sorted(periods, key=lambda period: math.hypot(*period))
    least = math.hypot(*one)
    across = (
        period
        for period in more
        if abs(one[0] * period[1] - one[1] * period[0]) > 0.5 * least**2
    )
    lattice = np.array([one, *itertools.islice(across, 1)])
    way = np.subtract(near, _origin(shape, best))
    count = np.round(np.linalg.lstsq(lattice.T, way, rcond=None)[0])
    x, y = count @ lattice
    answer = refine(best.proposal((float(x), float(y))))
    if answer is None or math.dist(_origin(shape, answer), near) > _MOST_OFF * least:
        raise CalibrationError(_REPEATS)
    return answer


def _see(pixels: Pixels, scale: float) -> _Seen:
    light = reduce_light(pixels, scale)
    return _Seen(light, noise_power(light, scale))


def _proposals(look_a: Texture, seen_b: _Seen) -> Iterator[_Proposal]:
    upright = seen_b.look()
    by_features = _by_features(look_a, upright)
    if by_features is not None:
        yield by_features
    for turn_deg in (0.0, 1.5, -1.5, 3.0, -3.0):
        look_b = seen_b.look(turn_deg)
        for shift in search(look_a, look_b):
            yield _Proposal(turn_deg, 1.0, _middle(shift, look_b))


def _by_features(a: Texture, b: Texture) -> _Proposal | None:
    found = match_features(find_features(a.fine), find_features(b.fine))
    if found is None or abs(found.scale - 1.0) > _MOST_SCALE:
        return None
    upright = abs(found.turn_deg) < _UPRIGHT_DEG
    alike = abs(found.scale - 1.0) < _UPRIGHT_SCALE
    return _Proposal(
        0.0 if upright else found.turn_deg, 1.0 if alike else found.scale, found.middle
    )


def _middle(shift: tuple[float, float], look: Texture) -> tuple[float, float]:
    height, width = look.fine.shape
    return shift[0] + width / 2, shift[1] + height / 2


def _refine(
    seen_a: _Seen, look_a: Texture, seen_b: _Seen, proposal: _Proposal
) -> _Answer | None:
    """Fit a turned b, and turn it by what the parts of the overlap say is left."""
    turn_deg, middle, scale = proposal.turn_deg, proposal.middle, proposal.scale
    answer: _Answer | None = None
    is_sure = False
    for _ in range(_TURN_STEPS):
        look_b = seen_b.look(turn_deg, scale)
        room = _middle((0.0, 0.0), look_b)
        shift = middle[0] - room[0], middle[1] - room[1]
        found = fit(look_a, look_b, shift)
        if found is None:
            return None
        is_sure = is_found(found, beyond=_BEYOND)
        if not is_near(found):
            is_sure = _agrees_halved(seen_a, seen_b, proposal.scale, turn_deg, found)
            if not is_sure:
                return None
        rest_deg, error_deg, error_px = _rest_of_turn(look_a, look_b, found)
        middle = _middle((found.dx_px, found.dy_px), look_b)
        answer = _Answer(found, middle, turn_deg, scale, error_px)
        if abs(rest_deg) <= _SURE * error_deg + _LEAST_TURN_DEG:
            break
        turn_deg += rest_deg
    return answer if is_sure else None


def _agrees_halved(
    a: _Seen, b: _Seen, scale: float, turn_deg: float, found: ShiftFit
) -> bool:
    """A second opinion, where noise alone may have refused a fit."""
    is_narrow = found.share >= _NARROW_SHARE and found.beyond >= _NARROW_BEYOND
    has_moved = math.hypot(found.dx_px, found.dy_px) > _STILL_PX
    if not (is_narrow and has_moved) or is_edge(found):
        return False
    look_a, look_b = a.halved().look(), b.halved().look(turn_deg, scale)
    half = fit(look_a, look_b, (found.dx_px / 2, found.dy_px / 2))
    if half is None or not is_found(half, beyond=_BEYOND):
        return False
    away_px = math.hypot(2 * half.dx_px - found.dx_px, 2 * half.dy_px - found.dy_px)
    return away_px <= _SAME_PX


def _rest_of_turn(
    a: Texture, b: Texture, found: ShiftFit
) -> tuple[float, float, float]:
    """Turn of b against a that parts of the overlap show, its error, and the place's.

    The parts scatter as the lens distorts, by some pixels in real pairs: that is the
    true error of a place, and a turn within it is none.

    Returns:
        Turn and its standard error in degrees, standard error of b's origin in px.
    """
    dx, dy = round(found.dx_px), round(found.dy_px)
    places, moves = _parts(a, b, dx, dy)
    if len(places) < 2:
        return 0.0, math.inf, found.standard_error_px
    middle, move = places.mean(axis=0), moves.mean(axis=0)
    at, left = places - middle, moves - move
    if len(places) < _LEAST_PARTS:
        # Too few to tell a turn from the lens.
        variance = float((left**2).sum()) / (2 * len(places) - 2)
        error_px = math.sqrt(found.standard_error_px**2 + variance / len(places))
        return 0.0, math.inf, error_px
    lever2 = float((at**2).sum())
    turn = float((at[:, 0] * left[:, 1] - at[:, 1] * left[:, 0]).sum()) / lever2
    rest = left - turn * np.stack((-at[:, 1], at[:, 0]), axis=1)
    variance = float((rest**2).sum()) / (2 * len(places) - 3)
    turn_error = math.sqrt(variance / lever2)
    # The origin hangs on the parts by a lever.
    origin = float((middle**2).sum()) * turn_error**2 / 2
    error_px = math.sqrt(found.standard_error_px**2 + variance / len(places) + origin)
    return math.degrees(turn), math.degrees(turn_error), error_px


def _parts(
    a: Texture, b: Texture, dx: int, dy: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place in b and own shift of each part of the overlap that has texture."""
    x0, x1 = max(0, dx), min(a.fine.shape[1], dx + b.fine.shape[1])
    y0, y1 = max(0, dy), min(a.fine.shape[0], dy + b.fine.shape[0])
    if min(x1 - x0, y1 - y0) < _PART_PX // 4:
        return np.empty((0, 2)), np.empty((0, 2))
    across, down = (max(1, size // _PART_PX) for size in (x1 - x0, y1 - y0))
    width, height = (x1 - x0) // across // 2 * 2, (y1 - y0) // down // 2 * 2
    places, moves = [], []
    for column, row in itertools.product(range(across), range(down)):
        x, y = x0 + column * width, y0 + row * height
        part_a = Texture(np.ascontiguousarray(a.fine[y : y + height, x : x + width]))
        in_b = b.fine[y - dy : y - dy + height, x - dx : x - dx + width]
        found = fit(part_a, Texture(np.ascontiguousarray(in_b)), (0.0, 0.0))
        if found is not None and found.share > 0.5 and found.evidence > _PART_EVIDENCE:
            places.append((x - dx + width / 2, y - dy + height / 2))
            moves.append((found.dx_px, found.dy_px))
    return np.array(places, float).reshape(-1, 2), np.array(moves, float).reshape(-1, 2)


def _origin(shape: tuple[int, ...], best: _Answer) -> tuple[float, float]:
    """Where b's corner lies in a, by where its middle does."""
    x, y = shape[1] / 2, shape[0] / 2
    turn = math.radians(best.turn_deg)
    cos, sin = best.scale * math.cos(turn), best.scale * math.sin(turn)
    return (
        best.middle[0] - cos * x + sin * y,
        best.middle[1] - sin * x - cos * y,
    )
