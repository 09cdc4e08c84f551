"""How long fields took from station to station."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of the way, over all fields that went it."""

    start: str
    end: str
    fields: int
    p50_ms: float
    p95_ms: float


def legs_of(stations: Iterable[tuple[int, dict[str, int]]]) -> list[Leg]:
    """Return each stretch between neighbouring stations, then the whole way.

    A field whose clock runs backwards (the machine was restarted between) is left out
    of that stretch.

    >>> legs_of([(0, {"taken": 0, "inferred": 2_000_000})])
    [Leg(start='taken', end='inferred', fields=1, p50_ms=2.0, p95_ms=2.0)]
    """
    legs: dict[tuple[str, str], list[int]] = {}
    whole: dict[tuple[str, str], list[int]] = {}
    for _, passed in stations:
        names = list(passed)
        for pair in pairwise(names):
            legs.setdefault(pair, []).append(passed[pair[1]] - passed[pair[0]])
        if len(names) > 2:
            ends = names[0], names[-1]
            whole.setdefault(ends, []).append(passed[ends[1]] - passed[ends[0]])
    return [
        _leg(pair, [ns for ns in spans if ns >= 0])
        for pair, spans in (legs | whole).items()
        if any(ns >= 0 for ns in spans)
    ]


def _leg(pair: tuple[str, str], spans_ns: list[int]) -> Leg:
    p50, p95 = np.percentile(np.asarray(spans_ns, np.float64), [50, 95]) / 1e6
    return Leg(pair[0], pair[1], len(spans_ns), float(p50), float(p95))
