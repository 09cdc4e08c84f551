"""What stands before the guide: camera, stage, display and the certificate's file.

A rig whose camera is emulated gets the specimens put under its objective, so that the
whole way can be walked without a microscope.
"""

import contextlib
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import msgspec

from armicro.calibrate.certificate import Line, Scale, lines_of
from armicro.calibrate.display import draw_pattern
from armicro.calibrate.guide import Outcome, Step
from armicro.calibrate.procedure import judge_walk
from armicro.certificate import now, read_certificate
from armicro.command.calibrate.picture import keep
from armicro.command.calibrate.stage import plan_of
from armicro.field import Field
from armicro.processes.reader import Reader
from armicro.rig import Rig
from armicro.source import Card, Source
from armicro.source.identity import instrument_of
from armicro.source.open import carry_out, open_instrument, open_source
from armicro.source.specimen import DISPLAY_WH_PX, draw_specimen

if TYPE_CHECKING:
    from armicro.overlay.application import FullScreen

TRUE_SHARE = 1.006
"""A simulated objective magnifies a little less than is engraved on it."""
ROOM = {"cells": 2.5}
"""Sides of a specimen's picture in fields, where the stage is to move over it."""


class Bench:
    """Camera, specimens and certificate: the guide's host."""

    def __init__(self, rig: Rig, path: Path, *, by: str) -> None:
        self._rig, self._path, self._by = rig, path, by
        self._folder = tempfile.TemporaryDirectory(prefix="armicro-specimen-")
        self._reader: Reader | None = None
        self._screen: FullScreen | None = None
        self._shown = contextlib.ExitStack()
        self._specimen = ""
        self._um_per_px = rig.camera.um_per_px
        self._card: Card | None = None

    def take(self) -> Field | None:
        """The newest field, at the scale as known by now; None: there is none yet."""
        field = self._reader.take(timeout_s=0.0) if self._reader else None
        return field and msgspec.structs.replace(field, um_per_px=self._um_per_px)

    def prepare(self, step: Step) -> None:
        """Open the camera, over another specimen where it is emulated."""
        if self._reader is not None and step.specimen == self._specimen:
            return
        self._specimen = step.specimen
        if self._screen is not None and step.specimen == "pattern":
            self._shown.enter_context(self._screen)
            self._screen.show_picture(draw_pattern(*self._screen.size_px))
        self._close_reader()
        rig = self._over_specimen(step)
        self._reader = Reader(partial(self._open, rig), newest=True)

    def display_wh_px(self, screen: int | None) -> tuple[int, int] | None:
        """Size of the display that the camera can see; None where there is none.

        Raises:
            CalibrationError: there is no such screen.
        """
        if self._rig.camera.emulated_image:
            return DISPLAY_WH_PX
        if screen is None:
            return None
        # Qt is loaded only where a window opens.
        from armicro.overlay.application import FullScreen

        self._screen = FullScreen(screen)
        return self._screen.size_px

    def measure(self, step: Step) -> Outcome:
        """Walk the stage, the one step whose host is asked.

        Raises:
            CalibrationError: the moves cannot be measured.
            SourceError: camera or stage cannot be used.
        """
        self._close_reader()
        rig = self._over_specimen(step)
        try:
            with open_instrument(rig) as instrument:
                plan = plan_of(instrument, self._um_per_px)
                settle_s = rig.stage.settle_s
                walked = carry_out(plan.walk(), instrument, settle_s=settle_s)
            return judge_walk(walked, um_per_px=self._um_per_px, measured_at=now())
        finally:
            self.prepare(step)

    def keep(self, outcome: Outcome) -> tuple[Line, ...]:
        """Write a measurement into the certificate; return all that it holds."""
        keep(self._path, instrument_of(self._rig, self._card), outcome, by=self._by)
        for table in outcome.tables:
            if isinstance(table, Scale):
                self._um_per_px = table.um_per_px
        return tuple(lines_of(read_certificate(self._path)))

    def close(self) -> None:
        """Give camera and specimens back; may be called twice."""
        self._close_reader()
        self._shown.close()
        self._folder.cleanup()

    def _open(self, rig: Rig) -> Source:
        # As it is: a correction by the certificate before would be measured again.
        source = open_source(rig, raw=True)
        self._card = source.card
        return source

    def _over_specimen(self, step: Step) -> Rig:
        """The rig; where it is emulated, with the step's specimen under it."""
        camera = self._rig.camera
        if not camera.emulated_image:
            return self._rig
        true_um_per_px = TRUE_SHARE * camera.um_per_px
        room = ROOM.get(step.specimen, 1.0)
        size = round(room * camera.width_px), round(room * camera.height_px)
        pixels = draw_specimen(step.specimen, size, true_um_per_px)
        path = Path(self._folder.name) / f"{step.specimen}.bmp"
        cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        shown = msgspec.structs.replace(
            camera, emulated_image=str(path), um_per_px=true_um_per_px
        )
        return msgspec.structs.replace(self._rig, camera=shown)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
