"""The Basler source on pylon's emulated camera."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from armicro.errors import SourceError, SourceLostError
from armicro.field import Pixels
from armicro.rig import Camera

pytest.importorskip("pypylon", reason="pypylon is not installed")

from armicro.source.basler import BaslerSource
from armicro.source.simulated import paint_slide
from tests.patience import is_quicker, wait_until

Draw = Callable[[int, int], Pixels]


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "1")


@pytest.fixture
def image(tmp_path: Path, coordinate_pixels: Draw) -> Path:
    path = tmp_path / "slide.bmp"
    cv2.imwrite(str(path), coordinate_pixels(1500, 1200)[..., ::-1])
    return path


def panning(image: Path, **changes: Any) -> Camera:
    settings: dict[str, Any] = {
        "driver": "basler",
        "width_px": 640,
        "height_px": 480,
        "um_per_px": 0.5,
        "emulated_image": str(image),
        "emulated_pan_um_per_s": 500.0,
        "frames_per_second": 100.0,
    }
    return Camera(**(settings | changes))


@pytest.mark.parametrize("trigger", ["continuous", "software"])
def test_every_frame_shows_what_lies_at_its_encoder_place(
    image: Path, coordinate_pixels: Draw, trigger: str
) -> None:
    slide = coordinate_pixels(1500, 1200)
    places = []
    with contextlib.closing(BaslerSource(panning(image, trigger=trigger))) as source:
        for field in islice(source.fields(), 25):
            assert field.place is not None
            assert field.place.origin == "stage_encoder"
            x, y = round(field.place.x_um / 0.5), round(field.place.y_um / 0.5)
            np.testing.assert_array_equal(field.pixels, slide[y : y + 480, x : x + 640])
            places.append((x, y))
    # The stage has moved, or the place would be right by doing nothing.
    assert len(set(places)) > 5


def test_a_slide_that_the_rig_asks_for_is_drawn_and_goes_with_the_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    camera = panning(Path("drawn"), width_px=320, height_px=240)
    with contextlib.closing(BaslerSource(camera)) as source:
        field = next(source.fields())
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    assert field.place is not None
    x, y = round(field.place.x_um / 0.5), round(field.place.y_um / 0.5)
    np.testing.assert_array_equal(
        field.pixels, paint_slide(camera)[y : y + 240, x : x + 320]
    )


def test_a_drawn_slide_that_the_camera_refuses_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    camera = panning(Path("drawn"), width_px=320, height_px=240, exposure_us=1e12)
    with pytest.raises(SourceError):
        BaslerSource(camera)
    assert list(tmp_path.iterdir()) == []


def test_numbers_count_up_and_a_slow_reader_sees_the_gap(image: Path) -> None:
    with contextlib.closing(BaslerSource(panning(image))) as source:
        fields = source.fields()
        seqs = [next(fields).seq for _ in range(3)]
        assert seqs[0] == 0
        assert seqs == sorted(set(seqs))

        def is_gap_seen() -> bool:
            before = next(fields).seq
            time.sleep(0.3)
            return next(fields).seq - before >= 10

        wait_until(is_gap_seen)
        fields.close()  # type: ignore[attr-defined]


def test_unplugged_camera_is_lost_within_a_second_and_can_be_opened_again(
    image: Path,
) -> None:
    camera = panning(image, device="0815-0000")

    def unplug() -> float:
        with contextlib.closing(BaslerSource(camera)) as source:
            fields = source.fields()
            next(fields)
            source._device.FirePnPCallback.Execute()
            unplugged = time.monotonic()
            with pytest.raises(SourceLostError, match="unplugged"):
                list(islice(fields, 1000))
            return time.monotonic() - unplugged

    assert is_quicker(1.0, unplug)
    with contextlib.closing(BaslerSource(camera)) as source:
        assert next(iter(source.fields())).seq == 0


def test_failed_buffers_are_left_out_but_counted(image: Path) -> None:
    with contextlib.closing(BaslerSource(panning(image))) as source:
        fields = source.fields()
        first = next(fields)
        source._device.ForceFailedBufferCount.Value = 5
        source._device.ForceFailedBuffer.Execute()
        seqs = [field.seq for field in islice(fields, 12)]
        assert seqs[-1] - first.seq >= 12 + 5


def test_silent_camera_is_lost_within_a_second(image: Path) -> None:
    def silence() -> float:
        with contextlib.closing(BaslerSource(panning(image))) as source:
            fields = source.fields()
            next(fields)
            # It now waits for a trigger that nobody gives.
            source._device.StopGrabbing()
            source._device.TriggerMode.Value = "On"
            source._device.TriggerSource.Value = "Line1"
            source._device.StartGrabbing(source._pylon.GrabStrategy_LatestImageOnly)
            silent = time.monotonic()
            with pytest.raises(SourceLostError, match="no frame"):
                list(islice(fields, 100))
            return time.monotonic() - silent

    assert is_quicker(1.2, silence)


def test_exposure_gain_and_white_balance_reach_the_picture(
    image: Path, coordinate_pixels: Draw
) -> None:
    camera = panning(
        image,
        emulated_pan_um_per_s=0.0,
        exposure_us=2000.0,
        gain_db=3.0,
        white_balance=(0.5, 1.0, 2.0),
    )
    with contextlib.closing(BaslerSource(camera)) as source:
        assert source._device.ExposureTime.Value == pytest.approx(2000, rel=0.01)
        assert source._device.Gain.Value == pytest.approx(3, abs=0.01)
        pixels = next(iter(source.fields())).pixels
    plain = coordinate_pixels(640, 480).astype(float)
    expected = np.clip(np.rint(plain * (0.5, 1, 2)), 0, 255)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "12345678"}, "0815-0000"),
        ({"width_px": 5000}, "smaller than"),
        ({"emulated_image": "/nowhere/slide.bmp"}, "No such file"),
        ({"exposure_us": 1e12}, "exposure|smaller"),
        ({"emulated_image": "", "width_px": 20000}, "20000 px asked"),
    ],
)
def test_what_the_camera_cannot_do_is_said(
    image: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        BaslerSource(panning(image, **changes))


def test_emulated_image_that_pylon_cannot_read_is_refused(
    tmp_path: Path, coordinate_pixels: Draw
) -> None:
    path = tmp_path / "slide.webp"
    cv2.imwrite(str(path), coordinate_pixels(800, 600))
    with pytest.raises(SourceError, match="PNG or BMP"):
        BaslerSource(panning(path))


def test_camera_whose_frames_all_fail_is_lost_within_a_second(image: Path) -> None:
    def fail() -> float:
        with contextlib.closing(BaslerSource(panning(image))) as source:
            fields = source.fields()
            next(fields)
            source._device.ForceFailedBufferCount.Value = 1000
            source._device.ForceFailedBuffer.Execute()
            failing = time.monotonic()
            with pytest.raises(SourceLostError):
                list(islice(fields, 10_000))
            return time.monotonic() - failing

    assert is_quicker(1.5, fail)


def test_test_image_of_the_emulator_comes_as_rgb_without_a_place() -> None:
    camera = Camera(driver="basler", width_px=640, height_px=480)
    with contextlib.closing(BaslerSource(camera)) as source:
        field = next(iter(source.fields()))
        source.close()
    assert field.pixels.shape == (480, 640, 3)
    assert field.place is None


def test_time_is_that_of_the_injected_clock(image: Path) -> None:
    times = iter(range(10**9, 10**12, 10**6))
    ticking: Iterator[int] = times
    source = BaslerSource(panning(image), clock=lambda: next(ticking))
    with contextlib.closing(source):
        first, second = islice(source.fields(), 2)
    assert 10**9 < first.taken_ns < second.taken_ns < 2 * 10**9
