"""The mini-map's raster: what was shown, analysed or could not be read, and where.

A grid of small squares that grows with the area visited. Updates only ever raise a
square's mark, so neither order nor repetition matters, and the slide bounds the memory.
"""

import numpy as np
from numpy.typing import NDArray

from armicro.field import Place
from armicro.overlay.picture import XyXy

PITCH_UM = 20.0
VIEWED, UNREADABLE, ANALYSED = 1, 2, 3
_MARGIN = 64
_MOST = 8192
"""Squares a side, 164 mm: beyond any slide; a place out there is an error."""


class Seen:
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
            rows + before[0] + after[0] > _MOST
            or columns + before[1] + after[1] > _MOST
        ):
            return False
        if any(before) or any(after):
            self._marks = np.pad(
                self._marks, ((before[0], after[0]), (before[1], after[1]))
            )
            self._row -= before[0]
            self._column -= before[1]
        return True
