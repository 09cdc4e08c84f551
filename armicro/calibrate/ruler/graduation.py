"""Are these lines the divisions of a ruler? Evidence for and against.

The dangers are whole factors: every fifth line taken for a division because the short
ones are out of view or blurred away, or two lines seen where there is one. Against the
first speaks what lies between the lines, and for a ruler speaks the order of long and
short: one in five or ten is longer. Equal lines are believed only when there are more
of them than a ruler has fifths, their ends are in view, and they are as thick as
divisions are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.ruler.comb import blur_rows, ridge
from armicro.calibrate.ruler.prepare import Floats
from armicro.calibrate.ruler.tick import Ticks, columns

Doubles = NDArray[np.float64]
BETWEEN = 0.25
"""Lines between the lines that are this strong are divisions."""


@dataclass(frozen=True, slots=True)
class Graduation:
    """How long and short ticks follow each other."""

    every: int
    """5 or 10: one in so many is longer; 0: all alike."""
    phase: int
    ends_in_view: bool
    alternating: bool


def read_graduation(ticks: Ticks) -> Graduation:
    """Find the order of long and short ticks from how far they reach."""
    up = ticks.row_px - ticks.top_px
    down = ticks.bottom_px - ticks.row_px
    sides = [(up, ticks.top_cut), (down, ticks.bottom_cut)]
    usable = ticks.seen
    best = Graduation(0, 0, ends_in_view=False, alternating=False)
    in_view = False
    for reach, cut in sides:
        reach = _level(reach)
        base = float(np.percentile(reach[usable], 35))
        short = usable & (reach < base + 0.35 * ticks.pitch_px)
        share_cut = float(cut[short].mean()) if short.any() else 1.0
        if share_cut > 0.3:
            continue
        spread = float(np.median(np.abs(reach[short] - np.median(reach[short]))))
        in_view |= spread < 0.25 * ticks.pitch_px and short.sum() >= 0.7 * usable.sum()
        found = _order(ticks.index, reach > base + 0.35 * ticks.pitch_px, usable)
        if found.alternating or (found.every and not best.every):
            best = found
    return Graduation(best.every, best.phase, in_view, best.alternating)


def _level(reach: Doubles) -> Doubles:
    """Take off what ends gain evenly along a ruler: its base need not be square."""
    # Ten ticks on, a tick of a ruler is as long again.
    if len(reach) < 2 * 10:
        return reach
    gains = reach[10:] - reach[:-10]
    usual = float(np.median(gains))
    # A mean: ends are whole pixels. Dust and numerals on an end move it little.
    gain = float(np.mean(np.clip(gains, usual - 2, usual + 2))) / 10
    return reach - gain * (np.arange(len(reach)) - len(reach) / 2)


def _order(
    index: NDArray[np.int64], long: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> Graduation:
    """Which of every 5 or 10 are long, if any; or every other one."""
    for every in (5, 10):
        for phase in range(every):
            slot = usable & (index % every == phase)
            other = usable & ~slot
            if not slot.any() or other.sum() < 4 or not long[slot].any():
                continue
            hits, strays = float(long[slot].mean()), int(long[other].sum())
            if hits >= 0.75 and strays <= 0.08 * other.sum():
                return Graduation(every, phase, ends_in_view=True, alternating=False)
    for phase in range(2):
        slot = usable & (index % 2 == phase)
        other = usable & ~slot
        if slot.sum() >= 2 and long[slot].mean() > 0.8 and long[other].mean() < 0.2:
            return Graduation(0, phase, ends_in_view=True, alternating=True)
    return Graduation(0, 0, ends_in_view=False, alternating=False)


def lines_between(turned: Floats, ticks: Ticks) -> int:
    """Into how many parts further lines divide the distance of two ticks; 1: none."""
    length = float(np.median(ticks.bottom_px - ticks.top_px))
    low = max(0, int(ticks.top_px.min() - length))
    high = min(turned.shape[0], int(ticks.bottom_px.max() + length) + 1)
    tall = int(np.clip(0.3 * ticks.pitch_px, 5, 40)) | 1
    for sigma in {ticks.sigma_px, max(1.0, 0.5 * ticks.sigma_px)}:
        answer = ridge(blur_rows(turned[low:high], tall), sigma, ticks.sign)
        main = columns(answer, ticks.x_px[ticks.seen])
        usual = float(np.median(main[:, _rows(ticks, low)], axis=0).mean())
        for parts in (2, 3, 4, 5, 10):
            if ticks.pitch_px / parts < 4:
                continue
            if _divided(answer, ticks, parts) > BETWEEN * usual:
                return parts
    return 1


def repeats(turned: Floats, seen: Floats, ticks: Ticks) -> bool:
    """Whether further rows of such lines lie beyond the ends of these.

    Letters, bricks and checks come in rows; a ruler has one.
    """
    tall = int(np.clip(0.3 * ticks.pitch_px, 5, 40)) | 1
    answer = ridge(blur_rows(turned, tall), ticks.sigma_px, ticks.sign)
    main = columns(answer, ticks.x_px[ticks.seen])
    usual = float(np.median(main[:, _rows(ticks, 0)], axis=0).mean())
    visible = (columns(seen, ticks.x_px[:-1]) > 0.5).mean(axis=0) > 0.7
    gap = tall + 0.2 * ticks.pitch_px
    rows = np.arange(turned.shape[0])
    beyond = visible & (
        (rows < ticks.top_px.min() - gap) | (rows > ticks.bottom_px.max() + gap)
    )
    if not beyond.any():
        return False
    gaps = np.diff(ticks.x_px)
    for share in np.arange(0, 1, 1 / 12):
        lines = columns(answer, ticks.x_px[:-1] + share * gaps)[:, beyond]
        if float(np.median(lines, axis=0).max()) > 0.4 * usual:
            return True
    return False


def _rows(ticks: Ticks, low: int) -> slice:
    first = int(np.percentile(ticks.top_px, 75)) - low
    last = int(np.percentile(ticks.bottom_px, 25)) - low
    middle = int(ticks.row_px) - low
    first = max(0, min(first, middle - 1))
    return slice(first, max(last, first + 3))


def _divided(answer: Floats, ticks: Ticks, parts: int) -> float:
    """The weakest of the lines that would divide the distance, in its best rows."""
    gaps = np.diff(ticks.x_px)
    weakest: Doubles | None = None
    for part in range(1, parts):
        between = columns(answer, ticks.x_px[:-1] + gaps * part / parts)
        usual = np.median(between, axis=0)
        # A median of few jumps with noise: take off what chance explains.
        chance = 1.5 * np.std(between, axis=0) / np.sqrt(len(between))
        strength = usual - chance
        weakest = strength if weakest is None else np.minimum(weakest, strength)
    return float(weakest.max()) if weakest is not None else 0.0
