"""The incremental cascade through the real processes."""

import contextlib
import os
import signal
from pathlib import Path

import msgspec
import pytest

from armicro.engine.registry import open_set
from armicro.pipeline import Pipeline
from armicro.processes.job import Job
from armicro.processes.reader import open_job_source
from armicro.processes.session import begin, run_job
from armicro.processes.supervisor import Supervisor
from armicro.report import Finding
from armicro.rig import Camera, Scan
from armicro.session.output import findings_csv, write_outputs
from armicro.slide.coverage import Coverage
from armicro.slide.journal import Journal
from armicro.wire.topic import Beat


@pytest.fixture
def job(replay_job: Job) -> Job:
    """Fields of 360 by 270 µm, half of each seen again by the next."""
    rig = replay_job.rig
    return msgspec.structs.replace(
        replay_job,
        rig=msgspec.structs.replace(
            rig,
            camera=Camera(
                width_px=1200, height_px=900, um_per_px=0.3, frames_per_second=2
            ),
            scan=Scan(overlap=0.5),
            cascade=msgspec.structs.replace(rig.cascade, mode="incremental"),
        ),
    )


def test_batch_run_and_replay_give_the_same_findings_byte_for_byte(job: Job) -> None:
    session, ended = run_job(job, quiet=True)
    assert ended == ""
    with (
        open_set(job.rig.network.set, threads=1) as networks,
        contextlib.closing(open_job_source(job)) as source,
    ):
        pipeline = Pipeline(networks, job.rig.cascade)
        for field in source.fields():
            pipeline.step(field)
        late = pipeline.flush()
        score = pipeline.score().score
    text = findings_csv(pipeline.findings())
    assert (job.folder / "findings.csv").read_bytes() == text.encode()
    assert text.count("\n") > 5
    assert late is not None
    assert late.report.areas_xywh_um == session.reports[-1].areas_xywh_um
    assert session.score.coverage == pytest.approx(1.0, abs=0.01)
    # The pipeline had no overview; apart from its coverage all is the same.
    assert session.score.score == score


def test_killed_infer_loses_no_finding_and_claims_no_area(job: Job) -> None:
    job = begin(msgspec.structs.replace(job, pace="realtime"))
    supervisor = Supervisor(job)
    held: list[set[Finding]] = []

    def kill(beat: Beat) -> None:
        pid = supervisor.pid("infer")
        if beat.process == "infer" and beat.fields >= 4 and pid and not held:
            os.kill(pid, signal.SIGKILL)
            held.append(findings_of(job.journal))

    supervisor.on_beat = kill
    assert supervisor.run() == ""
    assert [event.text for event in supervisor.events] != []
    with Journal(job.journal) as journal:
        session = write_outputs(job.folder, journal)
    (before,) = held
    assert before
    assert before <= findings_of(job.journal)
    assert session.score.fields == session.slide.fields_planned
    coverage = Coverage()
    for report in session.reports:
        coverage.take(report)
    claimed_um2 = session.score.megapixels * 0.243**2 * 1e6
    assert claimed_um2 == pytest.approx(coverage.seen_um2)


def findings_of(journal_path: Path) -> set[Finding]:
    with Journal(journal_path) as journal:
        return {seen.finding for seen in journal.observations(crops=False)}
