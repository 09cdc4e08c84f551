"""A camera or a film through OpenCV: a UVC camera, a network stream, a video file.

Neither knows where it looks, so their fields have no place until registration finds it;
the pictures of a film that do not hang together are photographs (``photograph``).
A camera goes on for ever, raises ``SourceLostError`` when it stops or is silent, and is
opened again by whoever reads it; a film ends, and a picture of it that cannot be
decoded is an unreadable field, so that none is lost without a word.
"""

import os
import stat
import threading
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import cv2
import numpy as np
import structlog

from armicro.calibrate.shift import measure_shift
from armicro.errors import SourceError, SourceLostError, one_line
from armicro.field import Field, Pixels
from armicro.picture import apply_gains
from armicro.rig import Camera
from armicro.source import SourceCard
from armicro.source.photograph import own_ground
from armicro.verdict import state_text

_FIRST_S = 15.0
"""A stream negotiates, and waits for a whole picture, before it gives the first."""
_LEAST_SILENCE_S = 0.8
_MOST_PICTURES = 10_000_000
"""A film that claims more does not know its length: days at 30 a second."""
_TRIED = 50
"""Pictures at the beginning of a film that may be damaged."""
_PAIRS = 7
"""Of neighbours, all over a film, that tell whether its pictures hang together."""
_EXPOSURE_OFF = 0.1
"""Share by which a camera may round the exposure that it is told."""


def is_camera(device: str) -> bool:
    """Whether ``camera.device`` of the video driver names a camera and not a file.

    A camera is a number, a URL, or the path of a device or of a link to one, also while
    nothing is plugged in there.

    >>> [is_camera(name) for name in ("0", "rtsp://host/1", "/dev/video9", "film.avi")]
    [True, True, True, False]
    """
    if not device or device.isdecimal():
        return True
    if "://" in device:
        return not device.lower().startswith("file:")
    try:
        if stat.S_ISCHR(os.stat(device).st_mode):  # noqa: PTH116 (may be no path)
            return True
    except (OSError, ValueError):
        pass
    return os.path.realpath(device).startswith("/dev/")


class VideoSource:
    """A camera by number, device path, link or URL; or a video file."""

    def __init__(
        self, camera: Camera, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Open the camera or file and take a first picture to learn its size.

        Raises:
            SourceError: there is no such camera or file, or the camera does not take
                the rig's settings.
        """
        self._camera, self._clock = camera, clock
        device = camera.device or "0"
        self._live = is_camera(device)
        self._stuck = False
        if self._live:
            self._capture = _open_camera(device, camera)
        else:
            self._capture = cv2.VideoCapture(device)
        self._name = one_line(f"camera {device}" if self._live else Path(device).stem)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        known = not self._live and 0 < count <= _MOST_PICTURES
        first = self._first_picture(count if known else 1)
        if first is None:
            self.close()
            raise SourceError(
                f"video {device}: no picture; expected a camera (its "
                "number, device path or URL), a video file or pictures: correct "
                "camera.device of the rig"
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS) if self._live else 0.0
        self._rate = min(rate or np.inf, camera.frames_per_second)
        self._apart = known and not _hangs_together(device, count)
        self.card = SourceCard(
            name=self._name,
            um_per_px=camera.um_per_px,
            width_px=first.shape[1],
            height_px=first.shape[0],
            fields_planned=None if self._live else count if known else 0,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield the pictures one by one.

        Raises:
            SourceLostError: the camera stopped or is silent.
        """
        seq = 0
        while True:
            pixels, fault = self._next(), ""
            if pixels is None and self._live:
                raise self._lost("no picture")
            if pixels is None and seq >= (self.card.fields_planned or 0):
                return
            if pixels is None:
                of = self.card.fields_planned
                fault = state_text("unreadable", what=f"picture {seq + 1} of {of}")
                size_px = self.card.height_px, self.card.width_px
                pixels = np.full((*size_px, 3), 255, np.uint8)
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, seq + 1)
            if seq not in done:
                yield self._field(pixels, seq, fault)
            seq += 1

    def _first_picture(self, count: int) -> Pixels | None:
        """The first that can be decoded; the film is where it was before."""
        self._first: Pixels | None = None
        for at in range(min(count, _TRIED)):
            if at:
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, at)
            try:
                picture = self._grab(_FIRST_S)
            except SourceLostError:
                return None
            if picture is not None and not at:
                self._first = self._coloured(picture)
            elif picture is not None:
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            if picture is not None:
                return picture
        return None

    def _field(self, pixels: Pixels, seq: int, fault: str) -> Field:
        scale, card = self._camera.um_per_px, self.card
        size_px = card.width_px, card.height_px
        place = own_ground(seq, size_px, scale) if self._apart else None
        return Field(scale, seq, self._clock(), place, fault=fault, pixels=pixels)

    def _next(self) -> Pixels | None:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        picture = self._grab(self._silence_s())
        return None if picture is None else self._coloured(picture)

    def _grab(self, limit_s: float) -> Pixels | None:
        """The next picture; None where there is none.

        Raises:
            SourceLostError: a camera is silent.
        """
        if not self._live:
            return _read(self._capture)
        taken: list[Pixels | None] = []
        # In a thread of its own, since a driver may wait for ten seconds and more.
        thread = threading.Thread(
            target=lambda: taken.append(_read(self._capture)), daemon=True
        )
        thread.start()
        thread.join(limit_s)
        if not taken:
            self._stuck = True
            raise self._lost(f"no picture for {limit_s:.1f} s")
        return taken[0]

    def _silence_s(self) -> float:
        """How long a camera may give no picture before it counts as lost."""
        exposure_s = (self._camera.exposure_us or 0.0) * 1e-6
        return max(_LEAST_SILENCE_S, 3 / self._rate + exposure_s)

    def _lost(self, what: str) -> SourceLostError:
        said = state_text("camera_lost", name=self._name, what=what)
        return SourceLostError(said)

    def _coloured(self, picture: Pixels) -> Pixels:
        pixels = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        gains = self._camera.white_balance
        return pixels if gains is None else apply_gains(pixels, gains)

    def close(self) -> None:
        """Give the camera or file back; may be called twice."""
        # A read that hangs holds the device, and gives it back when it returns.
        if not self._stuck:
            self._capture.release()


def _read(capture: cv2.VideoCapture) -> Pixels | None:
    ok, picture = capture.read()
    return np.asarray(picture, np.uint8) if ok and picture is not None else None


def _hangs_together(device: str, count: int) -> bool:
    """Whether most of a film's pictures share ground with the next one."""
    capture = cv2.VideoCapture(device)
    shares = []
    for at in np.linspace(0, count - 2, min(_PAIRS, count - 1)).round():
        capture.set(cv2.CAP_PROP_POS_FRAMES, at)
        pair = _read(capture), _read(capture)
        if pair[0] is not None and pair[1] is not None:
            shares.append(measure_shift(pair[0], pair[1]) is not None)
    capture.release()
    return 2 * sum(shares) > len(shares)


def _open_camera(device: str, camera: Camera) -> cv2.VideoCapture:
    """Open a camera, set what the rig says and see that it was taken.

    Raises:
        SourceError: the rig asks for what it has not.
    """
    for key, asked in (
        ("gain_db", camera.gain_db is not None),
        ("trigger", camera.trigger != "continuous"),
    ):
        if asked:
            raise SourceError(
                f"camera {device}: a video camera has no {key}; remove it from the rig"
            )
    # OpenCV opens some cameras by a number only, and links by none.
    target = os.path.realpath(device) if "://" not in device else device
    capture = cv2.VideoCapture(int(device) if device.isdecimal() else target)
    if not capture.isOpened():
        return capture
    settings = {
        cv2.CAP_PROP_FRAME_WIDTH: float(camera.width_px),
        cv2.CAP_PROP_FRAME_HEIGHT: float(camera.height_px),
        cv2.CAP_PROP_FPS: camera.frames_per_second,
        # The newest picture, not the oldest of a queue.
        cv2.CAP_PROP_BUFFERSIZE: 1.0,
    }
    for name, value in settings.items():
        capture.set(name, value)
    rate = capture.get(cv2.CAP_PROP_FPS)
    # Its size is looked at in every field: another one may be another scale.
    if rate > 0 and abs(rate - camera.frames_per_second) > 0.5:
        structlog.get_logger().warning(
            "the camera keeps a rate of its own",
            asked=camera.frames_per_second,
            fields_per_second=rate,
        )
    if camera.exposure_us is not None:
        _expose(capture, device, camera.exposure_us)
    return capture


def _expose(capture: cv2.VideoCapture, device: str, exposure_us: float) -> None:
    # Video4Linux: 1 is manual, and exposure counts in 100 µs.
    capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1.0)
    taken = capture.set(cv2.CAP_PROP_EXPOSURE, exposure_us / 100)
    has_us = 100 * capture.get(cv2.CAP_PROP_EXPOSURE)
    if taken and abs(has_us - exposure_us) <= max(100, _EXPOSURE_OFF * exposure_us):
        return
    capture.release()
    seen = f"it keeps {has_us:.0f} µs" if taken else "it cannot be set"
    raise SourceError(
        f"camera {device}: exposure {exposure_us:.0f} µs asked, {seen}; change or "
        "remove exposure_us of the rig"
    )
