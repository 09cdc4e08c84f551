"""One thing that was looked at."""

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
