"""Islands: what was seen since the way was lost, until a field joins it to the map.

A field that fits nowhere begins a map of its own, on which the next ones are tracked.
They have no place on the slide, since nobody knows where the island lies. Once one
field is found both there and on the slide's map, the island's keyframes move over, and
what was passed while lost is known ground. An island is held to the same tests.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from armicro.align.agree import textured_blocks
from armicro.slide.atlas import Keyframe, MemoryStore
from armicro.slide.choice import RegisterChoice
from armicro.slide.encoder import Estimate
from armicro.slide.finder import LEAST_BLOCKS, Finder, Steps, View

_ISLANDS = 3
_KEYFRAMES = 60
"""Of one island at most: some 25 MB."""


class _Island:
    def __init__(
        self, choice: RegisterChoice, longest_gap_s: float, steps: Steps
    ) -> None:
        self.store = MemoryStore()
        self.finder = Finder(self.store, choice, longest_gap_s, steps)

    def add(self, view: View, at: Estimate, worthy: bool) -> None:
        self.finder.keep(view, at, worthy=worthy)

    def moved(self, here: Estimate, there: Estimate) -> Iterator[tuple[int, Keyframe]]:
        """Its keyframes where they lie if ``here`` on it is ``there`` on the slide."""
        error = math.hypot(here.standard_error_um, there.standard_error_um)
        for number, frame in enumerate(self.store.keyframes()):
            yield (
                number,
                replace(
                    frame,
                    x_um=frame.x_um + there.x_um - here.x_um,
                    y_um=frame.y_um + there.y_um - here.y_um,
                    standard_error_um=math.hypot(frame.standard_error_um, error),
                ),
            )


class Islands:
    """The islands of one slide, the one that was seen last in front."""

    def __init__(
        self, choice: RegisterChoice, longest_gap_s: float, steps: Steps
    ) -> None:
        self._steps = steps
        self._choice = msgspec.structs.replace(choice, keyframes=_KEYFRAMES)
        self._longest_gap_s = longest_gap_s
        self._islands: list[_Island] = []
        self._on_first = False
        """Whether the last field lay on the first island."""

    def track(self, view: View, *, worthy: bool) -> None:
        """Take a field that has no place on the slide."""
        if self._on_first:
            island = self._islands[0]
            at = island.finder.find(view)
            if at is not None:
                island.add(view, at, worthy)
                return
            island.finder.lose()
        for island in self._islands:
            at = island.finder.recall(view)
            if at is not None:
                self._put_first(island)
                island.add(view, at, worthy)
                return
        self._on_first = False
        if worthy and textured_blocks(view.look) >= LEAST_BLOCKS:
            self._begin(view)

    def join(self, view: View, at: Estimate, main: Finder, *, new: bool) -> None:
        """Move an island over that shows a field whose place is known.

        Args:
            view: the field.
            at: its place on the slide.
            main: the slide's map.
            new: whether the field is new ground there, worth asking every island.
        """
        if not self._islands:
            return
        asked = self._islands if new else self._islands[: int(self._on_first)]
        for island in list(asked):
            on_it = self._on_first and island is self._islands[0]
            finder = island.finder
            here = finder.find(view) if on_it else finder.recall(view)
            if here is not None:
                for number, frame in island.moved(here, at):
                    main.adopt(frame, island.store.look(number))
                self._islands.remove(island)
            else:
                finder.lose()
            if on_it:
                self._on_first = False

    def _begin(self, view: View) -> None:
        island = _Island(self._choice, self._longest_gap_s, self._steps)
        island.add(view, Estimate(0.0, 0.0, 0.0), worthy=True)
        self._put_first(island)
        while len(self._islands) > _ISLANDS:
            rest = self._islands[1:]
            self._islands.remove(min(rest, key=lambda each: len(each.finder.atlas)))

    def _put_first(self, island: _Island) -> None:
        self._islands = [island, *(i for i in self._islands if i is not island)]
        self._on_first = True
