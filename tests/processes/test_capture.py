"""Capture's loop with a fake source, a real ring and real links."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from armicro.errors import SourceLostError
from armicro.field import Field, Place
from armicro.processes import capture as capturing
from armicro.processes.capture import MOST_CHUNKS, Placing, ShownGround
from armicro.processes.job import Job, Mode
from armicro.processes.life import Life
from armicro.processes.thread import Ranges
from armicro.report import Shown
from armicro.rig import Camera, Rig
from armicro.rule import MOST_SEQ, MOST_TEXT
from armicro.slide.coverage import Ground
from armicro.slide.journal import Journal
from armicro.source import Source, SourceCard
from armicro.verdict import said_text, state_text
from armicro.wire.codec import HEADER
from armicro.wire.link import Answerer, Asker, Publisher, Subscriber
from armicro.wire.ring import Ring
from armicro.wire.topic import MOST_RANGES, VERSION, Ask, Message, Shot, View, Wait
from tests.patience import PATIENCE_S, wait_until


@dataclass
class FakeLife:
    beats: list[dict[str, object]] = field(default_factory=list)

    def beat(self, state: str = "running", **facts: object) -> None:
        self.beats.append({"state": state, **facts})


class CountingSource:
    """Fields whose pixels tell their number; breaks down when told to."""

    def __init__(self, count: int, *, breaks: bool = False):
        self.card = SourceCard("counting", 0.25, 16, 8, fields_planned=count)
        self._count, self._breaks = count, breaks

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        for seq in range(self._count):
            if seq not in done:
                pixels = np.full((8, 16, 3), seq % 256, np.uint8)
                yield Field(0.25, seq, 1, Place(seq, 0, 0, "slide_file"), pixels=pixels)
        if self._breaks:
            raise SourceLostError("camera 4711 was unplugged; plug it in again")

    def close(self) -> None:
        pass


class HeldCamera(CountingSource):
    """A camera without an end that gives a field when the test says so."""

    def __init__(self) -> None:
        super().__init__(1_000_000)
        self._due = threading.Semaphore(0)
        self._ended = False

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        for one in super().fields(done=done):
            self._due.acquire()
            if self._ended:
                return
            yield one

    def give(self, count: int = 1) -> None:
        """Let the next fields come."""
        self._due.release(count)

    def end(self) -> None:
        """Give no more: nobody waits for the next one."""
        self._ended = True
        self.give()


@dataclass
class Bench:
    """Capture and the ends that infer and display hold."""

    capture: capturing._Capture
    asker: Asker
    view: Subscriber
    ring: Ring

    def ask(
        self, *, after: int = -1, done: Ranges | None = None, kept: int = 0
    ) -> Shot | Wait | None:
        """Ask as infer does, turning capture's loop meanwhile."""
        question = Ask("test", after, done, kept)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self.capture.turn()
            reply = self.asker.ask(question, timeout_ms=5)
            if reply is not None:
                assert isinstance(reply.message, Shot | Wait)
                # Infer too asks again while the source is being opened.
                if reply.message != Wait("starting", state_text("source_opening")):
                    return reply.message
        return None

    def show(self, camera: HeldCamera, count: int = 1) -> int:
        """Have a camera's next fields come, each shown before the next; the last."""
        for _ in range(count):
            before = self.capture._put_seq
            camera.give()
            self.turn_until(partial(self._has_shown_after, before))
        return self.capture._put_seq

    def _has_shown_after(self, seq: int) -> bool:
        return self.capture._put_seq > seq

    def turn_until(self, holds: Callable[[], object]) -> None:
        """Turn capture's loop until it holds."""

        def turned() -> object:
            self.capture.turn()
            return holds()

        wait_until(turned, pause_s=0.0)

    def number(self, shot: Shot | Wait | None) -> int:
        """What the pixels say, which must be what the message says."""
        assert isinstance(shot, Shot)
        pixels = self.ring.read(shot)
        assert pixels is not None
        assert pixels[0, 0, 0] == shot.head.seq % 256
        return shot.head.seq


Make = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:

        def make(mode: Mode, *sources: Source) -> Bench:
            queue = list(sources)

            def opener(job: Job) -> Source:
                return queue.pop(0) if len(queue) > 1 else queue[0]

            monkeypatch.setattr(capturing, "open_job_source", opener)
            tmp_path.chmod(0o700)
            rig = Rig(camera=Camera(driver="basler", width_px=16, height_px=8))
            job = Job("test", mode, rig, str(tmp_path / "out"))
            enter = stack.enter_context
            address = f"ipc://{tmp_path}"
            ring = enter(Ring.create(6, slot_bytes=16 * 8 * 3))
            answers = enter(Answerer(f"{address}/fields", "fields"))
            view = enter(Publisher(f"{address}/view", "view"))
            life = cast(Life, FakeLife())
            capture = capturing._Capture(job, life, ring, answers, view)
            stack.callback(capture.close)
            for source in sources:
                if isinstance(source, HeldCamera):
                    stack.callback(source.end)
            asker = enter(Asker(f"{address}/fields", "fields"))
            return Bench(
                capture, asker, enter(Subscriber(f"{address}/view", "view")), ring
            )

        yield make


def test_replay_gives_nothing_before_it_is_told_what_is_done(make_bench: Make) -> None:
    bench = make_bench("replay", CountingSource(5))
    assert bench.ask() == Wait("say_done")


def test_replay_gives_each_field_once_in_order_then_says_so(make_bench: Make) -> None:
    bench = make_bench("replay", CountingSource(9))
    seqs = [bench.number(bench.ask(done=()))]
    while isinstance(shot := bench.ask(after=seqs[-1]), Shot):
        seqs.append(bench.number(shot))
    assert seqs == list(range(9))
    assert shot == Wait("finished")


def test_unmeasured_scale_is_said_with_every_field_to_both(make_bench: Make) -> None:
    camera = HeldCamera()
    bench = make_bench("live", camera)
    bench.show(camera)
    shot = bench.ask(done=())
    assert isinstance(shot, Shot)
    assert "scale not measured" in shot.head.voided
    seen: list[Shot] = []

    def shown() -> bool:
        # Said again and again: the display joins when it joins.
        view = bench.view.newest()
        if isinstance(view, View) and view.shot is not None:
            seen.append(view.shot)
        return bool(seen)

    bench.turn_until(shown)
    assert seen[0].head.voided == shot.head.voided


def test_answer_that_was_lost_is_given_again(make_bench: Make) -> None:
    bench = make_bench("replay", CountingSource(9))
    first = bench.number(bench.ask(done=()))
    assert bench.number(bench.ask(after=-1)) == first
    assert bench.number(bench.ask(after=first)) == first + 1


def test_infer_that_started_again_gets_what_it_has_not_kept(make_bench: Make) -> None:
    bench = make_bench("replay", CountingSource(9))
    given = bench.number(bench.ask(done=()))
    for _ in range(3):
        given = bench.number(bench.ask(after=given))
    # Fields 2 and 3 were taken and never written: killed in between.
    again = [bench.number(bench.ask(done=((0, 1),)))]
    while isinstance(shot := bench.ask(after=again[-1]), Shot):
        again.append(bench.number(shot))
    assert again == list(range(2, 9))


def test_ask_of_another_run_is_not_answered(make_bench: Make) -> None:
    bench = make_bench("replay", CountingSource(9))
    for _ in range(20):
        bench.capture.turn()
        assert bench.asker.ask(Ask("another run"), timeout_ms=5) is None


def test_live_gives_the_newest_field_and_counts_the_skipped(make_bench: Make) -> None:
    camera = HeldCamera()
    bench = make_bench("live", camera)
    bench.show(camera)
    first = bench.ask(done=())
    assert isinstance(first, Shot)
    bench.show(camera, 12)
    later = bench.ask(after=first.head.seq)
    assert isinstance(later, Shot)
    assert later.head.seq == first.head.seq + 12
    assert later.skipped == 11


def test_live_session_never_counts_a_field_twice(make_bench: Make) -> None:
    camera = HeldCamera()
    bench = make_bench("live", camera)
    bench.show(camera, 3)
    bench.capture._asked(Ask("test", done=((0, 700),)))
    assert bench.show(camera) == 701
    shot = bench.ask()
    assert isinstance(shot, Shot)
    assert shot.head.seq == 701


def test_field_from_before_infer_spoke_is_not_given_under_its_old_number(
    make_bench: Make,
) -> None:
    # The camera ends after its first fields: only old ones are in the ring.
    bench = make_bench("live", CountingSource(5))
    bench.turn_until(lambda: bench.capture._reader and bench.capture._reader.finished)
    assert bench.ask() == Wait("say_done")
    assert bench.ask(done=((0, 700),)) == Wait("finished")


def test_capture_that_started_again_counts_nothing_as_skipped(make_bench: Make) -> None:
    camera = HeldCamera()
    bench = make_bench("live", camera)
    bench.capture._asked(Ask("test", done=((0, 700),)))
    bench.show(camera)
    shot = bench.ask()
    assert isinstance(shot, Shot)
    assert (shot.head.seq, shot.skipped) == (701, 0)


def test_infer_that_started_again_does_not_make_a_camera_jump(make_bench: Make) -> None:
    camera = HeldCamera()
    bench = make_bench("live", camera)
    bench.show(camera)
    first = bench.ask(done=())
    assert isinstance(first, Shot)
    bench.show(camera, 12)
    later = bench.ask(after=first.head.seq)
    assert isinstance(later, Shot)
    seq = later.head.seq
    assert seq == 12
    bench.capture._asked(Ask("test", done=((0, seq),)))
    bench.show(camera)
    again = bench.ask()
    assert isinstance(again, Shot)
    assert (again.head.seq, again.skipped) == (seq + 1, 0)


class Heard:
    """Who hears each view in the moment when it is sent."""

    def __init__(self) -> None:
        self.views: list[View] = []

    def send(self, message: Message, pixels: object = None) -> None:
        assert pixels is None
        assert isinstance(message, View)
        self.views.append(message)


def test_unplugged_camera_is_told_within_a_second_and_comes_back(
    make_bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = itertools.count()
    clock = type(
        "Clock",
        (),
        # Each look at it is a hundredth of a second later.
        {"monotonic": lambda: next(turns) / 100, "monotonic_ns": lambda: 1},
    )
    monkeypatch.setattr(capturing, "time", clock)
    camera = HeldCamera()
    bench = make_bench("live", CountingSource(20, breaks=True), camera)
    heard = Heard()
    bench.capture._view = cast(Publisher, heard)
    reader = bench.capture._reader
    assert reader is not None
    wait_until(lambda: "4711" in reader.problem)
    begun = next(turns)
    bench.turn_until(lambda: heard.views and "4711" in heard.views[-1].problem)
    assert next(turns) - begun < 100
    told = heard.views[-1]
    assert told.shot is None
    bench.show(camera)
    told = heard.views[-1]
    assert told.shot is not None
    assert not told.problem


class RowCamera(HeldCamera):
    """Fields of 320 by 160 µm beside each other; every fourth has no place."""

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        for one in super().fields(done=done):
            place = Place(320.0 * one.seq, 0.0, 0.0, "slide_file")
            lost = one.seq % 4 == 3
            yield replace(one, um_per_px=20.0, place=None if lost else place)


class NoRegistration:
    def place(self, field: Field) -> Field:
        return field

    def close(self) -> None:
        pass


class Noting(ShownGround):
    """Notes which fields were shown: a camera's others were never there."""

    def __init__(self) -> None:
        super().__init__()
        self.placed: set[int] = set()
        self.lost = 0

    def add(self, field: Field) -> None:
        super().add(field)
        if field.place is not None:
            self.placed.add(field.seq)
        self.lost += field.place is None


def noted(bench: Bench, camera: HeldCamera) -> Noting:
    note = bench.capture._shown = Noting()
    # Registration is not what is tried here: what has no place stays without.
    bench.capture._placing = cast(Placing, NoRegistration())
    # Infer is not there yet: the operator sees fields all the same.
    bench.show(camera, 6)
    assert (len(note.placed), note.lost) == (5, 1)
    return note


def fields_in(packed: bytes) -> set[int]:
    """Which fields of a ``RowCamera`` ground holds."""
    whole, held = Ground(packed), set()
    for seq in range(60):
        one = Ground()
        one.add((320.0 * seq, 0.0, 320.0, 160.0))
        if not one.without(whole).chunks:
            held.add(seq)
    return held


def shown_of(bench: Bench, after: int, kept: int = 0) -> tuple[int, Shown]:
    shot = bench.ask(after=after, kept=kept)
    assert isinstance(shot, Shot)
    assert shot.shown is not None
    return shot.head.seq, shot.shown


def test_live_tells_what_it_showed_until_infer_keeps_it(make_bench: Make) -> None:
    camera = RowCamera()
    bench = make_bench("live", camera)
    note = noted(bench, camera)
    bench.ask(done=())
    bench.show(camera)
    seq, first = shown_of(bench, -1)
    assert fields_in(first.ground) == note.placed
    assert first.unplaced == note.lost
    # An infer that died in between has kept nothing: all of it comes again.
    bench.show(camera)
    seq, again = shown_of(bench, seq)
    assert fields_in(again.ground) == note.placed
    bench.show(camera)
    seq, rest = shown_of(bench, seq, kept=again.number)
    assert fields_in(rest.ground) == note.placed - fields_in(again.ground)
    assert rest.unplaced == note.lost
    # A number from another life of capture says nothing.
    bench.show(camera)
    seq, more = shown_of(bench, seq, kept=again.number - 12_345)
    assert fields_in(more.ground) > fields_in(rest.ground)


def test_what_infer_never_heard_of_is_in_the_journal_at_the_end(
    make_bench: Make, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with Journal(tmp_path / "out" / "session.sqlite"):
        pass
    camera = RowCamera()
    bench = make_bench("live", camera)
    note = noted(bench, camera)
    camera.end()
    bench.capture.close()
    with Journal(tmp_path / "out" / "session.sqlite") as journal:
        ground, unplaced = journal.shown()
    assert fields_in(ground.pack()) == note.placed
    assert sum(unplaced.values()) == note.lost


def test_what_was_kept_is_not_told_again_however_long_the_stage_rests() -> None:
    shown = ShownGround()
    here = Place(0.0, 0.0, 0.1, "stage_encoder")
    rested = Field(20.0, 0, 1, here, pixels=np.zeros((8, 16, 3), np.uint8))
    shown.add(rested)
    told = shown.tell()
    assert told is not None
    shown.keep(told.number)
    for _ in range(50):
        shown.add(rested)
    assert shown.tell() is None
    shown.add(replace(rested, place=None))
    lost = shown.tell()
    assert lost is not None
    assert (lost.unplaced, lost.ground) == (1, b"")


def test_what_was_shown_after_it_was_told_is_not_taken_for_kept() -> None:
    shown, pixels = ShownGround(), np.zeros((8, 16, 3), np.uint8)

    def show(x_um: float) -> None:
        place = Place(x_um, 0.0, 0.1, "stage_encoder")
        shown.add(Field(20.0, 0, 1, place, pixels=pixels))

    show(0.0)
    told = shown.tell()
    assert told is not None
    show(400.0)
    shown.keep(told.number)
    after = shown.tell()
    assert after is not None
    assert Ground(after.ground).without(Ground(told.ground)).chunks


def test_more_ground_than_one_message_holds_is_told_in_parts() -> None:
    shown, heard = ShownGround(), Ground()
    pixels = np.zeros((8, 16, 3), np.uint8)
    for column in range(MOST_CHUNKS + 40):
        place = Place(1024.0 * column, 0.0, 0.1, "stage_encoder")
        shown.add(Field(20.0, column, 1, place, pixels=pixels))
    for _ in range(2):
        told = shown.tell()
        assert told is not None
        assert len(told.ground) < 70_000
        heard.join(Ground(told.ground))
        shown.keep(told.number)
    assert shown.tell() is None
    assert len(heard.chunks) == MOST_CHUNKS + 40


FAR = MOST_SEQ
ODD_ASKS = {
    "done up to the last number": Ask("test", done=((0, FAR),)),
    "done far off": Ask("test", done=((FAR, FAR),)),
    "done in as many ranges as may be": Ask(
        "test", done=tuple((2 * n, 2 * n) for n in range(MOST_RANGES))
    ),
    "copied what was never given": Ask("test", after=FAR),
    "kept what was never told": Ask("test", kept=2**62),
    "another run": Ask("another", done=((0, 5),)),
    "a name that is long": Ask("x" * MOST_TEXT),
}


@pytest.mark.parametrize("mode", ["live", "replay"])
@pytest.mark.parametrize("odd", ODD_ASKS)
def test_an_odd_ask_of_another_peer_ends_nothing(
    make_bench: Make, mode: Mode, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "done up to 2^63" ended a live session: the next field's number did not fit.
    camera = HeldCamera()
    live = mode == "live"
    bench = make_bench(mode, camera if live else CountingSource(3))
    if live:
        bench.show(camera)
    assert isinstance(bench.ask(done=()), Shot)
    heard: list[Ask] = []
    asked = bench.capture._asked

    def hear(ask: Ask) -> None:
        heard.append(ask)
        asked(ask)

    monkeypatch.setattr(bench.capture, "_asked", hear)
    with Asker(bench.asker.address, "fields") as other:

        def is_heard() -> bool:
            other.ask(ODD_ASKS[odd], timeout_ms=5)
            return bool(heard or bench.capture._strangers)

        bench.turn_until(is_heard)
    # A replay that is told again what is done reads anew: said once, as infer does.
    bench.capture._asked(Ask("test", done=()))
    if live:
        bench.show(camera)
    shot = bench.ask()
    assert isinstance(shot, Shot)
    if live:
        # And so can every field after the next such ask be sent.
        bench.capture._asked(ODD_ASKS[odd])
        bench.show(camera)
        assert isinstance(bench.ask(after=shot.head.seq), Shot)


@pytest.mark.parametrize(
    "done", [((0, 2**63 - 1),), ((2**62, 2**63 - 1),), ((-5, 3),), ((4, 2),)]
)
def test_an_ask_out_of_bounds_is_counted_and_dropped(
    make_bench: Make, done: Ranges
) -> None:
    camera = HeldCamera()
    bench = make_bench("live", camera)
    body = msgspec.msgpack.encode(Ask("test", done=done))
    frame = HEADER.pack(b"AMCR", VERSION, b"fields", len(body)) + body
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(bench.asker.address)
        stranger.send_multipart([bytes(8), frame])
        bench.turn_until(lambda: bench.capture._answers.dropped)
        stranger.linger = 0
    assert bench.capture._answers.dropped == {"fields: value": 1}
    bench.show(camera)
    assert isinstance(bench.ask(done=()), Shot)


def test_ranges_that_are_many_are_searched_quickly() -> None:
    ranges = capturing.RangeSet(tuple((2 * n, 2 * n) for n in range(MOST_RANGES)))
    begun = time.thread_time()
    assert sum(seq in ranges for seq in range(20_000)) == 10_000
    assert time.thread_time() - begun < 1.0
    assert 2 * MOST_RANGES not in ranges
    assert -1 not in ranges


def test_turned_camera_is_told_with_every_beat(make_bench: Make) -> None:
    bench = make_bench("live", CountingSource(1))
    shot = bench.ask(done=())
    assert isinstance(shot, Shot)
    place = Place(6000.0, 0.0, 0.1, "turned_camera")
    head = msgspec.structs.replace(shot.head, place=place)
    bench.capture._newest = msgspec.structs.replace(shot, head=head)
    bench.capture._tell()
    beat = cast(FakeLife, bench.capture._life).beats[-1]
    assert beat["state"] == "running"
    assert beat["text"] == said_text("camera_turned")
