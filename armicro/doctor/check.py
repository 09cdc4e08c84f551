"""One thing that was looked at, and how an examination reads in a terminal."""

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import msgspec

State = Literal["ok", "missing", "broken"]
"""``missing``: something optional is not there or not at its best; ``broken``: armicro
cannot do its base work (replay a slide without a window) on this machine."""


class Check(msgspec.Struct, frozen=True):
    """What was found, and what to do when it is not all well."""

    group: str
    name: str
    state: State
    found: str
    todo: str = ""
    """One line; empty when all is well."""


MARKS: dict[State, str] = {"ok": "ok", "missing": "--", "broken": "!!"}
_COLOURS: dict[State, str] = {"ok": "32", "missing": "33", "broken": "31;1"}
_GAP = "  "


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
