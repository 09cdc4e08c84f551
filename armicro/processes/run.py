"""One session from its job to its files: what replay, demo and live have in common."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from armicro.processes.begin import begin
from armicro.processes.job import Job
from armicro.processes.supervisor import Supervisor
from armicro.session.output import write_outputs
from armicro.session.record import Session
from armicro.slide.journal import Journal
from armicro.wire.topic import Beat


def run_job(
    job: Job, *, quiet: bool = False, seconds: float | None = None
) -> tuple[Session, str]:
    """Run a session and write its files, also when it ended early.

    Args:
        job: what to run.
        quiet: no progress bar.
        seconds: end the session after that long.

    Returns:
        The session as written, and why it ended early (empty when it did not).

    Raises:
        ArmicroError: a process ended for bad input, or kept dying.
    """
    job = begin(job) if job.part != "microscope" else job
    with _bar(job, quiet=quiet) as on_beat:
        supervisor = Supervisor(job, on_beat=on_beat, seconds=seconds)
        ended = supervisor.run()
    if job.part == "microscope":
        # The slide is kept where infer runs.
        return Session(), ended
    with Journal(job.journal) as journal:
        for event in supervisor.events:
            journal.note("process", event.text, event.at_ns)
        if ended:
            journal.note("session", ended, time.monotonic_ns())
        return write_outputs(job.folder, journal), ended


def set_aside(folder: Path) -> None:
    """Rename a session folder that is there already: results are never overwritten."""
    if not folder.exists():
        return
    number = 1
    while folder.with_name(f"{folder.name}.{number}").exists():
        number += 1
    folder.rename(folder.with_name(f"{folder.name}.{number}"))


@contextlib.contextmanager
def _bar(job: Job, *, quiet: bool) -> Iterator[Callable[[Beat], None]]:
    with tqdm(unit=" fields", disable=quiet or None, desc=job.folder.name) as bar:

        def on_beat(beat: Beat) -> None:
            if beat.process == "capture" and beat.fields_planned:
                bar.total = beat.fields_planned
            if beat.process == "infer":
                bar.update(max(0, beat.fields - bar.n))

        yield on_beat
