"""How long light takes from the slide, through camera and software, to the display.

The display blinks in a rhythm that never repeats; the camera sees it. Each change was
ordered at a known time and stands in one picture but not in the one before, so it says
of the delay only that it lies within an interval as long as the camera's period. The
distribution of the delay is what makes all those intervals likeliest (Turnbull 1976):
with pictures at any phase its median is far finer than a period.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.errors import CalibrationError

Floats = NDArray[np.float64]

FEWEST_CHANGES = 20
LONGEST_MS = 1000.0
_FARTHEST_MS, _TRIED_MS = 3000.0, 10.0
"""So late a light is still known to be too late."""
_FOLLOWS = 0.8
"""Share of the pictures that are lit as they should be; by chance it is a half."""
_SHORTEST_MS = 260.0
"""Between changes: more than a display's own delay scatters."""
_NEAR_MS = _SHORTEST_MS / 2
_GRID_MS = 0.5
_ROUNDS = 400
_SMOOTH = np.array([0.25, 0.5, 0.25])
_CLEAR = 6.0
"""Times its own flicker that the blinking part must change."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A delay and how it scatters."""

    median_ms: float
    p95_ms: float
    trials: int
    dropped: int = 0
    """Changes that no picture showed, or that were seen out of their order."""


def blink_times(seed: int, count: int, *, shortest_ms: float = _SHORTEST_MS) -> Floats:
    """Times in ms between changes: longer than the delay may be, never a rhythm."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(shortest_ms, 2 * shortest_ms, count), np.float64)


def find_blink(pictures_cells: Floats) -> NDArray[np.bool_]:
    """Find in which cells of the field something blinks, and when it is lit.

    Args:
        pictures_cells: (pictures, cells) mean level of each cell of each picture.

    Returns:
        (pictures,) whether it was lit.

    Raises:
        CalibrationError: nothing in the field blinks.
    """
    low, high = np.quantile(pictures_cells, (0.1, 0.9), axis=0)
    swing = high - low
    # Steps between pictures are rare in what blinks, and all there is in noise.
    flicker = np.median(np.abs(np.diff(pictures_cells, axis=0)), axis=0)
    clear = swing / (flicker + 0.05)
    blinks = (clear >= _CLEAR) & (swing >= 1.0)
    if not blinks.any():
        raise CalibrationError(
            "latency: nothing in the field blinks; expected the display's light to "
            "reach the camera: dim the lamp, raise the display's brightness, take 8 "
            "fields a second or more, or measure without it (--session)"
        )
    best = blinks & (swing >= 0.5 * swing[blinks].max())
    level = ((pictures_cells[:, best] - low[best]) / swing[best]).mean(axis=1)
    return np.asarray(level > 0.5)


def solve_delay(
    changes_ns: Sequence[int],
    lit: NDArray[np.bool_],
    taken_ns: Sequence[int],
    *,
    exposure_ms: float = 0.0,
) -> Delay:
    """Find the delay from ordered changes and the pictures that show them.

    Args:
        changes_ns: when each change was ordered; the first lights the patch.
        lit: (pictures,) whether it was lit.
        taken_ns: (pictures,) the clock at the end of exposure.
        exposure_ms: a picture counts as lit when half of it was.

    Raises:
        CalibrationError: too few changes were seen.
    """
    taken = np.asarray(taken_ns, np.float64) - exposure_ms / 2 * 1e6
    about_ns = _rough_delay_ms(changes_ns, lit, taken) * 1e6
    if about_ns > LONGEST_MS * 1e6:
        raise CalibrationError(
            f"latency: the light comes about {about_ns / 1e6:.0f} ms late, expected at "
            f"most {LONGEST_MS:.0f}; take a camera that does not send over a network, "
            "and turn the display's picture improvement off"
        )
    period = float(np.median(np.diff(taken))) if len(taken) > 1 else 0.0
    intervals = []
    for number, ordered in enumerate(changes_ns):
        # Wide enough for scatter, too narrow for the change before or after.
        since = max(float(ordered), ordered + about_ns - _NEAR_MS * 1e6)
        until = ordered + about_ns + _NEAR_MS * 1e6 + period
        becomes = number % 2 == 0
        shows = (lit == becomes) & (taken > since) & (taken <= until)
        first = int(np.argmax(shows))
        # A picture that already showed it when it was ordered shows the change before.
        if first and shows[first] and lit[first - 1] != becomes:
            intervals.append((taken[first - 1] - ordered, taken[first] - ordered))
    dropped = len(changes_ns) - len(intervals)
    if len(intervals) < FEWEST_CHANGES:
        raise CalibrationError(
            f"latency: {len(intervals)} of {len(changes_ns)} changes were seen, "
            f"expected at least {FEWEST_CHANGES}; does another program cover the "
            "display, or its screen saver?"
        )
    median, p95 = _likeliest(np.asarray(intervals) / 1e6)
    return Delay(median, p95, len(intervals), dropped)


def _rough_delay_ms(
    changes_ns: Sequence[int], lit: NDArray[np.bool_], taken: Floats
) -> float:
    """The delay at which most pictures are lit as they should be.

    The rhythm never repeats, so that no other change can be taken for the one.

    Raises:
        CalibrationError: at none they are.
    """
    tried = np.arange(0.0, _FARTHEST_MS, _TRIED_MS)
    ordered = np.sort(np.asarray(changes_ns, np.float64))
    share = np.array(
        [
            ((np.searchsorted(ordered, taken - ms * 1e6) % 2 == 1) == lit).mean()
            for ms in tried
        ]
    )
    if share.max() < _FOLLOWS:
        raise CalibrationError(
            f"latency: {share.max():.0%} of the pictures follow the display, expected "
            f"{_FOLLOWS:.0%}; something else blinks: does another program cover the "
            "display, or its screen saver, or does the lamp flicker?"
        )
    return float(tried[share >= share.max() - 1e-9].mean())


def delay_of(spans_ms: Sequence[float]) -> Delay:
    """Sum up delays that were measured one by one, such as grab to painted.

    Raises:
        CalibrationError: too few of them.

    >>> delay_of([20.0] * 19 + [40.0]).median_ms
    20.0
    """
    if len(spans_ms) < FEWEST_CHANGES:
        raise CalibrationError(
            f"latency: {len(spans_ms)} fields were painted, expected at least "
            f"{FEWEST_CHANGES}; run a longer session with a window"
        )
    median, p95 = np.quantile(spans_ms, (0.5, 0.95))
    return Delay(float(median), float(p95), len(spans_ms))


def chain(first: Delay, second: Delay) -> Delay:
    """One delay after the other, independent: medians add, spreads in squares."""
    spread = np.hypot(first.p95_ms - first.median_ms, second.p95_ms - second.median_ms)
    median = first.median_ms + second.median_ms
    return Delay(
        median,
        median + float(spread),
        min(first.trials, second.trials),
        first.dropped + second.dropped,
    )


def _likeliest(intervals_ms: Floats) -> tuple[float, float]:
    """Median and 95th percentile of what lies within intervals (open, closed]."""
    edges = np.arange(0.0, max(_GRID_MS, intervals_ms[:, 1].max()) + _GRID_MS, _GRID_MS)
    middles = edges[:-1] + _GRID_MS / 2
    holds = (middles > intervals_ms[:, :1]) & (middles <= intervals_ms[:, 1:])
    holds = holds[holds.any(axis=1)]
    mass = holds.mean(axis=0)
    mass /= mass.sum()
    for _ in range(_ROUNDS):
        shares = holds * mass
        mass = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        # Smoothed at every step (EMS, Silverman 1990): a delay is no set of spikes.
        mass = np.convolve(mass, _SMOOTH, mode="same")
    grown = np.cumsum(mass)
    # Mass may lie in few cells with nothing between: the middle of the median's range.
    low = middles[np.searchsorted(grown, 0.5 - 1e-6)]
    high = middles[np.searchsorted(grown, 0.5 + 1e-6)]
    p95 = middles[min(int(np.searchsorted(grown, 0.95)), len(middles) - 1)]
    return float((low + high) / 2), float(p95)


@dataclass(frozen=True, slots=True, eq=False)
class Blinks:
    """What a measurement by a pretended display and camera would have recorded."""

    changes_ns: list[int]
    taken_ns: list[int]
    cells: Floats
    """(pictures, cells) mean level of each cell."""


def simulate_blinks(
    seed: int,
    *,
    delay_ms: float,
    jitter_ms: float = 3.0,
    frames_per_second: float = 30.0,
    changes: int = 60,
    exposure_ms: float = 5.0,
) -> Blinks:
    """Blink before a camera.

    Args:
        seed: of rhythm, jitter and noise.
        delay_ms: median from a change's order to the end of an exposure in its light.
        jitter_ms: standard deviation of the delay.
        frames_per_second: of the camera, whose phase is any.
        changes: of the display.
        exposure_ms: a change during it shows in part.
    """
    rng = np.random.default_rng(seed)
    ordered = 500.0 + np.cumsum(blink_times(seed, changes))
    light = ordered + delay_ms + rng.normal(0, jitter_ms, changes)
    period = 1000 / frames_per_second
    taken = np.arange(rng.uniform(0, period), ordered[-1] + 900, period)
    taken += rng.normal(0, 0.3, len(taken))
    lit = _share_lit(light, taken, exposure_ms)
    cells = 90 + rng.normal(0, 0.4, (len(taken), 24))
    cells[:, 8:14] += 12 * lit[:, None]
    return Blinks(
        [round(ms * 1e6) for ms in ordered], [round(ms * 1e6) for ms in taken], cells
    )


def _share_lit(light: Floats, taken: Floats, exposure_ms: float) -> NDArray[np.float64]:
    """Share of each exposure that was lit; the first change lights."""
    moments = taken[:, None] - np.linspace(0, exposure_ms, 16)[None]
    changes = np.searchsorted(np.sort(light), moments, side="right")
    return np.asarray((changes % 2 == 1).mean(axis=1))
