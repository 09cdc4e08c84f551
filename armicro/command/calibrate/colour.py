"""``armicro calibrate colour``: white point, colour target, stain drift."""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from armicro.calibrate.certificate import Colour
from armicro.calibrate.colour import (
    Floats,
    StainAbsorption,
    drift_of,
    lab_of_linear,
    linear_of_lab,
    linear_of_srgb,
    read_stain,
)
from armicro.calibrate.guide import Outcome
from armicro.calibrate.procedure import GLASS_FIELDS, ColourTarget, measure_colour
from armicro.certificate import begun_for, now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    conclude,
    instrument_for,
    pictures_of,
    read_one,
    read_pictures,
)
from armicro.console import json_text
from armicro.errors import CalibrationError
from armicro.file import write_whole

_MOST_PATCHES = 1000

EXAMPLE = """\
examples:
  armicro calibrate colour --rig rig.toml --certificate certificates/20x.toml
  armicro calibrate colour glass.png --target chart.png \\
      --reference calibration/colorchecker24.csv --grid 6x4 \\
      --corners 210,180 2190,205 2170,1540 195,1510 --before-after colour.png
  armicro calibrate colour glass.png --slide place1.png place2.png \\
      --stain certificates/reference-slide.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "glass",
        nargs="*",
        type=Path,
        metavar="GLASS",
        help="pictures of empty glass (default: the rig's camera takes them now)",
    )
    target = parser.add_argument_group("a colour target, for the matrix")
    target.add_argument("--target", type=Path, metavar="PICTURE", help="of the target")
    target.add_argument(
        "--reference",
        type=Path,
        metavar="FILE.csv",
        help="columns L,a,b (D50) or r,g,b (sRGB), a row a patch, in rows",
    )
    target.add_argument("--grid", default="6x4", help="patches across x down")
    target.add_argument(
        "--corners",
        nargs=4,
        metavar="X,Y",
        help="outer corners of the patches, clockwise from the first patch",
    )
    target.add_argument(
        "--linear", action="store_true", help="the camera has no gamma curve"
    )
    slide = parser.add_argument_group("a reference slide, for the drift of its stain")
    slide.add_argument("--slide", nargs="+", type=Path, metavar="PICTURE", default=[])
    slide.add_argument(
        "--stain",
        type=Path,
        metavar="FILE.json",
        help="compared with; written where there is none",
    )
    parser.add_argument("--before-after", type=Path, metavar="OUT.png")
    parser.add_argument(
        "--count", type=int, default=GLASS_FIELDS, help=argparse.SUPPRESS
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure colour; 1 when a reference slide has drifted."""
    if bool(args.target) != bool(args.reference and args.corners):
        raise CalibrationError(
            "colour: a target needs all of --target, --reference and --corners"
        )
    if bool(args.slide) != bool(args.stain):
        raise CalibrationError("colour: a reference slide needs --slide and --stain")
    glass, card = pictures_of(
        args,
        args.glass,
        args.count,
        missing="colour: no picture of empty glass; give one, or --rig",
    )
    target = None
    if args.target:
        chart, corners, grid = read_one(args.target), _corners(args), _grid(args)
        colours = read_reference(args.reference)
        target = ColourTarget(chart, corners, grid, colours, linear=args.linear)
    outcome = measure_colour(glass, now(), target=target)
    status = 0
    instrument = instrument_for(args, glass[0], card)
    if args.slide:
        if args.certificate:
            # Asked first: no stain is stored of what is then refused.
            begun_for(args.certificate, instrument)
        outcome, status = _with_stain(args, outcome)
    conclude(args, outcome, instrument, shown=args.before_after)
    return status


def read_reference(path: Path) -> Floats:
    """Read a target's colours as CIELAB under D65, (n, 3).

    Raises:
        CalibrationError: the file is missing or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(line for line in file if line[0] != "#"))
        for names, lab in ((("L", "a", "b"), True), (("r", "g", "b"), False)):
            if rows and all(name in rows[0] for name in names):
                typed = [[float(row[n]) for n in names] for row in rows]
                values = np.asarray_chkfinite(typed)
                light = linear_of_lab(values) if lab else linear_of_srgb(values)
                return lab_of_linear(light)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        seen = error.strerror if isinstance(error, OSError) else error
        raise CalibrationError(
            f"reference {path}: {seen}; expected a CSV with L,a,b or r,g,b"
        ) from error
    raise CalibrationError(
        f"reference {path}: expected a CSV with columns L,a,b or r,g,b and a row a "
        "patch"
    )


def _with_stain(args: argparse.Namespace, outcome: Outcome) -> tuple[Outcome, int]:
    """Store the stain of a reference slide, or compare it: 1 when it has drifted."""
    slide = read_pictures(args.slide, one_size=False)
    (white_rgb,) = (t.white_rgb for t in outcome.tables if isinstance(t, Colour))
    stain = read_stain(slide, white_rgb, measured_at=now())
    numbers = outcome.numbers | {"od_rgb": list(stain.od_rgb)}
    if not args.stain.exists():
        try:
            write_whole(args.stain, json_text(stain).encode())
        except OSError as error:
            raise CalibrationError(f"stain {args.stain}: {error.strerror}") from error
        account = f"reference slide stored in {args.stain}"
    else:
        stored = _read_stain(args.stain)
        drift = drift_of(stain, stored)
        numbers |= {
            "drift_od_rgb": list(drift.od_rgb),
            "drift_angle_deg": round(drift.angle_deg, 2),
            "verdict": drift.verdict,
        }
        change = ", ".join(f"{v:+.3f}" for v in drift.od_rgb)
        account = (
            f"reference slide {drift.verdict}: optical density {change} (red, green, "
            f"blue) since {stored.measured_at[:10]}, hue turned by "
            f"{drift.angle_deg:.1f}°"
        )
    outcome = replace(outcome, numbers=numbers, account=f"{outcome.account}\n{account}")
    return outcome, int(numbers.get("verdict") == "drifted")


def _read_stain(path: Path) -> StainAbsorption:
    try:
        return msgspec.json.decode(path.read_bytes(), type=StainAbsorption)
    except (OSError, msgspec.DecodeError) as error:
        raise CalibrationError(
            f"stain {path}: {error}; expected what this command wrote"
        ) from error


def _corners(args: argparse.Namespace) -> Floats:
    try:
        corners = [[float(v) for v in text.split(",")] for text in args.corners]
        return np.array(corners).reshape(4, 2)
    except ValueError as error:
        raise CalibrationError(
            f"--corners {' '.join(args.corners)}: expected four of X,Y in pixels"
        ) from error


def _grid(args: argparse.Namespace) -> tuple[int, int]:
    across, _, down = args.grid.partition("x")
    if not (across.isdecimal() and down.isdecimal() and int(across) and int(down)):
        raise CalibrationError(f"--grid {args.grid}: expected ACROSSxDOWN, such as 6x4")
    if int(across) * int(down) > _MOST_PATCHES:
        raise CalibrationError(
            f"--grid {args.grid}: expected at most {_MOST_PATCHES} patches"
        )
    return int(across), int(down)
