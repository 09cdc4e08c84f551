"""Whole sessions through the real processes, on a drawn slide and tiny networks."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
import tifffile

from armicro.__main__ import main
from armicro.engine.registry import open_set
from armicro.errors import ArmicroError, SourceError
from armicro.pipeline import Pipeline
from armicro.processes import supervisor as supervising
from armicro.processes.display import JournalNotebook
from armicro.processes.job import Job
from armicro.processes.reader import open_job_source
from armicro.processes.session import begin, identity, run_job
from armicro.processes.supervisor import Supervisor
from armicro.rig import Wire
from armicro.session.output import findings_csv, write_outputs
from armicro.slide.decision import Decision
from armicro.slide.journal import Journal
from armicro.source.identity import slide_sha256
from armicro.source.recording import RecordingWriter
from armicro.wire.topic import Beat
from tests.patience import PATIENCE_S, wait_until
from tests.wire.test_two_processes import holders


def replaced(job: Job, folder: Path, **changes: object) -> Job:
    return msgspec.structs.replace(job, out=str(folder), **changes)


def findings_of(folder: Path) -> str:
    return (folder / "findings.csv").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Findings of undisturbed runs, by slide, so that each is read once."""
    return {}


def expected_findings(job: Job, folder: Path, known: dict[str, str]) -> str:
    if job.slide not in known:
        run_job(replaced(job, folder / "undisturbed", pace="fast"), quiet=True)
        known[job.slide] = findings_of(folder / "undisturbed")
    return known[job.slide]


def test_replay_gives_every_field_once_and_writes_its_folder(replay_job: Job) -> None:
    session, ended = run_job(replay_job, quiet=True)
    assert ended == ""
    with contextlib.closing(open_job_source(replay_job)) as source:
        planned = source.card.fields_planned
    assert session.score.fields == planned == len(session.reports)
    assert [report.seq for report in session.reports] == list(range(planned or 0))
    assert session.score.coverage == pytest.approx(1.0, abs=0.01)
    assert session.score.findings > 0
    assert session.score.score is not None
    for name in (
        "slide.json",
        "findings.csv",
        "findings.geojson",
        "latency.csv",
        "session.sqlite",
        "report.html",
    ):
        assert (replay_job.folder / name).stat().st_size > 0
    assert any((replay_job.folder / "top").glob("01_*.jpg"))


def test_batch_run_of_the_pipeline_finds_what_the_processes_find(
    replay_job: Job, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    expected = expected_findings(replay_job, tmp_path, undisturbed)
    rig = replay_job.rig
    with (
        open_set(rig.network.set, threads=1) as networks,
        contextlib.closing(open_job_source(replay_job)) as source,
    ):
        pipeline = Pipeline(networks, rig.cascade)
        for field in reversed(list(source.fields())):
            pipeline.step(field)
    assert findings_csv(pipeline.findings()) == expected


def kill_once(
    name: str, after: int, number: signal.Signals = signal.SIGKILL
) -> Callable[[Supervisor], Callable[[Beat], None]]:
    """Kill a child, as the system would, when so many fields are kept."""

    def hook(supervisor: Supervisor) -> Callable[[Beat], None]:
        killed: list[int] = []

        def on_beat(beat: Beat) -> None:
            pid = supervisor.pid(name)  # type: ignore[arg-type]
            if beat.process == "infer" and beat.fields >= after and pid and not killed:
                killed.append(pid)
                os.kill(pid, number)

        return on_beat

    return hook


@pytest.mark.parametrize("name", ["capture", "infer", "display"])
def test_killed_child_is_started_again_and_nothing_is_lost(
    slow_job: Job,
    tmp_path: Path,
    undisturbed: dict[str, str],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However long a new window takes to come up.
    monkeypatch.setattr(supervising, "SHOWN_S", PATIENCE_S)
    expected = expected_findings(slow_job, tmp_path, undisturbed)
    display = "offscreen" if name == "display" else "none"
    job = begin(replaced(slow_job, tmp_path / "killed", display=display))
    supervisor = Supervisor(job)
    supervisor.on_beat = kill_once(name, 2)(supervisor)
    assert supervisor.run() == ""
    assert [name in event.text for event in supervisor.events] == [True]
    with Journal(job.journal) as journal:
        session = write_outputs(job.folder, journal)
    assert findings_of(job.folder) == expected
    assert session.score.fields == len(session.reports)
    # Neither a death nor what it takes to start again is left out.
    analysed = [stations["analysed"] for _, stations in session.stations]
    assert session.wall_s is not None
    assert session.wall_s >= (max(analysed) - min(analysed)) / 1e9
    if display == "offscreen":
        assert (job.folder / "window.png").stat().st_size > 10_000
        painted = (job.folder / "painted.csv").read_text().splitlines()
        assert painted[0] == "grab_to_painted_ms"
        assert all(float(row) > 0 for row in painted[1:])


def test_a_window_stays_at_the_end_of_the_slide_until_it_is_closed(
    replay_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    job = begin(replaced(replay_job, tmp_path / "window", display="window"))
    supervisor = Supervisor(job)
    finished: list[str] = []

    def on_beat(beat: Beat) -> None:
        if beat.process == "infer" and beat.state == "finished":
            finished.append("told")
        # A session without a screen has long ended by then.
        display = supervisor.pid("display")
        if len(finished) == 20 and display:
            decide(job)
            os.kill(display, signal.SIGTERM)

    supervisor.on_beat = on_beat
    assert supervisor.run() == ""
    with Journal(job.journal) as journal:
        session = write_outputs(job.folder, journal)
    assert session.finished
    assert [one.reader for one in session.decided.decisions] == ["ada"]


def decide(job: Job) -> None:
    """Say something while the session's own processes hold the journal."""
    with Journal(job.journal) as journal:
        notebook = JournalNotebook(journal, "ada")
        found = next(journal.observations(crops=False)).finding
        assert notebook.crop(found) is not None
        notebook.keep(
            Decision(
                at="", reader="ada", x_um=found.x_um, y_um=found.y_um, verdict="accept"
            )
        )


def test_infer_that_somebody_ends_has_not_finished_the_slide(
    slow_job: Job, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    expected = expected_findings(slow_job, tmp_path, undisturbed)
    job = begin(replaced(slow_job, tmp_path / "ended"))
    supervisor = Supervisor(job)
    supervisor.on_beat = kill_once("infer", 2, signal.SIGTERM)(supervisor)
    assert supervisor.run() == ""
    with Journal(job.journal) as journal:
        write_outputs(job.folder, journal)
    assert findings_of(job.folder) == expected


def test_session_that_was_stopped_goes_on_where_it_was(
    slow_job: Job, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    expected = expected_findings(slow_job, tmp_path, undisturbed)
    job = begin(replaced(slow_job, tmp_path / "stopped"))
    supervisor = Supervisor(job)

    def stop_early(beat: Beat) -> None:
        if beat.process == "infer" and beat.fields >= 3:
            supervisor.stop("enough")

    supervisor.on_beat = stop_early
    assert supervisor.run() == "enough"
    with Journal(job.journal) as journal:
        kept = len(journal.reports())
    again = replaced(slow_job, tmp_path / "stopped", pace="fast")
    session, ended = run_job(again, quiet=True)
    assert ended == ""
    assert 3 <= kept < session.score.fields
    assert findings_of(tmp_path / "stopped") == expected


def test_session_of_another_rig_is_not_resumed(replay_job: Job) -> None:
    begin(replay_job)
    scan = msgspec.structs.replace(replay_job.rig.scan, overlap=0.5)
    other = msgspec.structs.replace(replay_job.rig, scan=scan)
    with pytest.raises(SourceError, match="another slide, region, scale or rig"):
        begin(msgspec.structs.replace(replay_job, rig=other))


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.99])
def test_another_slide_of_the_same_name_and_size_is_not_resumed(
    replay_job: Job, drawn_slide: Path, tmp_path: Path, at: float
) -> None:
    begin(replay_job)
    other = tmp_path / drawn_slide.name
    content = bytearray(drawn_slide.read_bytes())
    same = msgspec.structs.replace(replay_job, slide=str(other))
    other.write_bytes(content)
    begin(same)
    if at:
        content[int(at * len(content))] ^= 1
    else:
        content += bytes(64)
    other.write_bytes(content)
    with pytest.raises(SourceError, match="another slide, region, scale or rig"):
        begin(same)


def test_session_that_did_not_keep_its_slides_content_is_not_resumed(
    replay_job: Job,
) -> None:
    begin(replay_job)
    with Journal(replay_job.journal) as journal:
        journal.set("identity", '["drawn.tif",12345,null,null,"rig"]')
    with pytest.raises(SourceError, match="run again without --resume"):
        begin(replay_job)


def test_session_of_other_networks_is_not_resumed(replay_job: Job) -> None:
    run_job(replay_job, quiet=True)
    with Journal(replay_job.journal) as journal:
        engine = journal.get("engine", dict[str, str]) or {}
        journal.set("engine", engine | {"hash": "0123"})
    with pytest.raises(ArmicroError, match="begun with other networks") as caught:
        run_job(replay_job, quiet=True)
    assert caught.value.exit_status == 2


def test_what_was_found_is_written_when_a_child_fails_for_good(
    replay_job: Job, tmp_path: Path
) -> None:
    run_job(replay_job, quiet=True)
    (replay_job.folder / "report.html").unlink()
    network = msgspec.structs.replace(replay_job.rig.network, set="absent")
    rig = msgspec.structs.replace(replay_job.rig, network=network)
    job = msgspec.structs.replace(replay_job, rig=rig)
    with Journal(job.journal) as journal:
        journal.set("identity", identity(job, slide_sha256(Path(job.slide))))
    with pytest.raises(ArmicroError, match="absent"):
        run_job(job, quiet=True)
    assert "absent" in (replay_job.folder / "report.html").read_text()


def command(job: Job, *more: str) -> list[str]:
    rig = job.folder.with_suffix(".toml")
    rig.parent.mkdir(parents=True, exist_ok=True)
    camera, network = job.rig.camera, job.rig.network
    rig.write_text(
        f"[camera]\nwidth_px = {camera.width_px}\nheight_px = {camera.height_px}\n"
        f"um_per_px = {camera.um_per_px}\nframes_per_second = 1\n"
        f"[network]\nset = '{network.set}'\nthreads = 1\n"
    )
    return [
        *(sys.executable, "-m", "armicro", "replay", job.slide, "--headless"),
        *("--rig", str(rig), "--out", str(job.folder.parent), *more),
    ]


def fields_in(job: Job) -> int:
    if not job.journal.exists():
        return 0
    with Journal(job.journal) as journal:
        return sum(last - first + 1 for first, last in journal.done())


def shared_memory_of(process: psutil.Process) -> set[Path]:
    """Files in memory that it has mapped: another test's come and go meanwhile."""
    paths = {Path(mapped.path) for mapped in process.memory_maps()}
    return {path for path in paths if path.is_relative_to("/dev/shm")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_memory_outlives_the_supervisor(
    replay_job: Job, number: signal.Signals, short_folder: Path
) -> None:
    parent = subprocess.Popen(
        command(replay_job, "--pace", "realtime"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(short_folder)},
    )
    ring = f"armicro-ring-{parent.pid}"
    with parent:
        try:
            wait_until(lambda: fields_in(replay_job), child=parent, pause_s=0.1)
            children = psutil.Process(parent.pid).children()
            assert len(children) == 2
            processes = [psutil.Process(parent.pid), *children]
            assert holders(ring) == {process.pid for process in processes}
            shared = set().union(*map(shared_memory_of, processes))
            parent.send_signal(number)
            output = parent.communicate(timeout=PATIENCE_S)[0].decode()
        finally:
            parent.kill()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert alive == []
    assert not holders(ring)
    assert not [path for path in shared if path.exists()]
    assert list(short_folder.iterdir()) == []
    if number != signal.SIGKILL:
        assert parent.returncode == 1
        assert "--resume" in output
        assert (replay_job.folder / "report.html").exists()


BAD_INPUT = [
    # arguments, word of the one line that is said
    (("{folder}/absent.svs",), "no such slide"),
    (("{folder}/text.svs",), "text.svs"),
    (("{slide}", "--engines", "absent"), "absent"),
    (("{slide}", "--rig", "{folder}/absent.toml"), "absent.toml"),
    (("{slide}", "--rig", "{folder}/misspelt.toml"), "widht_px"),
    (("{slide}", "--out", "{folder}/text.svs"), "text.svs"),
    (("{slide}", "--region", "0,0,10"), "X,Y,W,H"),
    (("{slide}", "--um-per-px", "-1"), "no scale in µm/px"),
    (("{slide}", "--scan", "spiral"), "spiral"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD_INPUT)
def test_bad_input_is_one_line_and_status_2(
    drawn_slide: Path, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    (tmp_path / "text.svs").write_text("this is no slide")
    (tmp_path / "misspelt.toml").write_text("[camera]\nwidht_px = 640\n")
    given = [a.format(folder=tmp_path, slide=drawn_slide) for a in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "armicro", "replay", "--out", str(tmp_path), *given],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()
    assert word in said[-1]
    assert "Traceback" not in done.stderr


def free_ports() -> tuple[int, int]:
    """Two that nobody is given who asks the system for any, as other tests do."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(10_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found[0], found[1]


def test_infer_on_another_machine_gets_its_fields_over_curve(
    replay_job: Job, tmp_path: Path
) -> None:
    recording = tmp_path / "recording"
    with (
        contextlib.closing(open_job_source(replay_job)) as source,
        RecordingWriter(recording, source.card) as writer,
    ):
        for seen in itertools.islice(source.fields(), 4):
            writer.write(seen)
    assert main(["keys", str(tmp_path / "keys")]) == 0
    camera = msgspec.structs.replace(
        replay_job.rig.camera,
        driver="recording",
        device=str(recording),
        frames_per_second=2,
    )
    ports = free_ports()
    wire = Wire(
        capture=f"tcp://127.0.0.1:{ports[0]}",
        infer=f"tcp://127.0.0.1:{ports[1]}",
        keys=str(tmp_path / "keys"),
    )
    rig = msgspec.structs.replace(replay_job.rig, camera=camera, wire=wire)
    job = Job(session="", mode="live", rig=rig, out=str(tmp_path / "far"))
    near = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, msgspec\n"
            "from armicro.processes.job import Job\n"
            "from armicro.processes.session import run_job\n"
            "job = msgspec.json.decode(sys.argv[1], type=Job)\n"
            f"run_job(job, quiet=True, seconds={PATIENCE_S})\n",
            msgspec.json.encode(
                msgspec.structs.replace(
                    job, part="microscope", out=str(tmp_path / "near")
                )
            ).decode(),
        ]
    )
    try:
        far = msgspec.structs.replace(job, part="inference")
        session, ended = run_job(far, quiet=True, seconds=PATIENCE_S)
    finally:
        near.terminate()
        near.wait(PATIENCE_S)
    assert ended == ""
    assert 1 <= session.score.fields <= 4
    assert session.score.findings > 0


def test_slide_with_a_broken_tile_is_read_to_its_end(
    replay_job: Job, drawn_slide: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tif"
    with tifffile.TiffFile(drawn_slide) as slide:
        page = slide.pages[0]
        offset, size = page.dataoffsets[20], page.databytecounts[20]
    content = bytearray(drawn_slide.read_bytes())
    content[offset : offset + size] = bytes(size)
    broken.write_bytes(content)
    session, ended = run_job(
        msgspec.structs.replace(replay_job, slide=str(broken)), quiet=True
    )
    assert ended == ""
    planned = session.slide.fields_planned
    assert session.score.fields == planned
    assert 1 <= session.score.fields_unreadable < (planned or 0)
    assert session.score.coverage < 1.0
    faults = [r.reason for r in session.reports if r.state == "unreadable"]
    assert all(faults)


def test_network_file_that_was_changed_is_not_run(
    replay_job: Job, tiny_set: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(tiny_set, changed)
    content = bytearray((changed / "hr.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (changed / "hr.onnx").write_bytes(content)
    network = msgspec.structs.replace(replay_job.rig.network, set=str(changed))
    rig = msgspec.structs.replace(replay_job.rig, network=network)
    with pytest.raises(ArmicroError, match=r"hr\.onnx") as caught:
        run_job(msgspec.structs.replace(replay_job, rig=rig), quiet=True)
    assert caught.value.exit_status == 2


def test_bad_slide_does_not_cost_the_rest_of_the_batch(
    replay_job: Job, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_text("this is no slide")
    before = tmp_path / "out" / "bad" / "slide.json"
    before.parent.mkdir(parents=True)
    before.write_text("{}")
    out = str(tmp_path / "out")
    arguments = command(replay_job)[3:]
    arguments[arguments.index("--out") + 1] = out
    status = main([arguments[0], str(bad), *arguments[1:]])
    assert status == 1
    assert (tmp_path / "out" / "drawn" / "report.html").exists()
    assert before.exists()
