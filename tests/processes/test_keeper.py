"""The thread that stitches: drops in live, waits in a replay, outlives a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import numpy as np
import openslide
import pytest
from PIL import Image

from armicro.mosaic import MOSAIC, MosaicFile
from armicro.processes.job import Job, Mode, Part
from armicro.processes.keeper import Keeper, keeps_map, stitches_beside
from armicro.processes.session import begin, run_job, write_all
from armicro.processes.supervisor import Supervisor
from armicro.rig import Map, Rig, Scan
from armicro.session.slide_file import write_slide
from armicro.slide.journal import Journal
from armicro.source import SourceCard
from armicro.source.recording import RecordingWriter
from armicro.wire.topic import Beat
from tests.patience import PATIENCE_S
from tests.slide.world import field_at


def spots_in(path: Path) -> int:
    with MosaicFile(path) as mosaic:
        return len(mosaic.spots())


def test_a_mosaic_that_cannot_be_written_ends_nothing_else(tmp_path: Path) -> None:
    (tmp_path / MOSAIC).write_bytes(b"no database" * 99)
    with Keeper(tmp_path / MOSAIC) as keeper:
        keeper.take(field_at(0, 0))
        assert not keeper.rest()
    assert "move it away" in keeper.problem


def test_killed_what_was_taken_at_once_stays_and_can_be_assembled(
    tmp_path: Path,
) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from armicro.processes.keeper import Keeper
        from tests.slide.world import walk

        keeper = Keeper(Path(sys.argv[1]))
        for field in walk(40, 1, size_px=(640, 512)):
            keeper.take(field, at_once=True)
            print(field.seq, flush=True)
        time.sleep(600)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / MOSAIC)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    with child, child.stdout:
        for line in child.stdout:
            if int(line) >= 12:
                break
        child.send_signal(signal.SIGKILL)
    with Journal(tmp_path / "session.sqlite") as journal:
        card = write_slide(tmp_path, journal)
    assert card is not None
    # Thirteen fields, each further by four fifths of its width.
    assert card.width_px >= 12 * 512 + 630
    written = spots_in(tmp_path / MOSAIC)
    with Keeper(tmp_path / MOSAIC) as keeper:
        keeper.take(field_at(9_000.0, 0.0))
    assert spots_in(tmp_path / MOSAIC) > written


def test_a_replay_that_is_asked_to_leaves_a_slide_beside_its_findings(
    replay_job: Job, drawn_slide: Path
) -> None:
    session, ended = run_job(msgspec.structs.replace(replay_job, map=True), quiet=True)
    assert ended == ""
    assert session.map is not None
    assert session.map.um_per_px == replay_job.rig.camera.um_per_px
    with openslide.OpenSlide(str(replay_job.folder / "slide.tif")) as slide:
        stitched = np.asarray(
            slide.get_thumbnail((300, 300)).resize((150, 110)).convert("RGB"), int
        )
    card = session.map
    with openslide.OpenSlide(str(drawn_slide)) as slide:
        scale = card.um_per_px / 0.243
        size = round(card.width_px * scale), round(card.height_px * scale)
        true = slide.read_region((0, 0), 0, size).convert("RGBA")
        ground = Image.new("RGBA", size, (*card.background_rgb, 255))
        ground.alpha_composite(true)
        drawn = np.asarray(ground.convert("RGB").resize((150, 110)), int)
    assert np.abs(stitched - drawn).mean() < 3
    first = session.findings[0]
    shapes = json.loads((replay_job.folder / "findings.geojson").read_text())
    left, top = shapes["features"][0]["geometry"]["coordinates"][0][0]
    assert left * card.um_per_px == pytest.approx(first.x_um - first.width_um / 2, 1e-3)
    assert top * card.um_per_px == pytest.approx(first.y_um - first.height_um / 2, 1e-3)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"mode": "live"}, True),
        ({"mode": "live", "rig": Rig(map=Map(keep=False))}, False),
        ({"mode": "replay", "slide": "RECORDING"}, True),
        ({"mode": "replay", "slide": "slide.svs"}, False),
        ({"mode": "replay", "slide": "slide.svs", "map": True}, True),
        (
            {
                "mode": "replay",
                "slide": "slide.svs",
                "rig": Rig(scan=Scan(hide_place=True)),
            },
            True,
        ),
    ],
)
def test_a_map_is_kept_where_no_slide_file_is_one_already(
    tmp_path: Path, changes: dict[str, object], kept: bool
) -> None:
    with RecordingWriter(tmp_path / "recording", SourceCard("live", 0.25, 640, 512)):
        pass
    if changes.get("slide") == "RECORDING":
        changes = {**changes, "slide": str(tmp_path / "recording")}
    job = Job(session="", mode="live", rig=Rig(), out=str(tmp_path))
    assert keeps_map(msgspec.structs.replace(job, **changes)) == kept


@pytest.mark.parametrize(
    ("mode", "part", "beside"),
    [
        ("live", "all", True),
        ("live", "inference", False),
        ("replay", "all", False),
    ],
)
def test_a_live_camera_has_a_keeper_of_its_own(
    tmp_path: Path, mode: Mode, part: Part, beside: bool
) -> None:
    job = Job(session="", mode=mode, rig=Rig(), out=str(tmp_path), part=part, map=True)
    assert keeps_map(job)
    assert stitches_beside(job) == beside


def test_live_the_slide_grows_beside_the_others_and_through_a_kill(
    replay_job: Job, tmp_path: Path
) -> None:
    camera = msgspec.structs.replace(
        replay_job.rig.camera,
        driver="simulated",
        emulated_image="drawn",
        emulated_pan_um_per_s=60.0,
        uncalibrated=True,
    )
    rig = msgspec.structs.replace(replay_job.rig, camera=camera)
    job = begin(Job(session="", mode="live", rig=rig, out=str(tmp_path / "live")))
    supervisor = Supervisor(job, seconds=PATIENCE_S)
    killed: list[int] = []

    def on_beat(beat: Beat) -> None:
        if beat.process == "keeper" and beat.fields >= 2 and not killed:
            killed.append(beat.pid)
            os.kill(beat.pid, signal.SIGKILL)
        if beat.process == "keeper" and beat.fields >= 8 and beat.pid not in killed:
            supervisor.stop("it has seen enough")

    supervisor.on_beat = on_beat
    assert supervisor.run() == "it has seen enough"
    assert [event.text.split()[0] for event in supervisor.events] == ["keeper"]
    with Journal(job.journal) as journal:
        session = write_all(job.folder, journal, quiet=True)
    assert session.map is not None
    with openslide.OpenSlide(str(job.folder / "slide.tif")) as slide:
        assert slide.dimensions[0] > 640
