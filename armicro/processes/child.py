"""One child as its supervisor sees it: its need, what it uses, whether it is well.

A child says several times a second that it is alive. One that is silent and has worked
since, or waits for a core or a disk, is slow and not hung. One that holds many times
the memory that it needs is ill, and so is one that is hung: both are ended. A child
that ended is started again after a growing pause, until it has died too often in a row.
"""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from armicro.processes.job import Job
from armicro.verdict import AnalysisState
from armicro.wire.topic import Beat, ProcessName

LATE_S = 3.0
"""Not heard for so long, one that still works is told of as slow."""
LOOK_S = 0.25
"""What it uses is read that often: each look costs 0.15 ms."""
WORKS_SHARE = 0.05
"""Of a core since it was last heard, from which a silent child is at work."""
PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Before each restart in a row; one more and it is given up."""
STEADY_S = 60.0
"""A child that ran so long is well: its next end is the first in a row."""


@dataclass(frozen=True, slots=True)
class Process:
    """A row of the supervisor's table."""

    name: ProcessName
    """Also the module here whose ``run(job, life)`` it is."""
    runs: Callable[[Job], bool]
    """Whether a job needs it on this machine."""
    needs_bytes: int
    """Memory of its own once its caches are full, beside fields and networks."""
    has_networks: bool = False
    missed: str = ""
    """What a session lacks without it; empty: no session goes on without it."""
    ends_session: bool = False
    """Whether the session ends where this process ends well by itself."""
    is_noted: bool = False
    """Whether what it says of itself goes into the journal."""
    starting_s: float = 120.0
    """It may be silent that long while it starts (networks compile)."""
    silent_s: float = 30.0
    """Later, it is taken for hung and killed after this: a slow field takes seconds."""
    slow_s: float = 240.0
    """If it still works it may be that late: the cores may be another's."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process uses; empty where the system does not tell."""

    worked_s: float | None = None
    """Processor time so far."""
    is_runnable: bool = False
    """Whether it waits for a core or a disk, not for something to happen."""
    held_bytes: int | None = None
    """Memory that it holds alone, without the ring and without its programs."""


def usage_of(pid: int) -> Usage:
    """Read what a process uses, where the system tells it (Linux)."""
    folder = Path(f"/proc/{pid}")
    try:
        stat = (folder / "stat").read_text("ascii", "replace")
        statm = (folder / "statm").read_text("ascii").split()
    except OSError:
        return Usage()
    # From the third field of proc(5) on: the name, in parentheses, may hold anything.
    state, *_ = fields = stat.rpartition(")")[2].split()
    # utime and stime: fields 14 and 15.
    ticks = int(fields[11]) + int(fields[12])
    pages = int(statm[1]) - int(statm[2])
    return Usage(
        ticks / os.sysconf("SC_CLK_TCK"),
        state in ("R", "D"),
        pages * os.sysconf("SC_PAGE_SIZE"),
    )


@dataclass(slots=True)
class Child:
    """One process over all its lives; the supervisor's clock is given to it."""

    kind: Process
    most_bytes: int
    """It may hold alone."""
    process: subprocess.Popen[bytes] | None = None
    heard: float = 0.0
    running_since: float | None = None
    """First beat after its start; None while it starts."""
    restarts: int = 0
    """In a row."""
    start_at: float = 0.0
    beat: Beat | None = None
    usage: Usage = field(default_factory=Usage)
    worked_s: float | None = None
    """Processor time when it was last heard."""
    look_at: float = 0.0
    killed_for: str = ""
    """What it did when it was killed; empty where it ended by itself."""
    is_given_up: bool = False

    def has_started(self, process: subprocess.Popen[bytes], now: float) -> None:
        """Begin another life."""
        self.process, self.heard = process, now
        self.running_since = self.beat = self.worked_s = None
        self.usage = Usage()

    def hear(self, beat: Beat, now: float) -> None:
        """Take its word of being alive."""
        self.heard, self.beat, self.worked_s = now, beat, None
        if beat.state != "starting" and self.running_since is None:
            self.running_since = now

    def look(self, now: float) -> None:
        """See what it uses, in a turn after it was heard, or once it is time again."""
        due = self.worked_s is None or now >= self.look_at
        if self.process is None or not due:
            return
        self.usage, self.look_at = usage_of(self.process.pid), now + LOOK_S
        if self.worked_s is None:
            self.worked_s = self.usage.worked_s

    def state(self, now: float) -> AnalysisState:
        """Whether it runs, is slow, is started, or is started again."""
        if self.process is None or self.running_since is None:
            return "restarting" if self.restarts else "loading"
        return "slow" if now - self.heard > LATE_S and self._works(now) else ""

    def illness(self, now: float) -> str:
        """What it does for which it must be killed, or ""."""
        if now - self.heard > self._patience_s(now):
            return "was silent and was killed"
        held = self.usage.held_bytes
        if held is None or held <= self.most_bytes:
            return ""
        most_mb = self.most_bytes / 1e6
        return f"held {held / 1e6:.0f} MB of memory, allowed are {most_mb:.0f} MB,"

    def kill(self, why: str) -> None:
        """End it at once."""
        self.killed_for = why
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def has_died(self, status: int, now: float) -> str:
        """Settle when it is started again, if ever; return how it died, in words."""
        # Counted by how long each life was: a field that kills infer whenever it comes
        # must end the session, however long the networks take to load in between.
        since = self.running_since
        if since is not None and now - since > STEADY_S:
            self.restarts = 0
        why, self.killed_for = self.killed_for or f"ended with status {status}", ""
        if self.restarts == len(PAUSES_S):
            self.is_given_up, self.start_at = True, float("inf")
        else:
            self.start_at = now + PAUSES_S[self.restarts]
            self.restarts += 1
        return why

    def _patience_s(self, now: float) -> float:
        if self.running_since is None:
            return self.kind.starting_s
        late = now - self.heard > self.kind.silent_s
        return self.kind.slow_s if late and self._works(now) else self.kind.silent_s

    def _works(self, now: float) -> bool:
        """Whether it has worked since it was heard, or would; no where nobody tells."""
        worked_s, before_s = self.usage.worked_s, self.worked_s
        if worked_s is None or before_s is None:
            return False
        share = WORKS_SHARE * (now - self.heard)
        return worked_s - before_s > share or self.usage.is_runnable
