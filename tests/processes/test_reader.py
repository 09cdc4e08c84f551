import threading
import time
from collections.abc import Container, Iterator

import numpy as np
import pytest

from armicro.errors import SourceError, SourceLostError
from armicro.field import Field
from armicro.processes.capture import RangeSet
from armicro.processes.reader import Reader
from armicro.processes.thread import ranges_of
from armicro.source import SourceCard
from tests.patience import PATIENCE_S, wait_until


class FakeSource:
    """Fields that count up, and a fault where the test wants one."""

    def __init__(self, count: int, *, fault: SourceError | None = None) -> None:
        self.card = SourceCard("fake", 0.25, 8, 4, fields_planned=count)
        self._count, self._fault = count, fault
        self.closed = False

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        for seq in range(self._count):
            if seq in done:
                continue
            yield Field(0.25, seq, 1, pixels=np.zeros((4, 8, 3), np.uint8))
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        self.closed = True


def drain(reader: Reader) -> list[int]:
    seqs = []
    deadline = time.monotonic() + PATIENCE_S
    while not reader.finished and time.monotonic() < deadline:
        field = reader.take(timeout_s=0.05)
        if field is not None:
            seqs.append(field.seq)
    return seqs


def test_replay_gives_every_field_once_in_order_however_slow_the_taker() -> None:
    reader = Reader(lambda: FakeSource(30))
    # Two wait and the source holds the third; it gets a moment to read on, if it would.
    wait_until(lambda: reader.grabbed >= 3)
    time.sleep(0.1)
    assert reader.grabbed == 3
    assert drain(reader) == list(range(30))
    reader.close()


def test_fields_that_are_done_are_not_read_again() -> None:
    reader = Reader(lambda: FakeSource(10), done=RangeSet(((0, 3), (6, 6))))
    assert drain(reader) == [4, 5, 7, 8, 9]


def test_live_keeps_only_the_newest_field() -> None:
    reader = Reader(lambda: FakeSource(100), newest=True)
    wait_until(lambda: reader.exhausted)
    field = reader.take(timeout_s=0.1)
    assert field is not None
    assert field.seq == 99
    reader.close()


def test_lost_camera_is_opened_again_and_seq_goes_on() -> None:
    sources: Iterator[FakeSource | SourceError] = iter(
        [
            FakeSource(3, fault=SourceLostError("camera unplugged")),
            SourceError("no such camera"),
            FakeSource(2),
        ]
    )

    problems: list[str] = []
    is_made = threading.Event()

    def opener() -> FakeSource:
        is_made.wait()
        problems.append(reader.problem)
        source = next(sources)
        if isinstance(source, SourceError):
            raise source
        return source

    reader = Reader(opener, newest=True)
    is_made.set()
    seqs = drain(reader)
    # Until it is opened again the reason stands.
    assert problems[1:] == ["camera unplugged", "no such camera"]
    assert seqs[-1] == 4
    assert seqs == sorted(set(seqs))


def test_lost_source_ends_a_replay() -> None:
    reader = Reader(lambda: FakeSource(1, fault=SourceLostError("file went away")))
    with pytest.raises(SourceLostError, match="file went away"):
        drain(reader)


def test_source_that_cannot_be_opened_is_the_readers_error() -> None:
    def refuse() -> FakeSource:
        raise SourceError("no such slide")

    reader = Reader(refuse)
    with pytest.raises(SourceError, match="no such slide"):
        drain(reader)


def test_fault_that_nobody_thought_of_ends_the_reading_too() -> None:
    def break_down() -> FakeSource:
        raise ZeroDivisionError("a driver's own fault")

    with pytest.raises(ZeroDivisionError, match="own fault"):
        drain(Reader(break_down))


def test_pace_spreads_the_fields_in_time() -> None:
    begun = time.monotonic()
    reader = Reader(lambda: FakeSource(5), interval_s=0.05)
    assert drain(reader) == list(range(5))
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("seqs", [[], [0], [5, 1, 2, 3, 9], list(range(100))])
def test_ranges_hold_exactly_their_numbers(seqs: list[int]) -> None:
    ranges = RangeSet(ranges_of(seqs))
    assert [seq for seq in range(120) if seq in ranges] == sorted(seqs)
