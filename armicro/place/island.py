"""Islands: what was seen since the way was lost, until something ties it to the map.

A field that fits nowhere begins a map of its own, on which the next ones are tracked.
They have no place on the slide, since nobody knows where the island lies. Once a field
is found on two maps, or their common ground proves how they lie (``tie``), the younger
moves over to the older, and what was passed while lost is known. An island is held to
the same tests as the slide's map. Where it may lie is reckoned from the field before,
which says where to look and no more.
"""

import math
from dataclasses import dataclass, replace

import msgspec

from armicro.place.agree import textured_blocks
from armicro.place.atlas import Anchor, Keyframe, MemoryStore
from armicro.place.claim import Estimate, RegisterChoice, add_errors, tie
from armicro.place.finder import LEAST_BLOCKS, STILL_UM, Finder, Steps, UnplacedField
from armicro.place.look import Plane

Point = tuple[float, float]

_ISLANDS = 8
_KEYFRAMES = 180
"""Of all islands: some 75 MB."""
_MOST = 120
"""Of one."""
_STOOD = 10
"""Fields at one place that make an island the map of a slide without one: somebody
stands there and reads. Elsewhere one that fits is enough."""
_SETTLED, _OUTGROWN = 12, 3
"""Fields on an island that make it a map of its own, beside one with a third of its
keyframes: the next row of a scan would have tied them."""
_NEAREST = 6
"""Keyframes of another map on which a new one is searched."""


@dataclass(slots=True, eq=False)
class _Sheet:
    """The slide's map, or an island."""

    finder: Finder
    base: "_Sheet | None" = None
    """Where the field before its first lay; the slide's map has none."""
    away_um: Point | None = (0.0, 0.0)
    """Its origin on the base, as reckoned; None where nothing is known."""
    fields: int = 0
    """So many were found on it."""

    def guess_um(self) -> Point | None:
        """Its origin on the slide, as reckoned."""
        under = self.base.guess_um() if self.base else (0.0, 0.0)
        return _sum(under, self.away_um)


class Islands:
    """The islands of one slide, beside its map.

    Args:
        choice: the rig's.
        longest_gap_s: over a longer time between fields a velocity says nothing.
        steps: of the stage.
        main: finds places on the slide's map.
    """

    def __init__(
        self,
        choice: RegisterChoice,
        longest_gap_s: float,
        steps: Steps,
        main: Finder,
    ) -> None:
        self._steps = steps
        self._choice = msgspec.structs.replace(choice, keyframes=_MOST)
        self._longest_gap_s = longest_gap_s
        self._main = _Sheet(main)
        self._sheets = [self._main]
        """All, oldest first."""
        self._front = self._main
        """Where the last field lay that lay anywhere."""
        self._on_front = False
        """Whether the last field did."""
        self._clean: Plane | None = None

    def mask(self, clean: Plane) -> None:
        """Leave out what is 0 in ``clean`` of all maps, the slide's too."""
        self._clean = clean
        for sheet in self._sheets:
            sheet.finder.mask(clean)

    def track(self, view: UnplacedField, *, worthy: bool) -> Estimate | None:
        """Take a field that has no place; return one if it tells where all this lies.

        Args:
            view: the field.
            worthy: whether it is sharp enough for a keyframe.
        """
        found = self._find(view)
        if found is None and textured_blocks(view.look) >= LEAST_BLOCKS:
            if self._main.finder.is_empty and view.is_rich:
                # Here the slide's coordinates begin.
                return Estimate(0.0, 0.0)
            if worthy:
                found = self._begin(view), Estimate(0.0, 0.0)
        self._on_front = found is not None
        if found is None:
            return None
        self._front, at = found
        self._front.fields += 1
        is_new = self._front.finder.keep(view, at, worthy=worthy)
        if self._main.finder.is_empty:
            return self._promote(at)
        tied = self._tie(view, at) if is_new else None
        return tied or self._settle(at)

    def join(self, view: UnplacedField, at: Estimate, *, new: bool) -> None:
        """Move those islands over that a field with a place ties to the map.

        Args:
            view: the field.
            at: its place on the slide.
            new: whether the field is new ground there, worth asking every island.
        """
        before = self._front if self._on_front else self._main
        self._front, self._on_front = self._main, True
        for island in self._islands:
            finder = island.finder
            here = None
            if island is before:
                here = finder.find(view)
            elif new:
                here = finder.recall(view)
            if here is not None:
                errors = here.standard_error_xy_um, at.standard_error_xy_um
                offset = at.x_um - here.x_um, at.y_um - here.y_um
                moved = Estimate(*offset, add_errors(*errors))
                self._merge(island, self._main, moved)
            else:
                finder.lose()
        if new:
            self._tie(view, at)

    @property
    def _islands(self) -> list[_Sheet]:
        return self._sheets[1:]

    def _find(self, view: UnplacedField) -> tuple[_Sheet, Estimate] | None:
        """Find a field on an island, first on that where the field before lay."""
        if self._on_front and self._front is not self._main:
            at = self._front.finder.find(view)
            if at is not None:
                return self._front, at
        for island in self._islands:
            island.finder.lose()
            at = island.finder.recall(view)
            if at is not None:
                return island, at
        return None

    def _begin(self, view: UnplacedField) -> _Sheet:
        finder = Finder(MemoryStore(), self._choice, self._longest_gap_s, self._steps)
        if self._clean is not None:
            finder.mask(self._clean)
        away_um = self._front.finder.reckon(view)
        island = _Sheet(finder, self._front, away_um)
        self._sheets.append(island)
        while len(self._islands) > _ISLANDS or self._keyframes() >= _KEYFRAMES:
            # An island alone has fewer than all may have.
            least = min(self._islands[:-1], key=lambda each: len(each.finder.atlas))
            self._leave(least, least.base, least.away_um)
        return island

    def _promote(self, at: Estimate) -> Estimate | None:
        """Make the map in front the slide's, which has none, once it proved to hold."""
        island = self._front
        # Its first field lies at its origin.
        if math.hypot(at.x_um, at.y_um) <= STILL_UM and island.fields < _STOOD:
            return None
        self._merge(island, self._main, Estimate(0.0, 0.0))
        return at

    def _settle(self, at: Estimate) -> Estimate | None:
        """Take an island for a map of its own that has long outgrown the slide's.

        A first field whose surroundings are empty would keep all else off the map.
        """
        island, main = self._front, self._main.finder
        known, grown = len(main.atlas), len(island.finder.atlas)
        if island.fields < _SETTLED or grown < _OUTGROWN * known:
            return None
        offset = main.begin_beside("map_apart", island.finder.atlas.left_um)
        self._merge(island, self._main, offset)
        return _moved(at, offset)

    def _keyframes(self) -> int:
        return sum(len(each.finder.atlas) for each in self._islands)

    def _tie(self, view: UnplacedField, at: Estimate) -> Estimate | None:
        """Tie the map in front to the others by a new keyframe; return its place."""
        for other in [sheet for sheet in self._sheets if sheet is not self._front]:
            front = self._front
            older = self._sheets.index(other) < self._sheets.index(front)
            fixed, moving = (other, front) if older else (front, other)
            near = self._beside(view, at, other)
            here = Anchor(*at, view.look)
            pairs = [(there, here) if older else (here, there) for there in near]
            offset = tie(fixed.finder.atlas, moving.finder.atlas, pairs)
            if offset is None:
                continue
            self._merge(moving, fixed, offset)
            if older:
                self._front, at = other, _moved(at, offset)
                if other is not self._main:
                    other.finder.keep(view, at, worthy=False)
        return at if self._front is self._main else None

    def _beside(self, view: UnplacedField, at: Estimate, other: _Sheet) -> list[Anchor]:
        """Keyframes of another map that a field may overlap, the likeliest first."""
        here_um, there_um = self._front.guess_um(), other.guess_um()
        if here_um is None or there_um is None:
            return []
        guess_um = (
            at.x_um + here_um[0] - there_um[0],
            at.y_um + here_um[1] - there_um[1],
        )
        return other.finder.atlas.around(
            guess_um, view.size_um, count=_NEAREST, least=-1.0
        )

    def _merge(self, moving: _Sheet, fixed: _Sheet, offset: Estimate) -> None:
        """Move an island's keyframes to where they lie on another map."""
        for frame, look in moving.finder.atlas.keyframes():
            at = Estimate(frame.x_um, frame.y_um, frame.standard_error_xy_um)
            fixed.finder.adopt(_placed(frame, _moved(at, offset)), look)
        self._leave(moving, fixed, offset[:2])

    def _leave(
        self, island: _Sheet, base: _Sheet | None, away_um: Point | None
    ) -> None:
        """Forget an island whose origin lies on a base as said."""
        self._sheets.remove(island)
        for each in self._islands:
            if each.base is island:
                each.base = base
                each.away_um = _sum(each.away_um, away_um)


def _sum(a: Point | None, b: Point | None) -> Point | None:
    return (a[0] + b[0], a[1] + b[1]) if a and b else None


def _moved(at: Estimate, offset: Estimate) -> Estimate:
    error_um = add_errors(at.standard_error_xy_um, offset.standard_error_xy_um)
    return Estimate(at.x_um + offset.x_um, at.y_um + offset.y_um, error_um)


def _placed(frame: Keyframe, at: Estimate) -> Keyframe:
    x_um, y_um, error_um = at
    return replace(
        frame,
        x_um=x_um,
        y_um=y_um,
        standard_error_xy_um=error_um,
        doubt=frame.doubt.moved(x_um - frame.x_um, y_um - frame.y_um),
    )
