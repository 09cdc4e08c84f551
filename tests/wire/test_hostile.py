"""Peers that keep no rules: odd frames, messages of many parts, floods.

They speak raw ZeroMQ over ipc, as a program of the same user could. Whatever they send
is counted and dropped, memory stays flat, and who keeps the rules is heard.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from armicro.report import SlideReport, SlideScore
from armicro.wire.codec import HEADER, encode
from armicro.wire.link import (
    MOST_AT_ONCE,
    Answerer,
    Asker,
    Collector,
    Publisher,
    Reporter,
    Subscriber,
)
from armicro.wire.topic import TOPICS, VERSION, Ask, Beat, Message, Slide, View, Wait
from tests.patience import PATIENCE_MS, is_quicker, wait_until
from tests.wire.conftest import EXAMPLES

GROWTH_BYTES = 60_000_000
"""Queues, and what the allocator keeps; 20,000 messages held would be 200 MB."""
NUMBER = bytes(8)
REPORT = SlideReport("slide-1", SlideScore())
SLIDE = Slide("run", 1, REPORT)
Frames = list[bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


class Stranger:
    """A raw socket that sends what no end of armicro would, in its own thread."""

    def __init__(self, kind: int, address: str, *, binds: bool = False) -> None:
        self._context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(kind)
        self.socket.sndtimeo = PATIENCE_MS
        (self.socket.bind if binds else self.socket.connect)(address)

    def close(self) -> None:
        self.socket.close(linger=2_000)
        self._context.term()


def bad_frames(topic: str, count: int, seed: int) -> Iterator[bytes]:
    """Bytes that are mostly no message of a topic: random, cut, flipped, nested."""
    rng = np.random.default_rng(seed)
    name = topic.encode()
    good = [encode(TOPICS[topic], each) for on, each in EXAMPLES if on == topic]
    for number in range(count):
        frame = np.frombuffer(good[number % len(good)], np.uint8).copy()
        match number % 5:
            case 0:
                yield rng.bytes(int(rng.integers(0, 200)))
            case 1:
                yield frame[: rng.integers(len(frame))].tobytes()
            case 2:
                for place in rng.integers(0, len(frame), 3):
                    frame[place] ^= 1 << rng.integers(8)
                yield frame.tobytes()
            case 3:
                body = rng.bytes(int(rng.integers(0, 80)))
                yield HEADER.pack(b"AMCR", VERSION, name, len(body)) + body
            case _:
                body = b"\x91" * int(rng.integers(1, 5_000))
                yield HEADER.pack(b"AMCR", VERSION, name, len(body)) + body


def own_bytes() -> int:
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def poll_until(take: Callable[[], int], wanted: int, send: Callable[[], None]) -> int:
    """Take while a stranger sends in its thread; return how many were taken."""
    thread = threading.Thread(target=send)
    thread.start()
    taken = 0

    def is_done() -> bool:
        nonlocal taken
        taken += take()
        return taken >= wanted

    wait_until(is_done, pause_s=0.0)
    thread.join()
    return taken


def counted(end: Any, take: Callable[[], int]) -> Callable[[], int]:
    """Messages that an end has taken or dropped since it was last asked."""

    def turn() -> int:
        before = int(end.dropped.total())
        return take() + int(end.dropped.total()) - before

    return turn


def seen_by(subscriber: Subscriber, seen: list[Message]) -> int:
    """Add what it sees next, if anything; how many that are."""
    message = subscriber.newest(timeout_ms=20)
    seen.extend(filter(None, [message]))
    return int(message is not None)


def bound(kind: type[Any], folder: Path, topic: str) -> Any:
    return kind(f"ipc://{folder}/end", topic)


PARTS = pytest.mark.parametrize("parts", [1, 2, 3, 4, 5, 20_000])


@PARTS
def test_an_ask_of_another_number_of_parts_is_dropped(parts: int, folder: Path) -> None:
    address = f"ipc://{folder}/end"
    with (
        Answerer(address, "fields") as answerer,
        closing(Stranger(zmq.DEALER, address)) as stranger,
    ):
        stranger.socket.send_multipart([b"x"] * parts)
        good = encode(TOPICS["fields"], Ask("run"))
        stranger.socket.send_multipart([NUMBER, good])
        heard = heard_by(lambda: answerer.receive(timeout_ms=50))
        assert [message for _, message in heard] == [Ask("run")]
        assert answerer.dropped == {"fields: foreign": 1}


@PARTS
def test_a_report_of_another_number_of_parts_is_dropped(
    parts: int, folder: Path
) -> None:
    address, beat = f"ipc://{folder}/end", Beat("infer", 7, 1)
    with (
        Collector(address, "health") as collector,
        closing(Stranger(zmq.PUSH, address)) as stranger,
    ):
        stranger.socket.send_multipart([b"x"] * parts)
        stranger.socket.send(encode(TOPICS["health"], beat))
        assert heard_by(lambda: collector.receive(timeout_ms=50)) == [beat]
        assert collector.dropped == {"health: foreign": 1}


@PARTS
def test_an_answer_of_another_number_of_parts_is_dropped(
    parts: int, folder: Path
) -> None:
    address = f"ipc://{folder}/end"
    with (
        closing(Stranger(zmq.ROUTER, address, binds=True)) as stranger,
        Asker(address, "fields") as asker,
    ):
        while not stranger.socket.poll(0):
            assert asker.ask(Ask("run"), timeout_ms=20) is None
        identity, number, _ = stranger.socket.recv_multipart()
        stranger.socket.send_multipart([identity, *[b"x"] * parts])
        reply = encode(TOPICS["fields"], Wait("lost"))
        stranger.socket.send_multipart([identity, number, reply])
        parcel = asker.ask(Ask("run"), timeout_ms=PATIENCE_MS)
        assert parcel is not None
        assert parcel.message == Wait("lost")
        assert asker.dropped == {"fields: foreign": 1}


@PARTS
def test_a_state_of_another_number_of_parts_is_dropped(
    parts: int, folder: Path
) -> None:
    # ZeroMQ's own conflation ended the process here: fq.cpp, ``!_more``.
    address = f"ipc://{folder}/end"
    with (
        closing(Stranger(zmq.PUB, address, binds=True)) as stranger,
        Subscriber(address, "slide") as subscriber,
    ):
        seen: list[Message] = []

        def is_seen() -> bool:
            stranger.socket.send_multipart([b"x"] * parts)
            stranger.socket.send(encode(TOPICS["slide"], SLIDE))
            seen.extend(filter(None, [subscriber.newest(timeout_ms=25)]))
            return bool(seen) and (parts == 1 or bool(subscriber.dropped))

        wait_until(is_seen)
        assert all(message == SLIDE for message in seen)
        assert set(subscriber.dropped) <= {"slide: foreign"}


def heard_by(take: Callable[[], list[Any]]) -> list[Any]:
    heard: list[Any] = []

    def is_heard() -> bool:
        heard.extend(take())
        return bool(heard)

    wait_until(is_heard)
    return heard


@pytest.mark.parametrize("end", ["answerer", "collector"])
def test_a_flood_leaves_memory_flat_and_honest_peers_heard(
    end: str, folder: Path
) -> None:
    address, count = f"ipc://{folder}/end", 20_000
    topic = "fields" if end == "answerer" else "health"
    junk = bytes(10_000)
    with (
        bound(Answerer if end == "answerer" else Collector, folder, topic) as opened,
        closing(
            Stranger(zmq.DEALER if end == "answerer" else zmq.PUSH, address)
        ) as stranger,
    ):

        def flood() -> None:
            for number in range(count):
                parts = [NUMBER, junk] if number % 2 else [junk] * 3
                stranger.socket.send_multipart(parts if end == "answerer" else [junk])

        before = own_bytes()
        take = counted(opened, lambda: len(opened.receive(timeout_ms=10)))
        assert poll_until(take, count, flood) == count
        assert opened.dropped == {f"{topic}: foreign": count}
        assert own_bytes() - before < GROWTH_BYTES

        def receive() -> float:
            begun = time.monotonic()
            opened.receive()
            return time.monotonic() - begun

        assert is_quicker(1.0, receive)
        if end == "answerer":
            with Asker(address, "fields") as asker:
                while not (got := opened.receive(timeout_ms=20)):
                    assert asker.ask(Ask("run"), timeout_ms=20) is None
                assert opened.reply(got[0][0], Wait("starting"))
                assert asker.ask(Ask("run"), timeout_ms=PATIENCE_MS) is not None
        else:
            with Reporter(address, "health") as reporter:
                while not reporter.send(Beat("infer", 7, 1)):
                    time.sleep(0.01)
                assert heard_by(lambda: opened.receive(timeout_ms=50))


def test_no_call_takes_more_than_its_share_of_a_flood(folder: Path) -> None:
    address = f"ipc://{folder}/end"
    with (
        Collector(address, "health") as collector,
        closing(Stranger(zmq.PUSH, address)) as stranger,
    ):
        count = 4 * MOST_AT_ONCE

        def flood() -> None:
            for _ in range(count):
                stranger.socket.send(b"x")

        take = counted(collector, lambda: len(collector.receive(timeout_ms=10)))
        shares = []

        def share() -> int:
            shares.append(take())
            return shares[-1]

        assert poll_until(share, count, flood) == count
        assert max(shares) <= MOST_AT_ONCE


def test_mutated_frames_of_every_topic_are_dropped_by_every_end(folder: Path) -> None:
    count = 1_500
    with (
        Answerer(f"ipc://{folder}/fields", "fields") as answerer,
        closing(Stranger(zmq.DEALER, f"ipc://{folder}/fields")) as stranger,
    ):

        def ask() -> None:
            for frame in bad_frames("fields", count, 1):
                stranger.socket.send_multipart([NUMBER, frame])

        # A peer's later question replaces its earlier one, so each is taken alone.
        most = answerer.dropped
        heard: list[Message] = []

        def take() -> int:
            before = most.total()
            heard.extend(m for _, m in answerer.receive(timeout_ms=10))
            return most.total() - before

        poll_until(take, count * 4 // 5, ask)
        assert most.total() >= count * 3 // 4
        assert all(key.startswith("fields: ") for key in most)
    with (
        Collector(f"ipc://{folder}/health", "health") as collector,
        closing(Stranger(zmq.PUSH, f"ipc://{folder}/health")) as stranger,
    ):

        def push() -> None:
            for frame in bad_frames("health", count, 2):
                stranger.socket.send(frame)

        take_beats = counted(collector, lambda: len(collector.receive(timeout_ms=10)))
        assert poll_until(take_beats, count, push) == count
        assert collector.dropped.total() >= count * 3 // 4


@pytest.mark.parametrize(("topic", "kind"), [("view", View), ("slide", Slide)])
def test_mutated_states_are_dropped_and_the_next_whole_one_is_seen(
    topic: str, kind: type[Message], folder: Path
) -> None:
    address = f"ipc://{folder}/{topic}"
    whole = next(each for on, each in EXAMPLES if on == topic)
    with (
        closing(Stranger(zmq.PUB, address, binds=True)) as stranger,
        Subscriber(address, topic) as subscriber,
    ):
        seen: list[Message] = []
        take = counted(subscriber, lambda: seen_by(subscriber, seen))

        def is_there() -> bool:
            stranger.socket.send(encode(TOPICS[topic], whole))
            return take() > 0

        wait_until(is_there)
        for frame in bad_frames(topic, 600, 3):
            stranger.socket.send(frame)
            # One by one: of several that wait only the newest is looked at.
            wait_until(take)
        assert all(isinstance(message, kind) for message in seen)
        assert subscriber.dropped.total() > 100
        stranger.socket.send(encode(TOPICS[topic], whole))
        wait_until(lambda: subscriber.newest(timeout_ms=100) == whole)


def test_what_does_not_fit_is_not_sent_and_counted(folder: Path) -> None:
    absurd = Beat("infer", 7, -1)
    with (
        Collector(f"ipc://{folder}/health", "health") as collector,
        Reporter(collector.address, "health") as reporter,
        Publisher(f"ipc://{folder}/slide", "slide") as publisher,
    ):
        assert not reporter.send(absurd)
        assert reporter.dropped == {"health: not sent, value": 1}
        publisher.send(Slide("run", -1, REPORT))
        assert publisher.dropped == {"slide: not sent, value": 1}
        long = Beat("infer", 7, 1, text="no space left " * 10_000)
        while not reporter.send(long):
            time.sleep(0.01)
        (heard,) = heard_by(lambda: collector.receive(timeout_ms=50))
        assert heard.text.startswith("no space left")
