"""``armicro doctor``: what this machine has, and what to do about what it lacks."""

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from armicro import __version__
from armicro.console import add_json, show
from armicro.doctor import Check, State
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


MARKS: dict[State, str] = {"ok": "ok", "missing": "--", "broken": "!!"}
_COLOURS: dict[State, str] = {"ok": "32", "missing": "33", "broken": "31;1"}


def format_checks(
    checks: Sequence[Check], *, width: int = 100, colour: bool = False
) -> str:
    """Lay checks out in aligned columns, what to do below what is missing.

    >>> print(format_checks([Check("cameras", "Basler", "missing", "none", "buy one")]))
    cameras
      --  Basler  none
                  -> buy one
    """
    names = max((len(check.name) for check in checks), default=0)
    indent = " " * (6 + names + 2)
    lines: list[str] = []
    for group, members in groupby(checks, key=lambda check: check.group):
        lines += ["", group] if lines else [group]
        for check in members:
            mark = MARKS[check.state]
            if colour:
                mark = f"\033[{_COLOURS[check.state]}m{mark}\033[0m"
            found = _wrap(check.found, indent, width)
            lines.append(f"  {mark}  {check.name:{names}}  {found}")
            if check.todo:
                lines.append(f"{indent}-> {_wrap(check.todo, indent + '   ', width)}")
    return "\n".join(lines)


def format_summary(checks: Sequence[Check]) -> str:
    """Return the last line: whether armicro works here."""
    broken = [check.name for check in checks if check.state == "broken"]
    if broken:
        return f"armicro does not work here yet: {', '.join(broken)}"
    missing = sum(check.state == "missing" for check in checks)
    things = "thing is" if missing == 1 else "things are"
    rest = f"; {missing} optional {things} missing (--)" if missing else ""
    return f"armicro works on this machine{rest}"


def _wrap(text: str, indent: str, width: int) -> str:
    room = max(40, width - len(indent))
    return f"\n{indent}".join(textwrap.wrap(text, room)) or "-"
