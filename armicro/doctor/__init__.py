"""What this machine has, and what to do about what it lacks.

``machine`` looks at what needs no vendor library. ``probe`` loads drivers and vendor
libraries, any of which may hang or end the process, so ``examine`` runs each of its
probes in a process of its own with a time limit, and gathers all.
"""

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


def check_of(
    group: str, name: str, found: str, todo: str = "", *, broken: bool = False
) -> Check:
    """Return a check: well where there is nothing to do, else missing or broken."""
    state: State = "ok" if not todo else "broken" if broken else "missing"
    return Check(group, name, state, found, todo)
