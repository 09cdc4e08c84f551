"""Sets a camera's GenICam nodes to what the rig says.

Models differ in the names of nodes and in which they have; a setting that the rig asks
for and the camera lacks is an error, since it must not pass in silence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armicro.errors import SourceError
from armicro.picture import picture_size
from armicro.rig import Camera
from armicro.source.raw import CONVERSIONS

_EMULATED = ("RGB8Packed", "Mono8")
"""The emulated camera shows a picture: no colour filter between it and us."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a camera was set to."""

    pixel_format: str
    gains: tuple[float, float, float] | None
    """White balance that is left to us, since the camera has none."""
    stage_wh_px: tuple[int, int] | None
    """How far the window of the emulated stage can move; None for a real camera."""


def set_up(device: Any, camera: Camera) -> Setting:
    """Set size, format, exposure, colour and trigger of an open camera.

    Args:
        device: a pylon ``InstantCamera``.
        camera: the rig's.

    Raises:
        SourceError: the camera lacks a setting, or the emulated image does not fit.
    """
    stage = _show(device, camera) if camera.emulated_image else None
    _size(device, camera)
    wanted = _EMULATED if camera.emulated_image else tuple(CONVERSIONS)
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
    return Setting(pixel_format=chosen, gains=gains, stage_wh_px=stage)


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
