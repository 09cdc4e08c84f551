"""``armicro calibrate flatfield``: how evenly the lamp lights the field."""

import argparse
from pathlib import Path

from armicro.calibrate.light import FEWEST_FIELDS, dark_of
from armicro.calibrate.procedure import GLASS_FIELDS, NO_DARK, measure_light
from armicro.certificate import now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    conclude,
    instrument_for,
    pictures_of,
    read_pictures,
)

EXAMPLE = """\
examples:
  armicro calibrate flatfield --rig rig.toml --certificate certificates/20x.toml
  armicro calibrate flatfield glass1.png glass2.png --before-after light.png --json
  armicro calibrate flatfield --fields folder-of-fields --certificate 20x.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
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
        "--count",
        type=int,
        default=GLASS_FIELDS,
        help="pictures that the camera takes",
    )
    parser.add_argument(
        "--before-after", type=Path, metavar="OUT.png", help="a picture to look at"
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure the light."""
    pictures, card = pictures_of(
        args,
        args.fields or args.pictures,
        args.count,
        missing="flatfield: no picture; give pictures of empty glass, --fields, or "
        "--rig",
    )
    outcome = measure_light(
        pictures,
        now(),
        dark_rgb=dark_of(read_pictures(args.dark)) if args.dark else NO_DARK,
        retrospect=bool(args.fields),
    )
    instrument = instrument_for(args, pictures[0], card)
    conclude(args, outcome, instrument, shown=args.before_after)
    return 0
