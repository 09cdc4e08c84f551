"""infer's two threads beside the engine's: one before it, one behind it.

*Intake* asks for the next field and prepares it, *writer* puts what was found of the
last one into the journal.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from armicro.cascade.tile import Prepared
from armicro.field import Field
from armicro.mosaic import MOSAIC
from armicro.processes.job import Job
from armicro.processes.keeper import Keeper, keeps_map, stitches_beside
from armicro.report import Account, Shown
from armicro.rule import MOST_SEQ
from armicro.slide.journal import Journal
from armicro.source import SourceCard
from armicro.source.recording import RecordingWriter
from armicro.wire.codec import Parcel, field_from_shot
from armicro.wire.link import Asker
from armicro.wire.ring import Ring
from armicro.wire.topic import MOST_RANGES, Ask, Shot, Wait

ASK_MS = 500
"""After this a silent capture is asked again."""

Ranges = tuple[tuple[int, int], ...]
Stations = dict[str, int]
"""When a field passed each, ns."""
Facts = dict[str, object]
Item = tuple[Account, Account | None, Stations, Facts] | Shown


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A field that waits for the engine, and when it passed each station."""

    prepared: Prepared
    stations: Stations


class Intake:
    """The thread that asks for fields and prepares them."""

    def __init__(
        self, job: Job, prepare: Callable[[Field], Prepared], kept: set[int]
    ) -> None:
        self._job = job
        self._prepare = prepare
        self._kept = kept
        self._replays = job.mode == "replay"
        self._keeper: Keeper | None = None
        self._after = -1
        """Newest ``seq`` copied since this process, or capture, started."""
        self._ended = threading.Event()
        self.ready: queue.Queue[Ready] = queue.Queue(maxsize=1)
        self.finished = threading.Event()
        self.error: Exception | None = None
        self.skipped = 0
        self.messages_dropped = 0
        self.problem = ""
        self.shown: Shown | None = None
        """What capture told last of what it showed; taken and set to None by infer."""
        self.kept = 0
        """Number of what of it the journal keeps."""
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    @property
    def map_problem(self) -> str:
        """Why the fields are not stitched any more; empty while all is well."""
        return self._keeper.problem if self._keeper else ""

    def close(self) -> None:
        """Ask no more and end the thread; a field that waits is dropped."""
        self._ended.set()
        with contextlib.suppress(queue.Empty):
            self.ready.get_nowait()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            with (
                Ring.attach(self._job.ring) as ring,
                Asker(
                    self._job.addresses["fields"],
                    "fields",
                    keys=self._job.rig.wire.keys,
                ) as asker,
                contextlib.ExitStack() as stack,
            ):
                recorder = (
                    stack.enter_context(
                        RecordingWriter(
                            self._job.folder / "recording", _card(self._job)
                        )
                    )
                    if self._job.record
                    else None
                )
                if keeps_map(self._job) and not stitches_beside(self._job):
                    path = self._job.folder / MOSAIC
                    self._keeper = stack.enter_context(Keeper(path))
                tell_done = True
                while not self._ended.is_set():
                    done = None
                    if tell_done:
                        # Capture reads anew: what it gave before does not count.
                        done, self._after = self._done(), -1
                    ask = Ask(self._job.session, self._after, done, self.kept)
                    reply = asker.ask(ask, timeout_ms=ASK_MS)
                    tell_done = self._take(reply, ring, recorder)
                    self.messages_dropped = asker.dropped.total() + ring.dropped
        # Any error of this thread is the process's: the main thread raises it.
        except Exception as error:  # noqa: BLE001
            self.error = error

    def _take(
        self, reply: Parcel | None, ring: Ring, recorder: RecordingWriter | None
    ) -> bool:
        """Handle an answer; return whether capture must be told what is done."""
        if reply is None:
            return False
        shot, pixels = reply
        if isinstance(shot, Wait):
            return self._wait(shot)
        if not isinstance(shot, Shot):
            return False
        received_ns = time.monotonic_ns()
        # Not kept by infer in time, it is told again with all that came to it.
        self.shown = shot.shown or self.shown
        if pixels is None:
            pixels = ring.read(shot)
        if pixels is None:
            # Overwritten before it was copied: in replay it must come again.
            return self._replays
        self.problem = ""
        self.skipped += shot.skipped
        field = field_from_shot(shot, pixels)
        self._kept.add(field.seq)
        self._after = field.seq
        if recorder is not None:
            # Here, and not beside it: what was analysed is what can be played again.
            recorder.write(field)
        if self._keeper is not None and (self._replays or self.ready.full()):
            # Before the field can count as done; in live while the engine works.
            self._keeper.take(field, at_once=self._replays)
        stations = {
            "taken": field.taken_ns,
            "sent": shot.sent_ns,
            "received": received_ns,
        }
        prepared = self._prepare(field)
        stations["prepared"] = time.monotonic_ns()
        self._put(Ready(prepared, stations))
        return False

    def _wait(self, answer: Wait) -> bool:
        if answer.reason == "say_done":
            return True
        self.problem = answer.text if answer.reason == "lost" else ""
        if answer.reason == "finished":
            self.finished.set()
        self._ended.wait(0.02)
        return False

    def _put(self, ready: Ready) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self.ready.put(ready, timeout=0.2)
                return

    def _done(self) -> Ranges:
        if self._job.mode == "live":
            # A camera does not go back: only where to count on from matters.
            return ((0, min(max(self._kept), MOST_SEQ)),) if self._kept else ()
        # What does not fit comes again, which changes nothing.
        return ranges_of(self._kept)[:MOST_RANGES]


def _card(job: Job) -> SourceCard:
    camera = job.rig.camera
    return SourceCard(
        job.folder.name, camera.um_per_px, camera.width_px, camera.height_px
    )


def ranges_of(seqs: Iterable[int]) -> Ranges:
    """Runs of consecutive numbers, first and last.

    >>> ranges_of([3, 1, 2, 7])
    ((1, 3), (7, 7))
    """
    runs: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if runs and seq == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return tuple(runs)


class Writer:
    """The thread that writes the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=4)
        self.error: Exception | None = None
        self.kept = 0
        """Number of the newest ``Shown`` that is in the journal."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(
        self,
        account: Account,
        late: Account | None,
        stations: Stations,
        facts: Facts,
    ) -> None:
        """Hand over a field, and what it caused to be found in the one before.

        Waits when the disk is slower than the engine.
        """
        self._put((account, late, stations, facts))

    def pass_by(self, shown: Shown) -> None:
        """Hand over what was shown, as ``put``."""
        self._put(shown)

    def close(self) -> None:
        """Write all that is queued, then end; may be called twice.

        Raises:
            DiskError: something of it, or before it, is not kept.
            Exception: whatever else ended the thread.
        """
        self._put(None)
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _put(self, item: Item | None) -> None:
        # With a limit: a thread that has failed meanwhile never makes room.
        while self.error is None:
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.2)
                return

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Shown):
                    self._journal.pass_by(item)
                    self.kept = item.number
                    continue
                (report, news), late, stations, facts = item
                stations["written"] = time.monotonic_ns()
                self._journal.write(report, news, stations, facts, late=late)
        # Any error of this thread is the process's: the main thread raises it.
        except Exception as error:  # noqa: BLE001
            self.error = error
