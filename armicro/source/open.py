"""One table from a rig's driver to the source that it opens."""

import time
from collections.abc import Callable
from pathlib import Path

from armicro.errors import SourceError
from armicro.rig import Driver, Rig
from armicro.source import Source
from armicro.source.recording import RecordingSource, is_recording
from armicro.source.slide import SlideSource
from armicro.source.video import FolderSource, VideoSource

Clock = Callable[[], int]


def open_source(
    rig: Rig,
    *,
    slide: Path | None = None,
    um_per_px: float | None = None,
    region_px: tuple[int, int, int, int] | None = None,
    clock: Clock = time.monotonic_ns,
) -> Source:
    """Open the source that a rig names, or play a slide or recording in its stead.

    Args:
        rig: its camera table says which driver, and the scale and size of fields.
        slide: a slide file, or the folder of a recording.
        um_per_px: scale of the slide file's pixels, where the file is silent or wrong.
        region_px: x, y, width, height of the part to scan, in slide file pixels.
        clock: nanoseconds, monotonic.

    Raises:
        SourceError: there is no such slide or camera, or it cannot be used.
    """
    if slide is None:
        return _OPENERS[rig.camera.driver](rig, clock)
    if is_recording(slide):
        return RecordingSource(slide)
    return SlideSource(
        slide, rig, um_per_px=um_per_px, region_px=region_px, clock=clock
    )


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
    folder = Path(rig.camera.device)
    if rig.camera.device and folder.is_dir():
        return FolderSource(folder, rig.camera, clock=clock)
    return VideoSource(rig.camera, clock=clock)


_OPENERS: dict[Driver, Callable[[Rig, Clock], Source]] = {
    "slide": _open_slide,
    "recording": _open_recording,
    "basler": _open_basler,
    "micromanager": _open_micromanager,
    "simulated": _open_simulated,
    "video": _open_video,
}
