"""One session from its job to its files: what replay, demo and live have in common.

Before the processes start the slide is opened once, and what the session is about is
written down: a slide that cannot be read, or a folder that holds the session of another
slide or rig, is refused before anything runs.
"""

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import msgspec
from tqdm import tqdm

from armicro import __version__
from armicro.certificate import now
from armicro.errors import ArmicroError, SourceError
from armicro.field import Overview
from armicro.processes.job import Job, alone, make_folder
from armicro.processes.reader import open_job_source
from armicro.processes.supervisor import Supervisor
from armicro.session.output import write_outputs
from armicro.session.record import OverviewCard, Session, SlideCard
from armicro.session.slide_file import SLIDE, write_slide
from armicro.slide.journal import Journal
from armicro.source import SourceCard
from armicro.source.identity import refuse_void, slide_sha256
from armicro.source.open import names_camera
from armicro.wire.topic import Beat

_KEPT_A_SIZE = re.compile(r'\["(?:[^"\\]|\\.)*",[1-9]\d*,')
"""An identity of the time when the slide's size stood in the place of its content."""


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


def begin(job: Job) -> Job:
    """Write the session's facts into its journal; return the job as it is to be run.

    Raises:
        CalibrationError: a replay's certificate is not in force.
        SourceError: the slide cannot be used, or the journal is of another session.
    """
    make_folder(job.folder)
    card = prove(job)
    job = suited(job, card)
    sha256 = slide_sha256(Path(job.slide)) if job.slide else ""
    with Journal(job.journal) as journal:
        _refuse_another(job, journal, identity(job, sha256))
        facts: dict[str, object] = {
            "identity": identity(job, sha256),
            "slide": msgspec.structs.replace(_slide_card(job, card), sha256=sha256),
            "version": __version__,
            "rig": {
                "name": job.rig.name,
                "sha256": job.rig.sha256,
                "objective": job.rig.objective,
                "certificate": _certificate_facts(job),
            },
            # Its own fact below, and a path tells too much.
            "settings": msgspec.structs.replace(
                job.rig,
                calibration=None,
                certificate=Path(job.rig.certificate).name,
            ),
        }
        if job.rig.calibration is not None:
            facts["certificate"] = job.rig.calibration
        if journal.get("started", str) is None:
            facts["started"] = datetime.now(UTC).isoformat(timespec="seconds")
        if card is not None and card.overview is not None:
            facts["overview"] = _overview_card(card.overview)
        journal.set_all(facts)
    return job


def suited(job: Job, card: SourceCard | None) -> Job:
    """The job with the size of its fields, and with the pace that its source takes.

    What has an end is a replay, whoever asked for it: infer sets the pace, and every
    picture is a field. ``mode`` says so to all processes.

    Args:
        job: as it was asked for.
        card: of its source, from ``prove``.
    """
    if card is None:
        return job
    field_bytes = card.width_px * card.height_px * 3
    job = msgspec.structs.replace(job, field_bytes=field_bytes)
    if job.mode == "replay" or not card.ends:
        return job
    # At the rate at which somebody can watch, where infer is as fast.
    return msgspec.structs.replace(job, mode="replay", pace="realtime", map=True)


def _certificate_facts(job: Job) -> dict[str, object]:
    """Whose word the scale is: enough to find the certificate, and to prove it."""
    rig = job.rig
    facts: dict[str, object] = {}
    if rig.calibration is not None:
        held = rig.calibration
        facts = {
            "file": Path(rig.certificate).name,
            "digest": held.digest,
            "camera": held.instrument.camera,
            "objective": held.instrument.objective,
            "made_at": held.made_at,
            "made_by": held.made_by,
            "expires_at": held.expires_at,
        }
    if rig.calibration_fault:
        facts["not_in_force"] = rig.calibration_fault
    if rig.camera.uncalibrated:
        facts["uncalibrated"] = True
    return facts


def identity(job: Job, sha256: str) -> str:
    """What must not change when a session is resumed; ``sha256`` is of the slide."""
    # By content as well: scanners give many slides one name, and a path may change.
    name = Path(job.slide).name
    parts = (name, sha256, job.um_per_px, job.region_px, job.rig.sha256)
    return msgspec.json.encode(parts).decode()


def prove(job: Job) -> SourceCard | None:
    """Open what a session reads, and see that it may be read; None for a camera.

    Raises:
        CalibrationError: a replay's certificate is not in force.
        SourceError: the slide cannot be used.
    """
    card = _card(job)
    # In a live session fields are shown without boxes, and the reason beside them.
    if card is not None and job.mode == "replay":
        refuse_void(job.rig, card, now())
    return card


def _card(job: Job) -> SourceCard | None:
    if job.part == "inference" or (not job.slide and names_camera(job.rig)):
        # It is elsewhere; and a camera is opened by capture alone, since opening it
        # twice may disturb it.
        return None
    with contextlib.closing(open_job_source(job)) as source:
        return source.card


def _refuse_another(job: Job, journal: Journal, asked: str) -> None:
    before = journal.get("identity", str)
    if before is None or before == asked:
        return
    if _KEPT_A_SIZE.match(before):
        raise SourceError(
            f"{job.folder}: was begun by an armicro that kept no content of its slide, "
            "so another cannot be told from it; run again without --resume"
        )
    raise SourceError(
        f"{job.folder}: holds the session of another slide, region, scale or rig "
        "than is asked for now; give the same ones, or another --out"
    )


def _slide_card(job: Job, card: SourceCard | None) -> SlideCard:
    if card is None:
        camera = job.rig.camera
        return SlideCard(
            name=job.folder.name,
            um_per_px=camera.um_per_px,
            width_px=camera.width_px,
            height_px=camera.height_px,
        )
    return SlideCard(
        # Whoever names no slide names the session.
        name=card.name if job.slide else job.folder.name,
        file=Path(job.slide or job.rig.camera.device).name,
        pixel_um=card.pixel_um,
        shown_xywh_px=card.shown_xywh_px,
        pixel_xy_um=card.pixel_xy_um,
        um_per_px=card.um_per_px,
        width_px=card.width_px,
        height_px=card.height_px,
        fields_planned=card.fields_planned,
    )


def _overview_card(overview: Overview) -> OverviewCard:
    bgr = cv2.cvtColor(overview.pixels, cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", bgr)
    if not done or not math.isfinite(overview.um_per_px):
        raise SourceError("the slide's overview cannot be encoded; is it empty?")
    return OverviewCard(png.tobytes(), overview.um_per_px, overview.x_um, overview.y_um)
