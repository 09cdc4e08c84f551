"""Where each field lies on the slide, from its picture: tracked, mapped, or lost.

A field is fitted to the keyframes that it should overlap and, where there is none, to
the field before. Keyframes never move, so findings never do, and errors add up along
the shortest way from the first field and not with time. A field that fits nowhere has
no place: the map is then asked whether it knows the cells in it. Every claim passes the
same test (``align.agree``), stricter the less was known beforehand.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from armicro.align.agree import (
    Fit,
    fit,
    is_cell,
    is_found,
    is_near,
    is_patchy,
    textured_blocks,
    without_still,
)
from armicro.align.look import (
    FINE_UM_PER_PX,
    Look,
    Plane,
    band_pass,
    normalise,
    reduce_light,
)
from armicro.align.search import search
from armicro.field import Field, Place, PlaceOrigin, Sight
from armicro.slide.atlas import Anchor, Atlas, Keyframe, KeyframeStore
from armicro.slide.choice import RegisterChoice
from armicro.slide.dirt import Dirt
from armicro.slide.encoder import Encoder, Estimate
from armicro.slide.landmark import find_landmarks

_LOST = 8.0
"""Evidence beyond one spot that a claim needs that may lie anywhere."""
_WIDE_OVERLAP = 0.25
_UNDOUBTED = 40.0
"""So much needs no look at rivals."""
_UNRIVALLED = 0.5
"""A rival elsewhere with this share of the evidence makes a claim ambiguous."""
_RIVAL_UM = 10.0
_LEAST_OVERLAP = 0.1
_LONGEST_GAP_S = 1.0
"""Over a longer time a velocity says nothing."""
_DOUBTLESS = 0.98
_STILL_UM = 3.0
"""A field that moved less may as well have stood."""
_DIRT_STEP_UM = 30.0
_LEAST_BLOCKS = 4
"""Textured blocks without which a field is no keyframe."""
_HYPOTHESES = 6


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The last field that had a place."""

    at: Estimate
    look: Look
    size_um: tuple[float, float]
    taken_ns: int
    velocity: tuple[float, float] = (0.0, 0.0)


class Register:
    """Gives fields their place; see the head of this file.

    Args:
        store: keyframes of this slide, those of an earlier run too.
        choice: the rig's.
        exposure_us: of the camera, for the smear of a moving field.
        timed: whether ``taken_ns`` is the time of a stage that moves all the while; a
            slide that plays the camera stands still for every field.
    """

    def __init__(
        self,
        store: KeyframeStore,
        choice: RegisterChoice | None = None,
        *,
        exposure_us: float = 5000.0,
        timed: bool = True,
    ) -> None:
        self._choice = choice or RegisterChoice()
        self._atlas = Atlas(store)
        self._dirt = Dirt()
        self._dirt_at = Estimate(math.inf, math.inf, 0.0)
        self._encoder = Encoder(self._choice, mapped=len(self._atlas) > 0)
        self._exposure_s = exposure_us * 1e-6
        self._longest_gap_s = _LONGEST_GAP_S if timed else 0.0
        self._last: _Seen | None = None
        self._doubtful = False
        """Whether some texture of the last fit did not agree."""
        self._lost = len(self._atlas) > 0

    def update(self, field: Field) -> Field:
        """Return the field with its place and motion; place None where it is lost."""
        if field.place is not None and field.place.origin == "slide_file":
            return field
        if field.fault:
            return field
        texture = band_pass(reduce_light(field.pixels, field.um_per_px))
        look = normalise(self._dirt.clean(texture))
        told = self._encoder.guess(field.place) if field.place is not None else None
        seen = self._find(field, look, told)
        at = seen
        if seen is not None and told is not None:
            at = self._encoder.learn(told, seen)
        elif told is not None:
            at = self._begun(look, told)
        self._lost = at is None
        if at is None:
            return replace(field, place=None)
        sight = self._sight(field, at)
        self._remember(field, look, at, sight)
        self._learn_dirt(texture, at)
        origin: PlaceOrigin = "image_registration" if seen else "stage_encoder"
        return replace(field, place=Place(*at, origin), sight=sight)

    def _find(self, field: Field, look: Look, told: Estimate | None) -> Estimate | None:
        """Place of a field by its picture."""
        if not len(self._atlas) and self._last is None:
            # The first field with texture is where the slide's coordinates begin.
            start = told is None and textured_blocks(look) >= _LEAST_BLOCKS
            return Estimate(0.0, 0.0, 0.0) if start else None
        for guess in self._guesses(field, told):
            found = self._fit_near(look, field.size_um, guess)
            if found is not None:
                return self._unstick(look, found)
        return (
            self._search(look, field.size_um, told)
            or self._unstick(look)
            or self._recall(look, field.size_um)
        )

    def _begun(self, look: Look, told: Estimate) -> Estimate:
        """Where only the stage knows a place: it, and no error where the map begins.

        The first field with texture defines the slide's coordinates, and what the
        stage's play leaves open there is no error between a finding and its field.
        """
        begins = not len(self._atlas) and textured_blocks(look) >= _LEAST_BLOCKS
        return told._replace(standard_error_um=0.0) if begins else told

    def _guesses(self, field: Field, told: Estimate | None) -> list[Estimate]:
        guesses = [told] if told is not None else []
        last = self._last
        if last is not None and not self._lost:
            gap_s = (field.taken_ns - last.taken_ns) * 1e-9
            known = 0.0 < gap_s < self._longest_gap_s
            # The objective turns about the middle of the picture.
            guess = [
                last.at[i]
                + (last.size_um[i] - field.size_um[i]) / 2
                + (last.velocity[i] * gap_s if known else 0.0)
                for i in (0, 1)
            ]
            guesses.append(Estimate(guess[0], guess[1], last.at.standard_error_um))
        return guesses

    def _fit_near(
        self,
        look: Look,
        size_um: tuple[float, float],
        guess: Estimate,
    ) -> Estimate | None:
        """Fit a field to what is known around a guess, and fuse what is found."""
        anchors = self._atlas.near(
            guess[:2], size_um, count=2, least_overlap=_LEAST_OVERLAP
        )
        links: list[tuple[Anchor, Fit]] = []
        x_um, y_um = guess[:2]
        for anchor in anchors:
            found = fit(anchor.look, look, _shift(anchor, x_um, y_um))
            if found is None or not is_near(found):
                # Where the nearest does not fit, the guess is wrong.
                break
            links.append((anchor, found))
            x_um, y_um = _place_by(anchor, found)
        if not links and self._last is not None and not self._lost:
            # Keyframes are rare where all was blurred: the field before may do.
            anchor = _anchor_of(self._last)
            found = fit(anchor.look, look, _shift(anchor, x_um, y_um))
            if found is not None and is_near(found):
                links.append((anchor, found))
        self._doubtful = any(found.share < _DOUBTLESS for _, found in links)
        return _fuse(links)

    def _search(
        self, look: Look, size_um: tuple[float, float], told: Estimate | None
    ) -> Estimate | None:
        """Look for a field at every shift against the last one, or the map around."""
        anchors: list[Anchor] = []
        if self._last is not None and not self._lost:
            anchors.append(_anchor_of(self._last))
        around = told if told is not None else self._last.at if self._last else None
        if around is not None:
            anchors += self._atlas.near(
                around[:2], size_um, count=2, least_overlap=_LEAST_OVERLAP
            )
        is_sure = _is_sure_anywhere if self._lost else _is_sure_near
        for anchor in anchors:
            place = _search_one(anchor, look, is_sure)
            if place is not None:
                return self._fit_near(look, size_um, place) or place
        return None

    def _unstick(self, look: Look, at: Estimate | None = None) -> Estimate | None:
        """Ask whether only dirt on the sensor stands still, and the slide moved.

        Args:
            look: the field.
            at: where it seems to be; returned when there is no doubt.
        """
        last = self._last
        if last is None or self._lost or last.look.fine.shape != look.fine.shape:
            return at
        if at is not None and (
            not self._doubtful or self._dirt.is_known or _way(at, last.at) > _STILL_UM
        ):
            return at
        rest_last, rest = without_still(last.look, look)
        if textured_blocks(rest) < _LEAST_BLOCKS:
            return at
        anchor = _anchor_of(last)._replace(look=rest_last)
        place = _search_one(anchor, rest, is_patchy)
        return place if place and _way(place, last.at) > _STILL_UM else None

    def _recall(self, look: Look, size_um: tuple[float, float]) -> Estimate | None:
        """Ask the whole map whether it knows the cells of a field."""
        claims: list[tuple[float, Estimate]] = []
        for place in self._atlas.recognise(find_landmarks(look), count=_HYPOTHESES):
            anchors = self._atlas.near(
                place, size_um, count=1, least_overlap=_LEAST_OVERLAP
            )
            for anchor in anchors:
                found = fit(anchor.look, look, _shift(anchor, *place))
                if found is not None and _is_sure_anywhere(found):
                    claims.append((found.evidence, _estimate(anchor, found)))
        best = _unrivalled(claims)
        if best is None:
            return None
        return self._fit_near(look, size_um, best) or best

    def _sight(self, field: Field, at: Estimate) -> Sight:
        sight = field.sight or Sight()
        last = self._last
        gap_s = (field.taken_ns - last.taken_ns) * 1e-9 if last is not None else 0.0
        if last is None or self._lost or not 0.0 < gap_s < self._longest_gap_s:
            return msgspec.structs.replace(sight, velocity_xy_um_per_s=None)
        velocity = tuple(
            (at[i] + field.size_um[i] / 2 - last.at[i] - last.size_um[i] / 2) / gap_s
            for i in (0, 1)
        )
        return msgspec.structs.replace(
            sight,
            velocity_xy_um_per_s=velocity,
            smear_um=math.hypot(*velocity) * self._exposure_s,
        )

    def _remember(self, field: Field, look: Look, at: Estimate, sight: Sight) -> None:
        velocity = sight.velocity_xy_um_per_s or (0.0, 0.0)
        size_um = field.size_um
        self._last = _Seen(at, look, size_um, field.taken_ns, velocity)
        choice = self._choice
        if sight.smear_um > choice.keyframe_smear_um:
            return
        if sight.focus is not None and sight.focus < choice.keyframe_focus:
            return
        if len(self._atlas) >= choice.keyframes:
            return
        known = self._atlas.most_shared(at[:2], size_um)
        if known < choice.keyframe_overlap and textured_blocks(look) >= _LEAST_BLOCKS:
            frame = Keyframe(*at, size_um, find_landmarks(look))
            self._atlas.add(frame, look)

    def _learn_dirt(self, texture: Plane, at: Estimate) -> None:
        if _way(at, self._dirt_at) >= _DIRT_STEP_UM:
            self._dirt.update(texture)
            self._dirt_at = at


def _way(a: Estimate, b: Estimate) -> float:
    return math.hypot(a.x_um - b.x_um, a.y_um - b.y_um)


def _anchor_of(seen: _Seen) -> Anchor:
    return Anchor(*seen.at, seen.look, 1.0)


def _shift(anchor: Anchor, x_um: float, y_um: float) -> tuple[float, float]:
    return (x_um - anchor.x_um) / FINE_UM_PER_PX, (y_um - anchor.y_um) / FINE_UM_PER_PX


def _place_by(anchor: Anchor, found: Fit) -> tuple[float, float]:
    return (
        anchor.x_um + found.dx_px * FINE_UM_PER_PX,
        anchor.y_um + found.dy_px * FINE_UM_PER_PX,
    )


def _estimate(anchor: Anchor, found: Fit) -> Estimate:
    error_um = found.standard_error_px * FINE_UM_PER_PX
    return Estimate(
        *_place_by(anchor, found), math.hypot(anchor.standard_error_um, error_um)
    )


_Test = Callable[[Fit], bool]


def _search_one(anchor: Anchor, look: Look, is_sure: _Test) -> Estimate | None:
    claims = []
    for shift in search(anchor.look, look):
        found = fit(anchor.look, look, shift)
        if found is None or not is_sure(found):
            continue
        claims.append((found.evidence, _estimate(anchor, found)))
        if found.beyond > _UNDOUBTED:
            break
    return _unrivalled(claims)


def _is_sure_near(found: Fit) -> bool:
    """One cell is enough for a field that cannot be far."""
    return is_found(found) or is_cell(found)


def _is_sure_anywhere(found: Fit) -> bool:
    """A narrow strip may deceive: it has to say more than half a field."""
    least = _LOST if found.overlap >= _WIDE_OVERLAP else 2 * _LOST
    return is_found(found, beyond=least)


def _unrivalled(claims: Sequence[tuple[float, Estimate]]) -> Estimate | None:
    """The best claim, when none elsewhere comes near it."""
    if not claims:
        return None
    most, best = max(claims, key=lambda claim: claim[0])
    for other, place in claims:
        if _way(place, best) > _RIVAL_UM and other > _UNRIVALLED * most:
            return None
    return best


def _fuse(links: Sequence[tuple[Anchor, Fit]]) -> Estimate | None:
    """One place of several fits.

    The anchors' own errors come from one chain of fits and may well be the same, so
    they are averaged; only the fits' errors shrink with their number. Fits that
    contradict each other add their spread.
    """
    if not links:
        return None
    places = [_estimate(anchor, found) for anchor, found in links]
    weights = [1.0 / (place.standard_error_um**2 + 1e-6) for place in places]
    total = sum(weights)
    x_um, y_um = (
        sum(w * place[i] for w, place in zip(weights, places, strict=True)) / total
        for i in (0, 1)
    )
    anchored = sum(
        w * anchor.standard_error_um**2
        for w, (anchor, _) in zip(weights, links, strict=True)
    )
    spread = sum(
        w * ((place.x_um - x_um) ** 2 + (place.y_um - y_um) ** 2) / 2
        for w, place in zip(weights, places, strict=True)
    )
    measured = 1.0 / sum(1.0 / found.standard_error_px**2 for _, found in links)
    variance = (anchored + spread) / total + measured * FINE_UM_PER_PX**2
    return Estimate(x_um, y_um, math.sqrt(variance))
