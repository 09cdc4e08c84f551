"""Claims of a place: fits against anchors, tested, weighed and put together."""

import math
from collections.abc import Callable, Sequence

from armicro.align.agree import Fit, fit, is_cell, is_found
from armicro.align.look import FINE_UM_PER_PX, Look
from armicro.align.search import search
from armicro.align.turn import is_upright, rest_of_turn
from armicro.slide.atlas import Anchor
from armicro.slide.encoder import Estimate, add_errors

_LOST = 8.0
"""Evidence beyond one spot that a claim needs that may lie anywhere."""
_WIDE_OVERLAP = 0.25
_UNDOUBTED = 40.0
"""So much needs no look at rivals."""
_UNRIVALLED = 0.5
"""A rival elsewhere with this share of the evidence makes a claim ambiguous."""
_RIVAL_UM = 10.0


def way(a: Estimate, b: Estimate) -> float:
    """Distance of two places."""
    return math.hypot(a.x_um - b.x_um, a.y_um - b.y_um)


def shift_of(anchor: Anchor, x_um: float, y_um: float) -> tuple[float, float]:
    """Shift of a field at a place against an anchor, in fine pixels."""
    return (x_um - anchor.x_um) / FINE_UM_PER_PX, (y_um - anchor.y_um) / FINE_UM_PER_PX


def place_by(anchor: Anchor, found: Fit) -> tuple[float, float]:
    """Place of a field that fits an anchor."""
    return (
        anchor.x_um + found.dx_px * FINE_UM_PER_PX,
        anchor.y_um + found.dy_px * FINE_UM_PER_PX,
    )


def estimate(anchor: Anchor, found: Fit) -> Estimate:
    """The same with its error, that of the anchor added."""
    x_px, y_px = found.standard_error_xy_px
    error_um = x_px * FINE_UM_PER_PX, y_px * FINE_UM_PER_PX
    return Estimate(
        *place_by(anchor, found), add_errors(anchor.standard_error_xy_um, error_um)
    )


Test = Callable[[Fit], bool]


def search_one(anchor: Anchor, look: Look, is_sure: Test) -> Estimate | None:
    """Search one anchor at every shift."""
    claims = []
    for shift in search(anchor.look, look):
        found = fit(anchor.look, look, shift)
        if found is None or not is_straight(anchor, look, found, is_sure):
            continue
        claims.append((found.evidence, estimate(anchor, found)))
        if found.beyond > _UNDOUBTED:
            break
    return unrivalled(claims)


def is_straight(anchor: Anchor, look: Look, found: Fit, is_sure: Test) -> bool:
    """Whether a fit is sure, and its pictures are not turned against each other.

    Where a field may lie anywhere, a camera may have been turned on the way: what does
    not tell is not believed then.
    """
    if not is_sure(found):
        return False
    turn = rest_of_turn(anchor.look, look, found)
    if is_sure is is_sure_anywhere:
        return is_upright(turn)
    # Of one cell little is known, but one that only looks alike may seem turned by 7°.
    return is_upright(turn, known_deg=math.inf)


def is_sure_near(found: Fit) -> bool:
    """One cell is enough where it was expected."""
    return is_found(found) or is_cell(found)


def is_sure_around(found: Fit) -> bool:
    """One cell in a narrow strip is not, for a field that was searched for."""
    return is_found(found) or (is_cell(found) and found.overlap >= _WIDE_OVERLAP)


def is_sure_anywhere(found: Fit) -> bool:
    """A narrow strip may deceive: it has to say more than half a field."""
    least = _LOST if found.overlap >= _WIDE_OVERLAP else 2 * _LOST
    return is_found(found, beyond=least)


def unrivalled(claims: Sequence[tuple[float, Estimate]]) -> Estimate | None:
    """The best claim, when none elsewhere comes near it."""
    if not claims:
        return None
    most, best = max(claims, key=lambda claim: claim[0])
    for other, place in claims:
        if way(place, best) > _RIVAL_UM and other > _UNRIVALLED * most:
            return None
    return best


def fuse(links: Sequence[tuple[Anchor, Fit]]) -> Estimate | None:
    """One place of several fits.

    The anchors' own errors come from one chain of fits and may well be the same, so
    they are averaged; only the fits' errors shrink with their number. Fits that
    contradict each other add their spread.
    """
    if not links:
        return None
    places = [place_by(anchor, found) for anchor, found in links]
    (x_um, x_error_um), (y_um, y_error_um) = (
        _fused(
            [place[axis] for place in places],
            [anchor.standard_error_xy_um[axis] for anchor, _ in links],
            [found.standard_error_xy_px[axis] * FINE_UM_PER_PX for _, found in links],
        )
        for axis in (0, 1)
    )
    return Estimate(x_um, y_um, (x_error_um, y_error_um))


def _fused(
    places: Sequence[float], anchored: Sequence[float], measured: Sequence[float]
) -> tuple[float, float]:
    """One axis: the mean and its standard error."""
    weights = [
        1.0 / (there**2 + here**2 + 1e-6)
        for there, here in zip(anchored, measured, strict=True)
    ]
    mean = _mean(places, weights)
    left = [
        (there, place - mean) for there, place in zip(anchored, places, strict=True)
    ]
    variance = _mean([there**2 + off**2 for there, off in left], weights)
    return mean, math.sqrt(variance + 1.0 / sum(here**-2 for here in measured))


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    weighed = (v * w for v, w in zip(values, weights, strict=True))
    return sum(weighed) / sum(weights)
