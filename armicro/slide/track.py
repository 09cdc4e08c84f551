"""Findings over fields: the same cell in many fields is one finding, its best view.

Order must not matter, and a cell watched for an hour must not fill the memory. So the
slide is divided into bins, each of which remembers its best observation only (a
maximum: associative, commutative, idempotent), and what is shown is worked out from the
bins' winners in an order that depends on their values alone.

The best view of a cell is a sharp one, and of those the most suspicious. Where places
are uncertain the same cell may lie in two places; then it is told by its looks.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np
from scipy.spatial import cKDTree

from armicro.cascade.merge import Point, keep_apart
from armicro.cascade.rank import TOP_APART_UM, order
from armicro.report import Finding, Observation
from armicro.slide.focus import is_sharp

MOST_CANDIDATES = 1200
"""Candidates that a slide may have, by LR probability (authors' release)."""

SAME_LOOK = 0.95
"""Cosine of two feature vectors above which two views show one cell. With the shipped
set, views of a cell 3-9 µm off centre have a median of 0.96-0.97, of two cells 25-45 µm
apart the 95th percentile is 0.92-0.94 (bench_focus.py --looks)."""
_SURE_UM = 1.0
"""Place errors below this need no looks."""

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
        strongest = _not_outshone(strongest, self._merge_um)
        kept = keep_apart(_centres(strongest), apart_um=self._merge_um)
        return tuple(_one_a_look([strongest[i] for i in kept], self._merge_um))

    def _take(self, seen: Observation) -> bool:
        finding = seen.finding
        place = (
            math.floor(finding.x_um / self._bin_um),
            math.floor(finding.y_um / self._bin_um),
        )
        best = self._best.get(place)
        if best is not None and _by_view(best[1]) <= _by_view(seen):
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
    kept = keep_apart(_centres(observations), apart_um=apart_um, count=count)
    return [observations[i] for i in kept]


def _by_lr(seen: Observation) -> Key:
    finding: Finding = seen.finding
    return (-finding.lr_probability, *order(finding))


def _by_view(seen: Observation) -> Key:
    return (not is_sharp(seen.focus), *order(seen.finding))


def _centres(observations: Sequence[Observation]) -> list[Point]:
    return [(seen.finding.x_um, seen.finding.y_um) for seen in observations]


def _not_outshone(
    observations: list[Observation], apart_um: float
) -> list[Observation]:
    """Leave out what is less than sharp where a sharp view of the cell is known."""
    sharp = [seen for seen in observations if is_sharp(seen.focus)]
    if not sharp or len(sharp) == len(observations):
        return observations
    nearest_um, _ = cKDTree(_centres(sharp)).query(_centres(observations))
    return [
        seen
        for seen, um in zip(observations, nearest_um.tolist(), strict=True)
        if is_sharp(seen.focus) or um >= apart_um
    ]


def _one_a_look(observations: list[Observation], apart_um: float) -> list[Observation]:
    """Of views of one cell whose places differ by their errors, keep the first."""
    unsure = [seen for seen in observations if seen.place_error_um > _SURE_UM]
    if not unsure:
        return observations
    tree = cKDTree(_centres(observations))
    dropped: set[int] = set()
    most_um = max(seen.place_error_um for seen in unsure)
    for index, seen in enumerate(observations):
        reach_um = apart_um + 2.0 * math.hypot(seen.place_error_um, most_um)
        if index in dropped:
            continue
        near = tree.query_ball_point(_centres([seen])[0], reach_um)
        dropped |= {
            i for i in near if i > index and _same_cell(seen, observations[i], apart_um)
        }
    return [seen for i, seen in enumerate(observations) if i not in dropped]


def _same_cell(one: Observation, other: Observation, apart_um: float) -> bool:
    """Whether two views, of different fields, show one cell as far as can be told."""
    a, b = one.finding, other.finding
    error_um = math.hypot(one.place_error_um, other.place_error_um)
    if a.field_seq == b.field_seq or error_um <= _SURE_UM:
        return False
    if math.hypot(a.x_um - b.x_um, a.y_um - b.y_um) >= apart_um + 2.0 * error_um:
        return False
    norms = float(np.linalg.norm(one.features) * np.linalg.norm(other.features))
    return norms > 0 and float(one.features @ other.features) >= SAME_LOOK * norms
