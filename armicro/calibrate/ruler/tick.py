"""Each line of a comb measured: where it lies, how far it reaches, how wide it is."""

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.ruler.comb import Comb, blur_rows, ridge
from armicro.calibrate.ruler.prepare import Floats

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """The lines of a comb in a turned picture, one element a line, none left out."""

    index: NDArray[np.int64]
    x_px: Doubles
    """Of its middle, at ``row_px``; where it would be if it was not seen."""
    seen: NDArray[np.bool_]
    top_px: Doubles
    bottom_px: Doubles
    top_cut: NDArray[np.bool_]
    """It runs out of the picture there."""
    bottom_cut: NDArray[np.bool_]
    solid: Doubles
    """Share of its length where it is plain; broken lines are letters or specks."""
    pitch_px: float
    row_px: float
    width_px: float
    """At half its height, of all lines together."""
    odd: float
    """How much odd lines look otherwise than even ones, as a share of their height."""
    slope: float
    """How far lines lean: x a row; nan where they are too short to tell."""
    sign: int
    sigma_px: float

    def enlarged(self, step: float) -> "Ticks":
        """The same lines in a picture ``step`` larger."""
        # Half pixels: a picture's origin is its first pixel's middle.
        off = 0.5 * (step - 1)
        return replace(
            self,
            x_px=self.x_px * step + off,
            top_px=self.top_px * step + off,
            bottom_px=self.bottom_px * step + off,
            row_px=self.row_px * step + off,
            pitch_px=self.pitch_px * step,
            width_px=self.width_px * step,
            sigma_px=self.sigma_px * step,
        )


def measure_ticks(turned: Floats, seen: Floats, comb: Comb) -> Ticks:
    """Follow each line of a comb up and down, then place it to a fraction of a pixel.

    Args:
        turned: (height, width) local contrast, lines upright within a degree.
        seen: (height, width), 1 where the picture is.
        comb: where to begin.
    """
    index = np.arange(int(comb.index[-1]) + 1)
    x = np.interp(index, comb.index, comb.x_px)
    found = np.isin(index, comb.index)
    tall = int(np.clip(0.25 * comb.pitch_px, 3, 24)) | 1
    answer = ridge(blur_rows(turned, tall), comb.sigma_px, comb.sign)
    top, bottom, solid = _extents(columns(answer, x), comb, found)
    core = _core_rows(top[found], bottom[found], comb.row_px)
    slope = _lean(comb.sign * turned, x[found], core, comb.pitch_px)
    row = 0.5 * (core[0] + core[1])
    x = x + slope * (row - comb.row_px)
    level = _straighten(turned, slope, row)
    profile = comb.sign * level[core[0] : core[1]].mean(axis=0).astype(np.float64)
    x, width, odd = _place(profile, x, found, comb)
    # The filter sees both sides of a line: near the rim it cannot.
    rim = np.ones((1, 2 * round(2 * comb.sigma_px) + 1), np.uint8)
    visible = columns(np.asarray(cv2.erode(seen, rim), np.float32), x) > 0.5
    rows = np.arange(turned.shape[0])
    inside_top = np.array([v.argmax() if v.any() else 0 for v in visible])
    inside_end = np.array(
        [rows[-1] - v[::-1].argmax() if v.any() else rows[-1] for v in visible]
    )
    return Ticks(
        index, x, found, top, bottom, top <= inside_top + tall,
        bottom >= inside_end - tall, solid, comb.pitch_px, row, width, odd, slope,
        comb.sign, comb.sigma_px,
    )  # fmt: skip


def columns(picture: Floats, x: Doubles) -> Doubles:
    """Columns of a picture at fractional places: (len(x), height)."""
    left = np.clip(np.floor(x).astype(int), 0, picture.shape[1] - 2)
    part = np.clip(x - left, 0, 1)[:, None]
    mixed = picture[:, left].T * (1 - part) + picture[:, left + 1].T * part
    return np.asarray(mixed, dtype=np.float64)


def _extents(
    answer: Doubles, comb: Comb, found: NDArray[np.bool_]
) -> tuple[Doubles, Doubles, Doubles]:
    """First and last row of each line, and its solid share.

    An end is where the sum of (answer - half the usual answer), taken outwards, is
    greatest: noise and a crossing line do not end a tick, and far specks do not
    lengthen it.
    """
    row = round(comb.row_px)
    near = answer[:, max(0, row - 2) : row + 3].mean(axis=1)
    usual = float(np.median(near[found]))
    half = np.minimum(near, usual)[:, None] * 0.5
    half = np.maximum(half, 0.25 * usual)
    surplus = np.minimum(answer, 1.5 * usual) - half
    down = np.cumsum(surplus[:, row:], axis=1).argmax(axis=1) + row
    up = row - np.cumsum(surplus[:, row::-1], axis=1).argmax(axis=1)
    plain = np.cumsum(answer > half, axis=1)
    line = np.arange(len(up))
    solid = (plain[line, down] - plain[line, up] + 1) / (down - up + 1)
    return up.astype(np.float64), down.astype(np.float64), solid


def _core_rows(top: Doubles, bottom: Doubles, row: float) -> tuple[int, int]:
    """Rows that three quarters of the lines cross."""
    first, last = float(np.percentile(top, 75)), float(np.percentile(bottom, 25))
    trim = 0.1 * (last - first)
    low, high = round(first + trim), round(last - trim) + 1
    if high - low < 3:
        low, high = round(row) - 1, round(row) + 2
    return max(low, 0), high


def _lean(bright: Floats, x: Doubles, core: tuple[int, int], pitch: float) -> float:
    """How far lines lean, from the mean line of each of a few slices of rows."""
    slices = min(8, (core[1] - core[0]) // 4)
    if slices < 2:
        return 0.0
    edges = np.linspace(core[0], core[1], slices + 1).round().astype(int)
    middles = 0.5 * (edges[:-1] + edges[1:])
    offsets = np.arange(-0.45 * pitch, 0.45 * pitch, 0.25)
    profiles = [bright[low:high].mean(axis=0) for low, high in pairwise(edges)]
    slope = 0.0
    for _ in range(4):
        means = []
        for profile, y in zip(profiles, middles, strict=True):
            places = x[:, None] + offsets + slope * (y - middles.mean())
            windows = np.interp(places, np.arange(len(profile)), profile)
            means.append(np.median(windows, axis=0))
        template = np.mean(means, axis=0)
        shifts = [_shift(mean, template, 0.25) for mean in means]
        slope += float(np.polyfit(middles, shifts, 1)[0])
    return slope


def _shift(profile: Doubles, template: Doubles, step: float) -> float:
    """How far right of a template a profile lies, to first order."""
    gradient = np.gradient(template, step)
    basis = np.stack([template, np.ones_like(template), -gradient], axis=1)
    weights = np.linalg.lstsq(basis, profile, rcond=None)[0]
    return float(weights[2] / weights[0]) if weights[0] > 1e-9 else 0.0


def _straighten(turned: Floats, slope: float, row: float) -> Floats:
    """Shear a picture so that leaning lines stand upright."""
    if abs(slope) * turned.shape[0] < 0.02:
        return turned
    matrix = np.array([[1.0, -slope, slope * row], [0.0, 1.0, 0.0]])
    sheared = cv2.warpAffine(turned, matrix, turned.shape[::-1], flags=cv2.INTER_CUBIC)
    return sheared.astype(np.float32)


def _place(
    profile: Doubles, x: Doubles, found: NDArray[np.bool_], comb: Comb
) -> tuple[Doubles, float, float]:
    """Sub-pixel places by the mean line as template; its width; even against odd."""
    reach = min(0.45 * comb.pitch_px, 3 * comb.sigma_px + 3)
    step = max(0.25, reach / 40)
    offsets = np.arange(-reach, reach + step / 2, step)
    grid = np.arange(len(profile))
    template = offsets * 0
    for _ in range(4):
        windows = np.interp(x[:, None] + offsets, grid, profile)
        template = np.median(windows[found], axis=0)
        shift = np.array([_shift(window, template, step) for window in windows])
        limit = 0.25 * reach
        x = x + np.where(found, np.clip(shift, -limit, limit), 0.0)
    seen = np.flatnonzero(found)
    x = np.where(found, x, np.interp(np.arange(len(x)), seen, x[seen]))
    low, high = float(np.percentile(template, 10)), float(template.max())
    width = float(np.sum(template > 0.5 * (low + high))) * step
    windows = np.interp(x[seen][:, None] + offsets, grid, profile)
    even, odd = (np.median(windows[seen % 2 == part], axis=0) for part in (0, 1))
    differs = float(np.sqrt(np.mean((even - odd) ** 2))) / max(high - low, 1e-9)
    return x, width, differs


# ---------------------------------------------------------------------------
# Are these lines the divisions of a ruler? Evidence for and against.
#
# The dangers are whole factors: every fifth line taken for a division because the short
# ones are out of view or blurred away, or two lines seen where there is one. Against
# the first speaks what lies between the lines, and for a ruler speaks the order of long
# and short: one in five or ten is longer. Equal lines are believed only when there are
# more of them than a ruler has fifths, their ends are in view, and they are as thick as
# divisions are.


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
    longs: int = 0
    """How many are longer; one alone may be dust, a numeral or a letter."""


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
    return replace(best, ends_in_view=in_view)


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
                return Graduation(
                    every, phase, ends_in_view=True, alternating=False,
                    longs=int(long[slot].sum()),
                )  # fmt: skip
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
