"""What the window knows of a slide between two messages: findings, map, trend, way."""

import math

import numpy as np
from numpy.typing import NDArray

from armicro.field import Place
from armicro.overlay.guide import extent_um, listed, pressing
from armicro.overlay.layout import FindingIndex
from armicro.overlay.snapshot import LiveField, SlideState
from armicro.overlay.view import XyXy
from armicro.report import Finding, Revisit, SlideScore

# ---------------------------------------------------------------------------
# The mini-map's raster: what was shown, analysed or could not be read, and where.
#
# A grid of small squares that grows with the area visited. Updates only ever raise a
# square's mark, so neither order nor repetition matters, and the slide bounds the
# memory.


PITCH_UM = 20.0
VIEWED, UNREADABLE, ANALYSED = 1, 2, 3
_MARGIN = 64
_MOST_SEEN = 8192
"""Squares a side, 164 mm: beyond any slide; a place out there is an error."""


class SeenRaster:
    """Which squares of the slide were seen."""

    def __init__(self) -> None:
        self._marks: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self._row = 0
        self._column = 0
        """Grid indices of the raster's first square."""

    def update(self, place: Place, size_um: tuple[float, float], mark: int) -> bool:
        """Mark a field; True when that changed anything."""
        left, top = round(place.x_um / PITCH_UM), round(place.y_um / PITCH_UM)
        right = max(left + 1, round((place.x_um + size_um[0]) / PITCH_UM))
        bottom = max(top + 1, round((place.y_um + size_um[1]) / PITCH_UM))
        if not self._reach(left, top, right, bottom):
            return False
        part = self._marks[
            top - self._row : bottom - self._row,
            left - self._column : right - self._column,
        ]
        if np.all(part >= mark):
            return False
        np.maximum(part, np.uint8(mark), out=part)
        return True

    @property
    def marks(self) -> NDArray[np.uint8]:
        """(rows, columns): 0 not seen, else one of the marks."""
        return self._marks

    @property
    def raster_xyxy_um(self) -> XyXy:
        """Where the raster lies on the slide."""
        rows, columns = self._marks.shape
        return (
            self._column * PITCH_UM,
            self._row * PITCH_UM,
            (self._column + columns) * PITCH_UM,
            (self._row + rows) * PITCH_UM,
        )

    @property
    def extent_xyxy_um(self) -> XyXy | None:
        """The smallest rectangle around everything seen; None before the first."""
        rows = np.flatnonzero(self._marks.any(axis=1))
        columns = np.flatnonzero(self._marks.any(axis=0))
        if not rows.size:
            return None
        return (
            float(self._column + columns[0]) * PITCH_UM,
            float(self._row + rows[0]) * PITCH_UM,
            float(self._column + columns[-1] + 1) * PITCH_UM,
            float(self._row + rows[-1] + 1) * PITCH_UM,
        )

    def _reach(self, left: int, top: int, right: int, bottom: int) -> bool:
        rows, columns = self._marks.shape
        if not self._marks.size:
            self._row, self._column = top - _MARGIN, left - _MARGIN
        before = (
            max(0, self._row - top + _MARGIN if top < self._row else 0),
            max(0, self._column - left + _MARGIN if left < self._column else 0),
        )
        beyond = bottom - self._row - rows, right - self._column - columns
        after = tuple(past + _MARGIN if past > 0 else 0 for past in beyond)
        if (
            rows + before[0] + after[0] > _MOST_SEEN
            or columns + before[1] + after[1] > _MOST_SEEN
        ):
            return False
        if any(before) or any(after):
            self._marks = np.pad(
                self._marks, ((before[0], after[0]), (before[1], after[1]))
            )
            self._row -= before[0]
            self._column -= before[1]
        return True


# ---------------------------------------------------------------------------
# How the slide score came to be what it is: the last of it matters most to trust.
#
# A score that has stood still while much was seen says more than one that has just
# moved.


_MOST_POINTS = 512


class Trend:
    """The score over the fields seen; memory is bounded by thinning out."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float]] = []
        self._every = 1
        """Only each so many-th field is kept."""

    def update(self, score: SlideScore) -> bool:
        """Take the score after some more fields; True when a point was added."""
        if score.score is None:
            return False
        if self._rows and score.fields < self._rows[-1][0] + self._every:
            return False
        six = [one for pair in score.scores.values() for one in pair] or [score.score]
        self._rows.append((float(score.fields), score.score, min(six), max(six)))
        if len(self._rows) > _MOST_POINTS:
            self._rows = self._rows[::2]
            self._every *= 2
        return True

    @property
    def table(self) -> NDArray[np.float64]:
        """(n, 4): fields seen, score, lowest and highest of the six scores."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 4)


# ---------------------------------------------------------------------------
# Where the stage was last known to be, and the way back there.


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


# ---------------------------------------------------------------------------
# What the window knows between two messages.


class Known:
    """One slide, as told so far."""

    def __init__(self) -> None:
        self.shelf, self.seen, self.trend = FindingIndex(), SeenRaster(), Trend()
        self.trail = Trail()
        self.listed: tuple[Finding, ...] = ()
        self.revisits: tuple[Revisit, ...] = ()
        self.map_changed, self.trend_changed = True, False
        self._slide: SlideState | None = None

    def update(self, slide: SlideState) -> bool:
        """Take a newer state; True when it is of another slide than before."""
        old, self._slide = self._slide, slide
        another = old is not None and slide.name != old.name
        if another:
            self.seen, self.trend, self.map_changed = SeenRaster(), Trend(), True
            self.trail = Trail()
        self.trend_changed = self.trend.update(slide.score) or self.trend_changed
        if old is None or slide.findings != old.findings:
            self.shelf, self.listed = (
                FindingIndex(slide.findings),
                listed(slide.findings),
            )
        self.revisits = pressing(slide.revisits)
        known = 0 if old is None or another else len(old.seen_rows())
        rows = slide.seen_rows()[known:].tolist()
        for x_um, y_um, width_um, height_um, readable in rows:
            place = Place(x_um, y_um, 0.0, "slide_file")
            self._mark(
                place, (width_um, height_um), ANALYSED if readable else UNREADABLE
            )
        return another

    def chosen_after(
        self, slide: SlideState, chosen: Finding | Revisit | None
    ) -> Finding | Revisit | None:
        """Take a newer state; return what stays picked of what was.

        A part that was seen again, and a finding of another slide, are let go; of a
        part that was seen in part the rest stays picked.
        """
        if self.update(slide):
            return None
        if not isinstance(chosen, Revisit) or chosen in self.revisits:
            return chosen
        return next((one for one in self.revisits if _are_one(one, chosen)), None)

    def view(self, field: LiveField) -> None:
        """Note that a field was shown."""
        self.trail.update(field)
        if field.place is not None:
            self._mark(field.place, field.size_um, VIEWED)

    def _mark(self, place: Place, size_um: tuple[float, float], mark: int) -> None:
        changed = self.seen.update(place, size_um, mark)
        self.map_changed = self.map_changed or changed


def _are_one(part: Revisit, other: Revisit) -> bool:
    """Whether two parts overlap and are to be seen for the same reason."""
    ax0, ay0, ax1, ay1 = extent_um(part)
    bx0, by0, bx1, by1 = extent_um(other)
    overlap = ax0 < bx1 and bx0 < ax1 and ay0 < by1 and by0 < ay1
    return overlap and part.reason == other.reason
