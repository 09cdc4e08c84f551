"""A camera and the stage under it, opened together.

They share what cannot be opened twice: Micro-Manager's core, pylon's camera, the
simulated slide. Whoever moves the stage and looks uses this; a session that only looks
uses ``open_source``.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from armicro.calibrate.certificate import Stage as StageTable
from armicro.calibrate.move import Seen, Target
from armicro.calibrate.shift import measure_shift
from armicro.calibrate.stage import Walked
from armicro.calibrate.walk import Walk
from armicro.errors import RigError, SourceError, SourceLostError
from armicro.field import Field
from armicro.rig import Rig
from armicro.source import Source
from armicro.source.simulated import SimulatedSource
from armicro.stage import Stage
from armicro.stage.simulated import SimulatedStage

Clock = Callable[[], int]

_PYLON_STALE = 2
"""One may wait in the camera's buffer and one be under exposure when a move ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """A source and the stage under it."""

    source: Source
    stage: Stage
    stale_fields: int = 0
    """Fields of the source that may have been exposed before they were asked for."""


def open_micromanager(
    rig: Rig, *, clock: Clock = time.monotonic_ns
) -> tuple[Source, Stage | None]:
    """Open Micro-Manager's camera, and its stage where the rig has one.

    Raises:
        SourceError: a device is missing or cannot do what the rig asks.
    """
    # Imported here, since a rig without these devices need not have pymmcore.
    from armicro.source.micromanager import MicroManagerSource
    from armicro.stage.micromanager import MicroManagerStage, close_core, open_core

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
) -> tuple[Source, Stage]:
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


def _open_pylon(rig: Rig) -> tuple[Source, Stage]:
    from armicro.source.basler import BaslerSource

    source = BaslerSource(rig.camera)
    try:
        return source, source.virtual_stage(rig.stage.limits)
    except SourceError:
        source.close()
        raise


class _Opener(NamedTuple):
    open: Callable[[Rig], tuple[Source, Stage | None]]
    stale_fields: int = 0


_OPENERS = {
    ("micromanager", "micromanager"): _Opener(open_micromanager),
    ("basler", "pylon"): _Opener(_open_pylon, _PYLON_STALE),
    ("simulated", "simulated"): _Opener(open_simulated),
}
"""Camera's and stage's driver to what opens both."""


@contextlib.contextmanager
def open_instrument(rig: Rig) -> Iterator[Instrument]:
    """Open camera and stage of a rig, to move and look.

    Raises:
        RigError: the rig has no stage, or one that does not go with its camera.
        SourceError: a device is missing or cannot do what the rig asks.
    """
    drivers = rig.camera.driver, rig.stage.driver
    opener = _OPENERS.get(drivers)
    if opener is None:
        known = ", ".join(f"{camera} with {stage}" for camera, stage in _OPENERS)
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
            yield Instrument(source, stage, opener.stale_fields)


def carry_out(
    walk: Walk,
    instrument: Instrument,
    *,
    settle_s: float = 0.0,
    on_look: Callable[[Target], None] = lambda _: None,
) -> Walked:
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
            target = walk.send(Seen(at, view))
    except StopIteration as ended:
        walked: Walked = ended.value
        return walked
    finally:
        # Also after Ctrl-C; a stage that is gone stays where it is.
        with contextlib.suppress(SourceLostError):
            stage.move_to(*start)


def _fresh_field(instrument: Instrument, fields: Iterator[Field]) -> Field:
    """The next field that was surely exposed after this was asked."""
    for _ in range(instrument.stale_fields):
        next(fields, None)
    field = next(fields, None)
    if field is None:
        name = instrument.source.card.name
        raise SourceLostError(f"camera {name}: gives no more fields; open it again")
    return field
