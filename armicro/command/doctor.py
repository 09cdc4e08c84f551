"""``armicro doctor``: what this machine has, and what to do about what it lacks."""

import argparse
import os
import shutil
import sys
from pathlib import Path

import msgspec

from armicro import __version__
from armicro.doctor.check import Check, format_checks, format_summary
from armicro.doctor.examine import examine, is_usable

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
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Examine the machine; 1 when armicro cannot work on it."""
    checks = examine(_existing(args.out), quick=args.quick, rigs=args.rig)
    sys.stdout.write(_json(checks) if args.json else _text(checks))
    return 0 if is_usable(checks) else 1


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    folder = folder.resolve()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _json(checks: list[Check]) -> str:
    answer = {"usable": is_usable(checks), "version": __version__, "checks": checks}
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n"


def _text(checks: list[Check]) -> str:
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    table = format_checks(checks, width=width, colour=colour)
    return f"{table}\n\n{format_summary(checks)}\n"
