"""A UVC camera, a video file or a folder of images, through OpenCV.

None of them knows where it looks, so their fields have no place until registration
finds it. A camera raises ``SourceLostError`` when it stops; a file and a folder end.
"""

import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import cv2
import numpy as np

from armicro.errors import SourceError, SourceLostError
from armicro.field import Field, Pixels
from armicro.picture import read_picture
from armicro.rig import Camera
from armicro.source import Card
from armicro.source.raw import apply_gains

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class FolderSource:
    """A folder of images, in the order of their names."""

    def __init__(
        self,
        folder: Path,
        camera: Camera,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """List the images.

        Raises:
            SourceError: the folder has none, or the first cannot be read.
        """
        self._camera, self._clock = camera, clock
        self._files = sorted(
            file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES
        )
        first = read_image(self._files[0]) if self._files else None
        if first is None:
            raise SourceError(
                f"folder {folder}: no image to read; expected files such as 0001.png"
            )
        self._size = first.shape[:2]
        self.card = Card(
            name=folder.name,
            um_per_px=camera.um_per_px,
            width_px=first.shape[1],
            height_px=first.shape[0],
            fields_planned=len(self._files),
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield an image a field; see ``Source``."""
        for seq, file in enumerate(self._files):
            if seq in done:
                continue
            pixels = read_image(file)
            fault = "" if pixels is not None else f"unreadable: {file.name}"
            if pixels is None:
                pixels = np.full((*self._size, 3), 255, np.uint8)
            yield Field(pixels, self._camera.um_per_px, seq, self._clock(), fault=fault)

    def close(self) -> None:
        """Nothing stays open between fields."""


class VideoSource:
    """A UVC camera, by its number, or a video file."""

    def __init__(
        self, camera: Camera, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Open the camera or file and take a first picture to learn its size.

        Raises:
            SourceError: there is no such camera or file.
        """
        self._camera, self._clock = camera, clock
        device = camera.device or "0"
        self._live = device.isdecimal()
        self._capture = (
            _open_camera(int(device), camera)
            if self._live
            else cv2.VideoCapture(device)
        )
        ok, first = self._capture.read()
        if not ok or first is None:
            self._capture.release()
            raise SourceError(
                f"video {device}: no picture; expected the number of a camera (0 is "
                "the first), a video file or a folder of images in camera.device"
            )
        self._first: Pixels | None = self._coloured(first)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.card = Card(
            name=f"camera {device}" if self._live else Path(device).stem,
            um_per_px=camera.um_per_px,
            width_px=first.shape[1],
            height_px=first.shape[0],
            fields_planned=count if count > 0 and not self._live else None,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield the pictures one by one.

        Raises:
            SourceLostError: the camera stopped.
        """
        seq = 0
        while (pixels := self._next()) is not None:
            if seq not in done:
                yield Field(pixels, self._camera.um_per_px, seq, self._clock())
            seq += 1
        if self._live:
            raise SourceLostError(
                f"{self.card.name}: no picture; check its cable, it comes back alone"
            )

    def _next(self) -> Pixels | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        ok, picture = self._capture.read()
        return self._coloured(picture) if ok and picture is not None else None

    def _coloured(self, picture: object) -> Pixels:
        pixels = _to_rgb(picture)
        gains = self._camera.white_balance
        return pixels if gains is None else apply_gains(pixels, gains)

    def close(self) -> None:
        """Give the camera or file back; may be called twice."""
        self._capture.release()


def _open_camera(number: int, camera: Camera) -> cv2.VideoCapture:
    """Open a UVC camera and set what such cameras have.

    Raises:
        SourceError: the rig asks for what it has not.
    """
    for key, asked in (
        ("gain_db", camera.gain_db is not None),
        ("trigger", camera.trigger != "continuous"),
    ):
        if asked:
            raise SourceError(
                f"camera {number}: a UVC camera has no {key}; remove it from the rig"
            )
    capture = cv2.VideoCapture(number)
    settings = {
        cv2.CAP_PROP_FRAME_WIDTH: float(camera.width_px),
        cv2.CAP_PROP_FRAME_HEIGHT: float(camera.height_px),
        cv2.CAP_PROP_FPS: camera.frames_per_second,
        # The newest picture, not the oldest of a queue.
        cv2.CAP_PROP_BUFFERSIZE: 1.0,
    }
    for name, value in settings.items():
        capture.set(name, value)
    if camera.exposure_us is not None and capture.isOpened():
        # Video4Linux: 1 is manual, and exposure counts in 100 µs.
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1.0)
        if not capture.set(cv2.CAP_PROP_EXPOSURE, camera.exposure_us / 100):
            capture.release()
            raise SourceError(
                f"camera {number}: its exposure cannot be set; "
                "remove exposure_us from the rig"
            )
    return capture


def read_image(file: Path) -> Pixels | None:
    """Read (height, width, 3) RGB; None when the file is missing or no image."""
    try:
        return read_picture(file)
    except SourceError:
        return None


def _to_rgb(picture: object) -> Pixels:
    bgr = np.asarray(picture, np.uint8)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
