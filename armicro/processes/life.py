"""How a child process begins, lives and ends: log, heartbeats, signals, errors.

A child stops when it is told to (SIGTERM), when its supervisor is gone, or by itself,
and is never left as an orphan. Ctrl-C reaches the supervisor alone, which tells the
children in the right order. What a child could not do, and no restart mends, it leaves
beside its job for the supervisor.
"""

import contextlib
import ctypes
import importlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Literal, get_args

import msgspec
import structlog

from armicro.errors import ArmicroError, missing_extra
from armicro.processes.job import Job, read_job
from armicro.verdict import AnalysisState
from armicro.wire.link import Reporter
from armicro.wire.topic import Beat, ProcessName

BEAT_S = 0.25
LAST_S = 12
"""A child that was told to end, or lost its supervisor, is gone after this."""
ANALYSIS = "infer.state"
"""Where a supervisor leaves word that infer is started or started again, in the run's
folder: the display must tell that from a slow analysis."""
_PR_SET_PDEATHSIG = 1


def main(name: ProcessName, path: Path) -> int:
    """Be the child ``name`` of the job at ``path``; return the status to end with."""
    set_up_logging(name)
    job = read_job(path)
    with contextlib.closing(Life(name, job, folder=path.parent)) as life:
        life.beat("starting", at_once=True)
        try:
            # Loaded only where it runs.
            importlib.import_module(f"armicro.processes.{name}").run(job, life)
        except ArmicroError as error:
            return _leave_word(path.with_name(f"{name}.error"), error)
        # The supervisor restarts what fails; the log keeps why.
        except Exception as error:  # noqa: BLE001
            missing = missing_extra(error)
            if missing:
                # No restart installs it.
                said = ArmicroError(missing)
                return _leave_word(path.with_name(f"{name}.error"), said)
            structlog.get_logger().exception("process failed")
            return 70
        return 0


def _leave_word(path: Path, error: ArmicroError) -> int:
    """Leave the supervisor what ends the session; the status to end with."""
    said = {"message": str(error), "exit_status": error.exit_status}
    # Without a supervisor the folder is gone, and nobody reads it.
    with contextlib.suppress(FileNotFoundError):
        path.write_bytes(msgspec.json.encode(said))
    return error.exit_status


def set_up_logging(process: str) -> None:
    """Log to stderr: quiet by default, one line an event.

    ``ARMICRO_LOG`` is a level (``debug``, ``info``, ``warning``); with ``:json`` behind
    it every line is a JSON object.
    """
    level, _, form = os.environ.get("ARMICRO_LOG", "warning").partition(":")
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "process", "event"]
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.WARNING)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)


class Life:
    """One child's signals and heartbeats."""

    def __init__(self, name: ProcessName, job: Job, *, folder: Path) -> None:
        self.name = name
        self._supervisor = job.supervisor_pid
        self._folder = folder
        self._stop = False
        self._reporter = Reporter(job.addresses["health"], "health")
        self._next_beat = 0.0
        signal.signal(signal.SIGTERM, self._told)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _die_with_parent()
        threading.Thread(target=self._watch_parent, name="watch", daemon=True).start()

    def analysis(self) -> AnalysisState:
        """What the supervisor has left word of: infer is started, or started again."""
        try:
            said = (self._folder / ANALYSIS).read_text("utf-8")
        except OSError:
            return ""
        return next((known for known in get_args(AnalysisState) if known == said), "")

    @property
    def stopping(self) -> bool:
        """Whether this process was told to end or has lost its supervisor."""
        return self._stop or self._orphaned

    @property
    def _orphaned(self) -> bool:
        return os.getppid() != self._supervisor

    def beat(  # noqa: PLR0913 (the fields of a Beat, by keyword)
        self,
        state: Literal["starting", "running", "waiting", "finished"] = "running",
        *,
        text: str = "",
        fields: int = 0,
        fields_planned: int = 0,
        fields_dropped: int = 0,
        messages_dropped: int = 0,
        at_once: bool = False,
    ) -> None:
        """Say that this process is alive; cheap enough to call in every turn."""
        now = time.monotonic()
        if now < self._next_beat and not at_once:
            return
        self._next_beat = now + BEAT_S
        self._reporter.send(
            Beat(
                self.name,
                os.getpid(),
                time.monotonic_ns(),
                state,
                text,
                fields,
                fields_planned,
                fields_dropped,
                messages_dropped,
            )
        )

    def close(self) -> None:
        """Close the heartbeat's socket, and tidy up where the supervisor cannot."""
        # The interpreter takes the handler away at its end: one signal more would make
        # an end that was well look like a death.
        _end_within(LAST_S)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._reporter.close()
        if self._orphaned:
            # Each does, since nobody knows which is the last; sockets stay usable.
            shutil.rmtree(self._folder, ignore_errors=True)

    def _told(self, number: int, frame: FrameType | None) -> None:
        # Signals come in bursts, one within another: a lock would wait for itself.
        del number, frame
        _end_within(LAST_S)
        self._stop = True

    def _watch_parent(self) -> None:
        # Beside the main thread, which may hang in a library and never look.
        while not self._orphaned:
            time.sleep(BEAT_S)
        _end_within(LAST_S)


def _end_within(seconds: int) -> None:
    # The kernel ends what does not end by itself: nobody else would end an orphan.
    if sys.platform != "win32":
        signal.alarm(seconds)


def _die_with_parent() -> None:
    # The kernel's own guard, for a child that hangs when its supervisor is killed.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
