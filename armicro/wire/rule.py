"""What each value in a message may be, beside the rules of what it carries."""

import numpy as np

from armicro import rule
from armicro.report import Shown
from armicro.rule import COUNT, DURATION_MS, PLACE_UM, SIZE_PX, Bounds, Checks
from armicro.slide.coverage import broken_ground
from armicro.wire.topic import Ask, Beat, Message, Shot, Slide

SEQ = (0, 2**40)
"""More fields than a camera gives in a thousand years: one may still be added."""
MOST_RANGES = 65_536
"""Of what is done: a replay that was stopped has one, a session of drops a few."""

BOUNDS: Bounds = {
    **rule.BOUNDS,
    Shown: {"life": COUNT, "number": COUNT, "unplaced": COUNT},
    Ask: {"after": (-1, SEQ[1]), "kept": COUNT},
    Shot: {
        "seq": SEQ,
        "width_px": SIZE_PX,
        "height_px": SIZE_PX,
        "um_per_px": (1e-6, 1e6),
        "taken_ns": COUNT,
        "sent_ns": COUNT,
        "slot": (-1, 65_535),
        "stamp": COUNT,
        "skipped": COUNT,
    },
    Slide: {"sent_ns": COUNT, "fields_dropped": COUNT, "inference_ms": DURATION_MS},
    Beat: {
        "pid": (1, 2**32 - 1),
        "sent_ns": COUNT,
        "fields": COUNT,
        "fields_planned": COUNT,
        "fields_dropped": COUNT,
        "messages_dropped": COUNT,
    },
}


def ranges_rise(ranges: tuple[tuple[int, int], ...] | None) -> bool:
    """Whether ranges (first, last) rise and lie apart within the bounds of ``seq``.

    >>> ranges_rise(((0, 4), (6, 6))), ranges_rise(((0, 4), (4, 6)))
    (True, False)
    """
    edge = -1
    for first, last in ranges or ():
        if not edge < first <= last <= SEQ[1]:
            return False
        edge = last
    return True


def _ask(ask: Ask) -> str:
    if len(ask.done or ()) > MOST_RANGES:
        return f"done has {len(ask.done or ())} ranges, allowed are {MOST_RANGES}"
    return "" if ranges_rise(ask.done) else "done holds ranges that do not rise"


def _shown(shown: Shown) -> str:
    return broken_ground(shown.ground)


def _slide(slide: Slide) -> str:
    if len(slide.seen) % 20:
        return f"seen has {len(slide.seen)} bytes, a row has 20"
    rows = np.frombuffer(slide.seen, "<f4")
    return "" if np.abs(rows).max(initial=0.0) <= PLACE_UM[1] else "seen lies nowhere"


CHECKS: Checks = {**rule.CHECKS, Ask: _ask, Shown: _shown, Slide: _slide}
"""What bounds cannot say; each returns what is broken, or nothing."""


def broken_rule(message: Message) -> str:
    """Name the first value that breaks its rule; empty when all keep them.

    >>> broken_rule(Ask("run", -2))
    'after is -2, allowed is -1 to 1099511627776'
    """
    return rule.broken_rule(message, BOUNDS, CHECKS)
