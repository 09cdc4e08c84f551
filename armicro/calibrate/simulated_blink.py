"""A pretended display that blinks before a pretended camera, with a known delay."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.latency import Floats, blink_times


@dataclass(frozen=True, slots=True, eq=False)
class Blinks:
    """What a measurement would have recorded."""

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
    changes = (moments[..., None] >= light).sum(axis=-1)
    return np.asarray((changes % 2 == 1).mean(axis=1))
