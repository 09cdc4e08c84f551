"""A certificate that is not in force, through the real processes."""

import os
import signal
from pathlib import Path

import cv2
import msgspec
import pytest

from armicro.__main__ import main
from armicro.calibrate.certificate import Certificate, Instrument, Scale, Stage
from armicro.certificate import now, read_certificate, record
from armicro.phantom import paint_field
from armicro.processes.job import Job
from armicro.processes.session import begin, run_job
from armicro.processes.supervisor import Supervisor
from armicro.rig import Rig, read_rig
from armicro.session.output import write_outputs
from armicro.session.record import Session
from armicro.slide.journal import Journal
from armicro.wire.topic import Beat
from tests.patience import PATIENCE_S

EMULATED = "Emulation 0815-0000"


def certified(
    folder: Path, rig: Rig, camera: str = "", *, objective: str = "20x"
) -> Path:
    """Write a rig for objective 20x and its certificate; return the rig's path."""
    instrument = Instrument(
        camera=camera,
        width_px=rig.camera.width_px,
        height_px=rig.camera.height_px,
        objective=objective,
    )
    scale = Scale(measured_at=now(), um_per_px=0.39, standard_error=1e-4)
    record(folder / "certificate.toml", instrument, scale, by="tester")
    path = folder / "rig.toml"
    shown = rig.camera
    path.write_text(
        'objective = "20x"\ncertificate = "certificate.toml"\n'
        f'[camera]\ndriver = "{shown.driver}"\nwidth_px = {shown.width_px}\n'
        f"height_px = {shown.height_px}\num_per_px = {shown.um_per_px}\n"
        f"frames_per_second = 5\nemulated_image = '{shown.emulated_image}'\n"
        f"emulated_pan_um_per_s = {shown.emulated_pan_um_per_s}\n"
        f"[network]\nset = '{rig.network.set}'\nthreads = 1\n"
    )
    return path


@pytest.fixture
def emulated_rig(small_rig: Rig, tmp_path: Path) -> Rig:
    """Pylon's emulated camera over a drawn picture that holds lesion cells."""
    pytest.importorskip("pypylon", reason="pypylon is not installed")
    camera = msgspec.structs.replace(
        small_rig.camera,
        driver="basler",
        emulated_image=str(draw(tmp_path / "drawn.bmp", 1280, 1024)),
        emulated_pan_um_per_s=50.0,
    )
    return msgspec.structs.replace(small_rig, camera=camera)


@pytest.mark.parametrize(
    ("camera", "objective", "reason"),
    [
        (EMULATED, "40x", "certificate is for objective 40x, the rig has 20x"),
        ("acA2440 4711", "20x", f"connected is {EMULATED}"),
    ],
)
def test_live_shows_fields_without_boxes_and_says_why(
    emulated_rig: Rig, tmp_path: Path, camera: str, objective: str, reason: str
) -> None:
    rig = read_rig(certified(tmp_path, emulated_rig, camera, objective=objective))
    job = Job(session="", mode="live", rig=rig, out=str(tmp_path / "live"))
    session = live_until(job, reason)
    assert {report.state for report in session.reports} == {"bad_scale"}
    assert all(reason in report.reason for report in session.reports)
    assert (session.score.score, session.findings) == (None, ())
    assert reason in (job.folder / "report.html").read_text()


def test_stage_that_drifted_turns_boxes_off_while_the_session_runs(
    small_rig: Rig, tmp_path: Path
) -> None:
    # The certificate's stage moves 5 % further than the simulated one does.
    camera = msgspec.structs.replace(
        small_rig.camera,
        driver="simulated",
        emulated_image=str(draw(tmp_path / "drawn.bmp", 1920, 1536)),
        # So slow that infer, once it runs, sees fields before the drift is proved.
        emulated_pan_um_per_s=20.0,
    )
    rig = msgspec.structs.replace(small_rig, camera=camera)
    path = certified(tmp_path, rig, "simulated microscope")
    wrong = ((1.05, 0.0), (0.0, 1.05))
    stage = Stage(measured_at=now(), um_per_step=wrong, standard_error=1e-3)
    held = read_certificate(tmp_path / "certificate.toml")
    record(tmp_path / "certificate.toml", held.instrument, stage, by="tester")
    job = Job(session="", mode="live", rig=read_rig(path), out=str(tmp_path / "live"))
    session = live_until(job, "scale drifted", together=True)
    first, *_, last = session.reports
    assert first.state in ("analysed", "blank")
    assert last.state == "bad_scale"
    assert "less than the stage (limit" in last.reason
    # 1 / 1.05: the picture's way over the stage's.
    said = float(last.reason.split("pictures go ")[1].split(" %")[0])
    assert said == pytest.approx(4.8, abs=0.3)


def live_until(job: Job, words: str, *, together: bool = False) -> Session:
    """Run a live session until a field's reason has these words.

    Args:
        job: the session.
        words: of the reason.
        together: the camera stops until infer runs, however long that takes.
    """
    job = begin(job)
    stopped: set[int] = set()
    infer_runs = not together
    supervisor = Supervisor(job, seconds=PATIENCE_S)

    def on_beat(beat: Beat) -> None:
        nonlocal infer_runs
        if beat.process == "capture" and not infer_runs and beat.pid not in stopped:
            stopped.add(beat.pid)
            os.kill(beat.pid, signal.SIGSTOP)
        if beat.process == "infer" and beat.state != "starting" and not infer_runs:
            infer_runs = True
            if (pid := supervisor.pid("capture")) is not None:
                os.kill(pid, signal.SIGCONT)
        if beat.process == "infer" and beat.fields:
            with Journal(job.journal) as journal:
                if any(words in report.reason for report in journal.reports()):
                    supervisor.stop("it has seen enough")

    supervisor.on_beat = on_beat
    supervisor.run()
    with Journal(job.journal) as journal:
        return write_outputs(job.folder, journal)


def draw(path: Path, width_px: int, height_px: int) -> Path:
    pixels, _ = paint_field(
        seed=1, width_px=width_px, height_px=height_px, um_per_px=0.4, lesions=12
    )
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def _of_another_objective(folder: Path, rig: Rig) -> Path:
    return certified(folder, rig, objective="40x")


def _edited(folder: Path, rig: Rig) -> Path:
    path = certified(folder, rig)
    held = folder / "certificate.toml"
    held.write_text(held.read_text().replace("0.39", "0.38"))
    return path


def _expired(folder: Path, rig: Rig) -> Path:
    path = certified(folder, rig)
    held = folder / "certificate.toml"
    instrument = Instrument(
        width_px=rig.camera.width_px, height_px=rig.camera.height_px, objective="20x"
    )
    held.unlink()
    old = "2020-01-01T00:00:00+00:00"
    record(held, instrument, Scale(measured_at=old, um_per_px=0.39, standard_error=0.0))
    return path


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (_of_another_objective, "is for objective 40x"),
        (_edited, "was edited"),
        (_expired, "expired on 2020-06-29"),
    ],
)
def test_replay_refuses_with_one_line_and_leaves_earlier_results_alone(
    replay_job: Job,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: object,
    word: str,
) -> None:
    assert callable(make)
    rig = make(tmp_path, replay_job.rig)
    before = replay_job.folder / "slide.json"
    before.parent.mkdir()
    before.write_text("{}")
    given = [replay_job.slide, "--rig", str(rig), "--out", str(tmp_path), "--headless"]
    assert main(["replay", *given]) == 2
    said = capsys.readouterr().err.strip()
    assert word in said
    assert len(said.splitlines()) == 1
    assert before.exists()


def test_replay_with_a_certificate_in_force_says_whose_word_the_scale_is(
    replay_job: Job, tmp_path: Path
) -> None:
    rig = read_rig(certified(tmp_path, replay_job.rig))
    assert rig.calibration is not None
    session, ended = run_job(msgspec.structs.replace(replay_job, rig=rig), quiet=True)
    assert ended == ""
    assert session.slide.um_per_px == pytest.approx(0.39, rel=0.01)
    digest = rig.calibration.digest
    assert session.rig["certificate"]["digest"] == digest
    assert digest in (replay_job.folder / "slide.json").read_text()
    report = (replay_job.folder / "report.html").read_text()
    assert digest in report
    # The folder's name may be a patient's.
    assert str(tmp_path) not in report
    with Journal(replay_job.journal) as journal:
        assert journal.get("certificate", Certificate) == rig.calibration
