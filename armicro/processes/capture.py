"""capture: opens the source and gives fields away, to infer one by one, to display all.

Infer asks. In a replay, which every file is that has an end, capture gives the next
field of the path and keeps its slot of the ring until an ask says that it was copied;
in live it gives the newest field and counts what was skipped. Infer must have said what
it already holds before it gets a field: a replay then starts to read, and a camera's
``seq`` goes on from there.

In live most fields are shown and skipped, or shown while infer starts, works, is dead.
Their ground is collected and told with every answer until infer says that its journal
keeps it; what is left at the end capture writes itself.
"""

import contextlib
import time
from bisect import bisect_right
from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from msgspec.structs import replace

from armicro.field import Field
from armicro.place.atlas import MapFile
from armicro.place.register import Register
from armicro.processes.job import Job, make_folder
from armicro.processes.life import Life
from armicro.processes.reader import Reader, Trust, open_job_source
from armicro.processes.thread import Ranges
from armicro.report import MOST_GROUND_BYTES, Shown
from armicro.slide.coverage import CHUNK_BYTES, Ground
from armicro.slide.focus import with_focus
from armicro.slide.journal import Journal
from armicro.verdict import new_map_state, said_text
from armicro.wire.link import Answerer, Peer, Publisher
from armicro.wire.ring import Ring
from armicro.wire.topic import Ask, Shot, View, Wait

# ---------------------------------------------------------------------------
# capture's registration: opened when a field first needs it, its map on disk.
#
# The map lies beside the journal, so that a capture that was killed, or a session that
# is resumed, finds its way again.


_EXPOSURE_US = 5000.0
"""Where the rig names none: usual for a colour camera on a bright-field stand."""
MAP_NAME = "map.sqlite"
_SURE = ("slide_file", "own_ground")
"""Origins of a place that no registration can better."""


class Placing:
    """Gives fields their place where their source does not."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._file: MapFile | None = None
        self._register: Register | None = None

    def place(self, field: Field) -> Field:
        """Return the field with its place, or with none where it is lost.

        Raises:
            SourceError: the map cannot be written.
        """
        known = field.place is not None and field.place.origin in _SURE
        if known or not self._job.rig.register.enabled:
            return field
        if self._register is None:
            self._register = self._open()
        return self._register.update(field)

    def close(self) -> None:
        """Close the map; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = self._register = None

    def _open(self) -> Register:
        job = self._job
        # At a microscope whose slide is kept elsewhere nobody made it.
        make_folder(job.folder)
        self._file = MapFile(job.folder / MAP_NAME)
        return Register(
            self._file,
            job.rig.register,
            exposure_us=job.rig.camera.exposure_us or _EXPOSURE_US,
            # A file that plays the camera stands still for each of its fields.
            timed=job.mode == "live",
        )


# ---------------------------------------------------------------------------
# The process.


TURN_MS = 2
"""How long the loop waits for an ask, and then for a field."""
AHEAD = 2
"""Fields that a replay has in the ring before infer asks."""
MOST_ASKERS = 8
"""That wait for an answer at once; of more, who has waited longest asks again."""
MOST_CHUNKS = MOST_GROUND_BYTES // CHUNK_BYTES
"""Of shown ground, that one answer holds."""
TELL_S = 0.25
"""The display is told at least that often how things stand."""


@dataclass(frozen=True, slots=True)
class RangeSet(Container[int]):
    """Numbers in ranges, first and last included."""

    ranges: Ranges

    def __contains__(self, seq: object) -> bool:
        if not isinstance(seq, int):
            return False
        # They rise and lie apart: the last one that begins at or before it decides.
        at = bisect_right(self.ranges, seq, key=itemgetter(0))
        return at > 0 and seq <= self.ranges[at - 1][1]


class ShownGround:
    """The ground of one life of capture."""

    def __init__(self) -> None:
        self._life = time.monotonic_ns()
        self._kept, self._waits = Ground(), Ground()
        self._unplaced = self._unplaced_kept = 0
        self._told: list[tuple[Shown, Ground]] = []
        """What was told and is not said to be kept, the newest last."""

    def add(self, field: Field) -> None:
        """Take a field that is shown."""
        if field.place is None:
            self._unplaced += 1
            return
        new = Ground()
        new.add((field.place.x_um, field.place.y_um, *field.size_um))
        self._waits.join(new.without(self._kept))

    def tell(self, *, most: int | None = MOST_CHUNKS) -> Shown | None:
        """What infer has not said to keep; None where there is nothing."""
        if not self._waits.chunks and self._unplaced == self._unplaced_kept:
            return None
        ground = self._waits.without(Ground(), most=most)
        shown = Shown(self._life, time.monotonic_ns(), self._unplaced, ground.pack())
        self._told = [*self._told[-15:], (shown, ground)]
        return shown

    def keep(self, number: int) -> None:
        """Infer's journal keeps what was told under this number."""
        for shown, ground in self._told:
            if shown.number == number:
                self._kept.join(ground)
                self._waits = self._waits.without(ground)
                self._unplaced_kept = shown.unplaced
                self._told = [one for one in self._told if one[0].number > number]
                return


def run(job: Job, life: Life) -> None:
    """Run the process until it is told to end.

    Raises:
        SourceError: the source cannot be used.
    """
    life.beat("starting", at_once=True)
    with (
        Ring.attach(job.ring, write=True) as ring,
        Answerer(job.addresses["fields"], "fields", keys=job.rig.wire.keys) as answers,
        Publisher(job.addresses["view"], "view") as view,
        contextlib.closing(_Capture(job, life, ring, answers, view)) as capture,
    ):
        while not life.stopping:
            capture.turn()


class _Capture:
    """Asks in, fields out."""

    def __init__(
        self, job: Job, life: Life, ring: Ring, answers: Answerer, view: Publisher
    ) -> None:
        self._job, self._life = job, life
        self._ring, self._answers, self._view = ring, answers, view
        self._live = job.mode == "live"
        self._placing = Placing(job)
        self._trust = Trust(job.rig)
        # The operator sees the field at once; a replay waits to be told what is done.
        self._reader = self._read() if self._live else None
        self._askers: dict[bytes, Peer] = {}
        """Who waits for an answer, by identity: one, but for an infer that has died."""
        self._strangers = 0
        """Messages of another run, or which nobody sends to capture."""
        self._told_done = False
        self._first_seq = 0
        """Added to a camera's own count, so that a session never counts twice."""
        self._put_seq = -1
        self._given_seq = -1
        self._shots: list[Shot] = []
        """Fields in the ring that infer has not said to have copied."""
        self._shown = ShownGround()
        self._newest: Shot | None = None
        self._tell_at = 0.0

    def turn(self) -> None:
        """Take asks, take a field from the source, answer, say that all is well."""
        for peer, message in self._answers.receive(timeout_ms=TURN_MS):
            if isinstance(message, Ask) and message.session == self._job.session:
                self._askers.pop(peer.identity, None)
                self._askers[peer.identity] = peer
                if len(self._askers) > MOST_ASKERS:
                    del self._askers[next(iter(self._askers))]
                self._asked(message)
            else:
                self._strangers += 1
        if self._live or len(self._shots) < AHEAD:
            field = self._reader.take(timeout_s=TURN_MS / 1e3) if self._reader else None
            if field is not None:
                self._put(field)
        self._answer()
        self._tell()

    def close(self) -> None:
        """Stop reading; may be called twice."""
        if self._reader is not None:
            self._reader.close()
        self._placing.close()
        self._keep_shown()

    def _keep_shown(self) -> None:
        """Write what infer, which ends before, was not told of any more."""
        shown = self._shown.tell(most=None)
        if shown is not None and self._live and self._job.journal.is_file():
            with Journal(self._job.journal) as journal:
                journal.pass_by(shown)
            self._shown.keep(shown.number)

    def _read(self, done: Ranges = ()) -> Reader:
        return Reader(
            partial(open_job_source, self._job),
            done=RangeSet(done),
            newest=self._live,
            interval_s=_interval_s(self._job),
            judge=self._trust,
        )

    def _asked(self, ask: Ask) -> None:
        # What infer has copied need not stay in the ring.
        self._shots = [shot for shot in self._shots if shot.head.seq > ask.after]
        self._shown.keep(ask.kept)
        if ask.done is None:
            return
        self._told_done = True
        if self._live:
            self._count_on(max((last for _, last in ask.done), default=-1))
            return
        if self._reader is not None:
            self._reader.close()
        self._shots.clear()
        self._reader = self._read(ask.done)

    def _count_on(self, done_seq: int) -> None:
        """Number a camera's fields above all that infer holds, and skip none for it."""
        self._first_seq += max(0, done_seq - self._put_seq)
        self._put_seq = max(self._put_seq, done_seq)
        self._given_seq = max(self._given_seq, done_seq)
        # One that waits since before has a number that may be taken.
        self._shots = [shot for shot in self._shots if shot.head.seq > done_seq]

    def _put(self, field: Field) -> None:
        field = with_focus(replace(field, seq=field.seq + self._first_seq))
        field = self._placing.place(field)
        self._shown.add(field)
        keep = () if self._live else tuple(shot.slot for shot in self._shots)
        spot = self._ring.put(field, keep=keep)
        if spot is None:
            return
        shot = Shot(field.head, time.monotonic_ns(), *spot)
        self._shots = [shot] if self._live else [*self._shots, shot]
        self._newest, self._put_seq = shot, field.seq
        self._show(shot)

    def _answer(self) -> None:
        reply = self._reply() if self._askers else None
        if reply is None:
            return
        pixels = None
        if isinstance(reply, Shot):
            if self._live:
                skipped = max(0, reply.head.seq - self._given_seq - 1)
                reply = replace(reply, skipped=skipped, shown=self._shown.tell())
            self._given_seq = reply.head.seq
            if self._answers.carries_pixels:
                pixels = self._ring.read(reply)
                reply = replace(reply, slot=-1, stamp=0)
        for peer in self._askers.values():
            self._answers.reply(peer, reply, pixels=pixels)
        self._askers.clear()

    def _reply(self) -> Shot | Wait | None:
        if not self._told_done:
            return Wait("say_done")
        if self._shots:
            return self._shots[0]
        if self._reader is None or self._reader.finished:
            return Wait("finished")
        if self._reader.problem:
            # Until the first field nothing was there that could be lost.
            there = self._reader.grabbed > 0
            return Wait("lost" if there else "starting", self._reader.problem)
        return None

    def _tell(self) -> None:
        reader = self._reader
        problem = reader.problem if reader is not None else ""
        place = self._newest.head.place if self._newest is not None else None
        begun = new_map_state(place)
        self._life.beat(
            "waiting" if problem else "running",
            text=problem or (said_text(begun) if begun else ""),
            fields=reader.grabbed if reader is not None else 0,
            fields_planned=(reader.planned or 0) if reader is not None else 0,
            messages_dropped=self._answers.dropped.total() + self._strangers,
        )
        if time.monotonic() >= self._tell_at:
            # Said again, since a display that starts now has not heard it.
            self._show(None if problem else self._newest, problem)

    def _show(self, shot: Shot | None, problem: str = "") -> None:
        self._tell_at = time.monotonic() + TELL_S
        name, warning = self._job.folder.name, self._trust.warning
        self._view.send(View(shot, source=name, problem=problem, warning=warning))


def _interval_s(job: Job) -> float:
    """Time between the fields of a source that has no pace of its own."""
    camera, scan = job.rig.camera, job.rig.scan
    if job.mode == "live" or job.pace == "fast":
        return 0.0
    if not scan.stage_um_per_s:
        return 1.0 / camera.frames_per_second
    step_um = camera.width_px * camera.um_per_px * (1.0 - scan.overlap)
    return step_um / scan.stage_um_per_s
