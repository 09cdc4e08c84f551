"""A disk that fails at any write: nothing is told as kept that is not.

Every write is failed in turn, in SQLite's own statements, by a journal that may not
grow, by the system's limit on the size of a file, and by a real file system that is
full.
"""

import contextlib
import errno
import itertools
import json
import os
import queue
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from armicro.engine.registry import NetworkSet, open_set
from armicro.errors import DiskError
from armicro.field import Field
from armicro.processes import infer
from armicro.processes.job import Job
from armicro.processes.reader import open_job_source
from armicro.processes.session import begin, run_job
from armicro.processes.thread import Ready
from armicro.report import Account, FieldReport, Finding, Observation
from armicro.session.output import write_outputs
from armicro.session.record import SlideCard, read_session
from armicro.slide.focus import with_focus
from armicro.slide.journal import Journal
from armicro.source import SourceCard
from armicro.source.recording import RecordingSource, RecordingWriter
from tests.patience import PATIENCE_S

FIELDS = 4
MOST = 60
"""More writes than a session of so few fields makes."""


def account(seq: int, place_um: float = 0.0) -> Account:
    finding = Finding(place_um, 50.0, 62.0, 62.0, 0.9, 0.8, seq)
    crop = np.full((256, 256, 3), 200, np.uint8)
    seen = Observation(finding, np.full(2048, 0.5, np.float32), crop)
    return Account(FieldReport(seq, "analysed", findings=(finding,)), [seen])


class Failing(sqlite3.Connection):
    """Fails at the n-th statement that changes the file, and at all after it."""

    left = MOST**2

    def _count(self, statement: str) -> None:
        reads = ("SELECT", "ROLLBACK", "PRAGMA APPLICATION", "PRAGMA USER")
        if statement.strip().upper().startswith(reads):
            return
        Failing.left -= 1
        if Failing.left < 0:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
            raise error

    def execute(self, statement: str, *given: Any) -> sqlite3.Cursor:
        self._count(statement)
        return super().execute(statement, *given)

    def executemany(self, statement: str, *given: Any) -> sqlite3.Cursor:
        self._count(statement)
        return super().executemany(statement, *given)


@contextlib.contextmanager
def statement_fails(number: int) -> Iterator[None]:
    connect = sqlite3.connect
    Failing.left = number

    def failing(*given: Any, **settings: Any) -> sqlite3.Connection:
        return connect(*given, **settings, factory=Failing)

    sqlite3.connect = failing  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = connect


@contextlib.contextmanager
def files_end_at(kilobytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_session(path: Path, told: list[int], amended: list[int]) -> None:
    """Write a journal as infer does, and say what is done as it is done."""
    with Journal(path) as journal:
        for seq in range(FIELDS):
            late = account(seq - 1, 10.0 * seq) if seq else None
            journal.write(*account(seq), {}, {"score": seq}, late=late)
            told.append(seq)
        journal.amend(account(FIELDS - 1, 99.0))
        amended.append(FIELDS - 1)
        journal.note("process", "text", 1)
        journal.settle()
        journal.set("wall_s", 1.0)


FAULTS = [
    *(("statement", statement_fails, number) for number in range(3, 30)),
    *(("file size", files_end_at, kilobytes) for kilobytes in range(32, 260, 12)),
]


@pytest.mark.parametrize(("_kind", "fails", "number"), FAULTS)
def test_journal_holds_what_it_said_it_kept_and_nothing_else_of_a_write(
    tmp_path: Path, _kind: str, fails: Callable[[int], Any], number: int
) -> None:
    path = tmp_path / "session.sqlite"
    with Journal(path):
        pass
    told: list[int] = []
    amended: list[int] = []
    error = None
    with fails(number):
        try:
            write_session(path, told, amended)
        except DiskError as caught:
            error = caught
    if error is None:
        assert told == [*range(FIELDS)]
    else:
        assert error.exit_status == 1
        assert "session.sqlite" in str(error)
        assert "free some space" in str(error)
    with Journal(path) as journal:
        assert [report.seq for report in journal.reports()] == told
        assert journal.get("score", int) == (told[-1] if told else None)
        places = [seen.finding.x_um for seen in journal.observations(crops=False)]
        assert len(places) == 2 * len(told) - bool(told) + len(amended)
        assert error is None or journal.get("wall_s", float) is None


@pytest.mark.parametrize("spare", range(0, 40, 2))
def test_journal_that_may_not_grow_says_so(tmp_path: Path, spare: int) -> None:
    path = tmp_path / "session.sqlite"
    told = []
    with Journal(path) as journal:
        (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
        journal._database.execute(f"PRAGMA max_page_count = {pages + spare}")
        with pytest.raises(DiskError, match=r"full.*free some space"):  # noqa: PT012
            for seq in itertools.count():
                journal.write(*account(seq), {})
                told.append(seq)
    with Journal(path) as journal:
        assert [report.seq for report in journal.reports()] == told


class Fed:
    """infer's intake, with its fields already prepared."""

    fields: tuple[Field, ...] = ()

    def __init__(self, _job: Job, prepare: Any, kept: set[int]) -> None:
        self.ready: queue.Queue[Ready] = queue.Queue()
        for field in self.fields:
            if field.seq not in kept:
                self.ready.put(Ready(prepare(with_focus(field)), {}))
        self.finished = threading.Event()
        self.finished.set()
        self.error = None
        self.skipped = self.messages_dropped = 0
        self.problem = self.map_problem = ""
        self.shown, self.kept = None, 0

    def close(self) -> None:
        pass


class Ends:
    """A supervisor that ends a session as soon as it says that it has finished."""

    def __init__(self) -> None:
        self.stopping = False
        self.told: list[str] = []

    def beat(self, state: str = "running", **_: object) -> None:
        self.told.append(state)
        self.stopping = state == "finished"


@pytest.fixture
def networks(tiny_set: Path) -> Iterator[NetworkSet]:
    with open_set(str(tiny_set), threads=1) as opened:
        yield opened


@pytest.fixture
def short_job(replay_job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job whose journal has begun, of a slide of four fields."""
    job = begin(replay_job)
    with contextlib.closing(open_job_source(job)) as source:
        Fed.fields = tuple(itertools.islice(source.fields(), FIELDS))
        name = source.card.name
    with Journal(job.journal) as journal:
        journal.set("slide", SlideCard(name=name, fields_planned=FIELDS))
    monkeypatch.setattr(infer, "Intake", Fed)
    return job


def one_life(job: Job, networks: NetworkSet) -> Ends:
    life = Ends()
    silent: Any = SimpleNamespace(send=lambda _message: None)
    with Journal(job.journal) as journal:
        session = infer._Session(job, life, networks, journal, silent)  # type: ignore[arg-type]
        try:
            session.run()
        finally:
            session.close()
    return life


SESSION_FAULTS = [
    *(("statement", statement_fails, number) for number in range(3, MOST, 3)),
    *(("file size", files_end_at, kilobytes) for kilobytes in range(36, 200, 16)),
]


@pytest.mark.parametrize("mode", ["replay", "live"])
def test_session_finishes_only_when_its_journal_holds_every_field(
    short_job: Job, networks: NetworkSet, tmp_path: Path, mode: Any
) -> None:
    outcomes = set()
    job = short_job
    begun = job.journal.read_bytes()
    for _, fails, number in SESSION_FAULTS:
        for path in job.folder.glob("session.sqlite*"):
            path.unlink()
        job.journal.write_bytes(begun)
        finished = True
        try:
            with fails(number):
                one_life(Job(**{**asdict(job), "mode": mode}), networks)
        except DiskError:
            finished = False
        with Journal(job.journal) as journal:
            session = read_session(journal)
        outcomes.add(finished)
        assert session.finished == finished
        assert session.score.fields == len(session.reports)
        if finished:
            assert len(session.reports) == FIELDS
        else:
            # What failed is done again by a life whose disk has room.
            one_life(job, networks)
            with Journal(job.journal) as journal:
                assert read_session(journal).finished
    assert outcomes == {True, False}


def asdict(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


@pytest.mark.parametrize("number", range(1, 12))
def test_output_that_cannot_be_written_is_no_output(
    short_job: Job,
    networks: NetworkSet,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    one_life(short_job, networks)
    left = number
    write_bytes = Path.write_bytes

    def full(path: Path, content: Any) -> int:
        nonlocal left
        left -= 1
        if left > 0:
            return write_bytes(path, content)
        write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    folder = short_job.folder
    with monkeypatch.context() as patched, Journal(short_job.journal) as journal:
        patched.setattr(Path, "write_bytes", full)
        with contextlib.suppress(DiskError):
            write_outputs(folder, journal)
            assert left > 0
    assert not list(folder.rglob("*.part"))
    if left <= 0:
        assert not (folder / "slide.json").exists()
    with Journal(short_job.journal) as journal:
        write_outputs(folder, journal)
    assert json.loads((folder / "slide.json").read_text())["finished"]


@pytest.mark.parametrize("kilobytes", range(1, 90, 8))
def test_recording_plays_the_fields_that_it_said_it_kept(
    tmp_path: Path, kilobytes: int
) -> None:
    rng = np.random.default_rng(1)
    kept = []
    with (
        files_end_at(1),
        RecordingWriter(tmp_path, SourceCard("s", 0.25, 64, 48)) as writer,
    ):
        soft = kilobytes * 1024
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with pytest.raises(DiskError, match="free some space"):  # noqa: PT012
            for seq in itertools.count():
                # Each of another size: some fail in their pixels, some in their line.
                side = 4 + 3 * (seq % 60)
                pixels = rng.integers(0, 255, (side, side, 3), np.uint8)
                writer.write(Field(0.25, seq, 0, fault="x" * (seq % 7), pixels=pixels))
                kept.append(seq)
    source = RecordingSource(tmp_path)
    assert [field.seq for field in source.fields()] == kept


def skip_without_mounts() -> None:
    tried = subprocess.run(
        [*APART, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no file system may be mounted here: {tried.stderr.decode()}")


def write_rig(job: Job, path: Path) -> Path:
    camera, network = job.rig.camera, job.rig.network
    path.write_text(
        f"[camera]\nwidth_px = {camera.width_px}\nheight_px = {camera.height_px}\n"
        f"um_per_px = {camera.um_per_px}\n"
        f"[network]\nset = '{network.set}'\nthreads = 1\n"
    )
    return path


APART = ("unshare", "-rm")
SIZES_KB = [160, 300, 8000]


def test_full_file_system_ends_with_status_1_or_all_is_kept(
    replay_job: Job, tmp_path: Path
) -> None:
    """The real command on a small file system, from too small to large enough."""
    skip_without_mounts()
    rig = write_rig(replay_job, tmp_path / "rig.toml")
    place, copies = tmp_path / "small", tmp_path / "copies"
    place.mkdir()
    statuses = []
    for size in SIZES_KB:
        script = (
            'mount -t tmpfs -o "size=$1k" tmpfs "$2" && shift && small="$1" && shift '
            '&& copy="$1" && shift; "$@"; status=$?; cp -r "$small" "$copy"; '
            "exit $status"
        )
        command = [sys.executable, "-m", "armicro", "replay", replay_job.slide]
        command += ["--headless", "--rig", str(rig), "--out", str(place)]
        copy = copies / str(size)
        copy.parent.mkdir(exist_ok=True)
        in_place = ("sh", str(size), str(place), str(copy))
        done = subprocess.run(
            [*APART, "sh", "-c", script, *in_place, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert "Traceback" not in done.stderr
        statuses.append(done.returncode)
        journal_path = copy / "drawn" / "session.sqlite"
        if done.returncode:
            assert "free" in done.stderr.splitlines()[-1]
        if not journal_path.exists():
            continue
        with Journal(journal_path) as journal:
            session = read_session(journal)
        whole = len(session.reports) == session.slide.fields_planned
        assert whole or done.returncode == 1
        summary = copy / "drawn" / "slide.json"
        if summary.exists():
            assert json.loads(summary.read_text())["finished"] <= whole
    assert statuses[0] == 1
    assert statuses[-1] == 0


def test_replay_whose_journal_lacks_a_field_has_not_ended_well(
    replay_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Journal.done
    monkeypatch.setattr(Journal, "done", lambda journal: done(journal)[:-1])
    session, ended = run_job(replay_job, quiet=True)
    assert "planned fields are in the journal" in ended
    assert session.score.fields
