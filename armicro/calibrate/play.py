"""The play of an axis, and how well it comes back to a place."""

from collections.abc import Generator

import numpy as np

from armicro.calibrate.move import Limits, Seen, Target, look, unit
from armicro.calibrate.stage import Array
from armicro.errors import CalibrationError

_AGREES = 0.05
"""Share of the run-up by which plays measured with two run-ups may differ."""
PAIRS = 5
"""How often a place is approached from both sides."""


def measure_play(
    index: int, centre: Array, limits: Limits, rough: Array, run_up: float
) -> Generator[Target, Seen, tuple[Array, Array, float]]:
    """Come to one place from either side; lengthen the run-up until it is enough.

    Returns:
        The plays, the places reached from below, and the run-up, in units.
    """
    inverse = np.linalg.inv(rough)
    back = unit(index)
    purpose = f"play {'xy'[index]}"
    room = min(limits[index + 2] - centre[index], centre[index] - limits[index])
    while True:
        tried = []
        for reach in (run_up, 2 * run_up):
            below = yield from look(centre, back * reach, purpose, reference=True)
            above = yield from look(centre, -back * reach, purpose)
            far = inverse @ above.shift_px - (above.at - below.at)
            tried.append(float(far[index]))
        run_up *= 2
        # A run-up shorter than the play shows less of it than a longer one.
        if abs(tried[1] - tried[0]) <= _AGREES * run_up and tried[1] <= run_up:
            break
        if 2 * run_up > room:
            raise CalibrationError(
                f"stage: {'xy'[index]} has a play of {max(tried):.3g} or more, and its "
                f"soft limits leave {room:.3g} to measure it; widen stage.limits, or "
                "have the drive repaired"
            )
    plays, belows = tried[1:], [0.0]
    for _ in range(PAIRS - 1):
        below = yield from look(centre, back * run_up, purpose)
        above = yield from look(centre, -back * run_up, purpose)
        far = inverse @ (above.shift_px - below.shift_px) - (above.at - below.at)
        plays.append(float(far[index]))
        belows.append(float((inverse @ below.shift_px)[index]))
    return np.array(plays), np.array(belows), run_up
