"""Micrometres a pixel from pictures of a stage micrometer: measured well, or refused.

``measure_ruler`` tries the directions in which lines run, takes the best comb of
equally spaced lines in each, and believes the first that is a ruler beyond doubt
(``armicro.calibrate.ruler``). Where doubt is left it says what would remove it.
``measure_grid`` asks for two such combs at right angles.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import LARGEST_SHARE_OFF
from armicro.calibrate.reading import (
    AGREE_ERRORS,
    ScaleReading,
    check_axes,
    check_expected,
)
from armicro.calibrate.ruler.comb import (
    NEAR,
    OTHER_PITCH,
    SAME_PITCH,
    Comb,
    TickLine,
    find_combs,
    fit_line,
)
from armicro.calibrate.ruler.judge import (
    TWO_SCALES,
    not_a_comb,
    not_divisions,
    not_finest,
    not_lines,
    not_one_kind,
    not_whole,
)
from armicro.calibrate.ruler.prepare import (
    Flat,
    directions,
    flatten,
    is_dark,
    is_empty,
    turn,
)
from armicro.calibrate.ruler.tick import (
    Ticks,
    lines_between,
    measure_ticks,
    read_graduation,
    repeats,
)
from armicro.errors import CalibrationError

Doubles = NDArray[np.float64]
MOST_PX = 2500
"""Longer side of the picture that is measured: more costs time and tells no more."""
SEARCH_PX = 1000
"""Longer side of the picture that is searched first."""
FEW_PX = 1200
"""One of no more is searched once, as it is."""
WIDE_PX = 2.0
"""Half the width of lines; wider ones are judged in a smaller picture first."""
UPRIGHT_DEG = 0.15
UNEVEN = 0.06
"""Of the pitch; marks that lie anyhow are a ninth of it beside a comb's places."""
BESIDE_PITCHES, BESIDE_SIGMAS = 3.0, 12.0
"""Room left and right of a comb that is turned: what filters and a lean reach."""
SAME_DEG = 3.0
PRECISE = 0.02
"""Of a division: what a ruler's wider lines may scatter; its numerals do by more."""
FAR_DEG = 12.0
"""Lines that lean more are those of another direction."""
MOST_DIRECTIONS = 8
MOST_ALONG = 4
MOST_COMBS = 6
MOST_TRIES = 2
PLAIN_TICKS = 10
MOST_RIVALS = 5

_DARK = (
    "no ruler found: the picture is dark; expected lines on a bright field or bright "
    "lines; turn the light up, open the shutter, or expose longer"
)
_EMPTY = (
    "no ruler found: the picture is empty but for noise and specks; expected the "
    "micrometer's lines; bring them into view and focus on them"
)
_NOTHING = (
    "no ruler found: expected at least 5 ticks at equal distances; focus on the "
    "micrometer's lines, turn the light up, and fill the picture with the scale"
)


class _Doubt(NamedTuple):
    words: str
    score: float
    angle: float = 0.0
    pitch_px: float = 0.0
    """Of lines that were measured; else 0."""
    even: bool = False
    """They are equally spaced lines, and no divisions."""

    def is_of(self, candidate: "_Candidate") -> bool:
        """Whether it was said of these very lines."""
        turn = abs((candidate.angle - self.angle + 90) % 180 - 90)
        pitch = candidate.comb.pitch_px * candidate.step
        return turn < SAME_DEG and abs(pitch - self.pitch_px) < SAME_PITCH * pitch


def _is_settled(candidate: "_Candidate", doubts: list[_Doubt]) -> bool:
    """Whether enough was said of these lines; what was uneven once is tried again."""
    said = [doubt.even for doubt in doubts if doubt.is_of(candidate)]
    return any(said) or len(said) >= MOST_TRIES


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    angle: float
    comb: Comb
    """In pixels of the picture that was searched, turned by ``angle``."""
    matrix: Doubles
    """From pixels of that picture to those of the turned one."""
    step: float
    """By how much smaller that picture was."""


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Lines at equal distances, measured; in pixels of the full picture."""

    ticks: Ticks
    line: TickLine
    angle: float
    """By which the picture was turned."""
    matrix: Doubles
    doubt: str
    """Why they are not equally spaced lines; empty: they are."""
    parts: int = 1
    """Into so many further lines divide their distance; 1: there are none."""
    again: bool = False
    """Further rows of such lines lie beyond their ends."""


def measure_ruler(
    pixels: NDArray[np.uint8], *, division_um: float, expected: float | None = None
) -> ScaleReading:
    """Scale along a ruler from one picture of it, at any rotation.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
        division_um: distance of neighbouring ticks, in micrometres.
        expected: µm per pixel by the names on objective and camera; settles what
            equal lines leave open, and a result 25 % off it is refused.

    Raises:
        CalibrationError: no ruler is seen, or not beyond doubt.
    """
    large = max(1.0, max(pixels.shape[:2]) / MOST_PX)
    flat = _shrink(flatten(pixels), large)
    doubts: list[_Doubt] = []
    examine = partial(_examine, flat, division_um, expected and expected * large)
    for step in _steps(flat):
        found = _search(flat, step, examine, doubts)
        if found:
            check_expected(found.um_per_px / large, expected)
            return _enlarged(found, large)
    if is_dark(pixels):
        raise CalibrationError(_DARK)
    if is_empty(flat):
        raise CalibrationError(_EMPTY)
    doubts.sort(key=lambda doubt: -doubt.score)
    raise CalibrationError(doubts[0].words if doubts else _NOTHING)


def measure_grid(pixels: NDArray[np.uint8], *, division_um: float) -> ScaleReading:
    """Scale along x and y from one picture of a grid of crossing lines.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
        division_um: distance of neighbouring lines, in micrometres.

    Raises:
        CalibrationError: no grid is seen, or x and y disagree.
    """
    flat = flatten(pixels)
    for step in _steps(flat):
        best: dict[float, _Lines] = {}
        candidates = _candidates(flat, step)
        for candidate in candidates[: 2 * MOST_COMBS]:
            lines = _measure(flat, candidate)
            # Where lines cross, spots lie as even along the diagonals.
            spots = lines.doubt or not_lines(lines.ticks, lines.line, again=False)
            if not spots and lines.parts == 1:
                best.setdefault(round(lines.angle), lines)
        for one, two in combinations(best.values(), 2):
            if abs(abs(one.angle - two.angle) % 180 - 90) < 1.0:
                return _grid(one, two, division_um)
    raise CalibrationError(
        "no grid found: expected at least 5 lines each way at equal distances; focus "
        "on the lines and fill the picture with the grid"
    )


def _enlarged(reading: ScaleReading, step: float) -> ScaleReading:
    """A reading of a picture that was made ``step`` smaller, in its own pixels."""
    return replace(
        reading,
        um_per_px=reading.um_per_px / step,
        standard_error=reading.standard_error / step,
        marks_xy_px=(reading.marks_xy_px + 0.5) * step - 0.5,
    )


def _grid(one: _Lines, two: _Lines, division_um: float) -> ScaleReading:
    readings = [_reading(lines, 0, division_um) for lines in (one, two)]
    readings.sort(key=lambda reading: abs((reading.rotation_deg + 90) % 180 - 90))
    x, y = readings
    scales = np.array([x.um_per_px, y.um_per_px])
    errors = np.array([x.standard_error, y.standard_error])
    check_axes(scales, errors)
    return replace(
        x,
        um_per_px=float(scales.mean()),
        standard_error=float(np.hypot(*errors) / 2),
        anisotropy=float(scales[1] / scales[0] - 1),
        method="grid",
        marks_xy_px=np.concatenate([x.marks_xy_px, y.marks_xy_px]),
        residuals_um=np.concatenate([x.residuals_um, y.residuals_um]),
    )


def _steps(flat: Flat) -> list[float]:
    """How much smaller the picture is made to search it: first much, then not."""
    step = max(flat.contrast.shape) / SEARCH_PX
    return [step, 1.0] if max(flat.contrast.shape) > FEW_PX else [1.0]


def _is_second(flat: Flat, step: float) -> bool:
    """Whether this picture was searched smaller before."""
    return step == 1.0 and max(flat.contrast.shape) > FEW_PX


def _search(
    flat: Flat,
    step: float,
    examine: Callable[["_Candidate"], ScaleReading | _Doubt],
    doubts: list[_Doubt],
) -> ScaleReading | None:
    """A reading from the picture made ``step`` smaller; doubts are added to."""
    small = _shrink(flat, step)
    # The second search is of six times the pixels.
    share = 2 if _is_second(small, step) else 1
    examine = cache(examine)
    candidates: list[_Candidate] = []
    for angle in directions(small, most=MOST_DIRECTIONS // share):
        found = _combs_along(small, angle, step)
        candidates += found
        plain = found and len(found[0].comb.x_px) >= PLAIN_TICKS
        if plain and not _is_settled(found[0], doubts):
            outcome = examine(found[0])
            # A ruler's own order of ticks is proof: nothing else need be looked at.
            if isinstance(outcome, ScaleReading) and outcome.every:
                return outcome
    candidates.sort(key=lambda candidate: -candidate.comb.score)
    first = len(doubts)
    for candidate in candidates[: MOST_COMBS // share]:
        if _is_settled(candidate, doubts):
            continue
        outcome = examine(candidate)
        if isinstance(outcome, _Doubt):
            doubts.append(outcome)
        elif outcome.every or len(doubts) == first:
            return outcome
    return None


def _candidates(flat: Flat, step: float) -> list[_Candidate]:
    """The best combs of every direction, best first."""
    small = _shrink(flat, step)
    angles = directions(small, most=MOST_DIRECTIONS)
    found = [c for angle in angles for c in _combs_along(small, angle, step)]
    return sorted(found, key=lambda candidate: -candidate.comb.score)


def _combs_along(flat: Flat, angle: float, step: float) -> list[_Candidate]:
    """The best combs in one direction of a picture made ``step`` smaller."""
    kept: list[_Candidate] = []
    for candidate in _every_comb(flat, angle, step):
        if not any(candidate.comb.resembles(other.comb) for other in kept):
            kept.append(candidate)
    return kept[:MOST_ALONG]


def _every_comb(flat: Flat, angle: float, step: float) -> list[_Candidate]:
    turned, matrix = turn(flat, angle)
    combs = find_combs(turned.contrast, turned.seen, fine=_is_second(flat, step))
    return [_Candidate(angle, comb, matrix, step) for comb in combs]


def _shrink(flat: Flat, step: float) -> Flat:
    if step == 1:
        return flat
    size = (round(flat.contrast.shape[1] / step), round(flat.contrast.shape[0] / step))
    return Flat(
        np.asarray(
            cv2.resize(flat.contrast, size, interpolation=cv2.INTER_AREA), np.float32
        ),
        (cv2.resize(flat.seen, size) > 0.99).astype(np.float32),
    )


def _stand(
    flat: Flat, candidate: _Candidate
) -> tuple[float, Flat, Doubles, Comb, Ticks]:
    """A comb's lines in the full picture, of which only their columns are turned."""
    comb, step = candidate.comb, candidate.step
    beside = BESIDE_PITCHES * comb.pitch_px + BESIDE_SIGMAS * comb.sigma_px
    turned, matrix = turn(
        flat,
        candidate.angle,
        about=comb.points_xy_px(candidate.matrix, step),
        margin_px=step * beside,
    )
    comb = comb.carried(candidate.matrix, matrix, step)
    ticks = measure_ticks(turned.contrast, turned.seen, comb)
    return candidate.angle, turned, matrix, comb, ticks


def _shrink_for(candidate: _Candidate) -> int:
    """By how much smaller a picture its lines are judged in first.

    Broad lines that are no ruler's are told so with a tenth of the pixels.
    """
    return max(1, int(candidate.comb.sigma_px * candidate.step / WIDE_PX))


def _measure(
    flat: Flat, candidate: _Candidate, *, shrink: int = 1, alone: bool = False
) -> _Lines:
    """Measure a comb's lines, turned until they stand upright.

    Args:
        flat: the full picture.
        candidate: where they are.
        shrink: so many of its pixels become one; a whole number, or the two axes would
            differ by a rounded size.
        alone: what lies between and beyond them is not asked for.
    """
    height, width = (side // shrink * shrink for side in flat.contrast.shape)
    flat = Flat(flat.contrast[:height, :width], flat.seen[:height, :width])
    flat = _shrink(flat, shrink)
    small = replace(candidate, step=candidate.step / shrink)
    angle, turned, matrix, comb, ticks = _stand(flat, small)
    for _ in range(2):
        lean = float(np.degrees(np.arctan(ticks.slope)))
        if not UPRIGHT_DEG <= abs(lean) <= FAR_DEG or _is_hopeless(ticks):
            break
        leaning = _Candidate(angle - lean, comb, matrix, 1.0)
        angle, turned, matrix, comb, ticks = _stand(flat, leaning)
    full = ticks.enlarged(shrink)
    line = fit_line(full.index[full.seen], full.x_px[full.seen])
    # Half pixels: a picture's origin is its first pixel's middle.
    matrix[:, 2] = (
        shrink * (matrix[:, 2] + 0.5)
        - 0.5
        - (shrink - 1) / 2 * matrix[:, :2].sum(axis=1)
    )
    doubt = not_a_comb(full, line, comb) or not_one_kind(full)
    lines = _Lines(full, line, angle, matrix, doubt)
    if doubt or alone:
        return lines
    return replace(
        lines,
        parts=lines_between(turned.contrast, ticks),
        again=repeats(turned.contrast, turned.seen, ticks),
    )


def _is_hopeless(ticks: Ticks) -> bool:
    """Whether places are so uneven that standing upright will not make them even."""
    line = fit_line(ticks.index[ticks.seen], ticks.x_px[ticks.seen])
    return line.rms_px > UNEVEN * line.pitch_px


def _examine(
    flat: Flat, division_um: float, expected: float | None, candidate: _Candidate
) -> ScaleReading | _Doubt:
    """A reading, or why this comb gives none.

    Raises:
        CalibrationError: another ruler runs beside it; no other comb is to be believed.
    """
    comb = candidate.comb
    if doubt := not_whole(len(comb.index), comb.missing, comb.extras):
        return _Doubt(doubt, comb.score)
    shrink = _shrink_for(candidate)
    lines = _measure(flat, candidate, shrink=shrink)
    doubt, even = _doubt_of(lines, division_um, expected)
    if shrink > 1 and not doubt:
        # What is believed is measured with every pixel.
        lines = _measure(flat, candidate)
        doubt, even = _doubt_of(lines, division_um, expected)
    every = read_graduation(lines.ticks).every
    rows = lines.again and every and not even
    if (rows or not doubt) and _is_rivalled(flat, lines):
        raise CalibrationError(TWO_SCALES)
    if doubt:
        return _Doubt(doubt, comb.score, lines.angle, lines.line.pitch_px, even=even)
    return _reading(lines, every, division_um)


def _doubt_of(
    lines: _Lines, division_um: float, expected: float | None
) -> tuple[str, bool]:
    """Why lines are not a ruler's divisions; and whether they are even at least."""
    ticks, line = lines.ticks, lines.line
    doubt = lines.doubt or not_lines(ticks, line, again=lines.again)
    if doubt:
        return doubt, False
    doubt = not_finest(line, lines.parts)
    if not doubt and not _fits(division_um / line.pitch_px, expected):
        doubt = not_divisions(ticks, line, read_graduation(ticks))
    return doubt, True


def _is_rivalled(flat: Flat, lines: _Lines) -> bool:
    """Whether another scale is in view."""
    along = (
        other
        for step in _steps(flat)
        for other in _rivals(_shrink(flat, step), lines, step)
    )
    for rival in along:
        other = _measure(flat, rival, shrink=_shrink_for(rival), alone=True)
        if abs(np.degrees(np.arctan(other.ticks.slope))) > SAME_DEG:
            # Of another direction, where the pitch along this one says nothing.
            continue
        doubt = other.doubt or not_lines(other.ticks, other.line, again=False)
        if doubt == TWO_SCALES or (not doubt and _differ(lines, other)):
            return True
    return any(
        _is_other_ruler(
            lines, _measure(flat, rival, shrink=_shrink_for(rival), alone=True)
        )
        for rival in _across(flat, lines)
    )


def _across(flat: Flat, lines: _Lines) -> Iterator[_Candidate]:
    """The best combs of other directions that may be those of another scale."""
    step = _steps(flat)[0]
    small = _shrink(flat, step)
    for angle in directions(small, most=MOST_DIRECTIONS // 2):
        if abs((angle - lines.angle + 90) % 180 - 90) > SAME_DEG:
            yield from (
                candidate
                for candidate in _combs_along(small, angle, step)[:2]
                if candidate.comb.may_rival(0.0)
            )


def _is_other_ruler(one: _Lines, two: _Lines) -> bool:
    """Whether lines of another direction are a ruler, and of another scale.

    They must have the order of a ruler: dust, edges and scratches run every way.
    A crossed micrometer's own second ruler has the same scale.
    """
    if two.doubt or not_lines(two.ticks, two.line, again=False):
        return False
    ratio = two.line.pitch_px / one.line.pitch_px
    unsure = np.hypot(
        one.line.standard_error_px / one.line.pitch_px,
        two.line.standard_error_px / two.line.pitch_px,
    )
    # One longer line alone may be a numeral at the ends of ticks, or dust.
    ordered = read_graduation(two.ticks).longs > 1
    return ordered and bool(abs(ratio - 1) > OTHER_PITCH + AGREE_ERRORS * unsure)


def _rivals(flat: Flat, lines: _Lines, step: float) -> list[_Candidate]:
    """Combs of a picture made ``step`` smaller that may be those of another scale.

    They are sought exactly along the lines that are known.
    """
    span = float(np.ptp(lines.ticks.x_px)) / step
    own = lines.line.pitch_px / step
    found: list[_Candidate] = []
    for candidate in _every_comb(flat, lines.angle, step):
        comb = candidate.comb
        if abs(comb.pitch_px / own - 1) < OTHER_PITCH or not comb.may_rival(span):
            continue
        if not any(comb.repeats(other.comb) for other in found):
            found.append(candidate)
    return found[:MOST_RIVALS]


def _differ(one: _Lines, two: _Lines) -> bool:
    """Whether lines are those of two rulers: no pitch is a multiple of the other.

    A ruler's own fifths and tenths are, and lie on its lines; wider ones beside them
    are another ruler where they have an order of long and short, or lie very evenly.
    """
    fine, coarse = sorted((one, two), key=lambda lines: lines.line.pitch_px)
    pitch, wide = fine.line.pitch_px, coarse.line.pitch_px
    whole = round(wide / pitch)
    unsure = np.hypot(
        fine.line.standard_error_px / pitch, coarse.line.standard_error_px / wide
    )
    if abs(wide / pitch / whole - 1) > OTHER_PITCH + AGREE_ERRORS * unsure:
        return True
    if whole == 1:
        return False
    if whole >= 5 and _lies_on(coarse, fine):
        return False
    order = read_graduation(coarse.ticks)
    # Fifths of a ruler are long and short in turn.
    even = whole >= 5 and not order.alternating
    return order.longs > 1 or (even and coarse.line.rms_px < PRECISE * pitch)


def _lies_on(coarse: _Lines, fine: _Lines) -> bool:
    """Whether some lines are among others: a ruler's own fifths or tenths."""
    ticks, own = coarse.ticks, fine.ticks
    back = np.linalg.inv(coarse.matrix[:, :2])
    top, bottom = (
        (
            np.stack([ticks.x_px + ticks.slope * (y - ticks.row_px), y], 1)
            - coarse.matrix[:, 2]
        )
        @ back.T
        @ fine.matrix[:, :2].T
        + fine.matrix[:, 2]
        for y in (ticks.top_px, ticks.bottom_px)
    )
    # Short lines do not show how they lean: compared where they were measured.
    way = (bottom - top)[:, 0] / np.maximum((bottom - top)[:, 1], 1.0)
    x = top[:, 0] + way * (own.row_px - top[:, 1])
    at = np.interp(x, own.x_px, own.index, left=np.nan, right=np.nan)
    inside = ticks.seen & np.isfinite(at)
    if inside.sum() < 0.5 * ticks.seen.sum():
        return False
    on = np.abs(at[inside] - np.round(at[inside])) < NEAR
    low, high = np.median(own.top_px), np.median(own.bottom_px)
    # Where long ones begin, short ones may be seen to end.
    slack = fine.line.pitch_px
    shared = ((top[:, 1] < high + slack) & (bottom[:, 1] > low - slack))[inside]
    return bool(on.mean() > 0.5 and shared.mean() > 0.5)


def _fits(um_per_px: float, expected: float | None) -> bool:
    return expected is not None and abs(um_per_px / expected - 1) <= LARGEST_SHARE_OFF


def _reading(lines: _Lines, every: int, division_um: float) -> ScaleReading:
    ticks, line = lines.ticks, lines.line
    kept = np.flatnonzero(ticks.seen)[line.used]
    um_per_px = division_um / line.pitch_px
    ends = np.stack(
        [
            np.stack([ticks.x_px[kept] + ticks.slope * (y - ticks.row_px), y], axis=1)
            for y in (ticks.top_px[kept], ticks.bottom_px[kept])
        ],
        axis=1,
    )
    back = np.linalg.inv(lines.matrix[:, :2])
    lean = float(np.degrees(np.arctan(ticks.slope)))
    residuals = line.residual_px[line.used] * um_per_px
    return ScaleReading(
        um_per_px=um_per_px,
        standard_error=um_per_px * line.standard_error_px / line.pitch_px,
        rotation_deg=float((lines.angle - lean) % 180),
        divisions=int(np.ptp(ticks.index[kept])),
        division_um=division_um,
        residual_um=float(np.sqrt(np.mean(residuals**2))),
        method="ruler",
        marks_xy_px=(ends - lines.matrix[:, 2]) @ back.T,
        residuals_um=residuals,
        bend=line.bend,
        every=every,
    )
