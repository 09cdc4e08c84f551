"""``armicro calibrate``: one table of procedures, one file each."""

import argparse
import importlib
from typing import Any

from armicro.calibrate.latency import FEWEST_CHANGES
from armicro.command.calibrate.picture import check_files
from armicro.console import add_kind
from armicro.errors import CalibrationError

EXAMPLE = """\
examples:
  armicro calibrate scale micrometer.png --division-um 10
  armicro calibrate scale --help
"""

PROCEDURES = {
    "scale": "measure micrometres a pixel",
    "stage": "measure how pictures move when the stage does",
    "display": "map the camera onto the display",
    "flatfield": "measure how evenly the lamp lights",
    "colour": "measure white point, colours and stain",
    "latency": "measure how late what is drawn comes",
    "overlap": "where one field lies against another",
    "verify": "compare the instrument with its certificate",
    "guide": "lead through all procedures, in a window",
    "show": "print a certificate to read",
}
"""What each measures; it lives in the file of its name."""

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
    for name, summary in PROCEDURES.items():
        module = _module(name)
        module.add_arguments(add_kind(procedures, name, summary, epilog=module.EXAMPLE))


def _module(name: str) -> Any:
    return importlib.import_module(f"armicro.command.calibrate.{name}")


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
    _refuse_pretended(args)
    check_files(args)
    return int(_module(args.kind).run(args))


def _refuse_pretended(args: argparse.Namespace) -> None:
    """Keep what was measured on a pretended instrument off real ones."""
    if getattr(args, "simulated", None) is None:
        return
    for name in ("certificate", "rig", "session", "pictures", "pattern_out"):
        if getattr(args, name, None) is not None:
            raise CalibrationError(
                "--simulated is a try on a pretended instrument, not of yours; leave "
                f"--{name.replace('_', '-')} away, or --simulated"
            )
