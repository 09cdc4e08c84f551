"""Ages come out right although the other machine counts from another start."""

import numpy as np
import pytest

from armicro.field import FieldHead
from armicro.report import SlideReport, SlideScore
from armicro.wire.clock import PeerClock
from armicro.wire.topic import Ask, Beat, Shot, Slide, View, Wait

SECOND = 1_000_000_000
SHORTEST_WAY_NS = 200_000


def shot(sent_ns: int, taken_ns: int) -> Shot:
    return Shot(FieldHead(0.25, 0, taken_ns, width_px=6, height_px=4), sent_ns)


@pytest.mark.parametrize("offset_ns", [-7_000 * SECOND, 0, 90_000 * SECOND])
def test_ages_are_right_within_the_shortest_way(offset_ns: int) -> None:
    """A field 30 ms old when it is sent, ways of 0.2 to 20 ms, a drift of 50 ppm."""
    rng = np.random.default_rng(0)
    clock, errors_ns = PeerClock(), []
    for turn in range(3_000):
        peer_ns = 10_000 * SECOND + turn * SECOND // 30
        ours_ns = peer_ns + offset_ns + turn * SECOND // 30 // 20_000
        way_ns = SHORTEST_WAY_NS + int(rng.exponential(3e6))
        received_ns = ours_ns + way_ns
        local = clock.update(shot(peer_ns, peer_ns - 30_000_000), received_ns)
        assert isinstance(local, Shot)
        assert local.sent_ns <= received_ns
        assert local.sent_ns - local.head.taken_ns == 30_000_000
        errors_ns.append(local.head.taken_ns - (ours_ns - 30_000_000))
    settled = np.array(errors_ns[200:])
    assert settled.min() >= 0
    assert settled.max() < SHORTEST_WAY_NS + 1_000_000


def test_a_peer_that_was_started_anew_is_learnt_anew() -> None:
    clock = PeerClock()
    now_ns = 500_000 * SECOND
    clock.update(Beat("infer", 1, 400_000 * SECOND), now_ns)
    after = clock.update(Beat("infer", 1, 20 * SECOND), now_ns + SECOND)
    assert isinstance(after, Beat)
    assert after.sent_ns == now_ns + SECOND


def test_a_message_that_waited_does_not_move_the_clock() -> None:
    clock = PeerClock()
    clock.update(Beat("infer", 1, 10 * SECOND), 100 * SECOND)
    late = clock.update(Beat("infer", 1, 11 * SECOND), 104 * SECOND)
    assert isinstance(late, Beat)
    # Sent three seconds ago, on our clock, but for the drift that may have been.
    assert late.sent_ns == pytest.approx(101 * SECOND, abs=1_000_000)


def test_every_time_in_a_message_is_moved() -> None:
    clock = PeerClock()
    clock.update(Beat("infer", 1, 10 * SECOND), 1_010 * SECOND)
    now_ns = 1_011 * SECOND
    view = clock.update(View(shot(11 * SECOND, 11 * SECOND - 5)), now_ns)
    assert view == View(shot(now_ns, now_ns - 5))
    report = SlideReport("s", SlideScore())
    slide = clock.update(Slide("run", 11 * SECOND, report), now_ns)
    assert slide == Slide("run", now_ns, report)
    for message in (Ask("run"), Wait("lost"), View(None, "s", "unplugged")):
        assert clock.update(message, now_ns) is message
