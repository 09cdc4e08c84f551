"""What each value in a message may be, beside the rules of what it carries."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import msgspec
import numpy as np

from armicro import rule
from armicro.report import Shown
from armicro.rule import COUNT, DURATION_MS, PLACE_UM, SIZE_PX, Bounds, Checks
from armicro.slide.coverage import CHUNK_BYTES, broken_ground
from armicro.wire.topic import Ask, Beat, Message, Shot, Slide

SEQ = (0, 2**40)
"""More fields than a camera gives in a thousand years, and sums of them still fit."""
TIME_NS = (0, 2**62)
"""Monotonic, 146 years: two may be added."""
WIDEST_UM = 1e6
"""Of a field: what is wider than a metre is no slide."""
MOST_RANGES = 40_000
"""Of what is done: a replay that was stopped has one, a session of drops a few."""
MOST_FINDINGS = 16_384
"""Told of at once: 2.3 MB; with all that a slide has besides they stay below 4 MB."""
MOST_SEEN = 50_000
"""Places of fields that the display is told of: 1 MB."""
MOST_CHUNKS = 128
"""Chunks of about 1 mm of shown ground told at once: 67 kB."""
MOST_TEXT = 2_000
"""Characters of any text: an error's words with the longest path there is do not fit,
and are cut."""
SEEN_BYTES = 20
MOST_ITEMS: Mapping[str, int] = {
    "done": MOST_RANGES,
    "findings": MOST_FINDINGS,
    "revisits": 1_024,
    "areas_xywh_um": 4_096,
    "scores": 16,
    "seen": MOST_SEEN * SEEN_BYTES,
    "ground": MOST_CHUNKS * CHUNK_BYTES,
}
"""Lengths of what has one, wherever it stands in a message."""

BOUNDS: Bounds = {
    **rule.BOUNDS,
    Shown: {"life": TIME_NS, "number": TIME_NS, "unplaced": SEQ},
    Ask: {"after": (-1, 2 * SEQ[1]), "kept": TIME_NS},
    Shot: {
        # A camera counts on from what an ask says, which so cannot stop it.
        "seq": (0, 2 * SEQ[1]),
        "width_px": SIZE_PX,
        "height_px": SIZE_PX,
        "um_per_px": (1e-6, 1e6),
        "taken_ns": TIME_NS,
        "sent_ns": TIME_NS,
        "slot": (-1, 65_535),
        "stamp": COUNT,
        "skipped": SEQ,
    },
    Slide: {"sent_ns": TIME_NS, "fields_dropped": COUNT, "inference_ms": DURATION_MS},
    Beat: {
        "pid": (1, 2**32 - 1),
        "sent_ns": TIME_NS,
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
    return "" if ranges_rise(ask.done) else "done holds ranges that do not rise"


def _shot(shot: Shot) -> str:
    widest_um = max(shot.width_px, shot.height_px) * shot.um_per_px
    return "" if widest_um <= WIDEST_UM else f"the field is {widest_um:g} µm wide"


def _shown(shown: Shown) -> str:
    return broken_ground(shown.ground)


def _slide(slide: Slide) -> str:
    if len(slide.seen) % SEEN_BYTES:
        return f"seen has {len(slide.seen)} bytes, a row has {SEEN_BYTES}"
    rows = np.frombuffer(slide.seen, "<f4")
    return "" if np.abs(rows).max(initial=0.0) <= PLACE_UM[1] else "seen lies nowhere"


CHECKS: Checks = {
    **rule.CHECKS,
    Ask: _ask,
    Shot: _shot,
    Shown: _shown,
    Slide: _slide,
}
"""What bounds cannot say; each returns what is broken, or nothing."""


def broken_rule(message: Message) -> str:
    """Name the first value that breaks its rule; empty when all keep them.

    >>> broken_rule(Ask("run", -2))
    'after is -2, allowed is -1 to 2199023255552'
    """
    # Lengths first: what is too long is not looked through.
    too_long = next(_too_long(message), "")
    return too_long or rule.broken_rule(message, BOUNDS, CHECKS)


def cut_texts(message: Any) -> Any:
    """The message with texts that are too long cut, so that the rest can be told.

    >>> len(cut_texts(Ask("x" * 9_000)).session)
    2000
    """
    cut: dict[str, object] = {}
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if isinstance(value, str) and len(value) > MOST_TEXT:
            cut[name] = f"{value[: MOST_TEXT - 1]}…"
        elif isinstance(value, msgspec.Struct) and (part := cut_texts(value)) != value:
            cut[name] = part
    return msgspec.structs.replace(message, **cut) if cut else message


def _too_long(struct: msgspec.Struct) -> Iterator[str]:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        most = MOST_TEXT if isinstance(value, str) else MOST_ITEMS.get(name)
        if most is not None and isinstance(value, Sized) and len(value) > most:
            yield f"{name} has a length of {len(value)}, allowed are {most}"
        for part in rule.structs_of(value):
            yield from _too_long(part)
