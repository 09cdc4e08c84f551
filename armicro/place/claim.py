"""Claims of a place: fits against anchors, tested, weighed and put together."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from armicro.field import Place
from armicro.place.agree import (
    ShiftFit,
    fit,
    is_cell,
    is_found,
    is_near,
    is_patchy,
    pooled,
    search,
)
from armicro.place.atlas import Anchor, Atlas
from armicro.place.look import FINE_UM_PER_PX, Texture
from armicro.place.turn import Turn, is_turned, is_upright, pooled_turn, rest_of_turn

# ---------------------------------------------------------------------------
# What a rig may choose of registration: its ``[register]`` table.


NotNegative = Annotated[float, Meta(ge=0)]


class RegisterChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fields without a sure place find theirs."""

    enabled: bool = True
    """False: only what the source says counts."""
    rotation_deg: Annotated[float, Meta(ge=-180, le=180)] = 0.0
    """Of the camera against the stage's x, clockwise on the screen. It turns what an
    encoder says; slide coordinates follow the camera's rows."""
    keyframe_overlap: Annotated[float, Meta(ge=0.2, le=0.9)] = 0.6
    """A field that shares less with every keyframe becomes one."""
    keyframe_smear_um: NotNegative = 2.0
    """A field blurred by a longer way of the stage never does."""
    keyframe_focus: Annotated[float, Meta(ge=0, le=1)] = 0.3
    """Nor does one less sharp, where sharpness is known."""
    keyframes: Annotated[int, Meta(ge=1, le=100_000)] = 20_000
    """At most so many; a slide of 25 by 50 mm seen with a 20x objective has as many."""
    encoder_error_um: Annotated[float, Meta(gt=0)] = 0.5
    """Of a reading, at least, whatever the stage claims."""
    encoder_error_share: NotNegative = 0.01
    """Of the way since the last picture that confirmed it."""
    backlash_um: NotNegative = 5.0
    """By so much an encoder may be off after the stage turned back."""


# ---------------------------------------------------------------------------
# A stage's encoder as one witness among others: right nearly, and not always.
#
# What is estimated is the offset of the encoder's coordinates against the slide's. The
# longer the way without a picture that confirms it, and at every turn of the stage, the
# less it is trusted; a reading far from what a picture proves moves the offset at once.


_GATE = 4.0
"""Standard errors beyond which encoder and picture contradict each other."""
_UNKNOWN_UM = 1000.0
"""Error of the offset against a map of an earlier run."""


Xy = tuple[float, float]


class Estimate(NamedTuple):
    """A place and its standard error along each axis, in micrometres."""

    x_um: float
    y_um: float
    standard_error_xy_um: Xy = (0.0, 0.0)

    @property
    def standard_error_um(self) -> float:
        """The larger one: what is told of a field."""
        return max(self.standard_error_xy_um)


def add_errors(a: Xy, b: Xy) -> Xy:
    """Standard errors of a sum, of two that know nothing of each other."""
    return math.hypot(a[0], b[0]), math.hypot(a[1], b[1])


class Encoder:
    """The offset between encoder and slide, and its error."""

    def __init__(self, choice: RegisterChoice, *, mapped: bool) -> None:
        """Start with no offset; with ``mapped`` it may be any."""
        self._choice = choice
        turn = math.radians(-choice.rotation_deg)
        self._cos, self._sin = math.cos(turn), math.sin(turn)
        self._offset = 0.0, 0.0
        unknown = _UNKNOWN_UM if mapped else 0.0
        self._error: Xy = unknown, unknown
        """Of the offset."""
        self._last: Xy | None = None
        self._move = 0.0, 0.0

    def guess(self, reading: Place) -> Estimate:
        """What a reading says of the place; call once a field."""
        at = self._turned(reading)
        if self._last is not None:
            move = at[0] - self._last[0], at[1] - self._last[1]
            way = math.hypot(*move)
            drift = self._choice.encoder_error_share * way
            if move[0] * self._move[0] < 0 or move[1] * self._move[1] < 0:
                drift = math.hypot(drift, self._choice.backlash_um)
            self._error = add_errors(self._error, (drift, drift))
            if way > 1.0:
                self._move = move
        self._last = at
        error = max(reading.standard_error_um, self._choice.encoder_error_um)
        return Estimate(
            at[0] + self._offset[0],
            at[1] + self._offset[1],
            add_errors((error, error), self._error),
        )

    def learn(self, guess: Estimate, seen: Estimate) -> Estimate:
        """Correct the offset by what a picture proves; return the two fused."""
        away = seen.x_um - guess.x_um, seen.y_um - guess.y_um
        guessed, known = guess.standard_error_xy_um, seen.standard_error_xy_um
        total = add_errors(guessed, known)
        if math.hypot(away[0] / total[0], away[1] / total[1]) > _GATE:
            # Somebody turned the stage by hand, or lost steps: the picture is right.
            self._move_offset(away)
            jump = math.hypot(*away) / 2
            self._error = add_errors(known, (jump, jump))
            return seen
        gain = self._error[0] / total[0], self._error[1] / total[1]
        self._move_offset((gain[0] ** 2 * away[0], gain[1] ** 2 * away[1]))
        left = (1.0 - gain[0] ** 2, 1.0 - gain[1] ** 2)
        self._error = self._error[0] * left[0] ** 0.5, self._error[1] * left[1] ** 0.5
        trust = guessed[0] / total[0], guessed[1] / total[1]
        return Estimate(
            guess.x_um + trust[0] ** 2 * away[0],
            guess.y_um + trust[1] ** 2 * away[1],
            (trust[0] * known[0], trust[1] * known[1]),
        )

    def _move_offset(self, by: Xy) -> None:
        self._offset = self._offset[0] + by[0], self._offset[1] + by[1]

    def _turned(self, reading: Place) -> Xy:
        x, y = reading.x_um, reading.y_um
        return x * self._cos - y * self._sin, x * self._sin + y * self._cos


# ---------------------------------------------------------------------------
# Claims.


_AROUND_DEG = 2.0
"""Standard error of the turn of what a search found near: one cell that is alike by
chance leaves 3° open."""
_LOST = 8.0
"""Evidence beyond one spot that a claim needs that may lie anywhere."""
_WIDE_OVERLAP = 0.25
_UNDOUBTED = 40.0
"""So much needs no look at rivals."""
_UNRIVALLED = 0.5
"""A rival elsewhere with this share of the evidence makes a claim ambiguous."""
_RIVAL_UM = 10.0


def way(a: Estimate, b: Estimate) -> float:
    """Distance of two places."""
    return math.hypot(a.x_um - b.x_um, a.y_um - b.y_um)


def shift_of(anchor: Anchor, x_um: float, y_um: float) -> tuple[float, float]:
    """Shift of a field at a place against an anchor, in fine pixels."""
    return (x_um - anchor.x_um) / FINE_UM_PER_PX, (y_um - anchor.y_um) / FINE_UM_PER_PX


def place_by(anchor: Anchor, found: ShiftFit) -> tuple[float, float]:
    """Place of a field that fits an anchor."""
    return (
        anchor.x_um + found.dx_px * FINE_UM_PER_PX,
        anchor.y_um + found.dy_px * FINE_UM_PER_PX,
    )


def estimate(anchor: Anchor, found: ShiftFit) -> Estimate:
    """The same with its error, that of the anchor added."""
    x_px, y_px = found.standard_error_xy_px
    error_um = x_px * FINE_UM_PER_PX, y_px * FINE_UM_PER_PX
    return Estimate(
        *place_by(anchor, found), add_errors(anchor.standard_error_xy_um, error_um)
    )


Test = Callable[[ShiftFit], bool]


def search_one(anchor: Anchor, look: Texture, is_sure: Test) -> Estimate | None:
    """Search one anchor at every shift."""
    claims = []
    for shift in search(anchor.look, look):
        found = fit(anchor.look, look, shift)
        if found is None or not is_straight(anchor, look, found, is_sure):
            continue
        claims.append((found.evidence, estimate(anchor, found)))
        if found.beyond > _UNDOUBTED:
            break
    return unrivalled(claims)


def is_straight(anchor: Anchor, look: Texture, found: ShiftFit, is_sure: Test) -> bool:
    """Whether a fit is sure, and its pictures are not turned against each other.

    Where a field may lie anywhere, a camera may have been turned on the way: what does
    not tell is not believed then.
    """
    if not is_sure(found):
        return False
    turn = rest_of_turn(anchor.look, look, found)
    if is_sure in (is_sure_anywhere, is_patchy):
        return is_upright(turn)
    # One cell that only looks alike may seem turned by 7°.
    return is_upright(turn, known_deg=_AROUND_DEG)


def is_sure_near(found: ShiftFit) -> bool:
    """One cell is enough where it was expected."""
    return is_found(found) or is_cell(found)


def is_sure_around(found: ShiftFit) -> bool:
    """One cell in a narrow strip is not, for a field that was searched for."""
    return is_found(found) or (is_cell(found) and found.overlap >= _WIDE_OVERLAP)


def is_sure_anywhere(found: ShiftFit) -> bool:
    """A narrow strip may deceive: it has to say more than half a field."""
    least = _LOST if found.overlap >= _WIDE_OVERLAP else 2 * _LOST
    return is_found(found, beyond=least)


def unrivalled(claims: Sequence[tuple[float, Estimate]]) -> Estimate | None:
    """The best claim, when none elsewhere comes near it."""
    if not claims:
        return None
    most, best = max(claims, key=lambda claim: claim[0])
    for other, place in claims:
        if way(place, best) > _RIVAL_UM and other > _UNRIVALLED * most:
            return None
    return best


def fuse(links: Sequence[tuple[Anchor, ShiftFit]]) -> Estimate | None:
    """One place of several fits.

    The anchors' own errors come from one chain of fits and may well be the same, so
    they are averaged; only the fits' errors shrink with their number. Fits that
    contradict each other add their spread.
    """
    if not links:
        return None
    places = [place_by(anchor, found) for anchor, found in links]
    (x_um, x_error_um), (y_um, y_error_um) = (
        _fused(
            [place[axis] for place in places],
            [anchor.standard_error_xy_um[axis] for anchor, _ in links],
            [found.standard_error_xy_px[axis] * FINE_UM_PER_PX for _, found in links],
        )
        for axis in (0, 1)
    )
    return Estimate(x_um, y_um, (x_error_um, y_error_um))


def _fused(
    places: Sequence[float], anchored: Sequence[float], measured: Sequence[float]
) -> tuple[float, float]:
    """One axis: the mean and its standard error."""
    weights = [
        1.0 / (there**2 + here**2 + 1e-6)
        for there, here in zip(anchored, measured, strict=True)
    ]
    mean = _mean(places, weights)
    left = [
        (there, place - mean) for there, place in zip(anchored, places, strict=True)
    ]
    variance = _mean([there**2 + off**2 for there, off in left], weights)
    return mean, math.sqrt(variance + 1.0 / sum(here**-2 for here in measured))


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    weighed = (v * w for v, w in zip(values, weights, strict=True))
    return sum(weighed) / sum(weights)


# ---------------------------------------------------------------------------
# Ties between two maps: how far apart they lie, told by all their common ground.
#
# Where two fields meet there may be one cell or none, which proves nothing. But maps
# meet in many fields, and at a true offset all of them agree: they are heard together.


_LEAST_OVERLAP = 0.04
_BESIDE = 3
"""Keyframes of the one map that each of the other is compared with."""
_SAME_UM = 4.0
"""Further apart two fits are no witnesses of one offset."""


def tie(
    fixed: Atlas, moving: Atlas, pairs: Iterable[tuple[Anchor, Anchor]]
) -> Estimate | None:
    """Where the origin of one map lies on another; None where nothing proves it.

    Args:
        fixed: the map that stays.
        moving: the other.
        pairs: keyframes of ``fixed`` and ``moving`` that may show the same ground.
    """
    claims: list[tuple[float, Estimate]] = []
    for there, here in pairs:
        anchor = _seen_from(there, here)
        for shift in search(there.look, here.look):
            found = fit(there.look, here.look, shift)
            if found is None or not is_near(found):
                continue
            offset = Estimate(*place_by(anchor, found))
            if any(way(offset, known) < _SAME_UM for _, known in claims):
                continue
            claim = _claim(fixed, moving, offset)
            claims += [claim] if claim else []
    return unrivalled(claims)


def _claim(
    fixed: Atlas, moving: Atlas, offset: Estimate
) -> tuple[float, Estimate] | None:
    """The evidence of an offset, and the offset, by all keyframes that meet."""
    heard: list[ShiftFit] = []
    links: list[tuple[Anchor, ShiftFit]] = []
    turns: list[Turn] = []
    for anchor, look, found in _meetings(fixed, moving, offset):
        agrees = way(Estimate(*place_by(anchor, found)), offset) < _SAME_UM
        heard.append(found if agrees else _contrary(found))
        if agrees and is_near(found):
            links.append((anchor, found))
            turns.append(rest_of_turn(anchor.look, look, found))
    place = fuse(links)
    if place is None or not is_sure_anywhere(pooled(heard)):
        return None
    if any(map(is_turned, turns)) or not is_upright(pooled_turn(turns)):
        return None
    return pooled(heard).evidence, place


def _meetings(
    fixed: Atlas, moving: Atlas, offset: Estimate
) -> Iterator[tuple[Anchor, Texture, ShiftFit]]:
    for frame, look in moving.keyframes():
        here = Anchor(frame.x_um, frame.y_um, frame.standard_error_xy_um, look)
        corner_um = here.x_um + offset.x_um, here.y_um + offset.y_um
        for there in fixed.near(
            corner_um, frame.size_um, count=_BESIDE, least_overlap=_LEAST_OVERLAP
        ):
            anchor = _seen_from(there, here)
            found = fit(anchor.look, look, shift_of(anchor, *offset[:2]))
            if found is not None:
                yield anchor, look, found


def _contrary(found: ShiftFit) -> ShiftFit:
    """A fit that speaks against an offset: its texture agrees elsewhere."""
    return found._replace(share=0.0, evidence=0.0, beyond=0.0)


def _seen_from(there: Anchor, here: Anchor) -> Anchor:
    """A keyframe of one map, so placed that a fit to it is an offset of the other."""
    return there._replace(x_um=there.x_um - here.x_um, y_um=there.y_um - here.y_um)
