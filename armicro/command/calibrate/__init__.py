"""``armicro calibrate``: one table of procedures, one file each."""

import argparse
import importlib
from typing import NamedTuple

from armicro.calibrate.latency import FEWEST_CHANGES
from armicro.errors import CalibrationError

EXAMPLE = """\
examples:
  armicro calibrate scale micrometer.png --division-um 10
  armicro calibrate scale --help
"""


class Procedure(NamedTuple):
    """Where a procedure lives and what it measures, in one line."""

    module: str
    summary: str


PROCEDURES: dict[str, Procedure] = {
    "scale": Procedure(
        "armicro.command.calibrate.scale", "measure micrometres a pixel"
    ),
    "stage": Procedure(
        "armicro.command.calibrate.stage",
        "measure how pictures move when the stage does",
    ),
    "display": Procedure(
        "armicro.command.calibrate.display", "map the camera onto the display"
    ),
    "flatfield": Procedure(
        "armicro.command.calibrate.flatfield", "measure how evenly the lamp lights"
    ),
    "colour": Procedure(
        "armicro.command.calibrate.colour", "measure white point, colours and stain"
    ),
    "latency": Procedure(
        "armicro.command.calibrate.latency", "measure how late what is drawn comes"
    ),
    "overlap": Procedure(
        "armicro.command.calibrate.overlap", "where one field lies against another"
    ),
    "verify": Procedure(
        "armicro.command.calibrate.verify",
        "compare the instrument with its certificate",
    ),
    "guide": Procedure(
        "armicro.command.calibrate.guide", "lead through all procedures, in a window"
    ),
    "show": Procedure("armicro.command.calibrate.show", "print a certificate to read"),
}


NUMBERS = {
    "division_um": (1e-3, 1e5),
    "pixel_um": (0.1, 100.0),
    "um_per_px": (1e-3, 100.0),
    "count": (1, 1000),
    "changes": (FEWEST_CHANGES, 10_000),
    "screen": (0, 64),
    "simulated": (0, 2**32 - 1),
}
"""Least and most of what is typed; beyond, no result would mean anything."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes; each procedure declares its own."""
    parser.epilog = EXAMPLE
    procedures = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, procedure in PROCEDURES.items():
        sub = procedures.add_parser(
            name,
            help=procedure.summary,
            description=f"{procedure.summary.capitalize()}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        importlib.import_module(procedure.module).add_arguments(sub)


def run(args: argparse.Namespace) -> int:
    """Run the procedure; 0 done, 1 failed, 2 a picture or rig that cannot be used.

    Raises:
        CalibrationError: a number is out of range, or the procedure refuses.
    """
    for name, (least, most) in NUMBERS.items():
        value = getattr(args, name, None)
        if value is not None and not least <= value <= most:
            raise CalibrationError(
                f"--{name.replace('_', '-')} {value:g}: expected {least:g} to {most:g}"
            )
    return int(importlib.import_module(PROCEDURES[args.kind].module).run(args))
