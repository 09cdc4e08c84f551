"""``armicro calibrate guide``: all procedures one after the other, led by hand.

With a screen it is a window; with ``--text`` or without a screen, questions in the
terminal.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from armicro.calibrate.course import course
from armicro.calibrate.guide import Guide
from armicro.calibrate.procedure import DIVISION_UM, Setting
from armicro.certificate import now, read_certificate
from armicro.command.calibrate.bench import Bench
from armicro.command.calibrate.show import text_of
from armicro.errors import CalibrationError, RigError
from armicro.overlay import why_no_screen
from armicro.rig import read_rig

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
    parser.add_argument("--by", default="", help="who measures (default: the user)")
    parser.add_argument("--text", action="store_true", help="in the terminal")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="with --text: measure and accept by itself; 1 when something is refused",
    )


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
    setting = Setting(rig.expected_um_per_px(), args.division_um, now())
    in_text = args.text or args.yes or bool(why_no_screen(os.environ))
    with contextlib.closing(Bench(rig, path, by=args.by)) as bench:
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


def _lead(guide: Guide, bench: Bench, *, ask: Callable[[str], str]) -> None:
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


def _conclude(guide: Guide, bench: Bench, *, ask: Callable[[str], str]) -> None:
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


def _look(guide: Guide, bench: Bench) -> None:
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
