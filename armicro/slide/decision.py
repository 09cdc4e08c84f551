"""What readers said of cells: kept as they said it, never changed, only followed.

A decision belongs to a place on the slide, not to a row of findings: which view of a
cell is the best one changes while the slide is read, its place hardly.
"""

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta

from armicro.report import Finding
from armicro.rule import Count, PlaceUm, Share
from armicro.verdict import MERGE_UM, SUSPICIOUS

Verdict = Literal["accept", "reject", "unsure", "undo"]
SAID: dict[Verdict, str] = {
    "accept": "accepted",
    "reject": "rejected",
    "unsure": "unsure",
    "undo": "taken back",
}
"""As window, report and tables say it."""
Category = Literal["", "NILM", "ASC-US", "ASC-H", "LSIL", "HSIL", "SCC", "AGC", "AIS"]
"""Of the Bethesda System; empty: none was given."""
CATEGORIES: tuple[Category, ...] = get_args(Category)[1:]
"""By the digits 1 to 8."""
NORMAL = CATEGORIES[0]
LONGEST_NAME, LONGEST_NOTE = 64, 500
SAME_UM = MERGE_UM / 2
"""Nearer than that is the same cell: findings are kept twice as far apart."""
MOST_DECISIONS = 50_000
"""In one journal: more than a reader says in a lifetime of one slide."""
MARK_UM = 30.0
"""Side of the box around a cell that a reader marked."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one reader said of one cell at one time."""

    at: Annotated[str, Meta(max_length=40)]
    """Date and time, ISO 8601."""
    reader: Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
    x_um: PlaceUm
    y_um: PlaceUm
    """The cell's middle in slide coordinates."""
    verdict: Verdict
    category: Category = ""
    note: Annotated[str, Meta(max_length=LONGEST_NOTE)] = ""
    hr_probability: Share | None = None
    """What the machine said of the cell then; None: it had not found it."""
    undoes: Count = 0
    """The number of the decision that an ``undo`` takes back."""
    number: Count = 0
    """In the journal, from 1; given when it is kept."""

    @property
    def mark(self) -> Finding:
        """A box around the cell, where no finding has one."""
        return Finding(self.x_um, self.y_um, MARK_UM, MARK_UM, 0.0, 0.0, 0)

    @property
    def label(self) -> str:
        """In a word.

        >>> Decision(at="", reader="r", x_um=0, y_um=0, verdict="reject").label
        'rejected'
        """
        return self.category or SAID[self.verdict]

    @property
    def sign(self) -> str:
        """The same in few letters, for the box on the picture."""
        short = {"accept": "yes", "reject": "no"}
        return self.category or short.get(self.verdict, self.label)


def standing(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """Return what stands: of each reader the newest at each place, the newest first.

    What was taken back never stood; what it had followed stands again.
    """
    undone = _undone(decisions)
    kept: list[Decision] = []
    places: dict[tuple[str, int, int], list[Decision]] = {}
    for one in sorted(decisions, key=lambda one: -one.number):
        if one.verdict == "undo" or one.number in undone:
            continue
        column, row = int(one.x_um // SAME_UM), int(one.y_um // SAME_UM)
        near = (
            other
            for right, down in product((-1, 0, 1), repeat=2)
            for other in places.get((one.reader, column + right, row + down), ())
        )
        if not any(_same(one, other) for other in near):
            kept.append(one)
            places.setdefault((one.reader, column, row), []).append(one)
    return tuple(kept)


def _undone(decisions: Sequence[Decision]) -> set[int]:
    return {one.undoes for one in decisions if one.verdict == "undo"}


def newest_of(decisions: Sequence[Decision], reader: str) -> Decision | None:
    """Return what a reader said last and has not taken back."""
    undone = _undone(decisions)
    own = (
        one
        for one in decisions
        if one.reader == reader and one.verdict != "undo" and one.number not in undone
    )
    return max(own, key=lambda one: one.number, default=None)


def _same(one: Decision, other: Decision) -> bool:
    return max(abs(one.x_um - other.x_um), abs(one.y_um - other.y_um)) <= SAME_UM


class Decided:
    """Standing decisions, looked up by cell."""

    def __init__(self, decisions: Sequence[Decision] = ()) -> None:
        """Take what stands, the newest first."""
        self.decisions = tuple(decisions)
        spots = [(one.x_um, one.y_um) for one in decisions]
        self._xy_um = np.array(spots, float).reshape(-1, 2)

    def of(self, finding: Finding) -> Decision | None:
        """Return the newest decision on a finding's cell; None where there is none."""
        if not self.decisions:
            return None
        gaps = np.abs(self._xy_um - (finding.x_um, finding.y_um)).max(axis=1)
        near = int(np.argmin(gaps))
        return self.decisions[near] if gaps[near] <= SAME_UM else None

    def on_suspicious(self, findings: Sequence[Finding]) -> list[Decision | None]:
        """Return for each suspicious finding what was said of it, or None."""
        return [self.of(f) for f in findings if f.hr_probability >= SUSPICIOUS]

    def missed(self) -> tuple[Decision, ...]:
        """Return the cells that a reader marked and the machine had not found."""
        return tuple(
            one
            for one in self.decisions
            if one.hr_probability is None and one.verdict != "reject"
        )


UNDECIDED = Decided()
