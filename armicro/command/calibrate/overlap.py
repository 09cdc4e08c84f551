"""``armicro calibrate overlap``: where one field lies against another."""

import argparse
from pathlib import Path

from armicro.command.calibrate.picture import read_one
from armicro.console import add_json, number, show
from armicro.place.overlap import find_overlap

_MOST_PX = 100_000

EXAMPLE = """\
examples:
  armicro calibrate overlap left.jpg right.jpg
  armicro calibrate overlap left.jpg right.jpg --json
  armicro calibrate overlap dots-a.png dots-b.png --expect-px 240 0

Two pictures of one scale within 10 %, turned against each other by any angle. Exit
status 0 also where they do not overlap: that is an answer ("found": false).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.add_argument("a", metavar="A", type=Path, help="picture of the first field")
    parser.add_argument("b", metavar="B", type=Path, help="picture of the second")
    parser.add_argument(
        "--expect-px",
        nargs=2,
        type=number(-_MOST_PX, _MOST_PX, "place in pixels", of=float),
        metavar=("X", "Y"),
        help="about where B's corner lies in A, for pictures that repeat",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Find the overlap and print it."""
    expected = tuple(args.expect_px) if args.expect_px else None
    overlap = find_overlap(read_one(args.a), read_one(args.b), expected_xy_px=expected)
    words = f"{args.b} does not overlap {args.a} as far as can be seen"
    if overlap.found:
        words = (
            f"{args.b} lies {overlap.dx_px:z.2f} px right of {args.a} and "
            f"{overlap.dy_px:z.2f} px below (± {overlap.standard_error_px:.2f} px), "
            f"turned by {overlap.rotation_deg:z.2f}°"
        )
    show(overlap, words, as_json=args.json)
    return 0
