"""The step that moves the picture far enough to be measured, found from below."""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from armicro.calibrate.move import (
    Limits,
    Look,
    Point,
    Seen,
    Target,
    look,
    target_of,
    unit,
)
from armicro.calibrate.stage import Array
from armicro.errors import CalibrationError

_FAR_ENOUGH = 0.7
"""Share of the reach at which a step is good."""
_MOVED_PX = 4.0
"""Less may be scatter or a picture's own flicker."""
_HALVINGS = 6


class Axis(NamedTuple):
    """How one axis moves the picture, roughly."""

    step: float
    """Units that move the picture by about the reach."""
    px_per_unit: Array
    """(2,)"""


def find_step(
    index: int, start: Point, limits: Limits, reach_px: float, first_step: float
) -> Generator[Target, Seen, Axis]:
    """Grow the step along one axis until the picture moves by about the reach."""
    name = "xy"[index]
    room = limits[index + 2] - start[index], start[index] - limits[index]
    sign, most = (1.0, room[0]) if room[0] >= room[1] else (-1.0, room[1])
    along = sign * unit(index)
    purpose = f"step {name}"
    last = yield from look(np.array(start), None, purpose, reference=True)
    way, halvings = min(first_step, most), 0
    while True:
        seen = yield target_of(np.array(start) + way * along, None, purpose)
        if seen.shift_px is None:
            halvings += 1
            if halvings > _HALVINGS:
                raise CalibrationError(
                    f"stage: after {way:.3g} along {name} the picture has nothing in "
                    "common with the last; put a stained slide with cells in focus "
                    "under the objective and check that this camera is over this stage"
                )
            # Not further than what was last recognised, and half of what is beyond.
            known = float(abs(last.at - start)[index])
            way = known + (way - known) / 2
            continue
        now = Look(np.array(seen.at_xy), np.array(seen.shift_px))
        went = float(abs(now.at - last.at)[index])
        more_px = float(np.hypot(*(now.shift_px - last.shift_px)))
        moved_px = float(np.hypot(*now.shift_px))
        before_px = float(np.hypot(*last.shift_px))
        if went and moved_px >= _FAR_ENOUGH * reach_px and before_px >= _MOVED_PX:
            slope = (now.shift_px - last.shift_px) / (now.at - last.at)[index]
            return Axis(reach_px / float(np.hypot(*slope)), slope)
        if way >= most:
            raise CalibrationError(
                f"stage: went {way:.4g} along {name}, up to its soft limits, and the "
                f"picture moved {moved_px:.0f} px, expected {reach_px:.0f}; check that "
                f"the stage's clutch is closed, that {name} moves, and stage.limits"
            )
        last = now if more_px >= _MOVED_PX else last
        growth = reach_px - moved_px if moved_px < reach_px else reach_px / 4
        rate = more_px / went if went else 0.0
        way = min(most, way + min(way, growth / rate if rate else way))
