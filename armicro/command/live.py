"""``armicro live``: assist at a microscope until the window is closed."""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from armicro.command.replay import (
    add_reader,
    add_session_arguments,
    choose_display,
    choose_rig,
    show,
)
from armicro.console import number
from armicro.errors import RigError
from armicro.processes.job import Job, folder_name
from armicro.processes.life import set_up_logging
from armicro.processes.session import run_job
from armicro.session.record import Session
from armicro.verdict import PICTURES_APART
from armicro.wire.address import check_wire

EXAMPLE = """\
examples:
  armicro live --rig hardware/rigs/basler-usb3-20x.toml
  armicro live --rig hardware/rigs/emulated-camera.toml --out out --headless
  armicro live --rig rig.toml --part inference   (on the machine with the GPU)
A video file, a folder of pictures or a TIFF of several pages as camera.device of the
video driver is read to its end: every picture is a field, none is skipped.
"""

MOST_TOLD = 50
"""Pictures that could not be read, named in the terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument("--rig", type=Path, required=True, help="rig file")
    add_session_arguments(parser, "print slide.json at the end")
    parser.add_argument(
        "--name", help="name of the slide (default: date and time of the start)"
    )
    add_reader(parser)
    parser.add_argument(
        "--record",
        action="store_true",
        help="also save the analysed fields, losslessly",
    )
    parser.add_argument(
        "--part",
        choices=("all", "microscope", "inference"),
        default="all",
        help="run only this part here; [wire] in the rig says where the other is",
    )
    seconds, long = (
        number(1e-3, 1e9, "time in s", of=float),
        "end by itself after that long",
    )
    parser.add_argument("--seconds", type=seconds, help=long)


def _name(given: str | None) -> str:
    name = given or datetime.now().astimezone().strftime("%Y-%m-%d_%H%M%S")
    if name != folder_name(name):
        raise RigError(
            f"--name {name!r} is no name of a folder; expected one such as "
            f"{folder_name(name)!r}"
        )
    return name


def run(args: argparse.Namespace) -> int:
    """Run until the window is closed, Ctrl-C, the time is over or a file is read.

    Returns:
        1 when a picture of a file could not be read.
    """
    set_up_logging("live")
    rig = choose_rig(args.rig, engines=args.engines)
    if rig.camera.driver == "slide":
        raise RigError(
            f'rig {args.rig}: driver "slide" is no camera; expected basler, '
            "micromanager, simulated, video or recording, or use `armicro replay SLIDE`"
        )
    if args.part != "all" and not (rig.wire.capture and rig.wire.infer):
        raise RigError(
            f"rig {args.rig}: --part {args.part} needs capture and infer under [wire], "
            'such as capture = "tcp://*:5600" on the machine that has it and '
            '"tcp://NAME:5600" on the other'
        )
    check_wire(rig.wire)
    if rig.calibration_fault or rig.camera.uncalibrated:
        why = (
            f"{rig.calibration_fault}, no boxes"
            if rig.calibration_fault
            else "boxes at a scale that nobody measured"
        )
        todo = "measure the instrument (armicro calibrate guide)"
        tqdm.write(f"rig {rig.name}: {why}; {todo}", file=sys.stderr)
    name = _name(args.name)
    folder = args.out / name
    if folder.exists():
        raise RigError(f"{folder} exists; give the slide another --name")
    job = Job(
        session="",
        mode="live",
        rig=rig,
        out=str(folder),
        display=choose_display(headless=args.headless),
        record=args.record,
        part=args.part,
        reader=args.reader or "",
    )
    session, ended = run_job(job, quiet=args.json, seconds=args.seconds)
    if args.part != "microscope":
        show(session, folder, as_json=args.json)
    if not args.json and ended:
        tqdm.write(ended)
    return 1 if _tell_pictures(session) else 0


def _tell_pictures(session: Session) -> int:
    """Say of a file's pictures what is to be known; return how many were not read."""
    if session.pictures_apart:
        tqdm.write(PICTURES_APART, file=sys.stderr)
    if session.score.fields_unplaced:
        tqdm.write(
            f"{session.score.fields_unplaced} of {session.score.fields} fields could "
            "not be placed: they were not analysed and are in no coverage",
            file=sys.stderr,
        )
    if session.slide.fields_planned is None:
        # A camera's fields are as many as one likes.
        return 0
    unread = [each for each in session.reports if each.state == "unreadable"]
    for report in unread[:MOST_TOLD]:
        tqdm.write(f"field {report.seq}: {report.reason}", file=sys.stderr)
    if len(unread) > MOST_TOLD:
        more = len(unread) - MOST_TOLD
        tqdm.write(f"and {more} more: see session.sqlite", file=sys.stderr)
    return len(unread)
