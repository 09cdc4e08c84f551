"""Why lines at equal distances are no ruler, in words that say what to do.

Each judge answers with an empty string where it has nothing against them.
"""

import numpy as np

from armicro.calibrate.ruler.comb import NEAR, Comb, TickLine
from armicro.calibrate.ruler.tick import Graduation, Ticks

LEAST_TICKS = 5
PLAIN_TICKS = 8
"""With fewer, they must lie twice as true."""
MOST_MISSING, MOST_EXTRAS = 0.2, 0.35
"""Of the ticks seen."""
ODD = 0.2
WIDEST = 0.65
"""Of the pitch; equal lines are to be narrower than their gaps."""
LONGEST_EQUAL = 15
"""In pitches; equal lines that are longer are lines of print."""
CHANCE = 1e-14
"""By which marks that lie anyhow may pass for a ruler, all combs tried together."""
TRUE_SHARE, MOST_SHARE = 0.012, 0.03
"""Of the pitch: what few ticks may lie off equal places, and what any number may."""
TWO_SCALES = (
    "ambiguous: two scales of different pitch are in view; expected the micrometer "
    "alone; take the other one (the eyepiece's own scale?) out of the light path"
)
EQUAL_TICKS = 12
"""So many alike are more than a ruler of a hundred divisions has tenths."""


def not_whole(count: int, missing: int, extras: int) -> str:
    """Why so many teeth are no row of ticks; empty where they are.

    Args:
        count: teeth seen.
        missing: not seen between them.
        extras: what lies between them and is none.
    """
    if count < LEAST_TICKS:
        return (
            f"too few ticks: {count} seen, expected at least {LEAST_TICKS}; use a "
            "lower magnification or bring more of the ruler into view"
        )
    if missing > MOST_MISSING * count or extras > MOST_EXTRAS * count:
        return (
            f"not a ruler: {count} lines fit equal distances, {missing} are missing "
            f"and {extras} are between them; expected an unbroken row of ticks; "
            "clean the slide or bring the ruler into view"
        )
    return ""


def not_a_comb(ticks: Ticks, line: TickLine, comb: Comb) -> str:
    """Why these are not equally spaced lines; empty where they are."""
    count = int(line.used.sum())
    missing = int(np.ptp(ticks.index[ticks.seen][line.used])) + 1 - count
    doubt = not_whole(count, missing, comb.extras)
    if doubt or line.breaks:
        return doubt or TWO_SCALES
    return _not_even(ticks, line)


def _not_even(ticks: Ticks, line: TickLine) -> str:
    """Why distances are not equal enough; empty where they are."""
    count = int(line.used.sum())
    tolerance = _tolerance_px(count, line.pitch_px)
    if line.rms_px > tolerance:
        return (
            f"not a ruler: its lines lie {line.rms_px:.2f} px off equal places, "
            f"expected {tolerance:.2f} px at most; focus on the ticks and clean the "
            "slide"
        )
    if abs(line.bend) > 0.05:
        return (
            f"the scale changes by {abs(line.bend):.1%} along the ruler, expected 5 % "
            "at most; lay the micrometer flat and look straight at it"
        )
    if ticks.width_px > WIDEST * line.pitch_px:
        return _too_wide(ticks, line)
    return ""


def _tolerance_px(count: int, pitch_px: float) -> float:
    """How far from equal places so many ticks may lie, RMS.

    A comb takes what lies within a fifth of a pitch: marks that lie anyhow scatter by
    ``NEAR / sqrt(3)`` of it, and come within a share t of that by a chance of t for
    each. So that all do by no more than CHANCE, t may be as large as CHANCE ** (1 / n):
    rulers are drawn in groups that lie beside each other, and many ticks prove more.
    """
    proven: float = NEAR / 3**0.5 * CHANCE ** (1 / count)
    share = min(max(proven, TRUE_SHARE), MOST_SHARE)
    tolerance = max(share * pitch_px, 0.15)
    return tolerance / 2 if count < PLAIN_TICKS else tolerance


def not_one_kind(ticks: Ticks) -> str:
    """Why these may be more than the lines: edges, or gaps between wide ones."""
    if ticks.odd <= ODD or len(ticks.index) < PLAIN_TICKS:
        return ""
    return (
        "ambiguous pitch: every other line looks different (two edges, or a line and a "
        "gap); expected all alike; focus on the lines"
    )


def _too_wide(ticks: Ticks, line: TickLine) -> str:
    return (
        f"too blurred, or not a ruler: lines {ticks.width_px:.1f} px wide at a "
        f"distance of {line.pitch_px:.1f} px, expected them narrower than their "
        "gaps; focus on the lines"
    )


def not_lines(ticks: Ticks, line: TickLine, *, again: bool) -> str:
    """Why what stands at equal distances are not a ruler's lines; empty: they are."""
    length = float(np.median((ticks.bottom_px - ticks.top_px)[ticks.seen]))
    if length < 2.5 * ticks.width_px or length < 0.5 * line.pitch_px:
        return (
            f"not a ruler: marks {length:.0f} px long and {ticks.width_px:.1f} px "
            "wide, expected lines at least 2.5 times as long as wide; focus on them"
        )
    solid = float(np.median(ticks.solid[ticks.seen]))
    if solid < 0.85:
        return (
            f"not a ruler: its lines are broken ({solid:.0%} of their length is "
            "plain), expected at least 85 %; focus on the ticks and raise the contrast"
        )
    if again:
        return (
            "not a ruler: its lines come in several rows; expected one row of ticks; "
            "for a grid or dots name --pattern"
        )
    return ""


def not_finest(line: TickLine, parts: int) -> str:
    """Why lines are not the finest, by the parts that their distance is divided in."""
    if parts == 1:
        return ""
    return (
        f"ambiguous pitch: lines {line.pitch_px:.1f} px apart with fainter ones at "
        f"1/{parts} of that between them; expected the finest division to be plain; "
        "focus, raise the contrast, or use a higher magnification"
    )


def not_divisions(ticks: Ticks, line: TickLine, graduation: Graduation) -> str:
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
    if thickness > 0.5:
        return _too_wide(ticks, line)
    length = float(np.median((ticks.bottom_px - ticks.top_px)[ticks.seen]))
    tick_like = thickness >= 0.06 and length <= LONGEST_EQUAL * line.pitch_px
    if count >= EQUAL_TICKS and graduation.ends_in_view and tick_like:
        return ""
    return (
        f"ambiguous pitch: {count} equal lines, which may be divisions or every fifth "
        "or tenth of them; expected a longer tick among shorter ones in view; move the "
        "ends of the ticks into view, or name --objective and --pixel-um"
    )
