"""``armicro doctor``: what this machine has, and what to do about what it lacks."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from armicro import __version__
from armicro.console import add_json, show
from armicro.doctor.check import format_checks, format_summary
from armicro.doctor.examine import examine

WIDEST = 110

EXAMPLE = """\
examples:
  armicro doctor
  armicro doctor --quick
  armicro doctor --rig hardware/rigs/basler-usb3-20x.toml
  armicro doctor --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(),
        help="where results would go (default: here)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="do not run the networks (saves seconds)"
    )
    parser.add_argument(
        "--rig",
        type=Path,
        action="append",
        default=[],
        help="also look at this rig and its certificate",
    )
    add_json(parser, "print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Examine the machine; 1 when armicro cannot work on it."""
    out = args.out.resolve()
    folder = next(path for path in (out, *out.parents) if path.is_dir())
    checks = examine(folder, quick=args.quick, rigs=args.rig)
    usable = not any(check.state == "broken" for check in checks)
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    table = format_checks(checks, width=width, colour=colour)
    answer = {"usable": usable, "version": __version__, "checks": checks}
    show(answer, f"{table}\n\n{format_summary(checks)}", as_json=args.json)
    return 0 if usable else 1
