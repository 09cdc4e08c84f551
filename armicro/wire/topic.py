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
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from armicro.field import FieldHead
from armicro.report import Shown, SlideReport
from armicro.rule import MOST_SEQ, Count, Seq, Text, TimeNs
from armicro.slide.coverage import broken_ground

VERSION = 5
"""Raised when a message changes its form; other versions are dropped and counted."""
MOST_RANGES = 40_000
"""Of what is done: a replay that was stopped has one, a session of drops a few."""


class _Message(
    msgspec.Struct,
    frozen=True,
    tag=True,
    array_like=True,
    forbid_unknown_fields=True,
):
    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        return ""


class Ask(_Message, frozen=True):
    """Infer asks for a field."""

    session: Text
    """The run's identity: capture drops an ask of another run."""
    after: Annotated[int, Meta(ge=-1, le=2 * MOST_SEQ)] = -1
    """Highest ``seq`` whose pixels the sender has copied, so that their slot is free;
    -1: none since its start."""
    done: (
        Annotated[tuple[tuple[Seq, Seq], ...], Meta(max_length=MOST_RANGES)] | None
    ) = None
    """Ranges (first, last) of ``seq`` that need not come again, rising and apart; said
    after every start of either side, and whenever capture answers ``say_done``."""
    kept: TimeNs = 0
    """Number of the ``Shown`` that the journal keeps: it need not be told again."""

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        edge = -1
        for first, last in self.done or ():
            if not edge < first <= last:
                return "done holds ranges that do not rise"
            edge = last
        return ""


class Shot(_Message, frozen=True):
    """One field: its pixels lie in the ring's slot or travel with the message."""

    head: FieldHead
    sent_ns: TimeNs
    slot: Annotated[int, Meta(ge=-1, le=65_535)] = -1
    """Slot of the ring; -1: the pixels travel with this message."""
    stamp: Count = 0
    """The slot's sequence number while it holds this field."""
    skipped: Seq = 0
    """Fields that this reader did not get since its last one."""
    shown: Shown | None = None
    """In live: what the operator was shown, and infer has not said to keep yet."""

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        ground = self.shown.ground if self.shown else b""
        return self.head.broken() or broken_ground(ground)


class Wait(_Message, frozen=True):
    """Capture's answer when there is nothing yet, or nothing any more."""

    reason: Literal["starting", "lost", "say_done", "finished"]
    """``say_done``: capture is new and must hear ``done`` before it can give a field;
    ``finished``: every field of the path is done, ask no more."""
    text: Text = ""


class View(_Message, frozen=True):
    """What the display shows: the field, or why there is none."""

    shot: Shot | None
    source: Text = ""
    problem: Text = ""
    """Camera unplugged, no light...; empty when all is well."""
    warning: Text = ""
    """What the operator should see to, though boxes are drawn: lamp dimmer than..."""

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        return self.shot.broken() if self.shot else ""


class Slide(_Message, frozen=True):
    """The slide's whole state."""

    session: Text
    sent_ns: TimeNs
    report: SlideReport

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        return self.report.broken()


ProcessName = Literal["capture", "infer", "display", "keeper"]


class Beat(_Message, frozen=True):
    """A child is alive."""

    process: ProcessName
    pid: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    sent_ns: TimeNs
    state: Literal["starting", "running", "waiting", "finished"] = "running"
    text: Text = ""
    fields: Count = 0
    """Capture: grabbed; infer: kept; display: painted; keeper: stitched."""
    fields_planned: Count = 0
    fields_dropped: Count = 0
    messages_dropped: Count = 0


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
