"""``armicro calibrate guide``: all procedures one after the other, led by hand.

With a screen it is a window; with ``--text`` or without a screen, questions in the
terminal. A rig whose camera is emulated gets the specimens put under its objective, so
that the whole way can be walked without a microscope.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import msgspec

from armicro.calibrate.certificate import CertificateLine, Scale, lines_of
from armicro.calibrate.course import course
from armicro.calibrate.display import draw_pattern
from armicro.calibrate.guide import Guide, GuideStep, Outcome
from armicro.calibrate.procedure import DIVISION_UM, ProcedureSettings, judge_walk
from armicro.certificate import now, read_certificate
from armicro.command.calibrate.picture import add_by, camera_of, keep
from armicro.command.calibrate.show import text_of
from armicro.command.calibrate.stage import plan_of
from armicro.errors import CalibrationError, RigError
from armicro.field import Field
from armicro.overlay import why_no_screen
from armicro.processes.reader import Reader
from armicro.rig import Rig, read_rig
from armicro.source import Source, SourceCard
from armicro.source.identity import instrument_of
from armicro.source.open import carry_out, open_instrument, open_source
from armicro.source.specimen import DISPLAY_WH_PX, draw_specimen

if TYPE_CHECKING:
    from armicro.overlay.application import FullScreen

WAIT_S = 30.0

EXAMPLE = """\
examples:
  armicro calibrate guide --rig hardware/rigs/basler-usb3-20x.toml
  armicro calibrate guide --rig hardware/rigs/emulated-camera.toml \\
      --certificate out/emulated.toml --text --yes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.add_argument("--rig", type=Path, required=True, help="rig file")
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="write the results here (default: the rig's certificate)",
    )
    parser.add_argument(
        "--division-um", type=float, default=DIVISION_UM, help="of the micrometer (10)"
    )
    parser.add_argument(
        "--screen", type=int, metavar="N", help="number of the eyepiece's display"
    )
    add_by(parser)
    parser.add_argument("--text", action="store_true", help="in the terminal")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="with --text: measure and accept by itself; 1 when something is refused",
    )


# ---------------------------------------------------------------------------
# What stands before the guide: camera, stage, display and the certificate's file.

TRUE_SHARE = 1.006
"""A simulated objective magnifies a little less than is engraved on it."""
ROOM = {"cells": 2.5}
"""Sides of a specimen's picture in fields, where the stage is to move over it."""


class GuideHost:
    """Camera, specimens and certificate: the guide's host."""

    def __init__(self, rig: Rig, path: Path, *, by: str | None) -> None:
        self._rig, self._path, self._by = rig, path, by
        self._folder = tempfile.TemporaryDirectory(prefix="armicro-specimen-")
        self._reader: Reader | None = None
        self._screen: FullScreen | None = None
        self._shown = contextlib.ExitStack()
        self._specimen = ""
        self._um_per_px = rig.camera.um_per_px
        self._card: SourceCard | None = None

    def take(self) -> Field | None:
        """The newest field, at the scale as known by now; None: there is none yet."""
        field = self._reader.take(timeout_s=0.0) if self._reader else None
        return field and msgspec.structs.replace(field, um_per_px=self._um_per_px)

    def prepare(self, step: GuideStep) -> None:
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

    def measure(self, step: GuideStep) -> Outcome:
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

    def keep(self, outcome: Outcome) -> tuple[CertificateLine, ...]:
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

    def _over_specimen(self, step: GuideStep) -> Rig:
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


# ---------------------------------------------------------------------------
# The command.


def run(args: argparse.Namespace) -> int:
    """Lead through the procedures; 1 when a step was refused or left out."""
    rig = read_rig(args.rig)
    path = args.certificate or (Path(rig.certificate) if rig.certificate else None)
    if path is None:
        raise RigError(
            f"rig {args.rig}: names no certificate; add certificate = "
            '"NAME.toml" to it, or give --certificate FILE'
        )
    if rig.camera.driver in ("slide", "recording"):
        raise RigError(
            f'rig {args.rig}: driver "{rig.camera.driver}" is no camera that could be '
            "measured; expected basler, micromanager, simulated or video"
        )
    setting = ProcedureSettings(_expected(rig), args.division_um, now())
    in_text = args.text or args.yes or bool(why_no_screen(os.environ))
    with contextlib.closing(GuideHost(rig, path, by=args.by)) as bench:
        guide = Guide(
            course(
                setting,
                has_stage=rig.stage.driver != "none",
                display_wh_px=bench.display_wh_px(None if in_text else args.screen),
            )
        )
        if in_text:
            _lead(guide, bench, ask=_yes if args.yes else _typed)
        else:
            from armicro.overlay.procedure import run_procedure

            run_procedure(guide, bench, where=path.name)
    if path.exists():
        sys.stdout.write(f"{text_of(read_certificate(path))}\nwritten to {path}\n")
    return 0 if len(guide.accepted) == len(guide.steps) else 1


def _expected(rig: Rig) -> float:
    """µm per pixel that the scale is held against."""
    if rig.named_um_per_px is None or rig.camera.emulated_image:
        return rig.expected_um_per_px()
    # Only the open camera says how many pixels of its sensor make one of a field.
    with camera_of(rig) as (card, _):
        return rig.expected_um_per_px(card.binning)


def _lead(guide: Guide, bench: GuideHost, *, ask: Callable[[str], str]) -> None:
    """Walk the guide in a terminal."""
    tell = sys.stdout.write
    while guide.phase != "finished":
        step = guide.step
        bench.prepare(step)
        tell(f"\n{step.title}\n{step.instruction}\n")
        if ask("Enter to look, s to leave this out: ").strip() == "s":
            guide.skip()
            continue
        _look(guide, bench)
        for check in guide.checks:
            mark = "ok" if check.ok else "!!"
            tell(f"  {mark} {check.name}: {check.value} {check.advice}".rstrip() + "\n")
        if not guide.ready:
            if ask is _yes:
                guide.skip()
            continue
        guide.start()
        _look(guide, bench)
        _conclude(guide, bench, ask=ask)


def _conclude(guide: Guide, bench: GuideHost, *, ask: Callable[[str], str]) -> None:
    if guide.outcome is None:
        sys.stdout.write(f"  refused: {guide.refusal}\n")
        if ask is _yes:
            guide.skip()
        else:
            guide.repeat()
        return
    sys.stdout.write(f"  {guide.outcome.words}\n")
    if ask("Enter to accept, r to repeat: ").strip() == "r":
        guide.repeat()
        return
    bench.keep(guide.outcome)
    guide.accept()


def _look(guide: Guide, bench: GuideHost) -> None:
    """Show the guide fields until it has judged one, or has measured."""
    deadline = time.monotonic() + WAIT_S
    measuring = guide.phase == "measuring"
    while time.monotonic() < deadline:
        field = bench.take()
        if field is None:
            time.sleep(0.01)
            continue
        guide.see(field)
        if guide.wants_host:
            try:
                guide.finish(bench.measure(guide.step))
            except CalibrationError as error:
                guide.refuse(str(error))
        if not measuring or guide.phase != "measuring":
            return
    raise CalibrationError(
        f"no field for {WAIT_S:.0f} s; check the camera: armicro doctor"
    )


def _typed(question: str) -> str:
    try:
        return input(question)
    except EOFError as error:
        raise CalibrationError(
            "nobody answers: the input has ended; answer in a terminal, or give --yes"
        ) from error


def _yes(question: str) -> str:
    del question
    return ""
