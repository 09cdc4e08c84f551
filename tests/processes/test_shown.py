"""What was shown and never analysed, through the real processes of a live session."""

import json
import os
import signal
from pathlib import Path

import msgspec
import pytest

from armicro.processes import session as running
from armicro.processes.job import Job
from armicro.processes.session import run_job
from armicro.processes.supervisor import Supervisor
from armicro.rig import Camera, Rig, StageSettings
from armicro.wire.topic import Beat
from tests.patience import PATIENCE_S

CAMERA = Camera(
    driver="simulated",
    width_px=480,
    height_px=360,
    um_per_px=0.5,
    frames_per_second=10,
    uncalibrated=True,
    emulated_image="drawn",
    emulated_pan_um_per_s=150.0,
)


class Killing(Supervisor):
    """Kills infer once it has kept three fields, while capture goes on showing others.

    It ends the session when another infer is at work, before the stage comes back to
    what was shown meanwhile.
    """

    killed = 0

    def _hear(self, beat: Beat) -> None:
        super()._hear(beat)
        pid = self.pid("infer")
        if beat.process != "infer" or beat.fields < 3 or not pid:
            return
        if not self.killed:
            Killing.killed = pid
            os.kill(pid, signal.SIGKILL)
        elif beat.pid != self.killed:
            self.stop("infer is back")


def test_ground_that_passed_while_infer_was_away_is_told_by_every_output(
    small_rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "Supervisor", Killing)
    rig = msgspec.structs.replace(
        small_rig, camera=CAMERA, stage=StageSettings(driver="simulated")
    )
    job = Job(session="", mode="live", rig=rig, out=str(tmp_path / "live"))
    session, _ = run_job(job, quiet=True, seconds=PATIENCE_S)
    assert Killing.killed
    assert session.passed.chunks
    assert 0.0 < session.score.coverage < 1.0
    told = json.loads((job.folder / "slide.json").read_text())
    assert told["coverage"] == session.score.coverage
    assert told["coverage_text"] == session.coverage_text
    page = (job.folder / "report.html").read_text()
    assert session.coverage_text in page
    assert "was passed, not analysed" in page
    assert session.coverage_text in session.verdict
