"""The parent of capture, infer and display: starts, watches, restarts, ends them.

It holds what must outlive a child (the ring's memory, the run's private folder with the
sockets) and nothing that belongs to the slide: that is infer's journal. A
session ends when infer says that it has finished and the window has shown it, when the
window is closed, or by a signal. Bad input ends it too, since no restart mends that; a
child that ends otherwise, or is silent, is started again after a growing pause.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import msgspec
import structlog

from armicro.engine.registry import find_set
from armicro.errors import ArmicroError
from armicro.file import write_whole
from armicro.processes.child import Child, Process
from armicro.processes.job import Job, write_job
from armicro.processes.keeper import stitches_beside
from armicro.processes.life import ANALYSIS
from armicro.verdict import AnalysisState
from armicro.wire.link import Collector
from armicro.wire.ring import Ring
from armicro.wire.topic import TOPICS, Beat, ProcessName

# Needs were measured after four minutes of live: 507 (with what a GPU's driver adds),
# 162, 188 and 488 MB.
PROCESSES = (
    Process(
        "infer",
        lambda job: job.part != "microscope",
        needs_bytes=900_000_000,
        has_networks=True,
        is_noted=True,
    ),
    Process(
        "keeper",
        stitches_beside,
        needs_bytes=200_000_000,
        missed="no whole map is kept",
        is_noted=True,
    ),
    Process(
        "display",
        lambda job: job.part != "inference" and job.display != "none",
        needs_bytes=200_000_000,
        ends_session=True,
    ),
    Process("capture", lambda job: job.part != "inference", needs_bytes=500_000_000),
)
"""In the order in which they end: who writes what it still holds ends while the others
stand. They start the other way round."""

RING_SLOTS = 6
"""One being written, three on their way to infer, one shown, one to spare."""
MEMORY_FACTOR = 4
"""Times its need, and a child that holds more is taken for ill. A limit by the system
was no use: ``RLIMIT_DATA`` counts the stacks of OpenVINO's and Qt's threads, reserved
and never touched (801 MB where infer held 333), by the number of cores."""
END_S = 10.0
"""A child that was told to end has this long to do it."""
FINISHED = "finished"
SHOWN_S = 20.0
"""So long a session that has finished waits for its window to show it."""


class ChildError(ArmicroError):
    """A child ended with an error that restarting does not mend."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """What happened to a child, for the journal."""

    at_ns: int
    text: str


class Supervisor:
    """One session's processes."""

    def __init__(
        self,
        job: Job,
        *,
        on_beat: Callable[[Beat], None] = lambda beat: None,
        seconds: float | None = None,
    ) -> None:
        self._job = job
        self.on_beat = on_beat
        self._end_at = time.monotonic() + seconds if seconds else float("inf")
        self._children = {
            kind.name: Child(kind, most_bytes(kind, job))
            for kind in PROCESSES
            if kind.runs(job)
        }
        self._stop = ""
        self._told: AnalysisState = ""
        self._finished_at: float | None = None
        self._log = structlog.get_logger()
        self.events: list[ChildEvent] = []

    def run(self) -> str:
        """Run the session to its end; return why it ended early, or "".

        Raises:
            ChildError: a child ended for bad input, or kept dying.
        """
        with contextlib.ExitStack() as stack:
            run = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix="armicro-", ignore_cleanup_errors=True
                    )
                )
            )
            ring = stack.enter_context(
                Ring.create(RING_SLOTS, slot_bytes=self._job.slot_bytes)
            )
            job = msgspec.structs.replace(
                self._job,
                session=self._job.session or _session_of(self._job),
                ring=ring.handle,
                addresses=_addresses(self._job, run),
                supervisor_pid=os.getpid(),
            )
            write_job(job, run / "job.json")
            beats = stack.enter_context(Collector(job.addresses["health"], "health"))
            stack.enter_context(self._signals())
            stack.callback(self._end)
            while not self._stop:
                for beat in beats.receive(timeout_ms=50):
                    if isinstance(beat, Beat):
                        self._hear(beat)
                for child in reversed(self._children.values()):
                    self._watch(child, run, ring)
                self._tell_display(run)
                if time.monotonic() >= self._end_at:
                    self._refuse_nothing(run)
                    self.stop("its time is over")
            return "" if self._stop == FINISHED else self._stop

    def pid(self, name: ProcessName) -> int | None:
        """Process id of a child that runs now (tests kill it)."""
        process = self._children[name].process
        return process.pid if process is not None else None

    def stop(self, why: str) -> None:
        """End the session at the next turn."""
        self._stop = self._stop or why

    def _hear(self, beat: Beat) -> None:
        child = self._children.get(beat.process)
        if child is None or child.process is None or child.process.pid != beat.pid:
            return
        child.hear(beat, time.monotonic())
        # What capture waits for is told by those that wait with it.
        runs = beat.process == "capture" and beat.state == "running"
        if beat.text and (child.kind.is_noted or runs):
            self._note_once(f"{beat.process}: {beat.text}")
        self.on_beat(beat)

    def _watch(self, child: Child, run: Path, ring: Ring) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at:
                self._start(child, run, ring)
            return
        status = child.process.poll()
        if status is None:
            if self._has_finished():
                self.stop(FINISHED)
                return
            child.look(now)
            if why := child.illness(now):
                child.kill(why)
            return
        child.process, word = None, run / f"{child.kind.name}.error"
        if status == 0 and child.kind.ends_session:
            self.stop(FINISHED if self._is_read() else "window closed")
        elif status == 2 or word.exists():
            raise _error_of(word, child.kind.name)
        else:
            self._restart_later(child, now, status)

    def _tell_display(self, run: Path) -> None:
        infer = self._children.get("infer")
        state = infer.state(time.monotonic()) if infer else ""
        if state != self._told:
            self._told = state
            # A full disk is told of elsewhere.
            with contextlib.suppress(OSError):
                write_whole(run / ANALYSIS, state.encode())

    def _is_read(self) -> bool:
        infer = self._children.get("infer")
        return (
            infer is not None
            and infer.beat is not None
            and (infer.beat.state == "finished")
        )

    def _has_finished(self) -> bool:
        display = self._children.get("display")
        # On a screen it stays for the reader to decide, and ends when it is closed.
        if not self._is_read() or (display and self._job.display == "window"):
            return False
        if self._finished_at is None:
            self._finished_at = time.monotonic()
        shown = display is None or (
            display.beat is not None and display.beat.fields > 0
        )
        return shown or time.monotonic() - self._finished_at > SHOWN_S

    def _refuse_nothing(self, run: Path) -> None:
        """Fail a session whose time is over before anything came.

        Raises:
            ChildError: its source cannot be used, or gave no field.
        """
        if any(each.beat and each.beat.fields for each in self._children.values()):
            return
        child = self._children.get("capture") or self._children["infer"]
        # A child that is told to end says what it has found out until then.
        self._end()
        if (word := run / f"{child.kind.name}.error").exists():
            raise _error_of(word, child.kind.name)
        said = f" ({child.beat.text})" if child.beat and child.beat.text else ""
        raise ChildError(
            f"no field came from {_source_of(self._job)} in the time given{said}; "
            "check the camera and its driver, or give it more --seconds",
            1,
        )

    def _start(self, child: Child, run: Path, ring: Ring) -> None:
        command = [sys.executable, "-m", "armicro.processes", child.kind.name]
        process = subprocess.Popen(
            [*command, str(run / "job.json")],
            stdin=subprocess.DEVNULL,
            # What a child leaves, however it ends, goes with the run.
            env=os.environ | {"TMPDIR": str(run)},
            pass_fds=ring.pass_fds,
            # Ctrl-C is the supervisor's; it tells the children in order.
            process_group=0 if sys.platform != "win32" else None,
        )
        child.has_started(process, time.monotonic())

    def _restart_later(self, child: Child, now: float, status: int) -> None:
        why = f"{child.kind.name} {child.has_died(status, now)}"
        if not child.is_given_up:
            self._note(f"{why} and is started again")
        elif child.kind.missed:
            # A session is worth more than this.
            self._note(f"{why} and is left: {child.kind.missed}")
        else:
            self._note(f"{why} and is given up")
            raise ChildError(
                f"{child.kind.name} died {child.restarts + 1} times in a row (it last "
                f"{why.partition(' ')[2]}) and is given up; what was found is kept in "
                "the session's folder; run again with ARMICRO_LOG=info to see why",
                1,
            )

    def _note(self, text: str) -> None:
        self._log.warning(text)
        self.events.append(ChildEvent(time.monotonic_ns(), text))

    def _note_once(self, text: str) -> None:
        if all(event.text != text for event in self.events):
            self._note(text)

    def _end(self) -> None:
        for child in self._children.values():
            process = child.process
            if process is None:
                continue
            process.terminate()
            try:
                # Its own time: one that is slow to end takes none from the next.
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def told(number: int, frame: FrameType | None) -> None:
            del frame
            self.stop(f"stopped by {signal.Signals(number).name}")

        before = {n: signal.signal(n, told) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def most_bytes(kind: Process, job: Job) -> int:
    """What a child may hold alone: a multiple of what it needs.

    Fields that it copies come to a ring of them, and networks are held packed and
    unpacked.
    """
    needs = kind.needs_bytes + RING_SLOTS * job.slot_bytes
    if kind.has_networks:
        with contextlib.suppress(ArmicroError, OSError):
            folder = find_set(job.rig.network.set)
            needs += 2 * sum(file.stat().st_size for file in folder.glob("*.onnx"))
    return MEMORY_FACTOR * needs


def _source_of(job: Job) -> str:
    if job.part == "inference":
        return job.rig.wire.capture
    return f"{job.rig.camera.driver} {job.slide or job.rig.camera.device}".rstrip()


def _session_of(job: Job) -> str:
    # Parts on two machines must agree without a word between them.
    return uuid.uuid4().hex if job.part == "all" else f"parts of {job.rig.name}"


def _addresses(job: Job, run: Path) -> dict[str, str]:
    addresses = {name: f"ipc://{run / name}" for name in TOPICS}
    if job.part != "all":
        addresses |= {"fields": job.rig.wire.capture, "slide": job.rig.wire.infer}
    return addresses | job.addresses


def _error_of(path: Path, name: str) -> ChildError:
    try:
        said = msgspec.json.decode(path.read_bytes(), type=dict[str, str | int])
    except (OSError, msgspec.DecodeError):
        return ChildError(f"{name} ended for bad input and did not say which", 2)
    return ChildError(str(said["message"]), int(said["exit_status"]))
