"""Where the stage was last known to be, and the way back there."""

import math

from armicro.field import Place
from armicro.overlay.snapshot import LiveField

_LEAST_UM = 3.0
"""A shorter way between two places says nothing about a direction."""
_LONGEST_GAP_NS = 1_000_000_000


class Trail:
    """The last places of the fields that were shown."""

    def __init__(self) -> None:
        self._last: LiveField | None = None
        self._back_xy: tuple[float, float] | None = None

    def update(self, field: LiveField) -> None:
        """Take a field that was shown; one without a place changes nothing."""
        if field.place is None:
            return
        before, self._last = self._last, field
        moved = _moved(before, field)
        if moved is None:
            return
        length = math.hypot(*moved)
        self._back_xy = (
            (-moved[0] / length, -moved[1] / length) if length >= _LEAST_UM else None
        )

    @property
    def place(self) -> Place | None:
        """The last known place; None before the first."""
        return self._last.place if self._last else None

    @property
    def field(self) -> LiveField | None:
        """The last field whose place was known."""
        return self._last

    @property
    def back_xy(self) -> tuple[float, float] | None:
        """Unit vector against the last known motion; None where the stage stood.

        Who is lost went on as he went before, or stopped: back is against it.
        """
        return self._back_xy


def _moved(before: LiveField | None, field: LiveField) -> tuple[float, float] | None:
    """The way of the last moments; None where it cannot be told."""
    sight = field.sight
    if sight is not None and sight.velocity_xy_um_per_s is not None:
        # Over a tenth of a second, as long as it takes to notice.
        x, y = sight.velocity_xy_um_per_s
        return 0.1 * x, 0.1 * y
    if before is None or before.place is None or field.place is None:
        return None
    if not 0 < field.taken_ns - before.taken_ns <= _LONGEST_GAP_NS:
        return None
    return field.place.x_um - before.place.x_um, field.place.y_um - before.place.y_um
