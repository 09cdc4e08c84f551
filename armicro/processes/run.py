"""One session from its job to its files: what replay, demo and live have in common."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from armicro.errors import ArmicroError
from armicro.processes.begin import begin, prove, suited
from armicro.processes.folder import alone, make_folder
from armicro.processes.job import Job
from armicro.processes.supervisor import Supervisor
from armicro.session.output import write_outputs
from armicro.session.record import Session, SlideCard
from armicro.session.slide_file import SLIDE, write_slide
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
        DiskError: something could not be written.
    """
    if job.part == "microscope":
        # The slide is kept where infer runs.
        job = suited(job, prove(job))
        return Session(), _supervise(Supervisor(job, seconds=seconds), job, quiet=quiet)
    make_folder(job.folder)
    with alone(job.folder):
        job = begin(job)
        supervisor = Supervisor(job, seconds=seconds)
        try:
            ended = _supervise(supervisor, job, quiet=quiet)
        except ArmicroError as error:
            # What was found is its user's, whatever broke.
            with contextlib.suppress(ArmicroError):
                if _has_fields(job):
                    _write(job, supervisor, str(error), quiet=quiet)
            raise
        ended = ended or _why_not_whole(job)
        return _write(job, supervisor, ended, quiet=quiet), ended


def _supervise(supervisor: Supervisor, job: Job, *, quiet: bool) -> str:
    with _bar(job, quiet=quiet) as supervisor.on_beat:
        return supervisor.run()


def _why_not_whole(job: Job) -> str:
    """Why the journal is not that of a session that came to its end, or ""."""
    with Journal(job.journal) as journal:
        card = journal.get("slide", SlideCard) or SlideCard()
        kept = sum(last - first + 1 for first, last in journal.done())
        is_closed = journal.get("wall_s", float) is not None
    planned = card.fields_planned or 0
    if kept < planned:
        return f"only {kept} of {planned} planned fields are in the journal"
    return "" if is_closed else "the session's end is not in the journal"


def _has_fields(job: Job) -> bool:
    with Journal(job.journal) as journal:
        return bool(journal.done())


def _write(job: Job, supervisor: Supervisor, ended: str, *, quiet: bool) -> Session:
    with Journal(job.journal) as journal:
        for event in supervisor.events:
            journal.note("process", event.text, event.at_ns)
        if ended:
            journal.note("session", ended, time.monotonic_ns())
        return write_all(job.folder, journal, quiet=quiet)


def write_all(folder: Path, journal: Journal, *, quiet: bool = False) -> Session:
    """Write every file of a session, and the slide that its fields make.

    Raises:
        SourceError: what was kept is damaged, or the folder cannot be written.
    """
    session = write_outputs(folder, journal)
    # A large slide takes minutes: whoever ends it early has all the rest.
    with tqdm(
        unit=" px", unit_scale=True, desc=SLIDE, disable=quiet or None, leave=False
    ) as bar:

        def told(done: int, there: int) -> None:
            bar.total = there
            bar.update(done - bar.n)

        kept = write_slide(folder, journal, progress=told)
    return session if kept == session.map else write_outputs(folder, journal)


@contextlib.contextmanager
def _bar(job: Job, *, quiet: bool) -> Iterator[Callable[[Beat], None]]:
    with tqdm(unit=" fields", disable=quiet or None, desc=job.folder.name) as bar:

        def on_beat(beat: Beat) -> None:
            if beat.process == "capture" and beat.fields_planned:
                bar.total = beat.fields_planned
            if beat.process == "infer":
                bar.update(max(0, beat.fields - bar.n))

        yield on_beat
