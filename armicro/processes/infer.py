"""infer: takes fields, runs the cascade, keeps the slide, writes the journal.

Three threads, so that the engine waits for nothing but fields: *intake* asks for the
next field and prepares it, this one runs the networks, *writer* puts what was found
into the journal. Between them are queues of a few fields, which is all that is ever
behind.

A field counts once it is in the journal. Until then its ``seq`` is only held in memory,
so an infer that is killed gets it again after its restart.
"""

import os
import queue
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from statistics import median

import msgspec
import numpy as np

from armicro.cascade.locate import kept_of
from armicro.engine import Array, Engine
from armicro.engine.registry import Backend, NetworkSet, open_set
from armicro.errors import EngineError
from armicro.pipeline import SEEN, Pipeline
from armicro.processes.job import Job
from armicro.processes.life import Life
from armicro.processes.thread import Facts, Intake, Ready, Writer
from armicro.report import (
    MOST_FINDINGS,
    MOST_SEEN,
    Account,
    FieldReport,
    Observation,
    Revisit,
    SlideReport,
    SlideScore,
)
from armicro.session.record import overview_of
from armicro.slide.coverage import BIN_UM, Ground
from armicro.slide.journal import Journal
from armicro.wire.link import Publisher
from armicro.wire.topic import Slide

DRAWN = 2000
"""Findings that the display is told of, the most suspicious first; what is suspicious
is told of beyond that, as far as a message holds."""
PART_OF: Mapping[Backend, int] = {"openvino": 8, "tensorrt": 64, "recorded": 64}
"""Samples between two words of life: about a second on a slow CPU."""
LIVE_NICENESS = 5
REVISIT_S = 4.0
"""What to look at again is worked out that often, in 0.2 s on a slide that is full."""
TELL_S = 0.25
"""The slide's state is told at least that often, so that its age can be seen."""


class Spent(msgspec.Struct, frozen=True):
    """Sums of a session, over all lives of this process."""

    run: str = ""
    """Identity of the run on the wire; a session that is resumed has another."""
    begun_ns: int = 0
    """Monotonic clock where ``wall_s`` was 0, had no pause lain before the run."""
    wall_s: float = 0.0
    """From the start of infer's first life in each run; its deaths and restarts within
    a run are part of it, the time between two runs is not."""
    inference_s: float = 0.0
    fields_dropped: int = 0


def run(job: Job, life: Life) -> None:
    """Run the process to its end.

    Raises:
        ArmicroError: the network set or the journal cannot be used.
    """
    life.beat("starting", at_once=True)
    if job.mode == "live" and sys.platform != "win32":
        # The operator's picture comes before the cascade when cores are short.
        os.nice(LIVE_NICENESS)
    network = job.rig.network
    with (
        open_set(
            network.set,
            backend=network.backend,
            precision=network.precision,
            threads=network.threads,
            latency=job.mode == "live",
        ) as networks,
        Journal(job.journal) as journal,
        Publisher(job.addresses["slide"], "slide", keys=job.rig.wire.keys) as publisher,
    ):
        session = _Session(job, life, networks, journal, publisher)
        try:
            session.run()
        finally:
            session.close()


class TimedEngine:
    """An engine that counts the time spent in it, and works in parts.

    A large field on a slow machine takes a minute: between its parts there is a moment
    to say that nobody hangs. A sample's answer does not depend on the others.
    """

    def __init__(
        self, engine: Engine, *, part: int, on_part: Callable[[], None]
    ) -> None:
        self._engine, self._part, self._on_part = engine, part, on_part
        self.spent_ns = 0

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the engine's ``infer`` part by part and count its wall time."""
        count = max((len(array) for array in inputs.values()), default=0)
        answers = [
            self._timed({k: v[first : first + self._part] for k, v in inputs.items()})
            for first in range(0, max(1, count), self._part)
        ]
        if len(answers) == 1:
            return answers[0]
        return {
            name: np.concatenate([answer[name] for answer in answers])
            for name in answers[0]
        }

    def _timed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        begun = time.monotonic_ns()
        try:
            return self._engine.infer(inputs)
        finally:
            self.spent_ns += time.monotonic_ns() - begun
            self._on_part()

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


class SeenFields:
    """Where fields were seen, as the display is told: each place once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.rows = b""
        self._pipeline = pipeline
        self._known: set[tuple[int, ...]] = set()
        self._last: FieldReport | None = None

    def add(self, report: FieldReport) -> None:
        """Take a field's place; one that differs by less than a bin is not news."""
        # A moving or blurred field tells nothing of the slide that would last.
        if report.place is None or report.state in ("moving", "out_of_focus"):
            return
        # What waited in the field before may have been seen since.
        if self._last is not None:
            self._add(self._last)
        self._add(report)
        self._last = report

    def _add(self, report: FieldReport) -> None:
        readable = report.state in SEEN
        for box in self._pipeline.seen_boxes(report):
            key = (*(round(value / BIN_UM) for value in box), int(readable))
            if key not in self._known and len(self._known) < MOST_SEEN:
                self._known.add(key)
                self.rows += struct.pack("<5f", *box, readable)


class _Session:
    """One life of the process, from what the journal holds to the end."""

    def __init__(
        self,
        job: Job,
        life: Life,
        networks: NetworkSet,
        journal: Journal,
        publisher: Publisher,
    ) -> None:
        self._job, self._life = job, life
        self._journal, self._publisher = journal, publisher
        self._at_work = False
        timed_engine = partial(
            TimedEngine, part=PART_OF[networks.backend], on_part=self._on_part
        )
        lr, hr, rnn = map(timed_engine, (networks.lr, networks.hr, networks.rnn))
        self._engines = lr, hr, rnn
        timed = replace(networks, lr=lr, hr=hr, rnn=rnn)
        live = job.mode == "live"
        self._pipeline = Pipeline(
            timed, job.rig.cascade, live=live, overview=overview_of(journal)
        )
        self._before = journal.get("spent", Spent) or Spent()
        self._begun_ns = begun_ns(self._before, job.session, time.monotonic_ns())
        self._recent_ms: deque[float] = deque(maxlen=32)
        self._last: FieldReport | None = None
        self._tell_at = self._revisit_at = 0.0
        self._revisits: tuple[Revisit, ...] = ()
        self._revisits_of: SlideScore | None = None
        self._timing = -1, 0
        """The last analysed field and its inference, ns."""
        self._finished = self._closed = False
        _refuse_other_networks(job, journal, networks)
        journal.set("engine", networks.provenance)
        self._seen = SeenFields(self._pipeline)
        kept = _resume(journal, self._pipeline, self._seen)
        self._score = self._pipeline.score()
        self._writer = Writer(journal)
        self._intake = Intake(job, self._pipeline.prepare, kept)
        # Kept before the first field: a life that sees none has taken its time too.
        journal.set("spent", self._spent())

    def run(self) -> None:
        """Work until there is nothing left, or until told to end."""
        self._at_work = True
        ended = self._read()
        self._intake.close()
        self._keep_shown()
        self._writer.close()
        if self._intake.error is not None:
            raise self._intake.error
        if not ended:
            # Told to end, it has some seconds: what was found is written first.
            self._journal.set_all(self._sums())
        self._flush()
        self._journal.settle()
        self._finished = ended
        self.close(whole=ended or self._job.mode == "live")
        # What was found stays to be seen until the supervisor ends the session.
        while not self._life.stopping:
            self._tell()
            time.sleep(0.05)

    def _read(self) -> bool:
        """Take fields until there are no more, or (False) until told to end."""
        while not self._life.stopping:
            for thread in (self._intake, self._writer):
                if thread.error is not None:
                    raise thread.error
            try:
                self._work(self._intake.ready.get(timeout=0.05))
            except queue.Empty:
                if self._intake.finished.is_set() and self._intake.ready.empty():
                    return True
            self._keep_shown()
            self._tell()
        return False

    def close(self, *, whole: bool = False) -> None:
        """Write what is queued and the sums of the session; may be called twice.

        Args:
            whole: the session came to its end, and all of it is kept.

        Raises:
            DiskError: something is not kept; then nothing says that it was.
        """
        if self._closed:
            return
        self._closed = True
        self._intake.close()
        self._writer.close()
        facts = self._sums()
        if whole:
            # Its presence says that the session came to its end.
            facts["wall_s"] = self._spent().wall_s
        self._journal.set_all(facts)
        self._tell(at_once=True)

    def _sums(self) -> Facts:
        spent = self._spent()
        return {
            "score": self._score,
            "spent": spent,
            "inference_s": spent.inference_s,
            "fields_dropped": spent.fields_dropped,
        }

    def _keep_shown(self) -> None:
        """Take what was shown into the slide, and say what of it is kept."""
        self._intake.kept = self._writer.kept
        shown, self._intake.shown = self._intake.shown, None
        if shown is not None:
            self._pipeline.pass_by(Ground(shown.ground), {shown.life: shown.unplaced})
            self._score = self._pipeline.score()
            self._writer.pass_by(shown)

    def _work(self, ready: Ready) -> None:
        # First what came with it: a field takes seconds, told meanwhile is the slide.
        self._keep_shown()
        spent_ns = self._spent_ns()
        account, late, self._score = self._pipeline.step(ready.prepared)
        for kept in (late, account):
            if kept is not None:
                self._seen.add(kept.report)
        inference_ns = self._spent_ns() - spent_ns
        ready.stations["analysed"] = time.monotonic_ns()
        self._last = msgspec.structs.replace(account.report, inference_ns=inference_ns)
        self._recent_ms.append(inference_ns / 1e6)
        facts: Facts = {"score": self._score, "spent": self._spent()}
        told = Account(self._last, account.observations)
        self._writer.put(told, self._timed(late), ready.stations, facts)
        if account.report.state == "analysed":
            self._timing = account.report.seq, inference_ns
        self._tell(at_once=True)

    def _timed(self, late: Account | None) -> Account | None:
        """The account of the field before, with the time that it took itself."""
        if late is None or late.report.seq != self._timing[0]:
            return late
        report = msgspec.structs.replace(late.report, inference_ns=self._timing[1])
        return Account(report, late.observations)

    def _flush(self) -> None:
        """Look at what waited for a next field, which does not come any more."""
        late = self._timed(self._pipeline.flush())
        if late is not None:
            score = self._pipeline.score()
            self._journal.amend(late, {"score": score, "spent": self._spent()})
            # Told once it is kept.
            self._seen.add(late.report)
            self._score = score

    def _on_part(self) -> None:
        if self._at_work:
            self._tell()

    def _tell(self, *, at_once: bool = False) -> None:
        self._life.beat(
            "finished" if self._closed and self._finished else "running",
            fields=self._score.fields,
            fields_dropped=self._spent().fields_dropped,
            messages_dropped=self._intake.messages_dropped,
            text=self._intake.map_problem,
        )
        now = time.monotonic()
        if now < self._tell_at and not at_once:
            return
        self._tell_at = now + TELL_S
        if self._score != self._revisits_of and (
            now >= self._revisit_at or self._closed
        ):
            self._revisit_at, self._revisits_of = now + REVISIT_S, self._score
            self._revisits = self._pipeline.revisits()
        findings = self._pipeline.findings()
        told = kept_of((found.hr_probability for found in findings), DRAWN)
        told = min(told, MOST_FINDINGS)
        self._publisher.send(
            Slide(
                self._job.session,
                time.monotonic_ns(),
                SlideReport(
                    name=self._job.folder.name,
                    score=self._score,
                    last=self._last,
                    findings=findings[:told],
                    fields_dropped=self._spent().fields_dropped,
                    inference_ms=median(self._recent_ms) if self._recent_ms else 0.0,
                    problem=self._intake.problem,
                    seen=self._seen.rows,
                    finished=self._finished,
                    revisits=self._revisits,
                ),
            )
        )

    def _spent_ns(self) -> int:
        return sum(engine.spent_ns for engine in self._engines)

    def _spent(self) -> Spent:
        return Spent(
            run=self._job.session,
            begun_ns=self._begun_ns,
            wall_s=(time.monotonic_ns() - self._begun_ns) / 1e9,
            inference_s=self._before.inference_s + self._spent_ns() / 1e9,
            fields_dropped=self._before.fields_dropped + self._intake.skipped,
        )


def begun_ns(before: Spent, run: str, now_ns: int) -> int:
    """Where ``wall_s`` counts from: a run counts on, another adds to those before it.

    >>> begun_ns(Spent("a", begun_ns=100, wall_s=2e-9), "a", 900)
    100
    >>> begun_ns(Spent("a", begun_ns=100, wall_s=2e-9), "b", 900)
    898
    """
    return before.begun_ns if before.run == run else now_ns - round(before.wall_s * 1e9)


def _refuse_other_networks(job: Job, journal: Journal, networks: NetworkSet) -> None:
    before = journal.get("engine", dict[str, str])
    if before is not None and before.get("hash") != networks.sha256:
        raise EngineError(
            f"{job.folder}: was begun with other networks ({before.get('set')}, "
            f"{before.get('hash', '')[:12]}) than {networks.manifest.name}, "
            f"{networks.sha256[:12]}; findings of two sets make no score: run again "
            "without --resume"
        )


def _resume(journal: Journal, pipeline: Pipeline, seen_fields: SeenFields) -> set[int]:
    """Give the slide back what the journal kept; return the fields that it holds."""
    found: dict[int, list[Observation]] = {}
    for each in journal.observations(crops=False):
        found.setdefault(each.finding.field_seq, []).append(each)
    kept = set()
    for report in journal.reports():
        pipeline.keep(report, found.get(report.seq, ()))
        seen_fields.add(report)
        kept.add(report.seq)
    pipeline.pass_by(*journal.shown())
    return kept
