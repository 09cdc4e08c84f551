"""How far a set on a backend lies from its fp32 reference, down to the candidates.

Every row of the table can refuse a set: each output, the reference's candidates that
are lost, candidates that the reference has not, and the slide score. A map may lie
within its tolerance (0.30 in an INT8 set) and still give other candidates. Measured on
version 4 of ``cervical-r50``, whose reference has 27: INT8 loses 1 and adds 1; a map
lower by 0.29 everywhere loses 11, one higher by 0.29 adds 38.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from armicro.cascade.locate import CANDIDATE_RULES, Peaks
from armicro.cascade.screen import Choice
from armicro.engine import Array
from armicro.engine.manifest import Agreement, LrTable, agreements, run_golden
from armicro.engine.registry import open_engines, read_set

_SAME_CELLS = 1.0
"""Candidates nearer than this many cells of the map (16 µm) are the same."""
MOST_LOST = 0.1
"""Share of the reference's candidates that an engine may fail to find again."""
MOST_ADDED = 0.1
"""Candidates that the reference has not, as a share of its own; and one more."""


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """One set on one backend in one precision."""

    name: str
    backend: str
    precision: str
    sha256: str
    rows: tuple[Agreement, ...]
    """The outputs, then what follows from them: candidates and slide score."""
    candidates_reference: int
    candidates: int
    candidates_same: int
    """Of the reference's, found again at the same place, each by another."""
    slide_score_difference: float
    """Largest difference of the fused score (mean of six)."""

    @property
    def holds(self) -> bool:
        """Whether every row lies within its tolerance."""
        return all(row.holds for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [asdict(row) | {"holds": row.holds} for row in self.rows]
        return asdict(self) | {"rows": rows, "holds": self.holds}

    def __str__(self) -> str:
        """Table for people."""
        lines = [
            f"{self.name} on {self.backend}, {self.precision}",
            f"  {'output':<18}{'difference':>12}{'tolerance':>12}",
            *(
                f"  {row.output:<18}{row.difference:>12.4g}{row.tolerance:>12.4g}"
                f"  {'ok' if row.holds else 'OUTSIDE'}"
                for row in self.rows
            ),
            f"  candidates: {self.candidates_same} of the reference's "
            f"{self.candidates_reference} found again, {self.candidates} in all",
            f"  {'agrees with its fp32 reference' if self.holds else 'REFUSED'}",
        ]
        return "\n".join(lines)


def check_set(name: str | Path, *, backend: str, precision: str) -> EngineCheck:
    """Run the golden inputs and compare; an output that is off is reported, not raised.

    Raises:
        EngineError: the set or the backend cannot be opened at all.
    """
    opening = read_set(name, precision=precision)
    chosen, engines = open_engines(opening, backend)
    try:
        outputs = run_golden(opening.golden, engines)
    finally:
        for engine in engines.values():
            engine.close()
    golden, tolerance = opening.golden, opening.manifest.tolerance
    reference = _candidates(golden, opening.manifest.lr)
    found = _candidates(outputs, opening.manifest.lr)
    counts = sum(map(len, reference)), sum(map(len, found))
    same = sum(map(_same, reference, found))
    difference = np.abs(
        outputs["rnn_scores"].mean(1) - golden["rnn_scores"].mean(1)
    ).max()
    return EngineCheck(
        name=opening.manifest.name,
        backend=chosen,
        precision=precision,
        sha256=opening.sha256,
        rows=(
            *agreements(golden, outputs, tolerance),
            *_candidate_rows(*counts, same),
            Agreement("slide_score", float(difference), tolerance.rnn_scores),
        ),
        candidates_reference=counts[0],
        candidates=counts[1],
        candidates_same=same,
        slide_score_difference=float(difference),
    )


def _candidate_rows(reference: int, found: int, same: int) -> tuple[Agreement, ...]:
    """Return how many candidates are lost and added, and how many may be.

    >>> [row.holds for row in _candidate_rows(27, 27, 26)]
    [True, True]
    >>> [row.holds for row in _candidate_rows(27, 16, 16)]
    [False, True]
    """
    return (
        Agreement("candidates_lost", reference - same, MOST_LOST * reference),
        Agreement("candidates_added", found - same, MOST_ADDED * reference + 1),
    )


def _candidates(outputs: dict[str, Array] | Any, lr: LrTable) -> list[Peaks]:
    """Candidates of each golden tile by the cascade's default rule, behind the gate."""
    rule = CANDIDATE_RULES[Choice().candidates]
    return [
        rule(heat, threshold=lr.peak_threshold)
        if float(gate.max()) > lr.gate
        else np.empty((0, 3), np.float32)
        for gate, heat in zip(
            outputs["lr_probability"],
            np.asarray(outputs["lr_location"], np.float32),
            strict=True,
        )
    ]


def _same(reference: Peaks, found: Peaks) -> int:
    """Most pairs of near candidates; each is in one pair, as in a crowd all are near.

    >>> crowd = np.array([[0.5, 0.5, 0.9], [1.5, 0.5, 0.8]], np.float32)
    >>> _same(crowd, crowd), _same(crowd, crowd[:1])
    (2, 1)
    """
    apart: NDArray[np.float32] = np.linalg.norm(
        reference[:, None, :2] - found[None, :, :2], axis=2
    )
    near = apart <= _SAME_CELLS
    return int(near[linear_sum_assignment(near, maximize=True)].sum())
