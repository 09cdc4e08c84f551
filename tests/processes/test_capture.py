"""Capture's loop with a fake source, a real ring and real links."""

import contextlib
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
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
from armicro.source import Card, Source
from armicro.verdict import said_text, state_text
from armicro.wire.codec import HEADER
from armicro.wire.link import Answerer, Asker, Publisher, Subscriber
from armicro.wire.ring import Ring
from armicro.wire.topic import MOST_RANGES, VERSION, Ask, Shot, View, Wait


@dataclass
class FakeLife:
    beats: list[dict[str, object]] = field(default_factory=list)

    def beat(self, state: str = "running", **facts: object) -> None:
        self.beats.append({"state": state, **facts})


class CountingSource:
    """Fields whose pixels tell their number; breaks down when told to."""

    def __init__(self, count: int, *, pause_s: float = 0.0, breaks: bool = False):
        self.card = Card("counting", 0.25, 16, 8, fields_planned=count)
        self._count, self._pause_s, self._breaks = count, pause_s, breaks

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        for seq in range(self._count):
            if seq not in done:
                time.sleep(self._pause_s)
                pixels = np.full((8, 16, 3), seq, np.uint8)
                yield Field(0.25, seq, 1, Place(seq, 0, 0, "slide_file"), pixels=pixels)
        if self._breaks:
            raise SourceLostError("camera 4711 was unplugged; plug it in again")

    def close(self) -> None:
        pass


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
        for _ in range(400):
            self.capture.turn()
            reply = self.asker.ask(question, timeout_ms=5)
            if reply is not None:
                assert isinstance(reply.message, Shot | Wait)
                # Infer too asks again while the source is being opened.
                if reply.message != Wait("starting", state_text("source_opening")):
                    return reply.message
        return None

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
    bench = make_bench("live", CountingSource(3, pause_s=0.05))
    shot = bench.ask(done=())
    assert isinstance(shot, Shot)
    assert "scale not measured" in shot.head.voided
    # Views travel on their own: that of the first field may still be on its way.
    deadline = time.monotonic() + 5
    view = None
    while not isinstance(view, View) or view.shot is None:
        assert time.monotonic() < deadline
        view = bench.view.newest(timeout_ms=100) or view
    assert view.shot.head.voided == shot.head.voided


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
    bench = make_bench("live", CountingSource(250, pause_s=0.004))
    first = bench.ask(done=())
    assert isinstance(first, Shot)
    deadline = time.monotonic() + 0.4
    while time.monotonic() < deadline:
        bench.capture.turn()
    later = bench.ask(after=first.head.seq)
    assert isinstance(later, Shot)
    assert later.head.seq > first.head.seq + 10
    assert later.skipped == later.head.seq - first.head.seq - 1


def test_live_session_never_counts_a_field_twice(make_bench: Make) -> None:
    bench = make_bench("live", CountingSource(250, pause_s=0.004))
    shot = bench.ask(done=((0, 700),))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not isinstance(shot, Shot) or shot.head.seq > 700:
            break
        shot = bench.ask(after=shot.head.seq)
    assert isinstance(shot, Shot)
    assert shot.head.seq > 700


def turn_for(bench: Bench, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        bench.capture.turn()


def test_field_from_before_infer_spoke_is_not_given_under_its_old_number(
    make_bench: Make,
) -> None:
    # The camera stands still after its first fields: only old ones are in the ring.
    bench = make_bench("live", CountingSource(5))
    turn_for(bench, 0.1)
    assert bench.ask() == Wait("say_done")
    assert bench.ask(done=((0, 700),)) == Wait("finished")


def test_capture_that_started_again_counts_nothing_as_skipped(make_bench: Make) -> None:
    bench = make_bench("live", CountingSource(250, pause_s=0.004))
    shot = bench.ask(done=((0, 700),))
    assert isinstance(shot, Shot)
    assert shot.head.seq > 700
    assert shot.skipped < 50


def test_infer_that_started_again_does_not_make_a_camera_jump(make_bench: Make) -> None:
    bench = make_bench("live", CountingSource(250, pause_s=0.004))
    first = bench.ask(done=())
    turn_for(bench, 0.2)
    assert isinstance(first, Shot)
    later = bench.ask(after=first.head.seq)
    assert isinstance(later, Shot)
    seq = later.head.seq
    assert seq > 10
    again = bench.ask(done=((0, seq),))
    assert isinstance(again, Shot)
    assert seq < again.head.seq < seq + 20
    assert again.skipped == again.head.seq - seq - 1


def test_unplugged_camera_is_told_within_a_second_and_comes_back(
    make_bench: Make,
) -> None:
    bench = make_bench(
        "live",
        CountingSource(20, pause_s=0.01, breaks=True),
        CountingSource(200, pause_s=0.01),
    )
    problem_at: float | None = None
    last_shot_at = back_at = 0.0
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not back_at:
        bench.capture.turn()
        view = bench.view.newest()
        if not isinstance(view, View):
            continue
        now = time.monotonic()
        if view.shot is None and "4711" in view.problem:
            problem_at = problem_at or now
        elif view.shot is not None and problem_at is None:
            last_shot_at = now
        elif view.shot is not None and not view.problem:
            back_at = now
    assert problem_at is not None
    assert problem_at - last_shot_at < 1.0
    assert back_at


class RowSource(CountingSource):
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


def noted(bench: Bench) -> Noting:
    note = bench.capture._shown = Noting()
    # Registration is not what is tried here: what has no place stays without.
    bench.capture._placing = cast(Placing, NoRegistration())
    deadline = time.monotonic() + 60
    # Infer is not there yet: the operator sees fields all the same.
    while len(note.placed) < 4 and time.monotonic() < deadline:
        bench.capture.turn()
    return note


def fields_in(packed: bytes) -> set[int]:
    """Which fields of a ``RowSource`` ground holds."""
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
    bench = make_bench("live", RowSource(250, pause_s=0.04))
    note = noted(bench)
    placed, lost = set(note.placed), note.lost
    bench.ask(done=())
    seq, first = shown_of(bench, -1)
    assert placed <= fields_in(first.ground) <= note.placed
    assert lost <= first.unplaced <= note.lost
    # An infer that died in between has kept nothing: all of it comes again.
    seq, again = shown_of(bench, seq)
    assert fields_in(again.ground) >= fields_in(first.ground)
    seq, rest = shown_of(bench, seq, kept=again.number)
    assert not fields_in(rest.ground) & fields_in(again.ground)
    assert rest.unplaced >= again.unplaced
    # A number from another life of capture says nothing.
    seq, more = shown_of(bench, seq, kept=again.number - 12_345)
    assert fields_in(more.ground) >= fields_in(rest.ground)


def test_what_infer_never_heard_of_is_in_the_journal_at_the_end(
    make_bench: Make, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with Journal(tmp_path / "out" / "session.sqlite"):
        pass
    bench = make_bench("live", RowSource(250, pause_s=0.04))
    note = noted(bench)
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
    make_bench: Make, mode: Mode, odd: str
) -> None:
    # "done up to 2^63" ended a live session: the next field's number did not fit.
    live = mode == "live"
    source = CountingSource(2_000 if live else 3, pause_s=0.01 if live else 0.0)
    bench = make_bench(mode, source)
    assert isinstance(bench.ask(done=()), Shot)
    with Asker(bench.asker.address, "fields") as other:
        for _ in range(60):
            bench.capture.turn()
            if other.ask(ODD_ASKS[odd], timeout_ms=5) is not None:
                break
    for _ in range(20):
        bench.capture.turn()
    # A replay that is told again what is done reads anew: said once, as infer does.
    bench.capture._asked(Ask("test", done=()))
    shot = bench.ask()
    assert isinstance(shot, Shot)
    if live:
        # And so can every field after the next such ask be sent.
        bench.capture._asked(ODD_ASKS[odd])
        assert isinstance(bench.ask(after=shot.head.seq), Shot)


@pytest.mark.parametrize(
    "done", [((0, 2**63 - 1),), ((2**62, 2**63 - 1),), ((-5, 3),), ((4, 2),)]
)
def test_an_ask_out_of_bounds_is_counted_and_dropped(
    make_bench: Make, done: Ranges
) -> None:
    bench = make_bench("live", CountingSource(2_000, pause_s=0.01))
    body = msgspec.msgpack.encode(Ask("test", done=done))
    frame = HEADER.pack(b"AMCR", VERSION, b"fields", len(body)) + body
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(bench.asker.address)
        stranger.send_multipart([bytes(8), frame])
        for _ in range(200):
            bench.capture.turn()
            if bench.capture._answers.dropped:
                break
        stranger.linger = 0
    assert bench.capture._answers.dropped == {"fields: value": 1}
    assert isinstance(bench.ask(done=()), Shot)


def test_ranges_that_are_many_are_searched_quickly() -> None:
    ranges = capturing.RangeSet(tuple((2 * n, 2 * n) for n in range(MOST_RANGES)))
    begun = time.monotonic()
    assert sum(seq in ranges for seq in range(20_000)) == 10_000
    assert time.monotonic() - begun < 1.0
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
