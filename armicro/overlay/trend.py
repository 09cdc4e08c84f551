"""How the slide score came to be what it is: the last of it matters most to trust.

A score that has stood still while much was seen says more than one that has just moved.
"""

import numpy as np
from numpy.typing import NDArray

from armicro.report import SlideScore

_MOST = 512


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
        if len(self._rows) > _MOST:
            self._rows = self._rows[::2]
            self._every *= 2
        return True

    @property
    def table(self) -> NDArray[np.float64]:
        """(n, 4): fields seen, score, lowest and highest of the six scores."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 4)
