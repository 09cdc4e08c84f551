"""One table from a rig's driver to the source that it opens."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from armicro.calibrate.light import gains_of
from armicro.errors import CalibrationError, SourceError
from armicro.flat import read_flat
from armicro.rig import Driver, Rig
from armicro.source import Source
from armicro.source.corrected import CorrectedSource
from armicro.source.photograph import SUFFIXES, PhotographSource
from armicro.source.recording import RecordingSource, is_recording
from armicro.source.slide import SlideSource
from armicro.source.video import VideoSource, is_camera

Clock = Callable[[], int]


def open_source(
    rig: Rig,
    *,
    slide: Path | None = None,
    um_per_px: float | None = None,
    region_px: tuple[int, int, int, int] | None = None,
    clock: Clock = time.monotonic_ns,
    raw: bool = False,
) -> Source:
    """Open the source that a rig names, or play a slide or recording in its stead.

    Args:
        rig: its camera table says which driver, and the scale and size of fields.
        slide: a slide file, or the folder of a recording.
        um_per_px: scale of the slide file's pixels, where the file is silent or wrong.
        region_px: x, y, width, height of the part to scan, in slide file pixels.
        clock: nanoseconds, monotonic.
        raw: leave the camera's light and white point as they are, to measure them;
            else they are corrected where the rig's certificate is in force. A slide or
            recording in the camera's stead never is: it has been already.

    Raises:
        CalibrationError: the map of the light is missing, changed or of no use.
        SourceError: there is no such slide or camera, or it cannot be used.
    """
    if slide is None:
        source = _OPENERS[rig.camera.driver](rig, clock)
        if raw or rig.calibration_fault or rig.camera.driver == "recording":
            return source
        return _corrected(source, rig)
    if is_recording(slide):
        return RecordingSource(slide)
    return SlideSource(
        slide, rig, um_per_px=um_per_px, region_px=region_px, clock=clock
    )


def _corrected(source: Source, rig: Rig) -> Source:
    certificate = rig.calibration
    light = certificate.light if certificate else None
    colour = certificate.colour if certificate else None
    if light is None and colour is None:
        return source
    try:
        share = np.ones((1, 1, 3), np.float32)
        if light is not None:
            share = read_flat(Path(rig.certificate).parent, light)
        gains = gains_of(share, colour.gains_rgb if colour else (1.0, 1.0, 1.0))
        dark_rgb = light.dark_rgb if light else (0.0, 0.0, 0.0)
        return CorrectedSource(source, gains, dark_rgb=dark_rgb)
    except CalibrationError:
        source.close()
        raise


def _device_path(rig: Rig) -> Path:
    if not rig.camera.device:
        raise SourceError(
            f"rig {rig.name}: driver {rig.camera.driver} needs a path; name a slide "
            "on the command line or in camera.device"
        )
    return Path(rig.camera.device)


def _open_slide(rig: Rig, clock: Clock) -> Source:
    return SlideSource(_device_path(rig), rig, clock=clock)


def _open_recording(rig: Rig, clock: Clock) -> Source:
    return RecordingSource(_device_path(rig))


def _open_basler(rig: Rig, clock: Clock) -> Source:
    # Imported here, since a rig without this camera need not have its SDK.
    from armicro.source.basler import BaslerSource

    return BaslerSource(rig.camera, clock=clock)


def _open_micromanager(rig: Rig, clock: Clock) -> Source:
    from armicro.source.instrument import open_micromanager

    return open_micromanager(rig, clock=clock)[0]


def _open_simulated(rig: Rig, clock: Clock) -> Source:
    from armicro.source.instrument import open_simulated

    return open_simulated(rig, clock=clock)[0]


def _open_video(rig: Rig, clock: Clock) -> Source:
    camera = rig.camera
    if not is_camera(camera.device):
        path = Path(camera.device)
        if path.is_dir() or path.suffix.lower() in SUFFIXES:
            return PhotographSource(path, camera, clock=clock)
    return VideoSource(camera, clock=clock)


def names_camera(rig: Rig) -> bool:
    """Whether a rig's driver opens a camera, which must not be opened twice."""
    camera = rig.camera
    if camera.driver == "video":
        return is_camera(camera.device)
    return camera.driver not in ("slide", "recording")


_OPENERS: dict[Driver, Callable[[Rig, Clock], Source]] = {
    "slide": _open_slide,
    "recording": _open_recording,
    "basler": _open_basler,
    "micromanager": _open_micromanager,
    "simulated": _open_simulated,
    "video": _open_video,
}
