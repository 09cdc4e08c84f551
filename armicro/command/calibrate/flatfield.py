"""``armicro calibrate flatfield``: how evenly the lamp lights the field."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from armicro.calibrate.certificate import Light
from armicro.calibrate.light import (
    FEWEST_FIELDS,
    Lamp,
    corner_ratio,
    dark_of,
    gains_of,
    lamp_of_fields,
    lamp_of_glass,
)
from armicro.certificate import now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    camera_of,
    instrument_for,
    keep,
    photograph,
    read_pictures,
    side_by_side,
    tell,
    write_picture,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.flat import write_flat
from armicro.rig import read_rig
from armicro.source import Card
from armicro.source.corrected import Correction

LARGEST_LEFT = 0.02
"""The corners may differ from the centre by so much after correction."""

EXAMPLE = """\
examples:
  armicro calibrate flatfield --rig rig.toml --certificate certificates/20x.toml
  armicro calibrate flatfield glass1.png glass2.png --before-after light.png --json
  armicro calibrate flatfield --fields folder-of-fields --certificate 20x.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "pictures",
        nargs="*",
        type=Path,
        metavar="PICTURE",
        help="of empty glass (default: the rig's camera takes them now)",
    )
    parser.add_argument(
        "--fields",
        nargs="+",
        type=Path,
        metavar="PICTURE",
        help=f"at least {FEWEST_FIELDS} fields of different places, or their folder: "
        "the light is found in retrospect",
    )
    parser.add_argument(
        "--dark",
        nargs="+",
        type=Path,
        metavar="PICTURE",
        default=[],
        help="taken with the light shut off",
    )
    parser.add_argument(
        "--count", type=int, default=8, help="pictures that the camera takes"
    )
    parser.add_argument(
        "--before-after", type=Path, metavar="OUT.png", help="a picture to look at"
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure the light.

    Raises:
        CalibrationError: the pictures cannot be used.
    """
    pictures, card = _pictures(args)
    dark_rgb = dark_of(read_pictures(args.dark)) if args.dark else (0.0, 0.0, 0.0)
    solve = lamp_of_fields if args.fields else lamp_of_glass
    # Those that verify took no part, where there are enough for both.
    least = FEWEST_FIELDS if args.fields else 1
    split = len(pictures) >= 2 * least
    fitted, others = (pictures[::2], pictures[1::2]) if split else (pictures, pictures)
    lamp = solve(fitted, dark_rgb=dark_rgb)
    height, width = pictures[0].shape[:2]
    gains = np.maximum(gains_of(lamp.at(width, height)), 1.0)
    correction = Correction(gains, dark_rgb=dark_rgb)
    even = [correction.apply(picture) for picture in others]
    after = corner_ratio(solve(even).share) if args.fields else _read_corner(even)
    if abs(after - 1) > LARGEST_LEFT:
        raise CalibrationError(
            f"light: the corners are at {after:.1%} of the centre after correction, "
            f"expected within {LARGEST_LEFT:.0%} of it; give more fields, or empty "
            "glass"
        )
    if args.before_after:
        shown = side_by_side(others[-1], even[-1])
        write_picture(args.before_after, shown)
    light = _light(args, lamp, dark_rgb, after)
    keep(args, instrument_for(args, pictures[0], card), light)
    _tell(args, light, lamp, held_out=split)
    return 0


def _pictures(args: argparse.Namespace) -> tuple[list[Pixels], Card | None]:
    files = args.fields or args.pictures
    if files:
        return read_pictures(tqdm(files, disable=args.json or len(files) < 10)), None
    if not args.rig:
        raise CalibrationError(
            "flatfield: no picture; give pictures of empty glass, --fields, or --rig"
        )
    with camera_of(read_rig(args.rig)) as (card, fields):
        return photograph(fields, args.count), card


def _read_corner(pictures: Sequence[Pixels]) -> float:
    """Corner over centre as the pictures themselves have it, without a fit."""
    return corner_ratio(np.median(np.stack(pictures), axis=0))


def _light(
    args: argparse.Namespace,
    lamp: Lamp,
    dark_rgb: tuple[float, float, float],
    after: float,
) -> Light:
    name, digest = "", ""
    if args.certificate:
        name, digest = write_flat(args.certificate, lamp.share)
    return Light(
        measured_at=now(),
        flat=name,
        flat_sha256=digest,
        dark_rgb=dark_rgb,
        corner_before=round(corner_ratio(lamp.share), 4),
        corner_after=round(after, 4),
        fields=lamp.fields,
    )


def _tell(
    args: argparse.Namespace, light: Light, lamp: Lamp, *, held_out: bool
) -> None:
    answer: dict[str, object] = {
        "corner_before": light.corner_before,
        "corner_after": light.corner_after,
        "fields": light.fields,
        "held_out": held_out,
        "roughness": round(lamp.roughness, 5),
        "level_rgb": [round(v, 1) for v in lamp.level_rgb],
        "dark_rgb": list(light.dark_rgb),
    }
    where = (
        "on pictures that took no part"
        if held_out
        else "on the pictures that it was made of, which proves nothing: give more"
    )
    tell(
        args,
        answer,
        f"corners at {light.corner_before:.3f} of the centre, "
        f"{light.corner_after:.3f} after correction "
        f"({light.fields} {'fields' if args.fields else 'of empty glass'}), {where}",
    )
