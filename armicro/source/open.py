"""One table from a rig's driver to the source that it opens."""

import contextlib
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.calibrate.certificate import Stage as StageTable
from armicro.calibrate.light import Correction, enlarge, gains_of
from armicro.calibrate.shift import measure_shift
from armicro.calibrate.stage import StageWalk
from armicro.calibrate.walk import Walk, WalkReading, WalkTarget
from armicro.errors import CalibrationError, RigError, SourceError, SourceLostError
from armicro.field import Field
from armicro.flat import read_flat
from armicro.rig import Driver, Rig
from armicro.source import Source, SourceCard
from armicro.source.photograph import SUFFIXES, PhotographSource
from armicro.source.recording import RecordingSource, is_recording
from armicro.source.simulated import SimulatedSource
from armicro.source.slide import SlideSource
from armicro.source.stage import SimulatedStage, StageDriver
from armicro.source.video import VideoSource, is_camera

# ---------------------------------------------------------------------------
# A source whose fields are even and white: dark, flat field and white balance.


class CorrectedSource:
    """Another source, seen through its instrument's light and white point."""

    def __init__(
        self,
        source: Source,
        gains: NDArray[np.float32],
        *,
        dark_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Wrap a source.

        Args:
            source: gives the fields; closed with this one.
            gains: (rows, columns, 3), a map of any size over the field.
            dark_rgb: what the camera reads without light.

        Raises:
            CalibrationError: the gains cannot be used.
        """
        self._source = source
        card = source.card
        whole = np.maximum(enlarge(gains, card.width_px, card.height_px), 1.0)
        self._correction = Correction(whole, dark_rgb=dark_rgb)

    @property
    def card(self) -> SourceCard:
        """What the source is."""
        return self._source.card

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield the source's fields, corrected; see ``Source``.

        A field of another size than the source said is left as it is: it gets no box.
        """
        size_px = self.card.height_px, self.card.width_px
        for field in self._source.fields(done=done):
            if field.fault or field.pixels.shape[:2] != size_px:
                yield field
                continue
            yield replace(field, pixels=self._correction.apply(field.pixels))

    def close(self) -> None:
        """Close the source."""
        self._source.close()


# ---------------------------------------------------------------------------
# A camera and the stage under it, opened together.
#
# They share what cannot be opened twice: Micro-Manager's core, pylon's camera, the
# simulated slide. Whoever moves the stage and looks uses this; a session that only
# looks uses ``open_source``.

Clock = Callable[[], int]

_PYLON_STALE = 2
"""One may wait in the camera's buffer and one be under exposure when a move ends."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenInstrument:
    """A source and the stage under it."""

    source: Source
    stage: StageDriver
    stale_fields: int = 0
    """Fields of the source that may have been exposed before they were asked for."""


def open_micromanager(
    rig: Rig, *, clock: Clock = time.monotonic_ns
) -> tuple[Source, StageDriver | None]:
    """Open Micro-Manager's camera, and its stage where the rig has one.

    Raises:
        SourceError: a device is missing or cannot do what the rig asks.
    """
    # Imported here, since a rig without these devices need not have pymmcore.
    from armicro.source.micromanager import (
        MicroManagerSource,
        MicroManagerStage,
        close_core,
        open_core,
    )

    core = open_core(rig.micromanager)
    stage = None
    if rig.stage.driver == "micromanager":
        try:
            stage = MicroManagerStage(core, limits=rig.stage.limits)
        except SourceError:
            close_core(core)
            raise
    source = MicroManagerSource(
        core, rig.camera, stage=stage, calibration=_calibration(rig), clock=clock
    )
    return source, stage


def open_simulated(
    rig: Rig, *, clock: Clock = time.monotonic_ns
) -> tuple[Source, StageDriver]:
    """Open the simulated microscope.

    Raises:
        SourceError: the picture that plays the slide cannot be used.
    """
    stage = SimulatedStage(rig.stage.mechanics, limits=rig.stage.limits)
    source = SimulatedSource(rig, stage, calibration=_calibration(rig), clock=clock)
    return source, stage


def _calibration(rig: Rig) -> StageTable | None:
    """The certificate's word on the stage, where there is one in force."""
    if rig.calibration is None or rig.calibration_fault:
        return None
    return rig.calibration.stage


def _open_pylon(rig: Rig) -> tuple[Source, StageDriver]:
    from armicro.source.basler import BaslerSource

    source = BaslerSource(rig.camera)
    try:
        return source, source.virtual_stage(rig.stage.limits)
    except SourceError:
        source.close()
        raise


class _Opener(NamedTuple):
    open: Callable[[Rig], tuple[Source, StageDriver | None]]
    stale_fields: int = 0


_CAMERA_AND_STAGE = {
    ("micromanager", "micromanager"): _Opener(open_micromanager),
    ("basler", "pylon"): _Opener(_open_pylon, _PYLON_STALE),
    ("simulated", "simulated"): _Opener(open_simulated),
}
"""Camera's and stage's driver to what opens both."""


@contextlib.contextmanager
def open_instrument(rig: Rig) -> Iterator[OpenInstrument]:
    """Open camera and stage of a rig, to move and look.

    Raises:
        RigError: the rig has no stage, or one that does not go with its camera.
        SourceError: a device is missing or cannot do what the rig asks.
    """
    drivers = rig.camera.driver, rig.stage.driver
    opener = _CAMERA_AND_STAGE.get(drivers)
    if opener is None:
        known = ", ".join(
            f"{camera} with {stage}" for camera, stage in _CAMERA_AND_STAGE
        )
        raise RigError(
            f'rig {rig.name}: camera.driver "{drivers[0]}" with stage.driver '
            f'"{drivers[1]}"; expected {known}'
        )
    # Whoever asks for the stage moves it; it shall not wander by itself.
    camera = msgspec.structs.replace(rig.camera, emulated_pan_um_per_s=0.0)
    source, stage = opener.open(msgspec.structs.replace(rig, camera=camera))
    with contextlib.closing(source):
        if stage is None:
            raise RigError(f"rig {rig.name}: its stage was not opened")
        with contextlib.closing(stage):
            yield OpenInstrument(source, stage, opener.stale_fields)


def carry_out(
    walk: Walk,
    instrument: OpenInstrument,
    *,
    settle_s: float = 0.0,
    on_look: Callable[[WalkTarget], None] = lambda _: None,
) -> StageWalk:
    """Make the moves of a calibration, look, and bring the stage back.

    Args:
        walk: the plan, see ``calibrate.walk``.
        instrument: its stage is moved, within the limits that the walk was given.
        settle_s: pause after each move.
        on_look: called before each move with where it goes.

    Raises:
        CalibrationError: the moves cannot be measured or fit no matrix.
        SourceLostError: camera or stage do not answer any more.
    """
    stage = instrument.stage
    start = stage.position()
    fields = instrument.source.fields()
    reference: Field | None = None
    try:
        target = next(walk)
        while True:
            on_look(target)
            for xy in (target.via, target.xy):
                if xy is not None:
                    stage.move_to(*xy)
            time.sleep(settle_s)
            field, at = _fresh_field(instrument, fields), stage.position()
            if target.reference or reference is None:
                reference = field
            shift = measure_shift(reference.pixels, field.pixels)
            view = None if shift is None else (shift.x_px, shift.y_px)
            target = walk.send(WalkReading(at, view))
    except StopIteration as ended:
        walked: StageWalk = ended.value
        return walked
    finally:
        # Also after Ctrl-C; a stage that is gone stays where it is.
        with contextlib.suppress(SourceLostError):
            stage.move_to(*start)


def _fresh_field(instrument: OpenInstrument, fields: Iterator[Field]) -> Field:
    """The next field that was surely exposed after this was asked."""
    for _ in range(instrument.stale_fields):
        next(fields, None)
    field = next(fields, None)
    if field is None:
        name = instrument.source.card.name
        raise SourceLostError(f"camera {name}: gives no more fields; open it again")
    return field


# ---------------------------------------------------------------------------
# One table of drivers.


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

    return open_micromanager(rig, clock=clock)[0]


def _open_simulated(rig: Rig, clock: Clock) -> Source:

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
