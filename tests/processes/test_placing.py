"""Sessions whose source keeps to itself where its fields lie."""

import contextlib
import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from armicro.field import Field, Place
from armicro.overlay.snapshot import OverlaySettings, Snapshot
from armicro.overlay.words import Banner, banner
from armicro.place.claim import RegisterChoice
from armicro.processes.capture import MAP_NAME, Placing
from armicro.processes.job import Job
from armicro.processes.reader import open_job_source
from armicro.processes.session import begin, run_job
from armicro.processes.supervisor import Supervisor
from armicro.report import FieldReport
from armicro.rig import Rig
from armicro.session.output import write_outputs
from armicro.session.page import render_page
from armicro.session.record import read_session
from armicro.slide.journal import Journal
from armicro.verdict import state_text
from armicro.wire.topic import Beat
from tests.cells import cut_turned, draw_cells, field_at
from tests.overlay.scene import SECOND_NS, slide_with
from tests.overlay.scene import field_at as field_of_scene

SCENE = draw_cells(7)


def job_at(folder: Path, rig: Rig | None = None) -> Job:
    return Job("test", "live", rig or Rig(), str(folder))


def test_capture_that_was_killed_finds_its_map_again(tmp_path: Path) -> None:
    first = Placing(job_at(tmp_path))
    for seq, x in enumerate((100, 250, 400)):
        first.place(field_at(SCENE, x, 100, seq))
    # Never closed: killed. The next process opens the same folder.
    with contextlib.closing(Placing(job_at(tmp_path))) as second:
        place = second.place(field_at(SCENE, 330, 140, 9)).place
    assert place is not None
    assert (place.x_um, place.y_um) == pytest.approx((230, 40), abs=0.5)
    first.close()


def test_slide_file_place_needs_no_map(tmp_path: Path) -> None:
    field = Field(
        0.3, 0, 0, Place(1, 2, 0, "slide_file"), pixels=np.zeros((8, 8, 3), np.uint8)
    )
    placing = Placing(job_at(tmp_path / "none"))
    assert placing.place(field) is field
    assert not (tmp_path / "none").exists()


def test_rig_can_switch_registration_off(tmp_path: Path) -> None:
    rig = Rig(register=RegisterChoice(enabled=False))
    placing = Placing(job_at(tmp_path, rig))
    assert placing.place(field_at(SCENE, 100, 100)).place is None
    assert not (tmp_path / MAP_NAME).exists()


def test_replay_with_hidden_places_still_finds_the_lesions(replay_job: Job) -> None:
    scan = msgspec.structs.replace(replay_job.rig.scan, overlap=0.5, hide_place=True)
    rig = msgspec.structs.replace(replay_job.rig, scan=scan)
    session, ended = run_job(msgspec.structs.replace(replay_job, rig=rig), quiet=True)
    assert ended == ""
    placed = [report.place for report in session.reports if report.place is not None]
    assert len(placed) > 0.9 * len(session.reports)
    assert {place.origin for place in placed} == {"image_registration"}
    assert session.score.findings > 0
    # The first field, at the slide's corner, is where the register begins to count.
    assert max(place.x_um for place in placed) > 300


def test_capture_killed_in_a_replay_with_hidden_places_finds_its_way_again(
    replay_job: Job, tmp_path: Path
) -> None:
    shown = msgspec.structs.replace(replay_job.rig.scan, overlap=0.5)
    hidden = msgspec.structs.replace(shown, hide_place=True)
    rigs = [msgspec.structs.replace(replay_job.rig, scan=s) for s in (shown, hidden)]
    job = msgspec.structs.replace(replay_job, rig=rigs[0])
    with contextlib.closing(open_job_source(job)) as source:
        truth = {field.seq: field.place for field in source.fields()}
    job = begin(msgspec.structs.replace(job, rig=rigs[1], out=str(tmp_path / "killed")))
    supervisor, killed = Supervisor(job), set[int]()

    def on_beat(beat: Beat) -> None:
        pid = supervisor.pid("capture")
        if beat.process == "infer" and beat.fields >= 8 and pid and not killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    supervisor.on_beat = on_beat
    assert supervisor.run() == ""
    assert len(killed) == 1
    with Journal(job.journal) as journal:
        reports = write_outputs(job.folder, journal).reports
    offsets = []
    for report in reports:
        true, seen = truth[report.seq], report.place
        if true is not None and seen is not None:
            offsets.append((seen.x_um - true.x_um, seen.y_um - true.y_um))
    assert len(reports) == len(truth)
    assert len(offsets) > 0.9 * len(truth)
    # A second origin after the kill would show here.
    assert np.ptp(offsets, axis=0).max() < 2.0


def told_of(folder: Path, fields: list[Field]) -> str:
    """The report of a session that holds these fields."""
    with Journal(folder / "session.sqlite") as journal:
        for field in fields:
            width_um, height_um = field.size_um
            report = FieldReport(
                field.seq,
                "analysed",
                place=field.place,
                width_um=width_um,
                height_um=height_um,
            )
            journal.write(report, [], {})
        return render_page(read_session(journal))


def test_turned_camera_is_told_over_the_picture_and_in_the_report(
    tmp_path: Path,
) -> None:
    scene, fields = draw_cells(7, cells=330), []
    placing = Placing(job_at(tmp_path))
    for seq in range(6):
        middle = 300.0 + 90 * seq, 300.0
        pixels = cut_turned(scene, middle, 0.0 if seq < 3 else 3.0, seed=seq)
        fields.append(placing.place(Field(1.0, seq, seq, pixels=pixels)))
    placing.close()
    # A capture that is started again goes on where it was.
    with contextlib.closing(Placing(job_at(tmp_path))) as placing:
        pixels = cut_turned(scene, (700.0, 310.0), 3.0, seed=6)
        stage = Place(700.0, 310.0, 0.5, "stage_encoder")
        again = Field(1.0, 6, 6, place=stage, pixels=pixels)
        fields.append(placing.place(again))
    origins = [field.place and field.place.origin for field in fields]
    assert origins == ["image_registration"] * 3 + ["turned_camera"] * 4

    said = state_text("camera_turned")
    shown = field_of_scene(fields[-1].place)
    snapshot = Snapshot(shown, slide_with(), heard_ns=SECOND_NS)
    assert banner(snapshot, shown, SECOND_NS, OverlaySettings()) == Banner(said)
    page = told_of(tmp_path, fields)
    assert "The camera was turned: a new map began" in page


def test_map_that_nothing_ties_to_the_first_field_is_told(tmp_path: Path) -> None:
    scene = draw_cells(7, width=2400, cells=600)
    # What lies around the first field is glass.
    scene[:, 460:760] = 236
    path = [(40, 100), *((800 + 100 * k, 100 + 90 * (k % 2)) for k in range(14))]
    with contextlib.closing(Placing(job_at(tmp_path))) as placing:
        fields = [placing.place(field_at(scene, *at, k)) for k, at in enumerate(path)]
    places = [field.place for field in fields]
    assert places[0] is not None
    assert all(place is None for place in places[1:12])
    assert [place and place.origin for place in places[12:]] == ["map_apart"] * 3
    for place, at in zip(places[12:], path[12:], strict=True):
        assert place is not None
        assert places[12] is not None
        way = place.x_um - places[12].x_um, place.y_um - places[12].y_um
        assert way == pytest.approx((at[0] - path[12][0], at[1] - path[12][1]), abs=1)
        assert place.x_um > 5000
    said = state_text("map_apart")
    shown = field_of_scene(places[-1])
    snapshot = Snapshot(shown, slide_with(), heard_ns=SECOND_NS)
    assert banner(snapshot, shown, SECOND_NS, OverlaySettings()) == Banner(said)
    page = told_of(tmp_path, fields)
    assert "Nothing tied these fields to the first: a new map began" in page
    assert "camera was turned" not in page
