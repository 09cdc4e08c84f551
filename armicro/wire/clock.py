"""Times of another machine, put on this one's clock.

Monotonic clocks count from each machine's start, so a time that crossed the network
means nothing here. A message arrives after it was sent: its offset, arrival minus
sending, is the clocks' true distance plus the way. The smallest offset seen is the best
bound, and with it an age is at most the shortest way too small (about a millisecond for
small messages, the transfer time for fields), and never negative. The bound is let rise
a little with time, since clocks drift against each other.
"""

import msgspec

from armicro.wire.topic import Beat, Message, Shot, Slide, View

DRIFT = 1e-4
"""Of two quartz clocks, at the most (100 ppm)."""
JUMP_NS = 60_000_000_000
"""A longer way than that is another clock: the other machine was started anew."""


class PeerClock:
    """One peer's clock against ours."""

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._heard_ns = 0

    def update(self, message: Message, received_ns: int) -> Message:
        """Put a message's times on our clock; ``received_ns`` is now, on our clock.

        >>> beat = Beat("infer", 1, sent_ns=5_000)
        >>> PeerClock().update(beat, 9_000_000).sent_ns
        9000000
        """
        sent_ns = _sent_ns(message)
        if sent_ns is None:
            return message
        return _shifted(message, self._learn(received_ns - sent_ns, received_ns))

    def _learn(self, offset_ns: int, received_ns: int) -> int:
        before = self._offset_ns
        if before is not None:
            before += int(DRIFT * (received_ns - self._heard_ns))
        if before is None or offset_ns < before or offset_ns > before + JUMP_NS:
            before = offset_ns
        self._offset_ns, self._heard_ns = before, received_ns
        return before


def _sent_ns(message: Message) -> int | None:
    if isinstance(message, View):
        return message.shot.sent_ns if message.shot is not None else None
    return message.sent_ns if isinstance(message, Shot | Slide | Beat) else None


def _shifted(message: Message, offset_ns: int) -> Message:
    # Below zero is before this machine's start: as old as can be said here.
    replace = msgspec.structs.replace
    if isinstance(message, View) and message.shot is not None:
        return replace(message, shot=_shifted(message.shot, offset_ns))
    if isinstance(message, Shot | Slide | Beat):
        message = replace(message, sent_ns=max(0, message.sent_ns + offset_ns))
    if isinstance(message, Shot):
        taken_ns = max(0, message.head.taken_ns + offset_ns)
        return replace(message, head=replace(message.head, taken_ns=taken_ns))
    return message
