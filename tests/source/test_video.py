"""Video files, which end, and cameras, which do not."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.errors import SourceError, SourceLostError
from armicro.field import Pixels
from armicro.phantom import paint_field
from armicro.rig import Camera
from armicro.source.video import VideoSource, is_camera
from tests.patience import is_quicker


def write_film(path: Path, pictures: list[Pixels]) -> Camera:
    """Write a film; return the camera that plays it."""
    codec = cv2.VideoWriter_fourcc(*"MJPG")  # type: ignore[attr-defined]
    height_px, width_px = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), codec, 10, (width_px, height_px))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no AVI")
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return Camera(driver="video", device=str(path), um_per_px=0.4)


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
    assert source.card.ends


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


def test_film_of_a_stage_is_left_to_registration(tmp_path: Path) -> None:
    slide, _ = paint_field(seed=3, width_px=900, height_px=400, um_per_px=0.4)
    walk = [slide[20:300, x : x + 360] for x in range(0, 500, 50)]
    with contextlib.closing(VideoSource(write_film(tmp_path / "a.avi", walk))) as film:
        assert [field.place for field in film.fields()] == [None] * 10


def test_pictures_of_a_film_that_do_not_hang_together_lie_apart(tmp_path: Path) -> None:
    show = [
        paint_field(seed=seed, width_px=360, height_px=280, um_per_px=0.4)[0]
        for seed in range(6)
    ]
    with contextlib.closing(VideoSource(write_film(tmp_path / "a.avi", show))) as film:
        places = [field.place for field in film.fields()]
    assert [place and place.origin for place in places] == ["own_ground"] * 6
    assert len(set(places)) == 6


@pytest.mark.parametrize("bad", [0, 3, 9])
def test_picture_of_a_film_that_cannot_be_decoded_costs_one_field(
    tmp_path: Path, bad: int
) -> None:
    slide, _ = paint_field(seed=3, width_px=900, height_px=400, um_per_px=0.4)
    walk = [slide[20:300, x : x + 360] for x in range(0, 500, 50)]
    camera = write_film(tmp_path / "a.avi", walk)
    content = bytearray((tmp_path / "a.avi").read_bytes())
    at = -1
    for _ in range(bad + 1):
        at = content.index(b"\xff\xd8\xff", at + 1)
    content[at : at + 2000] = bytes(2000)
    (tmp_path / "a.avi").write_bytes(content)
    with contextlib.closing(VideoSource(camera)) as film:
        fields = list(film.fields())
    assert [field.seq for field in fields] == list(range(10))
    assert [field.seq for field in fields if field.fault] == [bad]
    assert f"picture {bad + 1} of 10" in fields[bad].fault


def test_film_that_breaks_off_says_which_pictures_are_missing(tmp_path: Path) -> None:
    slide, _ = paint_field(seed=3, width_px=900, height_px=400, um_per_px=0.4)
    camera = write_film(tmp_path / "a.avi", [slide[20:300, :360]] * 10)
    content = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) // 2])
    with contextlib.closing(VideoSource(camera)) as film:
        fields = list(film.fields())
    read = [field.seq for field in fields if not field.fault]
    assert 2 <= len(read) < 10
    assert len(fields) == 10


@pytest.mark.parametrize(
    ("device", "camera"),
    [
        ("", True),
        ("0", True),
        ("/dev/video0", True),
        ("/dev/v4l/by-id/usb-nothing-there-index0", True),
        ("rtsp://192.0.2.1/live", True),
        ("http://192.0.2.1:8080/video", True),
        ("LINK", True),
        ("file:///tmp/film.avi", False),
        ("film.avi", False),
        ("FILE", False),
    ],
)
def test_camera_is_told_from_a_file_by_its_name(
    tmp_path: Path, device: str, camera: bool
) -> None:
    link, file = tmp_path / "microscope", tmp_path / "LINK"
    # Nothing is plugged in: it stays a camera.
    link.symlink_to("/dev/video977")
    file.write_bytes(b"")
    device = {"LINK": str(link), "FILE": str(file)}.get(device, device)
    assert is_camera(device) == camera


class FakeCapture:
    """A camera as OpenCV has one, that takes all settings or keeps its own."""

    def __init__(self, target: int | str, **traits: object) -> None:
        self.target, self.sent = target, dict[int, float]()
        self.own: dict[int, float] = dict(traits.get("own", {}))  # type: ignore[call-overload]
        self.pictures = traits.get("pictures", 1000)
        self.hangs, self.released = bool(traits.get("hangs")), False
        self.let_go = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return True

    def set(self, name: int, value: float) -> bool:
        self.sent[name] = value
        return self.own.get(name, value) is not None

    def get(self, name: int) -> float:
        return float(self.own.get(name, self.sent.get(name, 0.0)) or 0.0)

    def read(self) -> tuple[bool, Pixels | None]:
        self.pictures -= 1  # type: ignore[operator]
        if self.pictures < 0:
            self.let_go.wait(5.0 if self.hangs else 0.0)
            return False, None
        time.sleep(0.001)
        return True, np.zeros((48, 64, 3), np.uint8)

    def release(self) -> None:
        self.released = True


Made = list[FakeCapture]


@pytest.fixture
def captures(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Made, dict[str, object]]]:
    made: Made = []
    traits: dict[str, object] = {}

    def make(target: int | str) -> FakeCapture:
        made.append(FakeCapture(target, **traits))
        return made[-1]

    monkeypatch.setattr(cv2, "VideoCapture", make)
    yield made, traits
    for capture in made:
        capture.let_go.set()


USB = Camera(
    driver="video", width_px=64, height_px=48, frames_per_second=15, exposure_us=5000.0
)


@pytest.mark.parametrize(
    ("device", "target"),
    [
        ("2", 2),
        (
            "/dev/v4l/by-id/usb-microscope-index0",
            "/dev/v4l/by-id/usb-microscope-index0",
        ),
        ("rtsp://192.0.2.1/live", "rtsp://192.0.2.1/live"),
    ],
)
def test_camera_gets_the_settings_of_the_rig_and_has_no_end(
    captures: tuple[Made, dict[str, object]], device: str, target: int | str
) -> None:
    made, _ = captures
    camera = Camera(**{**_facts(USB), "device": device})  # type: ignore[arg-type]
    with contextlib.closing(VideoSource(camera)) as source:
        assert (source.card.ends, source.card.fields_planned) == (False, None)
    (capture,) = made
    assert capture.target == target
    assert capture.sent[cv2.CAP_PROP_FRAME_WIDTH] == 64
    assert capture.sent[cv2.CAP_PROP_FRAME_HEIGHT] == 48
    assert capture.sent[cv2.CAP_PROP_FPS] == 15
    assert capture.sent[cv2.CAP_PROP_EXPOSURE] == 50
    assert capture.released


def _facts(camera: Camera) -> dict[str, object]:
    return {name: getattr(camera, name) for name in camera.__struct_fields__}


@pytest.mark.parametrize(
    ("kept", "reason"), [(12.0, "it keeps 1200 µs"), (None, "it cannot be set")]
)
def test_exposure_that_the_camera_does_not_take_is_refused(
    captures: tuple[Made, dict[str, object]], kept: float | None, reason: str
) -> None:
    made, traits = captures
    traits["own"] = {cv2.CAP_PROP_EXPOSURE: kept}
    with pytest.raises(SourceError, match=f"5000 µs asked, {reason}"):
        VideoSource(USB)
    assert made[0].released


@pytest.mark.parametrize("hangs", [True, False])
def test_camera_that_stops_or_hangs_is_lost_within_a_second(
    captures: tuple[Made, dict[str, object]], hangs: bool
) -> None:
    _, traits = captures
    traits |= {"pictures": 3, "hangs": hangs}

    def lose() -> float:
        with contextlib.closing(VideoSource(USB)) as source:
            fields = source.fields()
            assert [next(fields).seq for _ in range(3)] == [0, 1, 2]
            begun = time.monotonic()
            with pytest.raises(SourceLostError, match="it comes back"):
                next(fields)
            return time.monotonic() - begun

    assert is_quicker(1.0, lose)
