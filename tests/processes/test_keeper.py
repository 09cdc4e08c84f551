"""The thread that stitches: drops in live, waits in a replay, outlives a kill."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import numpy as np
import openslide
import pytest
from PIL import Image

from armicro.processes.job import Job, Part
from armicro.processes.keeper import Keeper, keeps_map, open_keeper
from armicro.processes.run import run_job
from armicro.rig import Map, Rig
from armicro.session.slide_file import write_slide
from armicro.slide.journal import Journal
from armicro.slide.mosaic_file import MOSAIC, MosaicFile
from armicro.source import Card
from armicro.source.recording import RecordingWriter
from tests.slide.world import field_at, walk


def spots_in(path: Path) -> int:
    with MosaicFile(path) as mosaic:
        return len(mosaic.spots())


def test_a_replay_stitches_every_field(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / MOSAIC, newest=False)
    for field in walk(6, 1, overlap=0.0, size_px=(512, 512)):
        keeper.put(field)
    keeper.close()
    assert keeper.dropped == 0
    assert spots_in(tmp_path / MOSAIC) >= 6


def test_live_never_waits_and_counts_what_it_drops(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / MOSAIC, newest=True)
    fields = list(walk(20, 2, size_px=(640, 512)))
    begun = time.perf_counter()
    for _ in range(5):
        for field in fields:
            keeper.put(field)
    spent_s = time.perf_counter() - begun
    keeper.close()
    assert spent_s < 1.0
    assert keeper.dropped > 0
    assert spots_in(tmp_path / MOSAIC) > 0


def test_a_mosaic_that_cannot_be_written_ends_nothing_else(tmp_path: Path) -> None:
    (tmp_path / MOSAIC).write_bytes(b"no database" * 99)
    keeper = Keeper(tmp_path / MOSAIC, newest=False)
    for seq in range(5):
        keeper.put(field_at(0, 0, seq=seq))
    keeper.close()
    assert "move it away" in keeper.problem


def test_killed_what_was_written_stays_and_can_be_assembled(tmp_path: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from armicro.processes.keeper import Keeper
        from tests.slide.world import walk

        keeper = Keeper(Path(sys.argv[1]), newest=False)
        for field in walk(40, 1, size_px=(640, 512)):
            keeper.put(field)
            print(field.seq, flush=True)
        time.sleep(60)
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
    written = spots_in(tmp_path / MOSAIC)
    assert written >= 5
    with Journal(tmp_path / "session.sqlite") as journal:
        card = write_slide(tmp_path, journal)
    assert card is not None
    keeper = Keeper(tmp_path / MOSAIC, newest=False)
    keeper.put(field_at(9_000.0, 0.0))
    keeper.close()
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
    ],
)
def test_a_map_is_kept_where_no_slide_file_is_one_already(
    tmp_path: Path, changes: dict[str, object], kept: bool
) -> None:
    with RecordingWriter(tmp_path / "recording", Card("live", 0.25, 640, 512)):
        pass
    if changes.get("slide") == "RECORDING":
        changes = {**changes, "slide": str(tmp_path / "recording")}
    job = Job(session="", mode="live", rig=Rig(), out=str(tmp_path))
    assert keeps_map(msgspec.structs.replace(job, **changes)) == kept


@pytest.mark.parametrize(
    ("part", "process"), [("all", "capture"), ("inference", "infer")]
)
def test_one_process_keeps_the_map_where_the_journal_lies(
    tmp_path: Path, part: Part, process: str
) -> None:
    job = Job(session="", mode="live", rig=Rig(), out=str(tmp_path), part=part)
    for asked in ("capture", "infer"):
        keeper = open_keeper(job, asked)
        assert (keeper is not None) == (asked == process)
        if keeper is not None:
            keeper.close()
