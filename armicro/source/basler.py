"""Basler cameras through pypylon, and pylon's emulated camera with a virtual stage.

Only the newest frame is taken; what the camera sent in between is a gap in ``seq``. A
camera that is unplugged or silent raises ``SourceLostError`` within a second; to come
back, close this source and open it again with the same serial number.
"""

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armicro.errors import SourceError, SourceLostError, missing_extra
from armicro.field import Field, Place
from armicro.picture import CONVERSIONS, apply_gains, picture_size, to_rgb
from armicro.rig import Camera
from armicro.source import SourceCard
from armicro.source.simulated import drawn, pan_xy
from armicro.source.stage import Limits, require_inside
from armicro.verdict import state_text

# ---------------------------------------------------------------------------
# The virtual stage of pylon's emulated camera: a window that pans over a picture.


class PylonStage:
    """Moves the window of an open emulated camera; its unit is µm, its step a pixel."""

    def __init__(
        self,
        device: Any,
        *,
        um_per_px: float,
        range_wh_px: tuple[int, int],
        limits: Limits | None = None,
    ) -> None:
        """Take the camera, which stays its source's to close.

        Args:
            device: a pylon ``InstantCamera``.
            um_per_px: of the picture.
            range_wh_px: how far the window can move to the right and down.
            limits: in µm; narrowed to the picture.
        """
        self._device = device
        self._um_per_px = um_per_px
        left, top, right, bottom = limits or (0.0, 0.0, 1e9, 1e9)
        most_x, most_y = (um_per_px * px for px in range_wh_px)
        self.limits: Limits | None = (
            max(left, 0.0), max(top, 0.0), min(right, most_x), min(bottom, most_y),
        )  # fmt: skip

    def position(self) -> tuple[float, float]:
        """Where the window's corner lies on the picture, in µm.

        Raises:
            SourceLostError: the camera is gone.
        """
        self._require_there()
        x_px, y_px = self._device.OffsetX.Value, self._device.OffsetY.Value
        return x_px * self._um_per_px, y_px * self._um_per_px

    def move_to(self, x: float, y: float) -> None:
        """Go to the nearest whole pixel.

        Raises:
            CalibrationError: the place lies outside the soft limits.
            SourceLostError: the camera is gone.
        """
        require_inside(x, y, self.limits)
        self._require_there()
        self._device.OffsetX.Value = round(x / self._um_per_px)
        self._device.OffsetY.Value = round(y / self._um_per_px)

    def _require_there(self) -> None:
        if self._device.IsCameraDeviceRemoved() or not self._device.IsOpen():
            raise SourceLostError("virtual stage: its camera is gone; open it again")

    def close(self) -> None:
        """Nothing to give back: the camera is its source's."""


# ---------------------------------------------------------------------------
# When a frame's exposure ended, on the computer's own clock.


class Shutter:
    """Turns a camera's time stamps into times of the computer's clock.

    A frame waits in buffers before anybody takes it, so the time at which it is taken
    is late by a changing amount. The camera's stamps are even but count from
    elsewhere: the least difference ever seen is that of a frame that did not wait.
    """

    _DRIFT = 1e-4
    """The two clocks part by less than this; older differences count for less."""

    def __init__(self, *, transfer_ns: int = 0) -> None:
        """Take the time that a frame needs from the sensor to here."""
        self._transfer_ns = transfer_ns
        self._difference_ns: float | None = None
        self._last_ns = 0

    def taken_ns(self, stamp_ns: int, now_ns: int) -> int:
        """End of the exposure of the frame that was taken out of its buffer now.

        Args:
            stamp_ns: the camera's; 0 when it gives none.
            now_ns: of the computer's clock.
        """
        if stamp_ns <= 0:
            return now_ns - self._transfer_ns
        difference_ns = float(now_ns - stamp_ns)
        if self._difference_ns is not None:
            slack_ns = self._DRIFT * (now_ns - self._last_ns)
            difference_ns = min(difference_ns, self._difference_ns + slack_ns)
        self._difference_ns, self._last_ns = difference_ns, now_ns
        return min(now_ns, round(stamp_ns + difference_ns)) - self._transfer_ns


# ---------------------------------------------------------------------------
# Sets a camera's GenICam nodes to what the rig says.
#
# Models differ in the names of nodes and in which they have; a setting that the rig
# asks for and the camera lacks is an error, since it must not pass in silence.

_EMULATED_NODE = ("RGB8Packed", "Mono8")
"""The emulated camera shows a picture: no colour filter between it and us."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera was set to."""

    pixel_format: str
    gains: tuple[float, float, float] | None
    """White balance that is left to us, since the camera has none."""
    stage_wh_px: tuple[int, int] | None
    """How far the window of the emulated stage can move; None for a real camera."""


def set_up(device: Any, camera: Camera) -> CameraSettings:
    """Set size, format, exposure, colour and trigger of an open camera.

    Args:
        device: a pylon ``InstantCamera``.
        camera: the rig's.

    Raises:
        SourceError: the camera lacks a setting, or the emulated image does not fit.
    """
    stage = _show(device, camera) if camera.emulated_image else None
    _size(device, camera)
    wanted = _EMULATED_NODE if camera.emulated_image else tuple(CONVERSIONS)
    offered = device.PixelFormat.Symbolics
    chosen = next((name for name in wanted if name in offered), None)
    if chosen is None:
        raise SourceError(
            f"camera {camera.device}: offers {', '.join(offered)}; "
            f"expected one of {', '.join(wanted)}"
        )
    device.PixelFormat.Value = chosen
    _expose(device, camera)
    gains = _balance(device, camera)
    pace(device, camera)
    return CameraSettings(pixel_format=chosen, gains=gains, stage_wh_px=stage)


def _show(device: Any, camera: Camera) -> tuple[int, int]:
    """Put an image under the emulated camera; return how far the window can go."""
    image = Path(camera.emulated_image)
    width, height = picture_size(image)
    if width < camera.width_px or height < camera.height_px:
        raise SourceError(
            f"emulated image {image}: {width}×{height} px, smaller than the "
            f"camera's {camera.width_px}×{camera.height_px}; "
            "give a larger image or a smaller camera"
        )
    device.WidthMax.Value = max(width, device.WidthMax.Min)
    device.HeightMax.Value = max(height, device.HeightMax.Min)
    device.ImageFilename.Value = str(image)
    device.ImageFileMode.Value = "On"
    device.TestImageSelector.Value = "Off"
    return width - camera.width_px, height - camera.height_px


def _size(device: Any, camera: Camera) -> None:
    # The offset first, or the full width would not fit.
    for offset in (device.OffsetX, device.OffsetY):
        if offset.IsWritable():
            offset.Value = offset.Min
    for node, size in (
        (device.Width, camera.width_px),
        (device.Height, camera.height_px),
    ):
        if not node.Min <= size <= node.Max:
            raise SourceError(
                f"camera {camera.device}: {size} px asked, it has {node.Min} to "
                f"{node.Max}; correct width_px and height_px of the rig"
            )
        node.Value = size - (size - node.Min) % node.Inc


def _expose(device: Any, camera: Camera) -> None:
    if camera.exposure_us is not None:
        _choose(device, ("ExposureAuto",), "Off")
        names = "ExposureTime", "ExposureTimeAbs"
        _require(device, "exposure_us", names, camera.exposure_us)
    if camera.gain_db is not None:
        _choose(device, ("GainAuto",), "Off")
        _require(device, "gain_db", ("Gain", "GainAbs"), camera.gain_db)


def _balance(device: Any, camera: Camera) -> tuple[float, float, float] | None:
    """Set the white balance; return the gains if the camera cannot."""
    if camera.white_balance is None or not device.BalanceRatioSelector.IsWritable():
        return camera.white_balance
    _choose(device, ("BalanceWhiteAuto",), "Off")
    for colour, gain in zip(
        ("Red", "Green", "Blue"), camera.white_balance, strict=True
    ):
        device.BalanceRatioSelector.Value = colour
        names = "BalanceRatio", "BalanceRatioAbs"
        _require(device, "white_balance", names, gain)
    return None


def pace(device: Any, camera: Camera) -> None:
    """Set the trigger and the rate of frames."""
    _choose(device, ("TriggerSelector",), "FrameStart")
    if camera.trigger == "software":
        _require(device, "trigger", ("TriggerMode",), "On")
        _require(device, "trigger", ("TriggerSource",), "Software")
    else:
        _choose(device, ("TriggerMode",), "Off")
    _choose(device, ("AcquisitionFrameRateEnable",), value=True)
    names = "AcquisitionFrameRate", "AcquisitionFrameRateAbs"
    _require(device, "frames_per_second", names, camera.frames_per_second)


def _choose(device: Any, names: tuple[str, ...], value: object) -> bool:
    """Set the first of these nodes that the camera has; return whether it has any."""
    for name in names:
        node = getattr(device, name)
        if node.IsWritable():
            node.Value = value
            return True
    return False


def _require(device: Any, key: str, names: tuple[str, ...], value: object) -> None:
    if not _choose(device, names, value):
        raise SourceError(
            f"camera: has no {' or '.join(names)}; remove {key} from the rig"
        )


# ---------------------------------------------------------------------------
# The camera.

_EMULATED = "BaslerCamEmu"
_POLL_MS = 100
_LEAST_SILENCE_S = 0.8
_IMAGE_S = 20.0
"""Pylon decodes the whole emulated image for the first frame."""
_MOST_SKIPPED = 100_000
"""A frame number that jumps further than this has wrapped or is not given."""


def _import_pylon() -> Any:
    try:
        # Its SWIG types warn on import, and crash where warnings are errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from pypylon import pylon
    except (ImportError, OSError) as error:
        raise SourceError(f"camera: {missing_extra(error, 'pypylon')}") from error
    return pylon


class BaslerSource:
    """A Basler camera."""

    def __init__(
        self, camera: Camera, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Open the camera and set it up; it starts with the first field.

        Raises:
            SourceError: there is no such camera, it is in use, or it lacks a setting.
        """
        if camera.emulated_image:
            # Read once, at the first look for cameras in this process.
            os.environ.setdefault("PYLON_CAMEMU", "1")
        self._pylon = _import_pylon()
        self._camera = camera
        self._clock = clock
        self._drawn = contextlib.ExitStack()
        self._device = self._find()
        info = self._device.GetDeviceInfo()
        name = f"{info.GetModelName()} {info.GetSerialNumber()}"
        try:
            self._device.Open()
            # Pylon reads the picture again whenever it starts.
            shown = self._drawn.enter_context(drawn(camera))
            self._setting = set_up(self._device, shown)
            if camera.emulated_image:
                self._try_image()
            width, height = self._device.Width.Value, self._device.Height.Value
            # Cameras that cannot bin have no such setting.
            binning = int(self._device.BinningHorizontal.GetValueOrDefault(1))
        except self._pylon.GenericException as error:
            self.close()
            raise SourceError(
                f"camera {name}: {_first_line(error)}; close other programs that use "
                "it and check the rig's camera settings"
            ) from error
        except SourceError:
            self.close()
            raise
        self.card = SourceCard(
            name=name,
            um_per_px=camera.um_per_px,
            width_px=width,
            height_px=height,
            binning=binning,
            simulated=info.GetDeviceClass() == _EMULATED,
        )

    def virtual_stage(self, limits: Limits | None = None) -> PylonStage:
        """The emulated camera's stage, which ``emulated_pan_um_per_s`` must not move.

        Raises:
            SourceError: this is a real camera.
        """
        if self._setting.stage_wh_px is None:
            raise SourceError(
                f'camera {self.card.name}: has no virtual stage; stage.driver "pylon" '
                "needs camera.emulated_image"
            )
        return PylonStage(
            self._device,
            um_per_px=self._camera.um_per_px,
            range_wh_px=self._setting.stage_wh_px,
            limits=limits,
        )

    def _find(self) -> Any:
        factory = self._pylon.TlFactory.GetInstance()
        devices = factory.EnumerateDevices()
        wanted = self._camera.device
        emulated = bool(self._camera.emulated_image)
        for device in devices:
            named = device.GetSerialNumber(), device.GetUserDefinedName()
            fits = not wanted or wanted in named
            if fits and (not emulated or device.GetDeviceClass() == _EMULATED):
                with self._said("cannot be reached"):
                    return self._pylon.InstantCamera(factory.CreateDevice(device))
        seen = ", ".join(device.GetSerialNumber() for device in devices) or "none"
        raise SourceError(
            f"camera {wanted or 'of any kind'}: not found; connected Basler cameras: "
            f"{seen}; check cable, power and the rig's camera.device"
        )

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._pylon.GenericException as error:
            raise SourceError(
                f"camera {self._camera.device}: {what}: {_first_line(error)}; "
                "close other programs that use it"
            ) from error

    def _try_image(self) -> None:
        """Take a frame, since the emulated camera only then reads its image."""
        self._device.TriggerMode.Value = "Off"
        self._device.StartGrabbingMax(1)
        wait_ms = round(_IMAGE_S * 1000)
        frame = self._device.RetrieveResult(wait_ms, self._pylon.TimeoutHandling_Return)
        failed = not frame.IsValid() or not frame.GrabSucceeded()
        frame.Release()
        self._device.StopGrabbing()
        if failed:
            raise SourceError(
                f"emulated image {self._camera.emulated_image}: pylon cannot read it; "
                "save it as PNG or BMP"
            )
        pace(self._device, self._camera)

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield the newest field each time, for as long as the camera lives.

        Raises:
            SourceLostError: the camera is unplugged or silent.
        """
        shutter = Shutter(transfer_ns=self._transfer_ns())
        started_ns = good_ns = self._clock()
        seq, last_block = -1, -1
        with self._lost_when_it_fails():
            self._device.StartGrabbing(self._pylon.GrabStrategy_LatestImageOnly)
            while True:
                self._move(self._clock() - started_ns)
                with self._next_frame() as frame:
                    now_ns, block = self._clock(), int(frame.BlockID)
                    skipped = block - last_block
                    counts = seq < 0 or not 0 < skipped <= _MOST_SKIPPED
                    seq, last_block = seq + (1 if counts else skipped), block
                    if not frame.GrabSucceeded():
                        if now_ns - good_ns > self._silence_s() * 1e9:
                            raise self._lost(frame.GetErrorDescription())
                        continue
                    good_ns = now_ns
                    field = self._field(frame, seq, shutter, now_ns)
                if seq not in done:
                    yield field

    @contextlib.contextmanager
    def _lost_when_it_fails(self) -> Iterator[None]:
        try:
            yield
        except self._pylon.GenericException as error:
            removed = self._device.IsCameraDeviceRemoved()
            raise self._lost("unplugged" if removed else _first_line(error)) from error
        finally:
            with contextlib.suppress(self._pylon.GenericException):
                self._device.StopGrabbing()

    def _move(self, elapsed_ns: int) -> None:
        """Move the emulated stage to where it is by now."""
        speed = self._camera.emulated_pan_um_per_s / self._camera.um_per_px
        if self._setting.stage_wh_px is None or not speed:
            return
        x, y = pan_xy(
            speed * elapsed_ns * 1e-9, self._setting.stage_wh_px, self._camera.height_px
        )
        self._device.OffsetX.Value, self._device.OffsetY.Value = x, y

    @contextlib.contextmanager
    def _next_frame(self) -> Iterator[Any]:
        """Wait for the newest frame; its buffer goes back to the camera afterwards."""
        device, pylon = self._device, self._pylon
        limit_s = self._silence_s()
        if self._camera.trigger == "software":
            wait_ms = round(limit_s * 1000)
            device.WaitForFrameTriggerReady(wait_ms, pylon.TimeoutHandling_Return)
            device.ExecuteSoftwareTrigger()
        for _ in range(max(1, round(limit_s * 1000 / _POLL_MS))):
            frame = device.RetrieveResult(_POLL_MS, pylon.TimeoutHandling_Return)
            # Frames of an unplugged camera go on "succeeding".
            if device.IsCameraDeviceRemoved():
                frame.Release()
                raise self._lost("unplugged")
            if frame.IsValid():
                try:
                    yield frame
                finally:
                    frame.Release()
                return
        raise self._lost(f"no frame for {limit_s:.1f} s")

    def _silence_s(self) -> float:
        """How long a camera may give no frame before it counts as lost."""
        period_s = 1 / self._camera.frames_per_second
        exposure_s = (self._camera.exposure_us or 0.0) * 1e-6
        return max(_LEAST_SILENCE_S, 3 * period_s + exposure_s)

    def _lost(self, what: str) -> SourceLostError:
        said = state_text("camera_lost", name=f"camera {self.card.name}", what=what)
        return SourceLostError(said)

    def _field(self, frame: Any, seq: int, shutter: Shutter, now_ns: int) -> Field:
        with frame.GetArrayZeroCopy() as raw:
            pixels = to_rgb(raw, self._setting.pixel_format)
        if self._setting.gains is not None:
            pixels = apply_gains(pixels, self._setting.gains)
        um_per_px = self._camera.um_per_px
        place = None
        if self._setting.stage_wh_px is not None:
            # The frame carries the window that it was taken with: exact.
            place = Place(
                x_um=frame.OffsetX * um_per_px,
                y_um=frame.OffsetY * um_per_px,
                standard_error_um=0.0,
                origin="stage_encoder",
            )
        stamp_ns = round(frame.TimeStamp * self._tick_ns())
        return Field(
            um_per_px=um_per_px,
            seq=seq,
            taken_ns=shutter.taken_ns(stamp_ns, now_ns),
            place=place,
            pixels=pixels,
        )

    def _tick_ns(self) -> float:
        frequency = self._device.GevTimestampTickFrequency.GetValueOrDefault(10**9)
        return 1e9 / float(frequency or 10**9)

    def _transfer_ns(self) -> int:
        """Time that a frame needs on the cable, where the camera tells its speed."""
        bytes_per_s = self._device.DeviceLinkSpeed.GetValueOrDefault(0)
        payload = self._device.PayloadSize.GetValueOrDefault(0)
        return round(1e9 * payload / bytes_per_s) if bytes_per_s else 0

    def close(self) -> None:
        """Give the camera back; may be called twice."""
        with contextlib.suppress(self._pylon.GenericException):
            self._device.Close()
            self._device.DestroyDevice()
        self._drawn.close()


def _first_line(error: Exception) -> str:
    return str(error).split(" : ", maxsplit=1)[0].splitlines()[0]
