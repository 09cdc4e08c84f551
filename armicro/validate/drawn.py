"""The cascade on drawn fields of seeds and stains that training never saw.

They prove that the chain works from picture to finding; they say nothing of cytology.
"""

import argparse
from collections.abc import Iterator

import numpy as np

from armicro.cascade.screen import Choice, Screen
from armicro.engine.registry import NetworkSet
from armicro.field import Field, Place
from armicro.phantom import STAINS, UM_PER_PX, paint_field
from armicro.validate.fields import SeenField, seen_picture

SIDE_PX = 1024
FIRST_SEED = 9000
LESIONS = 6


def add_drawn_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of drawn fields."""
    parser.add_argument("--fields", type=int, default=16, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first")
    parser.add_argument(
        "--stains",
        default="teal,warm",
        help="taken in turn (default: those that training leaves out); "
        f"of {', '.join(sorted(STAINS))}",
    )


def screen_drawn(networks: NetworkSet, args: argparse.Namespace) -> Iterator[SeenField]:
    """Draw fields and run the cascade on them; every fourth has no lesion."""
    stains = args.stains.split(",")
    screen = Screen(networks, Choice())
    place = Place(0.0, 0.0, 0.0, "slide_file")
    for number in range(args.fields):
        stain = stains[number % len(stains)]
        pixels, truth = paint_field(
            seed=args.seed + number,
            width_px=SIDE_PX,
            height_px=SIDE_PX,
            um_per_px=UM_PER_PX,
            lesions=0 if number % 4 == 3 else LESIONS,
            stain=stain,
        )
        lesions = np.column_stack([truth.x_um, truth.y_um])[truth.lesion]
        field = Field(UM_PER_PX, seq=number, taken_ns=0, place=place, pixels=pixels)
        name = f"{args.seed + number}-{stain}"
        yield seen_picture(screen, field, (name, stain), lesions)
