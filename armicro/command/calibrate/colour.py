"""``armicro calibrate colour``: white point, colour target, stain drift."""

import argparse
import csv
from pathlib import Path

import cv2
import msgspec
import numpy as np

from armicro.calibrate.certificate import Colour
from armicro.calibrate.colour import (
    Fit,
    Floats,
    Patches,
    Stain,
    Triple,
    apply_matrix,
    drift_of,
    fit_matrix,
    read_patches,
    read_stain,
    white_of,
)
from armicro.calibrate.colour_difference import (
    lab_of_linear,
    linear_of_lab,
    linear_of_srgb,
)
from armicro.certificate import now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    camera_of,
    instrument_for,
    keep,
    mean_of,
    photograph,
    read_one,
    read_pictures,
    side_by_side,
    tell,
    write_picture,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.file import write_whole
from armicro.picture import apply_gains
from armicro.rig import read_rig
from armicro.source import Card

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
    parser.epilog = EXAMPLE
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
    parser.add_argument("--count", type=int, default=8, help=argparse.SUPPRESS)
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure colour; 1 when a reference slide has drifted.

    Raises:
        CalibrationError: a picture cannot be used.
    """
    if bool(args.target) != bool(args.reference and args.corners):
        raise CalibrationError(
            "colour: a target needs all of --target, --reference and --corners"
        )
    if bool(args.slide) != bool(args.stain):
        raise CalibrationError("colour: a reference slide needs --slide and --stain")
    glass, card = _glass(args)
    white, gains = white_of(glass)
    answer: dict[str, object] = {
        "white_rgb": [round(v, 2) for v in white],
        "gains_rgb": [round(v, 4) for v in gains],
    }
    level, gain = (
        "/".join(f"{value:.{digits}f}" for value in values)
        for values, digits in ((white, 0), (gains, 3))
    )
    words = [f"glass {level}, gains {gain}"]
    colour = Colour(measured_at=now(), white_rgb=white, gains_rgb=gains)
    shown = glass[0]
    if args.target:
        shown = read_one(args.target)
        colour = _with_target(args, shown, colour, answer, words)
    status = _check_stain(args, white, answer, words) if args.slide else 0
    if args.before_after:
        matrix = np.array(colour.matrix) if colour.matrix else None
        write_picture(args.before_after, _shown(shown, gains, matrix, args))
    keep(args, instrument_for(args, glass[0], card), colour)
    tell(args, answer, "\n".join(words))
    return status


def _glass(args: argparse.Namespace) -> tuple[list[Pixels], Card | None]:
    if args.glass:
        return read_pictures(args.glass), None
    if not args.rig:
        raise CalibrationError("colour: no picture of empty glass; give one, or --rig")
    with camera_of(read_rig(args.rig)) as (card, fields):
        return [mean_of(photograph(fields, args.count))], card


def _with_target(
    args: argparse.Namespace,
    picture: Pixels,
    colour: Colour,
    answer: dict[str, object],
    words: list[str],
) -> Colour:
    reference = read_reference(args.reference)
    patches = read_patches(picture, _corners(args), _grid(args))
    fit = _fit(patches, reference, colour.gains_rgb, linear=args.linear)
    rows = tuple((float(a), float(b), float(c)) for a, b, c in fit.matrix.round(6))
    answer |= {
        "matrix": [list(row) for row in rows],
        "ciede2000_before": round(fit.before, 3),
        "ciede2000": round(fit.residual, 3),
        "ciede2000_held_out": round(fit.held_out, 3),
        "patches": len(reference),
    }
    words.append(
        f"target: {fit.before:.2f} before, {fit.residual:.2f} after, "
        f"{fit.held_out:.2f} on held-out patches (mean CIEDE2000 of {len(reference)})"
    )
    return msgspec.structs.replace(colour, matrix=rows, residual=round(fit.residual, 4))


def _fit(
    patches: Patches, reference_lab: Floats, gains: Triple, *, linear: bool
) -> Fit:
    if patches.levels.max() >= 254:
        raise CalibrationError(
            "colour: the target's brightest patch is at the top of the scale; expose "
            "it shorter"
        )
    balanced = patches.levels * np.asarray(gains)
    light = balanced / 255 if linear else linear_of_srgb(balanced)
    return fit_matrix(light, reference_lab)


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


def _check_stain(
    args: argparse.Namespace,
    white: Triple,
    answer: dict[str, object],
    words: list[str],
) -> int:
    stain = read_stain(
        read_pictures(args.slide, one_size=False), white, measured_at=now()
    )
    answer["od_rgb"] = list(stain.od_rgb)
    if not args.stain.exists():
        encoded = msgspec.json.format(msgspec.json.encode(stain), indent=2)
        try:
            write_whole(args.stain, encoded + b"\n")
        except OSError as error:
            raise CalibrationError(f"stain {args.stain}: {error.strerror}") from error
        words.append(f"reference slide stored in {args.stain}")
        return 0
    try:
        stored = msgspec.json.decode(args.stain.read_bytes(), type=Stain)
    except (OSError, msgspec.DecodeError) as error:
        raise CalibrationError(
            f"stain {args.stain}: {error}; expected what this command wrote"
        ) from error
    drift = drift_of(stain, stored)
    answer |= {
        "drift_od_rgb": list(drift.od_rgb),
        "drift_angle_deg": round(drift.angle_deg, 2),
        "verdict": drift.verdict,
    }
    change = ", ".join(f"{v:+.3f}" for v in drift.od_rgb)
    words.append(
        f"reference slide {drift.verdict}: optical density {change} (red, green, blue) "
        f"since {stored.measured_at[:10]}, hue turned by {drift.angle_deg:.1f}°"
    )
    return 1 if drift.verdict == "drifted" else 0


def _shown(
    picture: Pixels, gains: Triple, matrix: Floats | None, args: argparse.Namespace
) -> Pixels:
    after = apply_gains(picture, gains)
    if matrix is not None:
        after = apply_matrix(after, matrix, linear=args.linear)
    before = picture
    if args.corners:
        before = picture.copy()
        corners = _corners(args)
        for x, y in read_patches(picture, corners, _grid(args)).centres_xy:
            cv2.drawMarker(before, (round(x), round(y)), (255, 255, 255), 0, 24, 3)
            cv2.drawMarker(before, (round(x), round(y)), (0, 0, 0), 0, 20, 1)
    return side_by_side(before, after)


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
