"""Ends talk, survive each other, and count what they cannot use."""

import queue
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zmq

from armicro.errors import RigError
from armicro.field import Field, FieldHead, Pixels
from armicro.report import SlideReport, SlideScore
from armicro.wire import link
from armicro.wire.codec import Parcel, encode
from armicro.wire.keys import make_keys
from armicro.wire.link import (
    Answerer,
    Asker,
    Collector,
    Publisher,
    Reporter,
    Subscriber,
    new_key_pair,
)
from armicro.wire.topic import TOPICS, Ask, Beat, Message, Shot, Slide, View, Wait
from tests.patience import (
    PATIENCE_MS,
    PATIENCE_S,
    descriptors,
    is_quicker,
    wait_until,
)

FieldMaker = Callable[..., Field]
LOOPBACK = "tcp://127.0.0.1:*"
HEAD = FieldHead(0.25, 3, 1_000, width_px=6, height_px=4)
SHOT = Shot(HEAD, 2_000, slot=1, stamp=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def keys(tmp_path: Path) -> str:
    make_keys(tmp_path / "keys", ("server", "client"), new_key_pair)
    return str(tmp_path / "keys")


@pytest.fixture(params=["ipc", "tcp"])
def way(request: pytest.FixtureRequest, folder: Path) -> tuple[str, str]:
    """An address to bind, and keys."""
    if request.param == "ipc":
        return f"ipc://{folder}/end", ""
    return LOOPBACK, str(request.getfixturevalue("keys"))


class Capture:
    """A capture that answers by a rule, in a thread, until it is closed."""

    def __init__(
        self,
        address: str,
        reply: Callable[[Ask], tuple[Message, Pixels | None]],
        *,
        keys: str = "",
    ) -> None:
        self.heard: list[Ask] = []
        self.dropped: Counter[str] = Counter()
        self._reply, self._ended = reply, threading.Event()
        self._ready: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(address, keys))
        self._thread.start()
        self.address = self._ready.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self, address: str, keys: str) -> None:
        with Answerer(address, "fields", keys=keys) as answerer:
            self._ready.put(answerer.address)
            while not self._ended.is_set():
                for peer, message in answerer.receive(timeout_ms=10):
                    assert isinstance(message, Ask)
                    self.heard.append(message)
                    answerer.reply(peer, *self._reply(message))
            self.dropped = answerer.dropped


def echo(ask: Ask) -> tuple[Message, None]:
    return Wait("lost", str(ask.after)), None


def slide(fields: int) -> Slide:
    return Slide("run", 1, SlideReport("slide-1", SlideScore(fields=fields)))


def newest_until(
    subscriber: Subscriber, publisher: Publisher, message: Message
) -> None:
    """Publish until it is seen: a subscriber joins when it joins."""

    def seen() -> bool:
        publisher.send(message)
        return subscriber.newest(timeout_ms=25) == message

    wait_until(seen)


def sees(subscriber: Subscriber, message: Message) -> bool:
    """Whether it comes in the end; what came before it may be seen first."""
    wait_until(lambda: subscriber.newest(timeout_ms=100) == message)
    return True


@pytest.fixture
def asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No unanswered ask is sent again for the time that has gone by."""
    monkeypatch.setattr(link, "RESEND_S", 1e6)


def test_an_ask_is_answered(way: tuple[str, str]) -> None:
    with (
        closing(Capture(way[0], echo, keys=way[1])) as capture,
        Asker(capture.address, "fields", keys=way[1]) as asker,
    ):
        for seq in range(3):
            parcel = asker.ask(Ask("run", seq), timeout_ms=PATIENCE_MS)
            assert parcel is not None
            assert parcel.message == Wait("lost", str(seq))
            assert parcel.pixels is None
    assert not asker.dropped
    assert not capture.dropped
    assert [ask.after for ask in capture.heard] == [0, 1, 2]


def test_pixels_travel_with_their_shot(
    way: tuple[str, str], make_field: FieldMaker
) -> None:
    field = make_field(3, 1_280, 960)
    shot = Shot(field.head, 1)
    with (
        closing(
            Capture(way[0], lambda _: (shot, field.pixels), keys=way[1])
        ) as capture,
        Asker(capture.address, "fields", keys=way[1]) as asker,
    ):
        remote = way[0] == LOOPBACK
        assert asker.carries_pixels == remote
        parcel = asker.ask(Ask("run"), timeout_ms=PATIENCE_MS if remote else 300)
        if remote:
            assert parcel is not None
            assert parcel.message == shot
            assert parcel.pixels is not None
            np.testing.assert_array_equal(parcel.pixels, field.pixels)
        else:
            # On one machine pixels go through the ring: this frame is far too large.
            assert parcel is None


def test_nobody_there_costs_the_asker_its_patience_and_no_more(folder: Path) -> None:
    with Asker(f"ipc://{folder}/none", "fields") as asker:

        def ask() -> float:
            begun = time.monotonic()
            assert asker.ask(Ask("run"), timeout_ms=100) is None
            return time.monotonic() - begun

        assert ask() > 0.09
        assert is_quicker(2.0, ask)


@pytest.mark.usefixtures("asks_once")
def test_an_ask_goes_on_to_the_next_capture_when_one_dies(folder: Path) -> None:
    address = f"ipc://{folder}/fields"
    silent = Answerer(address, "fields")
    with Asker(address, "fields") as asker:
        while not silent.receive(timeout_ms=20):
            assert asker.ask(Ask("run", 4), timeout_ms=20) is None
        silent.close()
        with closing(Capture(address, echo)) as capture:
            assert asker.ask(Ask("run", 4), timeout_ms=PATIENCE_MS) is not None
    assert [ask.after for ask in capture.heard] == [4]


@pytest.mark.usefixtures("asks_once")
def test_an_answer_to_the_question_before_the_last_is_dropped(folder: Path) -> None:
    address = f"ipc://{folder}/fields"
    with Answerer(address, "fields") as answerer, Asker(address, "fields") as asker:
        peers = []
        for after in (1, 2):
            while not (got := answerer.receive(timeout_ms=20)):
                assert asker.ask(Ask("run", after), timeout_ms=20) is None
            peers.append(got[0][0])
        for peer, text in zip(peers, ("first", "second"), strict=True):
            assert answerer.reply(peer, Wait("lost", text))
        parcel = asker.ask(Ask("run", 2), timeout_ms=PATIENCE_MS)
        assert parcel is not None
        assert parcel.message == Wait("lost", "second")
        assert asker.dropped == {"fields: late": 1}


@pytest.mark.usefixtures("asks_once")
def test_the_same_ask_again_waits_for_the_same_answer(folder: Path) -> None:
    with (
        Answerer(f"ipc://{folder}/fields", "fields") as answerer,
        Asker(f"ipc://{folder}/fields", "fields") as asker,
    ):
        while not (got := answerer.receive(timeout_ms=20)):
            assert asker.ask(Ask("run", 1), timeout_ms=20) is None
        for _ in range(3):
            assert asker.ask(Ask("run", 1), timeout_ms=20) is None
        assert not answerer.receive(timeout_ms=50)
        assert answerer.reply(got[0][0], Wait("starting"))
        assert asker.ask(Ask("run", 1), timeout_ms=PATIENCE_MS) is not None


def test_several_askers_get_their_own_answers(folder: Path) -> None:
    with (
        closing(Capture(f"ipc://{folder}/fields", echo)) as capture,
        Asker(capture.address, "fields") as one,
        Asker(capture.address, "fields") as other,
    ):
        for asker, after in ((one, 1), (other, 2), (one, 3)):
            parcel = asker.ask(Ask("run", after), timeout_ms=PATIENCE_MS)
            assert parcel is not None
            assert parcel.message == Wait("lost", str(after))


def test_a_reply_to_somebody_who_left_is_counted_and_does_not_wait(
    folder: Path,
) -> None:
    with Answerer(f"ipc://{folder}/fields", "fields") as answerer:
        with Asker(f"ipc://{folder}/fields", "fields") as asker:
            while not (got := answerer.receive(timeout_ms=20)):
                assert asker.ask(Ask("run"), timeout_ms=20) is None
        wait_until(lambda: not answerer.reply(got[0][0], Wait("starting")))
        assert answerer.dropped == {"fields: not sent": 1}


def test_a_subscriber_sees_the_newest_state_only(way: tuple[str, str]) -> None:
    with (
        Publisher(way[0], "slide", keys=way[1]) as publisher,
        Subscriber(publisher.address, "slide", keys=way[1]) as subscriber,
    ):
        newest_until(subscriber, publisher, slide(0))

        def is_newest_of_fifty(pause_s: float) -> bool:
            for fields in range(1, 51):
                publisher.send(slide(fields))
            # All must have come before the first look.
            time.sleep(pause_s)
            seen = subscriber.newest(), subscriber.newest()
            while subscriber.newest(timeout_ms=1_000) is not None:
                pass
            return seen == (slide(50), None)

        assert any(map(is_newest_of_fifty, (0.3, 1.0, 3.0, 10.0, 30.0)))


def test_all_subscribers_see_the_newest_state(folder: Path) -> None:
    address = f"ipc://{folder}/slide"
    with (
        Publisher(address, "slide") as publisher,
        Subscriber(address, "slide") as one,
        Subscriber(address, "slide") as other,
    ):
        newest_until(one, publisher, slide(0))
        newest_until(other, publisher, slide(0))
        publisher.send(slide(7))
        assert sees(one, slide(7))
        assert sees(other, slide(7))
        assert one.newest() is other.newest() is None


def test_a_subscriber_outlives_its_publisher(folder: Path) -> None:
    address = f"ipc://{folder}/slide"
    with Subscriber(address, "slide") as subscriber:
        for life in range(3):
            with Publisher(address, "slide") as publisher:
                newest_until(subscriber, publisher, slide(life))


def test_a_view_brings_its_pixels_over_tcp(keys: str, make_field: FieldMaker) -> None:
    field = make_field(3, 640, 480)
    shot = Shot(field.head, 1)
    with (
        Publisher(LOOPBACK, "view", keys=keys) as publisher,
        Subscriber(publisher.address, "view", keys=keys) as subscriber,
    ):
        came: list[Parcel] = []

        def has_come() -> bool:
            publisher.send(View(shot, "slide-1"), field.pixels)
            came.extend(filter(None, [subscriber.newest_parcel(timeout_ms=25)]))
            return bool(came)

        wait_until(has_come)
        (parcel,) = came
        assert parcel.message == View(shot, "slide-1")
        assert parcel.pixels is not None
        np.testing.assert_array_equal(parcel.pixels, field.pixels)


def test_the_last_word_before_closing_gets_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"ipc://{folder}/slide"
    with Subscriber(address, "slide") as subscriber:
        # A busy machine may need longer than a fifth of a second.
        monkeypatch.setattr(link, "_LINGER_MS", PATIENCE_MS)
        with Publisher(address, "slide") as publisher:
            newest_until(subscriber, publisher, slide(1))
            publisher.send(slide(2))
        assert sees(subscriber, slide(2))


def test_every_report_arrives_in_order(way: tuple[str, str]) -> None:
    beats = [Beat("infer", 7, seq) for seq in range(100)]
    with (
        Collector(way[0], "health", keys=way[1]) as collector,
        Reporter(collector.address, "health", keys=way[1]) as reporter,
    ):
        came: list[Message] = []
        for beat in beats:
            while not reporter.send(beat):
                came += collector.receive(timeout_ms=10)
        while len(came) < len(beats):
            more = collector.receive(timeout_ms=PATIENCE_MS)
            assert more
            came += more
        assert came == beats


def test_a_reporter_whose_reader_is_gone_counts_and_goes_on(folder: Path) -> None:
    with Reporter(f"ipc://{folder}/none", "health") as reporter:

        def report() -> float:
            begun = time.monotonic()
            for seq in range(1_000):
                assert not reporter.send(Beat("infer", 7, seq))
            return time.monotonic() - begun

        report()
        assert reporter.dropped == {"health: not sent": 1_000}
        assert is_quicker(1.0, report)


def raw_push(address: str, frames: list[bytes]) -> None:
    """Send what no end of armicro would."""
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    push.connect(address)
    for frame in frames:
        push.send(frame)
    push.close(linger=PATIENCE_MS)
    context.term()


def test_frames_that_cannot_be_used_are_counted_by_reason(folder: Path) -> None:
    topic, beat = TOPICS["health"], Beat("infer", 7, 1)
    good = encode(topic, beat)
    other_version = good[:5] + b"\x63" + good[6:]
    frames = [
        b"hello", other_version, good[:-2], encode(TOPICS["fields"], SHOT),
        good + bytes(topic.maximum_bytes), good,
    ]  # fmt: skip
    with Collector(f"ipc://{folder}/health", "health") as collector:
        raw_push(collector.address, frames)
        came: list[Message] = []
        while not came:
            came += collector.receive(timeout_ms=100)
        assert came == [beat]
        assert collector.dropped == {
            "health: foreign": 1,
            "health: version": 1,
            "health: malformed": 2,
            "health: topic": 1,
        }


def test_a_huge_frame_never_gets_in_and_others_do(folder: Path) -> None:
    beat = Beat("infer", 7, 1)
    with Collector(f"ipc://{folder}/health", "health") as collector:
        raw_push(collector.address, [bytes(1 << 22)])
        raw_push(collector.address, [encode(TOPICS["health"], beat)])
        assert collector.receive(timeout_ms=PATIENCE_MS) == [beat]


def test_strangers_on_the_port_do_no_harm(keys: str) -> None:
    with closing(Capture(LOOPBACK, echo, keys=keys)) as capture:
        port = int(capture.address.rpartition(":")[2])
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 500, b""):
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as stranger:
                stranger.sendall(said)
        with Asker(capture.address, "fields", keys=keys) as asker:
            assert asker.ask(Ask("run", 1), timeout_ms=PATIENCE_MS) is not None
    assert len(capture.heard) == 1


def test_a_client_whose_key_is_not_there_is_refused_and_counted(
    keys: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_keys(other, ("client",), new_key_pair)
    (other / "server.public").write_bytes(Path(keys, "server.public").read_bytes())
    with closing(Capture(LOOPBACK, echo, keys=keys)) as capture:
        with Asker(capture.address, "fields", keys=str(other)) as asker:

            def is_refused() -> str:
                assert asker.ask(Ask("run"), timeout_ms=100) is None
                return asker.trouble

            wait_until(is_refused)
            assert "refuses the keys" in asker.trouble
            assert asker.dropped["fields: refused"] >= 1
        with Asker(capture.address, "fields", keys=keys) as asker:
            assert asker.ask(Ask("run"), timeout_ms=PATIENCE_MS) is not None
            assert not asker.trouble
    assert capture.dropped["fields: refused"] >= 1
    assert len(capture.heard) == 1


@pytest.mark.parametrize("keyed_side", ["answerer", "asker", "wrong server"])
def test_keys_on_one_side_only_let_nothing_through(
    keyed_side: str, keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ""
    if keyed_side == "wrong server":
        other = str(tmp_path / "other")
        make_keys(Path(other), ("server", "client"), new_key_pair)
    # No end of armicro opens without keys: these are a stranger's.
    monkeypatch.setattr("armicro.wire.link.check_address", lambda *_, **__: None)
    answers = "" if keyed_side == "asker" else keys
    asks = other if keyed_side != "asker" else keys
    with (
        closing(Capture(LOOPBACK, echo, keys=answers)) as capture,
        Asker(capture.address, "fields", keys=asks) as asker,
    ):
        assert asker.ask(Ask("run"), timeout_ms=500) is None
    assert not capture.heard


@pytest.mark.parametrize("end", [Answerer, Publisher, Collector, Asker, Subscriber])
def test_tcp_needs_keys_loopback_included(
    end: type[Answerer | Publisher | Collector | Asker | Subscriber],
) -> None:
    for host in ("*", "0.0.0.0", "192.0.2.7", "scope.example", "127.0.0.1", "[::1]"):
        with pytest.raises(RigError, match="armicro keys DIR"):
            end(f"tcp://{host}:5600", "fields")


@pytest.mark.parametrize("end", [Answerer, Asker, Publisher, Reporter])
def test_keys_that_are_not_there_say_so(
    end: type[Answerer | Asker | Publisher | Reporter], tmp_path: Path
) -> None:
    with pytest.raises(RigError, match="client"):
        end("tcp://127.0.0.1:5600", "fields", keys=str(tmp_path))


@pytest.mark.parametrize("end", [Asker, Subscriber, Reporter])
def test_closing_twice_is_closing_once(
    end: type[Asker | Subscriber | Reporter], folder: Path
) -> None:
    with end(f"ipc://{folder}/end", "fields") as opened:
        opened.close()


def test_an_address_in_use_says_so(keys: str) -> None:
    with (
        Answerer(LOOPBACK, "fields", keys=keys) as first,
        pytest.raises(RigError, match="another session"),
    ):
        Answerer(first.address, "fields", keys=keys)


def test_a_socket_in_a_folder_open_to_others_is_refused(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(RigError, match="mode 0700"):
        Collector(f"ipc://{folder}/health", "health")


def test_closing_is_quick_and_leaves_no_thread_or_descriptor(
    folder: Path, keys: str
) -> None:
    def open_and_close() -> float:
        begun = time.monotonic()
        for _ in range(3):
            for address, used in ((f"ipc://{folder}/end", ""), (LOOPBACK, keys)):
                for bound, connected in (
                    (Answerer, Asker), (Publisher, Subscriber), (Collector, Reporter),
                ):  # fmt: skip
                    with bound(address, "fields", keys=used) as server:
                        connected(server.address, "fields", keys=used).close()
                        server.close()
        return time.monotonic() - begun

    before, threads = descriptors(), set(threading.enumerate())
    assert is_quicker(5.0, open_and_close)
    assert set(threading.enumerate()) <= threads
    assert descriptors() <= before


@pytest.mark.skipif(sys.platform != "linux", reason="0.0.0.0 is this machine on Linux")
def test_times_from_another_machine_are_put_on_this_ones_clock(keys: str) -> None:
    other_clock_ns = 5_000_000_000
    taken_ns = other_clock_ns - 30_000_000
    head = FieldHead(0.25, 0, taken_ns, width_px=1, height_px=1)
    shot = Shot(head, other_clock_ns)
    pixels = np.zeros((1, 1, 3), np.uint8)
    with closing(Capture(LOOPBACK, lambda _: (shot, pixels), keys=keys)) as capture:
        address = capture.address.replace("127.0.0.1", "0.0.0.0")
        with Asker(address, "fields", keys=keys) as asker:
            begun_ns = time.monotonic_ns()
            parcel = asker.ask(Ask("run"), timeout_ms=PATIENCE_MS)
            now_ns = time.monotonic_ns()
    assert parcel is not None
    assert isinstance(parcel.message, Shot)
    assert begun_ns <= parcel.message.sent_ns <= now_ns
    assert parcel.message.sent_ns - parcel.message.head.taken_ns == 30_000_000
