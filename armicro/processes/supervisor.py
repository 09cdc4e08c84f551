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
from armicro.processes.job import Job, Part, write_job
from armicro.processes.keeper import stitches_beside
from armicro.processes.life import ANALYSIS, Name
from armicro.verdict import AnalysisState
from armicro.wire.link import Collector
from armicro.wire.ring import Ring
from armicro.wire.topic import TOPICS, Beat

RING_SLOTS = 6
"""One being written, three on their way to infer, one shown, one to spare."""
STARTING_S = 120.0
"""A child may be silent that long while it starts (networks compile)."""
SILENT_S = 30.0
"""Later, it is taken for hung and killed after this: a slow field takes seconds."""
SLOW_S = 240.0
"""One that is silent and still works may be that late: the cores may be another's."""
LATE_S = 3.0
"""Not heard for so long, one that still works is told of as slow."""
WORKS_SHARE = 0.05
"""Of a core since it was last heard, from which a silent child is at work."""
PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Before each restart in a row; one more and the session fails."""
STEADY_S = 60.0
"""A child that ran so long is well: its next end is the first in a row."""
END_S = 10.0
"""A child that was told to end has this long to do it."""
NEEDS_BYTES: dict[Name, int] = {
    "capture": 500_000_000,
    "infer": 900_000_000,
    "display": 200_000_000,
    "keeper": 200_000_000,
}
"""What each holds of its own once its caches are full (488, 507, 188, 162 MB after four
minutes of live; infer with what a GPU's driver adds), beside the ring and networks."""
MEMORY_FACTOR = 4
"""Times its need, and a child that holds more is taken for ill. A limit by the system
was no use: ``RLIMIT_DATA`` counts the stacks of OpenVINO's and Qt's threads, reserved
and never touched (801 MB where infer held 333), by the number of cores."""


PARTS: dict[Part, tuple[Name, ...]] = {
    "all": ("capture", "infer", "display", "keeper"),
    "microscope": ("capture", "display"),
    "inference": ("infer",),
}
ENDS: tuple[Name, ...] = ("infer", "keeper", "display", "capture")
"""Who writes what it still holds ends while the others stand."""
FINISHED = "finished"
SHOWN_S = 20.0
"""So long a session that has finished waits for its window to show it."""


class ChildError(ArmicroError):
    """A child ended with an error that restarting does not mend."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a child, for the journal."""

    at_ns: int
    text: str


@dataclass(slots=True)
class _Child:
    name: Name
    process: subprocess.Popen[bytes] | None = None
    heard: float = 0.0
    running_since: float | None = None
    """First beat after its start; None while it starts."""
    restarts: int = 0
    """In a row."""
    start_at: float = 0.0
    beat: Beat | None = None
    worked_s: float | None = None
    """Processor time when it was last heard; None where the system does not tell."""
    killed_for: str = ""
    """What it did when it was killed; empty where it ended by itself."""

    def state(self, now: float) -> AnalysisState:
        """Whether it runs, is slow, is started, or is started again."""
        if self.process is None or self.running_since is None:
            return "restarting" if self.restarts else "loading"
        late = now - self.heard > LATE_S
        return "slow" if late and self.works(now) else ""

    def works(self, now: float) -> bool:
        """Whether it has worked since it was heard, or would; no where nobody tells."""
        if self.process is None or self.worked_s is None:
            return False
        worked = worked_s(self.process.pid)
        share = WORKS_SHARE * (now - self.heard)
        enough = worked is not None and worked - self.worked_s > share
        return enough or is_runnable(self.process.pid)


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
            name: _Child(name)
            for name in PARTS[job.part]
            if (name != "display" or job.display != "none")
            and (name != "keeper" or stitches_beside(job))
        }
        self._most_bytes = {name: most_bytes(name, job) for name in self._children}
        self._stop = ""
        self._told: AnalysisState = ""
        self._finished_at: float | None = None
        self._log = structlog.get_logger()
        self.events: list[Event] = []

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
                Ring.create(RING_SLOTS, slot_bytes=_field_bytes(self._job))
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
                for child in self._children.values():
                    self._watch(child, run, ring)
                self._tell_display(run)
                if time.monotonic() >= self._end_at:
                    self._refuse_nothing(run)
                    self.stop("its time is over")
            return "" if self._stop == FINISHED else self._stop

    def pid(self, name: Name) -> int | None:
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
        child.heard, child.beat = time.monotonic(), beat
        child.worked_s = worked_s(beat.pid)
        if beat.state != "starting" and child.running_since is None:
            child.running_since = child.heard
        if beat.text and beat.process in ("infer", "keeper"):
            self._note_once(f"{beat.process}: {beat.text}")
        self.on_beat(beat)

    def _watch(self, child: _Child, run: Path, ring: Ring) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at:
                self._start(child, run, ring)
            return
        status = child.process.poll()
        if status is None:
            if self._has_finished():
                self.stop(FINISHED)
            elif why := self._is_ill(child, child.process.pid, now):
                child.killed_for = why
                child.process.kill()
                child.process.wait()
            return
        child.process = None
        if status == 0 and child.name == "display":
            self.stop("window closed")
        elif status == 2 or (run / f"{child.name}.error").exists():
            raise _error_of(run / f"{child.name}.error", child.name)
        else:
            self._restart_later(child, now, status)

    def _is_ill(self, child: _Child, pid: int, now: float) -> str:
        """What a child does for which it must be killed, or ""."""
        if now - child.heard > _patience_s(child, now):
            return "was silent and was killed"
        held = held_bytes(pid)
        if held is None or held <= self._most_bytes[child.name]:
            return ""
        most_mb = self._most_bytes[child.name] / 1e6
        return f"held {held / 1e6:.0f} MB of memory, allowed are {most_mb:.0f} MB,"

    def _tell_display(self, run: Path) -> None:
        infer = self._children.get("infer")
        state = infer.state(time.monotonic()) if infer else ""
        if state != self._told:
            self._told = state
            # A full disk is told of elsewhere.
            with contextlib.suppress(OSError):
                (run / ANALYSIS).write_text(state, "utf-8")

    def _has_finished(self) -> bool:
        infer, display = self._children.get("infer"), self._children.get("display")
        if infer is None or infer.beat is None or infer.beat.state != "finished":
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
        if (run / f"{child.name}.error").exists():
            raise _error_of(run / f"{child.name}.error", child.name)
        said = f" ({child.beat.text})" if child.beat and child.beat.text else ""
        raise ChildError(
            f"no field came from {_source_of(self._job)} in the time given{said}; "
            "check the camera and its driver, or give it more --seconds",
            1,
        )

    def _start(self, child: _Child, run: Path, ring: Ring) -> None:
        command = [sys.executable, "-m", "armicro.processes", child.name]
        child.process = subprocess.Popen(
            [*command, str(run / "job.json")],
            stdin=subprocess.DEVNULL,
            # What a child leaves, however it ends, goes with the run.
            env=os.environ | {"TMPDIR": str(run)},
            pass_fds=ring.pass_fds,
            # Ctrl-C is the supervisor's; it tells the children in order.
            process_group=0 if sys.platform != "win32" else None,
        )
        child.heard, child.running_since, child.beat = time.monotonic(), None, None
        child.worked_s = None

    def _restart_later(self, child: _Child, now: float, status: int) -> None:
        # Counted by how long each life was: a field that kills infer whenever it comes
        # must end the session, however long the networks take to load in between.
        since = child.running_since
        if since is not None and now - since > STEADY_S:
            child.restarts = 0
        why, child.killed_for = child.killed_for or f"ended with status {status}", ""
        if child.restarts == len(PAUSES_S) and child.name == "keeper":
            # A session is worth more than its map.
            self._note(f"keeper {why} and is left: no whole map is kept")
            child.start_at = float("inf")
            return
        self._note(f"{child.name} {why} and is started again")
        if child.restarts == len(PAUSES_S):
            raise ChildError(
                f"{child.name} died {child.restarts + 1} times in a row (it last "
                f"{why}) and is given up; what was found is kept in the session's "
                "folder; run again with ARMICRO_LOG=info to see why",
                1,
            )
        child.start_at = now + PAUSES_S[child.restarts]
        child.restarts += 1

    def _note(self, text: str) -> None:
        self._log.warning(text)
        self.events.append(Event(time.monotonic_ns(), text))

    def _note_once(self, text: str) -> None:
        if all(event.text != text for event in self.events):
            self._note(text)

    def _end(self) -> None:
        order = [n for n in ENDS if n in self._children]
        deadline = time.monotonic() + END_S
        for name in order:
            process = self._children[name].process
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
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


def _patience_s(child: _Child, now: float) -> float:
    if child.running_since is None:
        return STARTING_S
    late = now - child.heard > SILENT_S
    return SLOW_S if late and child.works(now) else SILENT_S


def worked_s(pid: int) -> float | None:
    """Processor time of a process so far, s; None where the system does not tell."""
    stat = _stat(pid)
    # utime and stime: fields 14 and 15 of proc(5).
    return sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK") if stat else None


def is_runnable(pid: int) -> bool:
    """Whether a process waits for a core or a disk, not for something to happen."""
    return _stat(pid)[:1] in (["R"], ["D"])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; empty where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return []
    # The name, in parentheses, may hold anything.
    return stat.rpartition(")")[2].split()


def held_bytes(pid: int) -> int | None:
    """Memory that a process holds alone, without the ring and without its programs.

    None where the system does not tell.
    """
    try:
        statm = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    except OSError:
        return None
    return (int(statm[1]) - int(statm[2])) * os.sysconf("SC_PAGE_SIZE")


def most_bytes(name: Name, job: Job) -> int:
    """What a child may hold alone: a multiple of what it needs.

    Fields that it copies come to a ring of them, and networks are held packed and
    unpacked.
    """
    needs = NEEDS_BYTES[name] + RING_SLOTS * _field_bytes(job)
    if name == "infer":
        with contextlib.suppress(ArmicroError, OSError):
            folder = find_set(job.rig.network.set)
            needs += 2 * sum(file.stat().st_size for file in folder.glob("*.onnx"))
    return MEMORY_FACTOR * needs


def _field_bytes(job: Job) -> int:
    camera = job.rig.camera
    return job.field_bytes or camera.width_px * camera.height_px * 3


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
