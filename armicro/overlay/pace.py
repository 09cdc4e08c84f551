"""How often the window paints and how old the paint is, over the last seconds."""

from collections import deque
from dataclasses import dataclass

import numpy as np

_SPAN_NS = 3_000_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Frame rate and age of what is drawn; zeros before the first field."""

    frames_per_second: float = 0.0
    age_median_ms: float = 0.0
    age_p95_ms: float = 0.0


class Pace:
    """A window of three seconds over the painted fields."""

    def __init__(self) -> None:
        self._painted: deque[tuple[int, float]] = deque()

    def update(self, painted_ns: int, taken_ns: int) -> None:
        """A field that was exposed at ``taken_ns`` now stands in the window."""
        self._painted.append((painted_ns, (painted_ns - taken_ns) / 1e6))
        self._forget(painted_ns)

    def read(self, now_ns: int) -> Reading:
        """The figures at this moment; they fall to zero when nothing is painted."""
        self._forget(now_ns)
        if not self._painted:
            return Reading()
        ages_ms = [age_ms for _, age_ms in self._painted]
        median_ms, p95_ms = np.percentile(ages_ms, (50, 95))
        # From the first frame on to now, so that a stall shows at once.
        span_s = max(now_ns - self._painted[0][0], 1) / 1e9
        frames = len(self._painted) - 1
        return Reading(frames / max(span_s, 0.05), float(median_ms), float(p95_ms))

    def _forget(self, now_ns: int) -> None:
        while self._painted and now_ns - self._painted[0][0] > _SPAN_NS:
            self._painted.popleft()
