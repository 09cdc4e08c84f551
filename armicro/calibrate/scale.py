"""Micrometres a pixel from pictures of a stage micrometer: measured well, or refused.

``measure_ruler`` tries the directions in which lines run, takes the best comb of
equally spaced lines in each, and believes the first that is a ruler beyond doubt
(``armicro.calibrate.ruler``). Where doubt is left it says what would remove it.
``measure_grid`` asks for two such combs at right angles.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations, islice
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.reading import (
    AGREE_ERRORS,
    NEAR_EXPECTED,
    Reading,
    check_axes,
    check_expected,
)
from armicro.calibrate.ruler.comb import Comb, find_combs
from armicro.calibrate.ruler.direction import directions
from armicro.calibrate.ruler.fit import OTHER_PITCH, Line, fit_line
from armicro.calibrate.ruler.graduation import (
    lines_between,
    read_graduation,
    repeats,
)
from armicro.calibrate.ruler.judge import (
    TWO_SCALES,
    not_a_comb,
    not_divisions,
    not_lines,
    not_one_kind,
)
from armicro.calibrate.ruler.prepare import Flat, flatten, turn
from armicro.calibrate.ruler.tick import Ticks, measure_ticks
from armicro.errors import CalibrationError

Doubles = NDArray[np.float64]
MOST_PX = 2500
"""Longer side of the picture that is measured: more costs time and tells no more."""
SEARCH_PX = 1000
"""Longer side of the picture that is searched first."""
UPRIGHT_DEG = 0.15
FAR_DEG = 12.0
"""Lines that lean more are those of another direction."""
MOST_DIRECTIONS = 8
MOST_BANDS = 120
MOST_COMBS = 8
PLAIN_TICKS = 10
MOST_RIVALS = 3

_NOTHING = (
    "no ruler found: expected at least 5 ticks at equal distances; focus on the "
    "micrometer's lines, turn the light up, and fill the picture with the scale"
)


class _Doubt(NamedTuple):
    words: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    angle: float
    comb: Comb
    """In pixels of the picture that was searched, turned by ``angle``."""
    matrix: Doubles
    """From pixels of that picture to those of the turned one."""
    step: float
    """By how much smaller that picture was."""
    rivals: tuple[Comb, ...]
    """Others that run the same way, and may be those of another scale."""


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Lines at equal distances, measured in the full picture."""

    ticks: Ticks
    line: Line
    angle: float
    """By which the picture was turned."""
    matrix: Doubles
    turned: Flat
    parts: int
    """Into so many further lines divide their distance; 1: there are none."""
    doubt: str
    """Why they are not equally spaced lines; empty: they are."""


def measure_ruler(
    pixels: NDArray[np.uint8], *, division_um: float, expected: float | None = None
) -> Reading:
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
    for step in _steps(flat):
        outcome = _search(flat, step, division_um, expected and expected * large)
        if isinstance(outcome, Reading):
            check_expected(outcome.um_per_px / large, expected)
            return _enlarged(outcome, large)
        doubts += outcome
    doubts.sort(key=lambda doubt: -doubt.score)
    raise CalibrationError(doubts[0].words if doubts else _NOTHING)


def measure_grid(pixels: NDArray[np.uint8], *, division_um: float) -> Reading:
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
            if not lines.doubt and lines.parts == 1:
                best.setdefault(round(lines.angle), lines)
        for one, two in combinations(best.values(), 2):
            if abs(abs(one.angle - two.angle) % 180 - 90) < 1.0:
                return _grid(one, two, division_um)
    raise CalibrationError(
        "no grid found: expected at least 5 lines each way at equal distances; focus "
        "on the lines and fill the picture with the grid"
    )


def _enlarged(reading: Reading, step: float) -> Reading:
    """A reading of a picture that was made ``step`` smaller, in its own pixels."""
    return replace(
        reading,
        um_per_px=reading.um_per_px / step,
        standard_error=reading.standard_error / step,
        marks_xy_px=(reading.marks_xy_px + 0.5) * step - 0.5,
    )


def _grid(one: _Lines, two: _Lines, division_um: float) -> Reading:
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
    return [step, 1.0] if step > 1.2 else [1.0]


def _search(
    flat: Flat, step: float, division_um: float, expected: float | None
) -> Reading | list[_Doubt]:
    """A reading from the picture made ``step`` smaller, or all that spoke against."""
    small = _shrink(flat, step)
    # The second search is of six times the pixels.
    share = 2 if step == 1.0 and max(flat.contrast.shape) > SEARCH_PX else 1
    examine = cache(partial(_examine, flat, division_um, expected))
    candidates: list[_Candidate] = []
    for angle in directions(small, most=MOST_DIRECTIONS // share):
        found = _combs_along(small, angle, step)
        candidates += found
        if found and len(found[0].comb.x_px) >= PLAIN_TICKS:
            outcome = examine(found[0])
            # A ruler's own order of ticks is proof: nothing else need be looked at.
            if isinstance(outcome, Reading) and outcome.every:
                return outcome
    candidates.sort(key=lambda candidate: -candidate.comb.score)
    doubts: list[_Doubt] = []
    for candidate in candidates[: MOST_COMBS // share]:
        outcome = examine(candidate)
        if isinstance(outcome, str):
            doubts.append(_Doubt(outcome, candidate.comb.score))
        elif outcome.every or not doubts:
            return outcome
    return doubts


def _candidates(flat: Flat, step: float) -> list[_Candidate]:
    """The best combs of every direction, best first."""
    small = _shrink(flat, step)
    angles = directions(small, most=MOST_DIRECTIONS)
    found = [c for angle in angles for c in _combs_along(small, angle, step)]
    return sorted(found, key=lambda candidate: -candidate.comb.score)


def _combs_along(small: Flat, angle: float, step: float) -> list[_Candidate]:
    turned, matrix = turn(small, angle)
    combs = find_combs(turned.contrast, turned.seen, most=MOST_BANDS)
    kept: list[Comb] = []
    every: list[Comb] = []
    for comb in combs:
        if not any(comb.resembles(other) for other in kept):
            kept.append(comb)
        if not any(comb.resembles(other, share=OTHER_PITCH) for other in every):
            every.append(comb)
    return [
        _Candidate(angle, comb, matrix, step, _rivals(comb, every)) for comb in kept[:4]
    ]


def _rivals(comb: Comb, others: list[Comb]) -> tuple[Comb, ...]:
    likely = (other for other in others if other is not comb and comb.may_rival(other))
    return tuple(islice(likely, MOST_RIVALS))


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


def _measure(flat: Flat, candidate: _Candidate) -> _Lines:
    """Measure a comb's lines in the full picture, turned until they stand upright."""
    angle, comb, old = candidate.angle, candidate.comb, candidate.matrix
    turned, matrix = turn(flat, angle)
    comb = comb.carried(old, matrix, candidate.step)
    ticks = measure_ticks(turned.contrast, turned.seen, comb)
    for _ in range(2):
        lean = float(np.degrees(np.arctan(ticks.slope)))
        if abs(lean) < UPRIGHT_DEG or abs(lean) > FAR_DEG:
            break
        angle, old = angle - lean, matrix
        turned, matrix = turn(flat, angle)
        comb = comb.carried(old, matrix, 1.0)
        ticks = measure_ticks(turned.contrast, turned.seen, comb)
    line = fit_line(ticks.index[ticks.seen], ticks.x_px[ticks.seen])
    doubt = not_a_comb(ticks, line, comb) or not_one_kind(ticks)
    parts = 1 if doubt else lines_between(turned.contrast, ticks)
    return _Lines(ticks, line, angle, matrix, turned, parts, doubt)


def _examine(
    flat: Flat, division_um: float, expected: float | None, candidate: _Candidate
) -> Reading | str:
    """A reading, or why this comb gives none.

    Raises:
        CalibrationError: another ruler runs beside it; no other comb is to be believed.
    """
    lines = _measure(flat, candidate)
    ticks, line = lines.ticks, lines.line
    if lines.doubt:
        return lines.doubt
    doubt = not_lines(
        ticks, line, again=repeats(lines.turned.contrast, lines.turned.seen, ticks)
    )
    if doubt:
        return doubt
    if lines.parts > 1:
        return (
            f"ambiguous pitch: lines {line.pitch_px:.1f} px apart with fainter ones at "
            f"1/{lines.parts} of that between them; expected the finest division to be "
            "plain; focus, raise the contrast, or use a higher magnification"
        )
    if _is_rivalled(flat, candidate, lines):
        raise CalibrationError(TWO_SCALES)
    graduation = read_graduation(ticks)
    doubt = not_divisions(ticks, line, graduation)
    if doubt and not _fits(division_um / line.pitch_px, expected):
        return doubt
    return _reading(lines, graduation.every, division_um)


def _is_rivalled(flat: Flat, candidate: _Candidate, lines: _Lines) -> bool:
    """Whether another scale runs the same way as these lines."""
    for comb in candidate.rivals:
        other = _measure(flat, replace(candidate, comb=comb, rivals=()))
        doubt = other.doubt or not_lines(other.ticks, other.line, again=False)
        if not doubt and _differ(lines, other):
            return True
    return False


def _differ(one: _Lines, two: _Lines) -> bool:
    """Whether lines are those of two rulers: no pitch is a multiple of the other.

    A ruler's own fifths and tenths are; twice to four times as wide and with an order
    of long and short is another ruler.
    """
    fine, coarse = sorted((one, two), key=lambda lines: lines.line.pitch_px)
    pitch, wide = fine.line.pitch_px, coarse.line.pitch_px
    whole = round(wide / pitch)
    unsure = np.hypot(
        fine.line.standard_error_px / pitch, coarse.line.standard_error_px / wide
    )
    if abs(wide / pitch / whole - 1) > OTHER_PITCH + AGREE_ERRORS * unsure:
        return True
    return 1 < whole < 5 and read_graduation(coarse.ticks).every > 0


def _fits(um_per_px: float, expected: float | None) -> bool:
    return expected is not None and abs(um_per_px / expected - 1) <= NEAR_EXPECTED


def _reading(lines: _Lines, every: int, division_um: float) -> Reading:
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
    return Reading(
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
