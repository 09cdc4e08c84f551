"""Live of a file, through the real processes: all of it is read, and none is lost."""

from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import tifffile

from armicro.__main__ import main
from armicro.errors import ArmicroError
from armicro.field import Pixels
from armicro.phantom import paint_field
from armicro.processes.job import Job
from armicro.processes.session import run_job
from armicro.rig import Rig
from armicro.session.record import Session
from tests.patience import PATIENCE_S

COUNT = 12
Make = Callable[[Path, list[Pixels]], Path]


def picture(seed: int) -> Pixels:
    return paint_field(
        seed=seed, width_px=640, height_px=512, um_per_px=0.4, lesions=2
    )[0]


def write_folder(path: Path, pictures: list[Pixels]) -> Path:
    path.mkdir()
    for index, pixels in enumerate(pictures):
        cv2.imwrite(str(path / f"img{index}.png"), pixels[..., ::-1])
    (path / "._img0.png").write_bytes(b"of macOS")
    return path


def write_stack(path: Path, pictures: list[Pixels]) -> Path:
    path = path.with_suffix(".tif")
    tifffile.imwrite(path, np.stack(pictures), photometric="rgb")
    return path


def write_film(path: Path, pictures: list[Pixels]) -> Path:
    path = path.with_suffix(".avi")
    codec = cv2.VideoWriter_fourcc(*"MJPG")  # type: ignore[attr-defined]
    writer = cv2.VideoWriter(str(path), codec, 10, (640, 512))
    for pixels in pictures:
        writer.write(np.ascontiguousarray(pixels[..., ::-1]))
    writer.release()
    return path


def live(rig: Rig, device: object, out: Path) -> Session:
    camera = msgspec.structs.replace(
        rig.camera, driver="video", device=str(device), uncalibrated=True
    )
    rig = msgspec.structs.replace(rig, camera=camera)
    session, ended = run_job(
        Job(session="", mode="live", rig=rig, out=str(out)),
        quiet=True,
        seconds=2 * PATIENCE_S,
    )
    assert ended == ""
    return session


@pytest.mark.parametrize("write", [write_folder, write_stack, write_film])
def test_photographs_are_each_a_field_on_ground_of_its_own(
    small_rig: Rig, tmp_path: Path, write: Make
) -> None:
    pictures = [picture(seed) for seed in range(COUNT)]
    session = live(small_rig, write(tmp_path / "in", pictures), tmp_path / "out")
    assert session.finished
    assert [report.seq for report in session.reports] == list(range(COUNT))
    assert {report.state for report in session.reports} == {"analysed"}
    assert session.fields_dropped == 0
    assert session.score.coverage == pytest.approx(1.0, abs=0.02)
    # Nothing of one is merged with what is in another.
    alone = sum(len(report.findings) for report in session.reports)
    assert len(session.findings) == alone > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Nobody knows how they lie to each other" in page


def test_film_of_a_stage_is_registered_and_every_picture_counts(
    small_rig: Rig, tmp_path: Path
) -> None:
    slide = paint_field(
        seed=9, width_px=2100, height_px=512, um_per_px=0.4, lesions=12
    )[0]
    walk = [slide[:, x : x + 640] for x in range(0, 1400, 60)]
    session = live(small_rig, write_film(tmp_path / "in", walk), tmp_path / "out")
    assert [report.seq for report in session.reports] == list(range(len(walk)))
    places = [report.place for report in session.reports]
    error_um = [
        abs(place.x_um - index * 24) if place else np.inf
        for index, place in enumerate(places)
    ]
    assert max(error_um) < 1
    # Cells that are seen again and again are one finding each.
    assert len(session.findings) < sum(len(r.findings) for r in session.reports) / 3


def command(rig: Rig, driver: str, device: object, folder: Path) -> list[str]:
    camera = rig.camera
    (folder / "rig.toml").write_text(
        f'[camera]\ndriver = "{driver}"\ndevice = "{device}"\nuncalibrated = true\n'
        f"width_px = {camera.width_px}\nheight_px = {camera.height_px}\n"
        f"um_per_px = {camera.um_per_px}\n"
        f'[network]\nset = "{rig.network.set}"\nthreads = 1\n'
    )
    out = ["--out", str(folder / "out"), "--name", "s", "--headless"]
    return ["live", "--rig", str(folder / "rig.toml"), *out]


def test_odd_pictures_are_named_and_the_others_are_done(
    small_rig: Rig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "in", [picture(1), picture(2)])
    (folder / "img10.png").write_bytes(b"")
    cv2.imwrite(str(folder / "img1a.png"), np.full((99, 99, 3), 200, np.uint8))
    assert main(command(small_rig, "video", folder, tmp_path)) == 1
    said = capfd.readouterr().err
    assert "field 2: unreadable: img1a.png: 99x99 px, most here have 640x512" in said
    assert "field 3: unreadable: img10.png: the file is empty" in said


@pytest.mark.parametrize(
    ("driver", "device", "seconds"),
    [
        ("video", "977", "60"),
        ("video", "/dev/v4l/by-id/usb-nothing-index0", "60"),
        ("video", "/nowhere/film.avi", "60"),
        ("basler", "no such serial number", "0.2"),
        ("micromanager", "none", "0.2"),
        ("video", "977", "0.2"),
    ],
)
def test_session_without_any_field_fails_in_one_line(
    small_rig: Rig,
    tmp_path: Path,
    driver: str,
    device: str,
    seconds: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = command(small_rig, driver, device, tmp_path)
    assert main([*asked, "--seconds", seconds]) in (1, 2)
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert (
        len([line for line in said.splitlines() if line.startswith("armicro live: ")])
        == 1
    )


def test_certificate_out_of_force_lets_a_live_file_be_seen_without_boxes(
    small_rig: Rig, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "in", [picture(1), picture(2)])
    camera = msgspec.structs.replace(
        small_rig.camera, driver="video", device=str(folder)
    )
    rig = msgspec.structs.replace(small_rig, camera=camera)
    job = Job(session="", mode="live", rig=rig, out=str(tmp_path / "out"))
    try:
        session, _ = run_job(job, quiet=True, seconds=2 * PATIENCE_S)
    except ArmicroError as error:
        pytest.fail(str(error))
    assert {report.state for report in session.reports} == {"bad_scale"}
