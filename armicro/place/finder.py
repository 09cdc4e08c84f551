"""Finding one field after the other on a map that grows as they come.

A field is fitted to the keyframes that it should overlap and, where there is none, to
the field before. Keyframes never move, so findings never do, and errors add up along
the shortest way from the first field and not with time. A field that fits nowhere is
lost: the map is then asked whether it knows the cells in it. Every claim passes the
same test (``align.agree``), stricter the less was known beforehand.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from armicro.place.agree import (
    ShiftFit,
    fit,
    is_alike,
    is_near,
    is_patchy,
    pooled,
    textured_blocks,
    without_still,
)
from armicro.place.atlas import (
    Anchor,
    Atlas,
    Begun,
    BesideOrigin,
    Keyframe,
    KeyframeStore,
    find_landmarks,
)
from armicro.place.claim import (
    Estimate,
    RegisterChoice,
    Test,
    add_errors,
    estimate,
    fuse,
    is_straight,
    is_sure_anywhere,
    is_sure_around,
    is_sure_near,
    place_by,
    search_one,
    shift_of,
    unrivalled,
    way,
)
from armicro.place.look import COARSE_UM_PER_PX, FINE_UM_PER_PX, Plane, Texture
from armicro.place.turn import (
    NO_DOUBT,
    Doubt,
    Features,
    Turn,
    find_features,
    is_turned,
    is_upright,
    match_by_rest,
    match_features,
    passed_on,
    pooled_turn,
    rest_of_turn,
    undo_turn,
)

_LEAST_OVERLAP = 0.1
_DOUBTLESS = 0.98
STILL_UM = 3.0
"""A field that moved less may as well have stood."""
LEAST_BLOCKS = 4
"""Textured blocks without which a field is no keyframe, and no start."""
_HYPOTHESES = 6
_BESIDE = 2
"""Keyframes beyond those that the last place overlaps, to search when lost."""
_CONCLUSIVE_DEG = 0.05
"""A turn known so well needs no second fit to tell it: it takes a tenth of a fit."""
_UNPROVED = 3
_MOST_SCALE = 0.05
"""By features; other fields are not of this slide."""
APART_UM = 5_000.0
"""Between two maps of one slide: as far as the older may grow when the camera is turned
back, and not so far that a picture of both shows nothing of either."""
_STEPS = 3
_MEMORY = 40
_STEADY_UM = 3.0
"""By so much the steps of one scan may differ."""


class UnplacedField(NamedTuple):
    """What is known of a field before its place is."""

    look: Texture
    size_um: tuple[float, float]
    taken_ns: int
    told: Estimate | None = None
    """By a stage's encoder."""
    is_rich: bool = True
    """Whether there is enough in it for the slide's coordinates to begin with it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The last field that had a place."""

    at: Estimate
    look: Texture
    size_um: tuple[float, float]
    taken_ns: int
    step: tuple[float, float] | None = None
    """Of the field's middle since the field before; None where that had no place."""
    gap_s: float = 0.0
    is_steady: bool = False
    """Whether the step before was the same."""
    doubt: Doubt = NO_DOUBT

    @property
    def middle_um(self) -> tuple[float, float]:
        """Middle of the field."""
        return _middle_um(self.at, self.size_um)


class Steps:
    """Steps that a scan makes again and again, and back."""

    def __init__(self) -> None:
        self._recent: list[tuple[float, float]] = []
        self._repeated: list[tuple[float, float]] = []

    def add(self, step: tuple[float, float]) -> None:
        """Learn one."""
        if math.hypot(*step) <= STILL_UM:
            return
        if any(math.dist(step, known) < _STEADY_UM for known in self._recent):
            others = [s for s in self._repeated if math.dist(s, step) >= _STEADY_UM]
            self._repeated = [step, *others][:_STEPS]
        self._recent = [step, *self._recent][:_MEMORY]

    def likely(self, last: tuple[float, float] | None) -> list[tuple[float, float]]:
        """The last step, if it was one."""
        return [last] if last is not None and math.hypot(*last) > STILL_UM else []

    def usual(self) -> tuple[float, float]:
        """The step that was repeated last; none where there is none."""
        return self._repeated[0] if self._repeated else (0.0, 0.0)

    def others(self, last: tuple[float, float] | None) -> list[tuple[float, float]]:
        """Steps that were made more than once, and the same back."""
        back = [(-dx, -dy) for dx, dy in self._repeated]
        return [step for step in [*self._repeated, *back] if step != last]


class Finder:
    """Places on one map; pure but for the store.

    Args:
        store: keyframes, those of an earlier run too.
        choice: the rig's.
        longest_gap_s: over a longer time between fields a velocity says nothing.
        steps: of the stage, learnt here and used here.
    """

    def __init__(
        self,
        store: KeyframeStore,
        choice: RegisterChoice,
        longest_gap_s: float,
        steps: Steps,
    ) -> None:
        self.atlas = Atlas(store)
        self._steps = steps
        self._choice = choice
        self._longest_gap_s = longest_gap_s
        self._last: _Seen | None = None
        self._doubtful = False
        """Whether some texture of the last fit did not agree."""
        self._lost = len(self.atlas) > 0
        self._twisted: tuple[Texture, ShiftFit, Turn] | None = None
        """What the last field fitted but for a turn."""
        self._unproved = 0
        """For so many fields more every fit is asked: one was placed that might be
        turned."""
        self._doubt: Doubt | None = None
        """Of the turn of the field that was found now; None before it is known."""

    @property
    def is_turned(self) -> bool:
        """Whether what fitted the last field is turned against it."""
        return self._twisted is not None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has a place yet."""
        return not len(self.atlas) and self._last is None

    def find(self, view: UnplacedField) -> Estimate | None:
        """Find a field that comes right after the last one."""
        self._twisted = self._doubt = None
        at = self._found(view)
        if at is None:
            self._doubt = None
        elif self._doubt is None:
            self._doubt = self._doubt_at(view, at)
        return at

    def _found(self, view: UnplacedField) -> Estimate | None:
        for guess, is_sure in self._guesses(view):
            found = self._fit_near(view, guess, is_sure)
            if found is not None:
                sure = self._unstick(view.look, found)
                if sure is not found:
                    self._doubt = None
                return sure or self._moved(self._search(view) or self.recall(view))
        if self._lost:
            return self.recall(view) or self._search(view)
        at = self._search(view)
        if at is None and not self.is_turned:
            # Dirt, which turns with the camera, hides no turn.
            at = self._unstick(view.look, None)
        return at or self.recall(view)

    def _moved(self, at: Estimate | None) -> Estimate | None:
        """A place that is not the last one, at which dirt alone may fit."""
        last = self._last
        stuck = at is None or last is None or way(at, last.at) <= STILL_UM
        return None if stuck else at

    def _doubt_at(self, view: UnplacedField, at: Estimate) -> Doubt:
        """Of the turn of a field that a search laid where few keyframes are."""
        anchors = self._near(view, at)
        if self._last is not None and not self._lost:
            anchors.append(_anchor_of(self._last))
        links = []
        for anchor in anchors:
            found = fit(anchor.look, view.look, shift_of(anchor, *at[:2]))
            if found is not None and found.texture and is_alike(found):
                links.append((anchor, found))
        turns = [rest_of_turn(anchor.look, view.look, found) for anchor, found in links]
        return _least_doubt(links, turns, view.look) if links else NO_DOUBT

    def told(self, view: UnplacedField, at: Estimate) -> Estimate:
        """A place that was found, with the error that a turn in doubt adds to it."""
        if self._doubt is None:
            return at
        middle_um = _middle_um(at, view.size_um)
        error_um = add_errors(at.standard_error_xy_um, self._doubt.error_um(middle_um))
        return at._replace(standard_error_xy_um=error_um)

    def keep(self, view: UnplacedField, at: Estimate, *, worthy: bool) -> bool:
        """Take a field's place for known; return whether it became a keyframe.

        Args:
            view: the field.
            at: its place.
            worthy: whether it is sharp enough for a keyframe.
        """
        self._last = self._seen(view, at)
        if self._last.step is not None:
            self._steps.add(self._last.step)
        self._lost = False
        if not worthy or len(self.atlas) >= self._choice.keyframes:
            return False
        if (
            self.atlas.most_shared(at[:2], view.size_um)
            >= self._choice.keyframe_overlap
        ):
            return False
        if textured_blocks(view.look) < LEAST_BLOCKS:
            return False
        marks, doubt = find_landmarks(view.look), self._last.doubt
        frame = Keyframe(*at, view.size_um, marks, doubt)
        self.atlas.add(frame, view.look)
        return True

    def adopt(self, frame: Keyframe, look: Texture) -> None:
        """Take a keyframe of another map, unless its ground is known."""
        corner_um = frame.x_um, frame.y_um
        known = self.atlas.most_shared(corner_um, frame.size_um)
        room = len(self.atlas) < self._choice.keyframes
        if room and known < self._choice.keyframe_overlap:
            self.atlas.add(frame, look)

    def mask(self, clean: Plane) -> None:
        """Leave out what is 0 in ``clean`` of all that was seen so far."""
        self.atlas.mask(clean)
        if self._last is not None:
            look = self._last.look.without_dirt(clean)
            self._last = replace(self._last, look=look)

    def lose(self) -> None:
        """Say that a field had no place."""
        self._lost = True

    def reckon(self, view: UnplacedField) -> tuple[float, float] | None:
        """Where a field may lie that comes after the last one; None where none did."""
        last = self._last
        if last is None:
            return None
        dx, dy = last.step or self._steps.usual()
        x, y = (last.middle_um[i] - view.size_um[i] / 2 for i in (0, 1))
        return x + dx, y + dy

    def velocity(self, view: UnplacedField, at: Estimate) -> tuple[float, float] | None:
        """Of a field's middle, in µm/s; None where its clock says nothing."""
        seen = self._seen(view, at)
        if seen.step is None or not self._is_timed(seen):
            return None
        return seen.step[0] / seen.gap_s, seen.step[1] / seen.gap_s

    def _seen(self, view: UnplacedField, at: Estimate) -> _Seen:
        doubt = self._doubt or NO_DOUBT
        seen = _Seen(at, view.look, view.size_um, view.taken_ns, doubt=doubt)
        last = self._last
        if last is None or self._lost:
            return seen
        before, now = last.middle_um, seen.middle_um
        step = now[0] - before[0], now[1] - before[1]
        return replace(
            seen,
            step=step,
            gap_s=(view.taken_ns - last.taken_ns) * 1e-9,
            is_steady=last.step is not None and math.dist(step, last.step) < _STEADY_UM,
        )

    def _guesses(self, view: UnplacedField) -> Iterator[tuple[Estimate, Test]]:
        """Where a field may be, likeliest first, each with the test that it needs."""
        if view.told is not None:
            yield view.told, is_near
        last = self._last
        if last is None or self._lost:
            return
        # The objective turns about the middle of the picture.
        x, y = (last.middle_um[i] - view.size_um[i] / 2 for i in (0, 1))
        error = last.at.standard_error_xy_um
        gap_s = (view.taken_ns - last.taken_ns) * 1e-9
        if 0.0 < gap_s < self._longest_gap_s:
            dx, dy = last.step or (0.0, 0.0)
            ratio = gap_s / last.gap_s if self._is_timed(last) else 0.0
            yield Estimate(x + dx * ratio, y + dy * ratio, error), is_near
            return
        for dx, dy in self._steps.likely(last.step):
            # A scan repeats its steps; a hand seldom does.
            is_sure = is_near if last.is_steady else is_sure_near
            yield Estimate(x + dx, y + dy, error), is_sure
        yield Estimate(x, y, error), is_near
        for dx, dy in self._steps.others(last.step):
            yield Estimate(x + dx, y + dy, error), is_sure_near

    def _is_timed(self, seen: _Seen) -> bool:
        return 0.0 < seen.gap_s < self._longest_gap_s

    def _fit_near(
        self, view: UnplacedField, guess: Estimate, is_sure: Test = is_near
    ) -> Estimate | None:
        """Fit a field to what is known around a guess, and fuse what is found."""
        links: list[tuple[Anchor, ShiftFit]] = []
        x_um, y_um = guess[:2]
        for anchor in self._near(view, guess):
            found = fit(anchor.look, view.look, shift_of(anchor, x_um, y_um))
            if found is None or not found.texture:
                continue
            if not is_alike(found):
                # Where the nearest does not fit, the guess is wrong.
                break
            links.append((anchor, found))
            x_um, y_um = place_by(anchor, found)
        # Strips with half a cell each may say enough together.
        if not links or not is_sure(pooled([found for _, found in links])):
            links = self._fit_last(view, (x_um, y_um), is_sure)
        self._doubtful = any(found.share < _DOUBTLESS for _, found in links)
        at = self._upright(fuse(links), links, view.look)
        in_doubt = self._doubt is not None and self._doubt.error_deg > 0
        if at is not None and in_doubt and self._contradicts(view, at):
            # The last one may be turned, and this fits it for that.
            return None
        return at

    def _upright(
        self, at: Estimate | None, links: list[tuple[Anchor, ShiftFit]], look: Texture
    ) -> Estimate | None:
        """A place, unless the fits that tell it are turned: it is none then."""
        turns: list[Turn] = []
        for anchor, found in links:
            turns.append(rest_of_turn(anchor.look, look, found))
            known = turns[-1].error_deg < _CONCLUSIVE_DEG and not self._unproved
            if known and not is_turned(turns[-1]):
                break
        told = pooled_turn(turns)
        turned = [number for number, turn in enumerate(turns) if is_turned(turn)]
        # Where fits contradict each other, those of few cells have no say.
        if not is_turned(told) and (not turned or is_upright(told)):
            if links:
                unproved = told.error_deg >= _CONCLUSIVE_DEG
                self._unproved = _UNPROVED if unproved else max(0, self._unproved - 1)
                self._doubt = _least_doubt(links, turns, look)
            return at
        anchor, found = links[turned[0] if turned else -1]
        self._twisted = anchor.look, found, told
        return None

    def _fit_last(
        self, view: UnplacedField, guess: tuple[float, float], is_sure: Test
    ) -> list[tuple[Anchor, ShiftFit]]:
        """Fit a field to the one before: keyframes are rare where all was blurred."""
        if self._last is None or self._lost:
            return []
        anchor = _anchor_of(self._last)
        found = fit(anchor.look, view.look, shift_of(anchor, *guess))
        return [(anchor, found)] if found is not None and is_sure(found) else []

    def _near(self, view: UnplacedField, at: Estimate, count: int = 2) -> list[Anchor]:
        return self.atlas.near(
            at[:2], view.size_um, count=count, least_overlap=_LEAST_OVERLAP
        )

    def _search(self, view: UnplacedField) -> Estimate | None:
        """Look for a field at every shift against the last one, or the map around."""
        around = view.told or (self._last.at if self._last else None)
        if around is None:
            return None
        tests = [(a, is_sure_around) for a in self._near(view, around)]
        if self._last is not None and not self._lost:
            tests.insert(0, (_anchor_of(self._last), is_sure_around))
        beside = self.atlas.around(around[:2], view.size_um, count=_BESIDE)
        tests += [(anchor, is_sure_anywhere) for anchor in beside]
        for anchor, is_sure in tests:
            if self._lost:
                is_sure = is_sure_anywhere
            place = search_one(anchor, view.look, is_sure)
            if place is not None:
                return self._settled(view, place)
        return None

    def _settled(self, view: UnplacedField, place: Estimate) -> Estimate | None:
        """The place of a search, fitted to all that is near; None if that denies it."""
        found = self._fit_near(view, place)
        if found is not None or self.is_turned:
            return found
        return None if self._contradicts(view, place) else place

    def _contradicts(self, view: UnplacedField, place: Estimate) -> bool:
        """Whether what a keyframe shows around a place is not what the field does."""
        fits = (
            fit(anchor.look, view.look, shift_of(anchor, *place[:2]))
            for anchor in self._near(view, place)
        )
        return any(found and found.texture and not is_alike(found) for found in fits)

    def _unstick(self, look: Texture, at: Estimate | None) -> Estimate | None:
        """Ask whether only dirt on the sensor stands still, and the slide moved.

        Args:
            look: the field.
            at: where it seems to be; returned when there is no doubt.
        """
        last = self._last
        if last is None or self._lost or last.look.fine.shape != look.fine.shape:
            return at
        if at is not None and (not self._doubtful or way(at, last.at) > STILL_UM):
            return at
        rest_last, rest = without_still(last.look, look)
        if textured_blocks(rest) < LEAST_BLOCKS:
            return at
        anchor = _anchor_of(last)._replace(look=rest_last)
        place = search_one(anchor, rest, is_patchy)
        return place if place and way(place, last.at) > STILL_UM else None

    def recall(self, view: UnplacedField) -> Estimate | None:
        """Ask the whole map whether it knows the cells of a field."""
        claims: list[tuple[float, Estimate]] = []
        landmarks = find_landmarks(view.look)
        for x_um, y_um in self.atlas.recognise(landmarks, count=_HYPOTHESES):
            for anchor in self._near(view, Estimate(x_um, y_um), count=1):
                found = fit(anchor.look, view.look, shift_of(anchor, x_um, y_um))
                if found is not None and is_straight(
                    anchor, view.look, found, is_sure_anywhere
                ):
                    claims.append((found.evidence, estimate(anchor, found)))
        best = unrivalled(claims)
        return best and self._settled(view, best)

    def turn_of(self, view: UnplacedField) -> float | None:
        """By how much a field is turned against the last, in degrees clockwise.

        Returns:
            None where nothing proves that it is.
        """
        last = self._last
        if last is None or textured_blocks(view.look) < LEAST_BLOCKS:
            return None
        if self._twisted is not None:
            known, found, turn = self._twisted
            match = match_by_rest(known, view.look, found, turn.deg)
            turn_deg = undo_turn(known, view.look, match, is_sure_anywhere)
            if turn_deg is not None:
                return turn_deg
        looks = [last.look, *(anchor.look for anchor in self._near(view, last.at))]
        for known in dict.fromkeys(looks):
            turn_deg = _turn_by_features(known, view.look)
            if turn_deg is not None:
                return turn_deg
        return None

    def begin_beside(self, why: BesideOrigin, left_um: float = 0.0) -> Estimate:
        """Begin another map right of all that is known; return where its origin lies.

        Args:
            why: what its fields are told as.
            left_um: so far left of its origin, by a number below 0, it reaches.
        """
        right_um, last = self.atlas.right_um, self._last
        if last is not None:
            right_um = max(right_um, last.at.x_um + last.size_um[0])
        self.atlas.begin(Begun(right_um + APART_UM / 2, why))
        y_um = last.at.y_um if last else 0.0
        return Estimate(right_um + APART_UM - left_um, y_um)

    def begun_at(self, at: Estimate) -> BesideOrigin | None:
        """Why the map began on which a place lies; None on the first."""
        left = [begun for begun in self.atlas.maps if begun.from_um <= at.x_um]
        return max(left).why if left else None

    @property
    def was_turned(self) -> bool:
        """Whether the camera was, since the first field or in an earlier run."""
        return any(begun.why == "turned_camera" for begun in self.atlas.maps)


@lru_cache(maxsize=4)
def _features_of(look: Texture) -> Features:
    """Of a look at half the scale: a lost field's neighbours are asked again."""
    return find_features(look.coarse)


def _turn_by_features(known: Texture, look: Texture) -> float | None:
    match = match_features(_features_of(known), _features_of(look))
    if match is None or abs(match.scale - 1.0) > _MOST_SCALE:
        return None
    step = COARSE_UM_PER_PX / FINE_UM_PER_PX
    x, y = match.middle
    match = match._replace(middle=(step * x, step * y))
    return undo_turn(known, look, match, is_sure_anywhere)


def _middle_um(at: Estimate, size_um: tuple[float, float]) -> tuple[float, float]:
    return at.x_um + size_um[0] / 2, at.y_um + size_um[1] / 2


def _anchor_of(seen: _Seen) -> Anchor:
    return Anchor(*seen.at, seen.look, seen.doubt)


def _least_doubt(
    links: Sequence[tuple[Anchor, ShiftFit]], turns: Sequence[Turn], look: Texture
) -> Doubt:
    """What the best of the fits that were asked leaves open of a field's turn."""
    asked = list(zip(links, turns, strict=False))
    doubts = [
        passed_on(anchor.doubt, turn, _meeting_um(anchor, look, found))
        for (anchor, found), turn in asked
    ]
    # Together they know more than each, but of no turn that all their anchors share.
    shared = max(anchor.doubt for (anchor, _), _ in asked)
    (anchor, found), _ = asked[0]
    about_um = _meeting_um(anchor, look, found)
    return min(*doubts, passed_on(shared, pooled_turn(turns), about_um))


def _meeting_um(anchor: Anchor, look: Texture, found: ShiftFit) -> tuple[float, float]:
    """The middle of what a field and an anchor both show."""
    (height_a, width_a), (height, width) = anchor.look.fine.shape, look.fine.shape
    x_px = (max(0.0, found.dx_px) + min(width_a, found.dx_px + width)) / 2
    y_px = (max(0.0, found.dy_px) + min(height_a, found.dy_px + height)) / 2
    return anchor.x_um + x_px * FINE_UM_PER_PX, anchor.y_um + y_px * FINE_UM_PER_PX
