"""Ties between two maps: how far apart they lie, told by all their common ground.

Where two fields meet there may be one cell or none, which proves nothing. But maps meet
in many fields, and at a true offset all of them agree: they are heard together.
"""

from collections.abc import Iterable, Iterator

from armicro.align.agree import Fit, fit, is_near, pooled
from armicro.align.look import Look
from armicro.align.search import search
from armicro.align.turn import Turn, is_turned, is_upright, pooled_turn, rest_of_turn
from armicro.slide.atlas import Anchor, Atlas
from armicro.slide.claim import (
    fuse,
    is_sure_anywhere,
    place_by,
    shift_of,
    unrivalled,
    way,
)
from armicro.slide.encoder import Estimate

_LEAST_OVERLAP = 0.04
_BESIDE = 3
"""Keyframes of the one map that each of the other is compared with."""
_SAME_UM = 4.0
"""Further apart two fits are no witnesses of one offset."""


def tie(
    fixed: Atlas, moving: Atlas, pairs: Iterable[tuple[Anchor, Anchor]]
) -> Estimate | None:
    """Where the origin of one map lies on another; None where nothing proves it.

    Args:
        fixed: the map that stays.
        moving: the other.
        pairs: keyframes of ``fixed`` and ``moving`` that may show the same ground.
    """
    claims: list[tuple[float, Estimate]] = []
    for there, here in pairs:
        anchor = _seen_from(there, here)
        for shift in search(there.look, here.look):
            found = fit(there.look, here.look, shift)
            if found is None or not is_near(found):
                continue
            offset = Estimate(*place_by(anchor, found))
            if any(way(offset, known) < _SAME_UM for _, known in claims):
                continue
            claim = _claim(fixed, moving, offset)
            claims += [claim] if claim else []
    return unrivalled(claims)


def _claim(
    fixed: Atlas, moving: Atlas, offset: Estimate
) -> tuple[float, Estimate] | None:
    """The evidence of an offset, and the offset, by all keyframes that meet."""
    heard: list[Fit] = []
    links: list[tuple[Anchor, Fit]] = []
    turns: list[Turn] = []
    for anchor, look, found in _meetings(fixed, moving, offset):
        agrees = way(Estimate(*place_by(anchor, found)), offset) < _SAME_UM
        heard.append(found if agrees else _contrary(found))
        if agrees and is_near(found):
            links.append((anchor, found))
            turns.append(rest_of_turn(anchor.look, look, found))
    place = fuse(links)
    if place is None or not is_sure_anywhere(pooled(heard)):
        return None
    if any(map(is_turned, turns)) or not is_upright(pooled_turn(turns)):
        return None
    return pooled(heard).evidence, place


def _meetings(
    fixed: Atlas, moving: Atlas, offset: Estimate
) -> Iterator[tuple[Anchor, Look, Fit]]:
    for frame, look in moving.keyframes():
        here = Anchor(frame.x_um, frame.y_um, frame.standard_error_xy_um, look)
        corner_um = here.x_um + offset.x_um, here.y_um + offset.y_um
        for there in fixed.near(
            corner_um, frame.size_um, count=_BESIDE, least_overlap=_LEAST_OVERLAP
        ):
            anchor = _seen_from(there, here)
            found = fit(anchor.look, look, shift_of(anchor, *offset[:2]))
            if found is not None:
                yield anchor, look, found


def _contrary(found: Fit) -> Fit:
    """A fit that speaks against an offset: its texture agrees elsewhere."""
    return found._replace(share=0.0, evidence=0.0, beyond=0.0)


def _seen_from(there: Anchor, here: Anchor) -> Anchor:
    """A keyframe of one map, so placed that a fit to it is an offset of the other."""
    return there._replace(x_um=there.x_um - here.x_um, y_um=there.y_um - here.y_um)
