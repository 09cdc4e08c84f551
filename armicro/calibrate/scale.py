"""Micrometres a pixel from pictures of a stage micrometer: measured well, or refused.

``measure_ruler`` tries the directions in which lines run, takes the best comb of
equally spaced lines in each, and believes the first that is a ruler beyond doubt
(``armicro.calibrate.ruler``). Where doubt is left it says what would remove it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.ruler.comb import Comb, find_combs
from armicro.calibrate.ruler.direction import directions
from armicro.calibrate.ruler.fit import Line, fit_line
from armicro.calibrate.ruler.graduation import (
    EQUAL_TICKS,
    LEAST_TICKS,
    Graduation,
    lines_between,
    read_graduation,
)
from armicro.calibrate.ruler.prepare import Flat, flatten, turn
from armicro.calibrate.ruler.tick import Ticks, measure_ticks
from armicro.errors import CalibrationError

Doubles = NDArray[np.float64]
SEARCH_PX = 1000
"""Longer side of the picture that is searched first."""
UPRIGHT_DEG = 0.15
MOST_DIRECTIONS = 8
MOST_BANDS = 24
NEAR_EXPECTED = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The scale of one picture."""

    um_per_px: float
    standard_error: float
    """Of ``um_per_px``, in µm/px."""
    rotation_deg: float
    """Of the ruler against the picture's rows, clockwise on the screen, in [0, 180)."""
    divisions: int
    division_um: float
    residual_um: float
    """RMS distance of a tick from the fitted ruler."""
    bend: float
    """By how much the scale changes from end to end, as a share; 0: not measurably."""
    every: int
    """One in so many ticks is longer; 0: all alike."""
    method: str
    marks_xy_px: Doubles
    """(n, 2, 2): both ends of every tick that was used, in pixels of the picture."""
    residuals_um: Doubles
    """(n,) of the same ticks, along the ruler."""


class _Candidate(NamedTuple):
    angle: float
    comb: Comb
    """In pixels of the picture that was searched, turned by ``angle``."""
    matrix: Doubles
    """From pixels of that picture to those of the turned one."""
    step: float
    """By how much smaller that picture was."""


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
    flat = flatten(pixels)
    doubts: list[str] = []
    for step in _steps(flat):
        for candidate in _candidates(flat, step)[:6]:
            outcome = _examine(flat, candidate, division_um, expected)
            if isinstance(outcome, Reading):
                return outcome
            doubts.append(outcome)
    raise CalibrationError(doubts[0] if doubts else _NOTHING)


def _steps(flat: Flat) -> list[float]:
    """How much smaller the picture is made to search it: first much, then not."""
    step = max(flat.contrast.shape) / SEARCH_PX
    return [step, 1.0] if step > 1.2 else [1.0]


_NOTHING = (
    "no ruler found: expected at least 5 ticks at equal distances; focus on the "
    "micrometer's lines, turn the light up, and fill the picture with the scale"
)


def _candidates(flat: Flat, step: float) -> list[_Candidate]:
    """The best combs of every direction, best first."""
    small = _shrink(flat, step)
    found: list[_Candidate] = []
    for angle in directions(small, most=MOST_DIRECTIONS):
        turned, matrix = turn(small.contrast, angle)
        seen, _ = turn(small.seen, angle)
        combs = find_combs(turned, seen, most=MOST_BANDS)
        found += [_Candidate(angle, comb, matrix, step) for comb in combs[:2]]
    return sorted(found, key=lambda candidate: -candidate.comb.score)


def _shrink(flat: Flat, step: float) -> Flat:
    if step == 1:
        return flat
    size = (round(flat.contrast.shape[1] / step), round(flat.contrast.shape[0] / step))
    return Flat(
        cv2.resize(flat.contrast, size, interpolation=cv2.INTER_AREA),
        (cv2.resize(flat.seen, size) > 0.99).astype(np.float32),
    )


def _examine(
    flat: Flat, candidate: _Candidate, division_um: float, expected: float | None
) -> Reading | str:
    """A reading, or why this comb gives none."""
    angle, comb, old, step = candidate
    for _ in range(3):
        turned, matrix = turn(flat.contrast, angle)
        seen, _ = turn(flat.seen, angle)
        comb = comb.carried(old, matrix, step)
        ticks = measure_ticks(turned, seen, comb)
        lean = float(np.degrees(np.arctan(ticks.slope)))
        if abs(lean) < UPRIGHT_DEG:
            break
        # Measure again with the lines upright.
        angle, old, step = angle - lean, matrix, 1.0
    used = ticks.seen
    line = fit_line(ticks.index[used], ticks.x_px[used])
    doubt = _not_a_comb(ticks, line, comb)
    if doubt:
        return doubt
    graduation = read_graduation(ticks)
    parts = lines_between(turned, ticks)
    if parts > 1:
        return (
            f"ambiguous pitch: lines {line.pitch_px:.1f} px apart with fainter ones at "
            f"1/{parts} of that between them; expected the finest division to be plain; "
            "focus, raise the contrast, or use a higher magnification"
        )
    doubt = _not_divisions(ticks, line, graduation)
    if doubt and not _fits(division_um / line.pitch_px, expected):
        return doubt
    return _reading(ticks, line, graduation, angle, matrix, division_um)


def _fits(um_per_px: float, expected: float | None) -> bool:
    return expected is not None and abs(um_per_px / expected - 1) <= NEAR_EXPECTED


def _not_a_comb(ticks: Ticks, line: Line, comb: Comb) -> str:
    """Why these are not equally spaced lines; empty where they are."""
    count = int(line.used.sum())
    if count < LEAST_TICKS:
        return (
            f"too few ticks: {count} seen, expected at least {LEAST_TICKS}; use a lower "
            "magnification or bring more of the ruler into view"
        )
    missing = int(ticks.index[-1]) + 1 - count
    if missing > 0.2 * count or comb.extras > 0.35 * count:
        return (
            f"not a ruler: {count} lines fit equal distances, {missing} are missing "
            f"and {comb.extras} are between them; expected an unbroken row of ticks; "
            "clean the slide or bring the ruler into view"
        )
    if line.rms_px > 0.03 * line.pitch_px or abs(line.bend) > 0.05:
        return (
            f"not a ruler: its lines lie {line.rms_px / line.pitch_px:.1%} of their "
            "distance off equal places, expected 3 % at most; lay the micrometer flat "
            "and focus on it"
        )
    if ticks.width_px > 0.5 * line.pitch_px:
        return (
            f"too blurred, or not a ruler: lines {ticks.width_px:.1f} px wide at a "
            f"distance of {line.pitch_px:.1f} px, expected them narrower than their "
            "gaps; focus on the lines"
        )
    return ""


def _not_divisions(ticks: Ticks, line: Line, graduation: Graduation) -> str:
    """Why the lines may not be the divisions; empty where they are."""
    count = int(line.used.sum())
    if graduation.alternating:
        return (
            "ambiguous pitch: every other line is longer; expected one in five or ten; "
            "move the short ticks into view and focus on them"
        )
    if graduation.every:
        return ""
    thickness = ticks.width_px / line.pitch_px
    if count >= EQUAL_TICKS and graduation.ends_in_view and thickness >= 0.06:
        return ""
    return (
        f"ambiguous pitch: {count} equal lines, which may be divisions or every fifth "
        "or tenth of them; expected a longer tick among shorter ones in view; move the "
        "ends of the ticks into view, or name --objective and --pixel-um"
    )


def _reading(
    ticks: Ticks,
    line: Line,
    graduation: Graduation,
    angle: float,
    matrix: NDArray[np.float64],
    division_um: float,
) -> Reading:
    kept = np.flatnonzero(ticks.seen)[line.used]
    um_per_px = division_um / line.pitch_px
    ends = np.stack(
        [
            np.stack([ticks.x_px[kept] + ticks.slope * (y - ticks.row_px), y], axis=1)
            for y in (ticks.top_px[kept], ticks.bottom_px[kept])
        ],
        axis=1,
    )
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    marks = ends @ back[:, :2].T + back[:, 2]
    residuals = line.residual_px[line.used] * um_per_px
    return Reading(
        um_per_px=um_per_px,
        standard_error=um_per_px * line.standard_error_px / line.pitch_px,
        rotation_deg=float((angle - np.degrees(np.arctan(ticks.slope))) % 180),
        divisions=int(np.ptp(ticks.index[kept])),
        division_um=division_um,
        residual_um=float(np.sqrt(np.mean(residuals**2))),
        bend=line.bend,
        every=graduation.every,
        method="ruler",
        marks_xy_px=marks,
        residuals_um=residuals,
    )
