"""Folders of images and video files as cameras."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.errors import SourceError, SourceLostError
from armicro.field import Pixels
from armicro.rig import Camera
from armicro.source.video import FolderSource, VideoSource

Draw = Callable[[int, int], Pixels]
CAMERA = Camera(driver="video", um_per_px=0.4)


@pytest.fixture
def folder(tmp_path: Path, coordinate_pixels: Draw) -> Path:
    pixels = coordinate_pixels(300, 100)
    for index, name in enumerate(("a.png", "b.PNG", "c.bmp")):
        part = pixels[:, index * 100 : index * 100 + 80, ::-1]
        encoded = cv2.imencode(Path(name).suffix.lower(), part)[1]
        (tmp_path / name).write_bytes(encoded.tobytes())
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_images_come_in_the_order_of_their_names(
    folder: Path, coordinate_pixels: Draw
) -> None:
    times = iter(range(100))
    source = FolderSource(folder, CAMERA, clock=lambda: next(times))
    fields = list(source.fields())
    assert source.card.fields_planned == 3
    assert (source.card.width_px, source.card.height_px) == (80, 100)
    for index, field in enumerate(fields):
        expected = coordinate_pixels(300, 100)[:, index * 100 : index * 100 + 80]
        np.testing.assert_array_equal(field.pixels, expected)
        assert (field.seq, field.taken_ns) == (index, index)
        assert (field.place, field.um_per_px) == (None, 0.4)
    assert [field.seq for field in source.fields(done={1})] == [0, 2]
    source.close()


def test_image_that_cannot_be_read_is_an_unreadable_field(folder: Path) -> None:
    (folder / "b.PNG").write_bytes(b"cut")
    fields = list(FolderSource(folder, CAMERA).fields())
    assert [field.fault for field in fields] == ["", "unreadable: b.PNG", ""]
    assert fields[1].pixels.shape == (100, 80, 3)


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image"):
        FolderSource(tmp_path, CAMERA)


def write_video(path: Path) -> None:
    codec = cv2.VideoWriter_fourcc(*"MJPG")  # type: ignore[attr-defined]
    writer = cv2.VideoWriter(str(path), codec, 10, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no AVI")
    for index in range(5):
        writer.write(np.full((48, 64, 3), (index * 40, 0, 200), np.uint8))
    writer.release()


def test_video_file_plays_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "stage.avi"
    write_video(path)
    camera = Camera(driver="video", device=str(path))
    with contextlib.closing(VideoSource(camera)) as source:
        fields = list(source.fields())
        source.close()
    assert [field.seq for field in fields] == [0, 1, 2, 3, 4]
    for field in fields:
        red, green, blue = field.pixels.mean(axis=(0, 1))
        assert (red, green) == pytest.approx((200, 0), abs=4)
        assert blue == pytest.approx(field.seq * 40, abs=4)
    assert source.card.fields_planned == 5
    assert source.card.name == "stage"


def test_white_balance_multiplies_the_colours(tmp_path: Path) -> None:
    path = tmp_path / "stage.avi"
    write_video(path)
    camera = Camera(driver="video", device=str(path), white_balance=(0.5, 1.0, 2.0))
    with contextlib.closing(VideoSource(camera)) as source:
        red, green, blue = list(source.fields())[2].pixels.mean(axis=(0, 1))
    assert (red, green, blue) == pytest.approx((100, 0, 160), abs=8)


@pytest.mark.parametrize(
    ("camera", "key"),
    [
        (Camera(driver="video", gain_db=3.0), "gain_db"),
        (Camera(driver="video", trigger="software"), "trigger"),
    ],
)
def test_setting_that_uvc_cameras_lack_is_refused(camera: Camera, key: str) -> None:
    with pytest.raises(SourceError, match=key):
        VideoSource(camera)


@pytest.mark.parametrize("device", ["/nowhere.avi", "977"])
def test_video_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(SourceError, match="no picture"):
        VideoSource(Camera(driver="video", device=device))


def test_camera_that_stops_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "stage.avi"
    write_video(path)
    source = VideoSource(Camera(driver="video", device=str(path)))
    # A file that plays a camera: to the source its end is a cable that came out.
    source._live = True
    with contextlib.closing(source), pytest.raises(SourceLostError, match="cable"):
        list(source.fields())
