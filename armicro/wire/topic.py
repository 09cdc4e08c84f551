"""The table of topics and the messages that travel on them.

===========  ==========================  =======  ====================================
topic        from → to                   kind     what
===========  ==========================  =======  ====================================
``fields``   capture ⇄ infer             ask      infer asks, capture gives one field
``view``     capture → display, keeper   newest   the field to show now
``slide``    infer → display             newest   the slide's whole state
``health``   children → supervisor       every    heartbeats and counters
===========  ==========================  =======  ====================================

Infer *asks* for fields, which makes live and replay one protocol. An ``Ask`` says up
to where its sender has copied the pixels; the answer is the first field after that: in
live the newest, in a replay the next of the path that is not ``done``. So an ask or an
answer that gets lost is asked and answered again alike, nothing queues in live, nothing
is lost or given twice in a replay, and either side may die: one that started anew is
told what is done, and reads the rest again. To work ahead, infer asks again as soon as
it has a field. What was shown and never asked for is no less a part of the slide: its
ground travels with the answers until an ask says that the journal keeps it.

``newest`` topics carry whole states, never changes: a reader that starts late, or
again, needs one message.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from armicro.field import Place, Sight
from armicro.report import FieldReport, Finding, Revisit, Shown, SlideScore

VERSION = 4
"""Raised when a message changes its form; other versions are dropped and counted."""


class _Message(
    msgspec.Struct,
    frozen=True,
    tag=True,
    array_like=True,
    forbid_unknown_fields=True,
):
    pass


class Ask(_Message, frozen=True):
    """Infer asks for a field."""

    session: str
    """The run's identity: capture drops an ask of another run."""
    after: int = -1
    """Highest ``seq`` whose pixels the sender has copied, so that their slot is free;
    -1: none since its start."""
    done: tuple[tuple[int, int], ...] | None = None
    """Ranges (first, last) of ``seq`` that need not come again, rising and apart; said
    after every start of either side, and whenever capture answers ``say_done``."""
    kept: int = 0
    """Number of the ``Shown`` that the journal keeps: it need not be told again."""


class Shot(_Message, frozen=True):
    """One field: its pixels lie in the ring's slot or travel with the message."""

    seq: int
    width_px: int
    height_px: int
    um_per_px: float
    taken_ns: int
    sent_ns: int
    place: Place | None = None
    fault: str = ""
    slot: int = -1
    """Slot of the ring; -1: the pixels travel with this message."""
    stamp: int = 0
    """The slot's sequence number while it holds this field."""
    skipped: int = 0
    """Fields that this reader did not get since its last one."""
    sight: Sight | None = None
    voided: str = ""
    """Why the scale is not to be trusted; empty when it is."""
    shown: Shown | None = None
    """In live: what the operator was shown, and infer has not said to keep yet."""


class Wait(_Message, frozen=True):
    """Capture's answer when there is nothing yet, or nothing any more."""

    reason: Literal["starting", "lost", "say_done", "finished"]
    """``say_done``: capture is new and must hear ``done`` before it can give a field;
    ``finished``: every field of the path is done, ask no more."""
    text: str = ""


class View(_Message, frozen=True):
    """What the display shows: the field, or why there is none."""

    shot: Shot | None
    source: str = ""
    problem: str = ""
    """Camera unplugged, no light...; empty when all is well."""
    warning: str = ""
    """What the operator should see to, though boxes are drawn: lamp dimmer than..."""


class Slide(_Message, frozen=True):
    """The slide's whole state as the operator needs it."""

    session: str
    name: str
    sent_ns: int
    score: SlideScore
    last: FieldReport | None = None
    """The newest field's report."""
    findings: tuple[Finding, ...] = ()
    """Every finding that may be drawn, most suspicious first."""
    fields_dropped: int = 0
    inference_ms: float = 0.0
    """Median over the last fields."""
    problem: str = ""
    """Why no boxes may be drawn at all; empty when they may."""
    seen: bytes = b""
    """Where fields were seen: rows of five little-endian float32, x, y, width and
    height in µm, and 1 where the field could be read, else 0."""
    finished: bool = False
    """The path is done: silence is no fault from here on."""
    revisits: tuple[Revisit, ...] = ()
    """What should be looked at again, the most pressing first."""


class Beat(_Message, frozen=True):
    """A child is alive."""

    process: Literal["capture", "infer", "display", "keeper"]
    pid: int
    sent_ns: int
    state: Literal["starting", "running", "waiting", "finished"] = "running"
    text: str = ""
    fields: int = 0
    """Capture: grabbed; infer: kept; display: painted; keeper: stitched."""
    fields_planned: int = 0
    fields_dropped: int = 0
    messages_dropped: int = 0


Message = Ask | Shot | Wait | View | Slide | Beat


@dataclass(frozen=True, slots=True)
class Topic:
    """How one kind of traffic behaves."""

    name: str
    kind: Literal["ask", "newest", "every"]
    messages: tuple[type[Message], ...]
    maximum_bytes: int
    """Of the message frame, without pixels; a larger one is dropped and counted."""


TOPICS = {
    topic.name: topic
    for topic in (
        Topic("fields", "ask", (Ask, Shot, Wait), 1 << 20),
        Topic("view", "newest", (View,), 1 << 16),
        Topic("slide", "newest", (Slide,), 1 << 22),
        Topic("health", "every", (Beat,), 1 << 14),
    )
}
