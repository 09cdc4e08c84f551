"""The way back to the most suspicious cells: distance and direction from here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from armicro.cascade.merge import keep_apart
from armicro.cascade.rank import TOP_APART_UM, TOP_COUNT, order
from armicro.overlay.picture import XyXy
from armicro.report import Finding


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the list of top findings."""

    rank: int
    finding: Finding
    distance_um: float | None
    """From the middle of what is in sight; None where the place is unknown."""
    towards_xy: tuple[float, float]
    """Unit vector towards the finding, x right, y down."""
    in_view: bool


def top(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The top list by the rule of the slide score: most suspicious first, apart."""
    ranked = sorted(findings, key=order)
    centres_um = [(found.x_um, found.y_um) for found in ranked]
    kept = keep_apart(centres_um, apart_um=TOP_APART_UM, count=TOP_COUNT)
    return tuple(ranked[at] for at in kept)


def guide(findings: Sequence[Finding], sight_xyxy_um: XyXy | None) -> tuple[Step, ...]:
    """The way from the middle of what is in sight to each finding, in the order given.

    Args:
        findings: in slide coordinates.
        sight_xyxy_um: the part of the slide that the window shows; None where the
            place is unknown.
    """
    return tuple(
        _step(at + 1, found, sight_xyxy_um) for at, found in enumerate(findings)
    )


def _step(rank: int, found: Finding, sight: XyXy | None) -> Step:
    if sight is None:
        return Step(rank, found, None, (0.0, 0.0), in_view=False)
    x0, y0, x1, y1 = sight
    dx_um, dy_um = found.x_um - (x0 + x1) / 2, found.y_um - (y0 + y1) / 2
    in_view = x0 <= found.x_um <= x1 and y0 <= found.y_um <= y1
    distance_um = math.hypot(dx_um, dy_um)
    length_um = distance_um or 1.0
    return Step(
        rank, found, distance_um, (dx_um / length_um, dy_um / length_um), in_view
    )


def distance_text(step: Step) -> str:
    """The distance in words.

    >>> distance_text(Step(1, Finding(0, 0, 9, 9, 1, 1, 0), 1234.0, (1, 0), False))
    '1.23 mm'
    """
    if step.in_view:
        return "in view"
    if step.distance_um is None:
        return "–"
    if step.distance_um < 1000:
        return f"{step.distance_um:.0f} µm"
    if step.distance_um < 10_000:
        return f"{step.distance_um / 1000:.2f} mm"
    return f"{step.distance_um / 1000:.1f} mm"
