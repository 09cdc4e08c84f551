"""Findings over fields: the same cell in many fields is one finding, its best view.

Order must not matter, and a cell watched for an hour must not fill the memory. So the
slide is divided into bins, each of which remembers its best observation only (a
maximum: associative, commutative, idempotent), and what is shown is worked out from the
bins' winners in an order that depends on their values alone.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np

from armicro.cascade.merge import keep_apart
from armicro.cascade.rank import TOP_APART_UM, order
from armicro.report import Finding, Observation

MOST_CANDIDATES = 1200
"""Candidates that a slide may have, by LR probability (authors' release)."""

_NO_CROP = np.empty((0, 0, 3), np.uint8)

Key = tuple[float, ...]


class FindingSet:
    """All findings of a slide."""

    def __init__(self, *, merge_um: float, most: int = MOST_CANDIDATES) -> None:
        self._merge_um = merge_um
        self._most = most
        # The diagonal of a bin is merge_um: what shares a bin is one cell.
        self._bin_um = merge_um / math.sqrt(2.0)
        self._best: dict[tuple[int, int], tuple[Key, Observation]] = {}
        """With the key by which the strongest are chosen, made once."""
        self._merged: tuple[Observation, ...] | None = None

    def update(self, observations: Iterable[Observation]) -> list[Observation]:
        """Take observations; return those that are now the best of their bin."""
        return [seen for seen in observations if self._take(seen)]

    def merged(self) -> list[Observation]:
        """One observation a cell, most suspicious first; crops are left out."""
        # Asked several times a field, and a slide has tens of thousands of bins.
        if self._merged is None:
            self._merged = self._merge()
        return list(self._merged)

    def _merge(self) -> tuple[Observation, ...]:
        best = heapq.nsmallest(self._most, self._best.values(), key=itemgetter(0))
        strongest = sorted((seen for _, seen in best), key=lambda s: order(s.finding))
        centres = [(s.finding.x_um, s.finding.y_um) for s in strongest]
        kept = keep_apart(centres, apart_um=self._merge_um)
        return tuple(strongest[i] for i in kept)

    def _take(self, seen: Observation) -> bool:
        finding = seen.finding
        place = (
            math.floor(finding.x_um / self._bin_um),
            math.floor(finding.y_um / self._bin_um),
        )
        best = self._best.get(place)
        if best is not None and order(best[1].finding) <= order(finding):
            return False
        # A copy: a row of the network's answer would keep all of that answer alive.
        kept = replace(seen, features=seen.features.copy(), crop=_NO_CROP)
        self._best[place] = _by_lr(seen), kept
        self._merged = None
        return True


def merge(observations: Sequence[Observation], *, merge_um: float) -> list[Observation]:
    """Merge observations as a slide does, keeping their crops."""
    crops = {order(seen.finding): seen.crop for seen in observations}
    findings = FindingSet(merge_um=merge_um)
    findings.update(observations)
    return [
        replace(seen, crop=crops[order(seen.finding)]) for seen in findings.merged()
    ]


def top(
    observations: Sequence[Observation], count: int, *, apart_um: float = TOP_APART_UM
) -> list[Observation]:
    """The top list: most suspicious first, none within ``apart_um`` of a higher one."""
    centres = [(seen.finding.x_um, seen.finding.y_um) for seen in observations]
    return [
        observations[i] for i in keep_apart(centres, apart_um=apart_um, count=count)
    ]


def _by_lr(seen: Observation) -> Key:
    finding: Finding = seen.finding
    return (-finding.lr_probability, *order(finding))
