"""What capture has shown and infer must know of, whether it gets the field or not.

In live most fields are shown and skipped, or shown while infer starts, works, is dead.
Their ground is collected here and told with every answer until infer says that its
journal keeps it; what is left at the end is written by capture itself.
"""

import time

from armicro.field import Field
from armicro.report import MOST_GROUND_BYTES, Shown
from armicro.slide.coverage import CHUNK_BYTES, Ground

MOST_CHUNKS = MOST_GROUND_BYTES // CHUNK_BYTES


class ShownGround:
    """The ground of one life of capture."""

    def __init__(self) -> None:
        self._life = time.monotonic_ns()
        self._kept, self._waits = Ground(), Ground()
        self._unplaced = self._unplaced_kept = 0
        self._told: list[tuple[Shown, Ground]] = []
        """What was told and is not said to be kept, the newest last."""

    def add(self, field: Field) -> None:
        """Take a field that is shown."""
        if field.place is None:
            self._unplaced += 1
            return
        new = Ground()
        new.add((field.place.x_um, field.place.y_um, *field.size_um))
        self._waits.join(new.without(self._kept))

    def tell(self, *, most: int | None = MOST_CHUNKS) -> Shown | None:
        """What infer has not said to keep; None where there is nothing."""
        if not self._waits.chunks and self._unplaced == self._unplaced_kept:
            return None
        ground = self._waits.without(Ground(), most=most)
        shown = Shown(self._life, time.monotonic_ns(), self._unplaced, ground.pack())
        self._told = [*self._told[-15:], (shown, ground)]
        return shown

    def keep(self, number: int) -> None:
        """Infer's journal keeps what was told under this number."""
        for shown, ground in self._told:
            if shown.number == number:
                self._kept.join(ground)
                self._waits = self._waits.without(ground)
                self._unplaced_kept = shown.unplaced
                self._told = [one for one in self._told if one[0].number > number]
                return
