"""The way to what the operator should see: distance and direction from here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from armicro.cascade.locate import TOP_APART_UM, TOP_COUNT, keep_apart, order
from armicro.overlay.view import Rgb, XyXy, suspicion_rgb
from armicro.report import Finding, Revisit, RevisitReason
from armicro.slide.decision import UNDECIDED, Decided
from armicro.verdict import SUSPICIOUS, probability_text

REASONS: dict[RevisitReason, str] = {
    "passed": "passed, not analysed",
    "passing": "suspicious, seen in passing",
    "skipped": "not seen yet",
    "out_of_focus": "out of focus",
    "moving": "seen in motion",
    "edge": "cut by a field's edge",
    "unreadable": "could not be read",
}
"""Why a part should be seen again, in words for the operator."""
PRESSING_RGB: Rgb = (255, 107, 74)
REVISIT_RGB: Rgb = (242, 181, 68)


@dataclass(frozen=True, slots=True)
class Way:
    """From the middle of what is in sight to a place."""

    distance_um: float | None = None
    """None where nobody knows where we are."""
    towards_xy: tuple[float, float] = (0.0, 0.0)
    """Unit vector, x right, y down."""
    in_view: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to go to: a finding, or a part of the slide to be seen again."""

    rank: int
    """In its list, from 1."""
    target: Finding | Revisit
    way: Way
    text: str
    rgb: Rgb


def top(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The top list by the rule of the slide score: most suspicious first, apart."""
    ranked = sorted(findings, key=order)
    centres_um = [(found.x_um, found.y_um) for found in ranked]
    kept = keep_apart(centres_um, apart_um=TOP_APART_UM, count=TOP_COUNT)
    return tuple(ranked[at] for at in kept)


MOST_LISTED = 200


def listed(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """All that a reader must decide, most suspicious first, then the rest of the top.

    The slide score looks at one cell of a cluster; a reader wants to see each.
    """
    suspicious = [f for f in findings if f.hr_probability >= SUSPICIOUS]
    first = sorted(suspicious, key=order)[:MOST_LISTED]
    rest = (f for f in top(findings) if f.hr_probability < SUSPICIOUS)
    return (*first, *rest)


def pressing(revisits: Sequence[Revisit]) -> tuple[Revisit, ...]:
    """What was never analysed, then suspicious cells seen only in passing, then others.

    Within each the order given.
    """
    first = ("passed", "passing")
    return tuple(
        sorted(
            revisits,
            key=lambda one: (
                first.index(one.reason) if one.reason in first else len(first)
            ),
        )
    )


def guide(
    targets: Sequence[Finding | Revisit],
    sight_xyxy_um: XyXy | None,
    *,
    alone: bool = False,
    decided: Decided = UNDECIDED,
) -> tuple[Goal, ...]:
    """The way from the middle of what is in sight to each target, in the order given.

    Args:
        targets: in slide coordinates.
        sight_xyxy_um: the part of the slide that the window shows; None where the
            place is unknown.
        alone: the field is a photograph: what lies beyond it is no distance away.
        decided: what the reader said of findings.
    """
    return tuple(
        Goal(
            rank,
            target,
            way_to(centre_um(target), sight_xyxy_um, alone=alone),
            _text(target, decided),
            _rgb(target),
        )
        for rank, target in enumerate(targets, start=1)
    )


def extent_um(part: Revisit) -> XyXy:
    """Where a part of the slide lies."""
    return part.x_um, part.y_um, part.x_um + part.width_um, part.y_um + part.height_um


def centre_um(target: Finding | Revisit) -> tuple[float, float]:
    """The middle of a target: a finding's place is its middle, a part's its corner."""
    if isinstance(target, Finding):
        return target.x_um, target.y_um
    return target.x_um + target.width_um / 2, target.y_um + target.height_um / 2


def way_to(
    spot_um: tuple[float, float], sight: XyXy | None, *, alone: bool = False
) -> Way:
    """The way from the middle of what is in sight."""
    if sight is None:
        return Way()
    x0, y0, x1, y1 = sight
    dx_um, dy_um = spot_um[0] - (x0 + x1) / 2, spot_um[1] - (y0 + y1) / 2
    in_view = x0 <= spot_um[0] <= x1 and y0 <= spot_um[1] <= y1
    if alone and not in_view:
        return Way()
    distance_um = math.hypot(dx_um, dy_um)
    length_um = distance_um or 1.0
    return Way(distance_um, (dx_um / length_um, dy_um / length_um), in_view)


def distance_text(way: Way) -> str:
    """The distance in words.

    >>> distance_text(Way(1234.0, (1, 0)))
    '1.23 mm'
    """
    if way.in_view:
        return "in view"
    if way.distance_um is None:
        return "–"
    if way.distance_um < 1000:
        return f"{way.distance_um:.0f} µm"
    if way.distance_um < 10_000:
        return f"{way.distance_um / 1000:.2f} mm"
    return f"{way.distance_um / 1000:.1f} mm"


def _text(target: Finding | Revisit, decided: Decided) -> str:
    if isinstance(target, Revisit):
        return REASONS[target.reason]
    said = decided.of(target)
    probability = probability_text(target.hr_probability)
    return f"{probability}  {said.sign}" if said else probability


def _rgb(target: Finding | Revisit) -> Rgb:
    if isinstance(target, Finding):
        return suspicion_rgb(target.hr_probability)
    return PRESSING_RGB if target.reason == "passing" else REVISIT_RGB
