"""How far a set on a backend lies from its fp32 reference, down to the candidates."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armicro.cascade.locate import Peaks, find_peaks
from armicro.engine import Array
from armicro.engine.golden import Agreement, agreements, run_golden
from armicro.engine.manifest import LrTable
from armicro.engine.registry import open_engines, read_set

_SAME_CELLS = 1.0
"""Candidates nearer than this many cells of the map (16 µm) are the same."""


@dataclass(frozen=True, slots=True)
class Check:
    """One set on one backend in one precision."""

    name: str
    backend: str
    precision: str
    sha256: str
    rows: tuple[Agreement, ...]
    candidates_reference: int
    candidates: int
    candidates_same: int
    """Of the reference's, found by the engine at the same place."""
    slide_score_difference: float
    """Largest difference of the fused score (mean of six)."""

    @property
    def holds(self) -> bool:
        """Whether every output lies within its tolerance."""
        return all(row.holds for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [asdict(row) | {"holds": row.holds} for row in self.rows]
        return asdict(self) | {"rows": rows, "holds": self.holds}

    def as_text(self) -> str:
        """Table for people."""
        lines = [
            f"{self.name} on {self.backend}, {self.precision}",
            f"  {'output':<16}{'difference':>12}{'tolerance':>12}",
            *(
                f"  {row.output:<16}{row.difference:>12.6f}{row.tolerance:>12.6f}"
                f"  {'ok' if row.holds else 'OUTSIDE'}"
                for row in self.rows
            ),
            f"  candidates: {self.candidates_same} of the reference's "
            f"{self.candidates_reference} found again, {self.candidates} in all",
            f"  slide score: differs by {self.slide_score_difference:.6f} at most",
            f"  {'agrees with its fp32 reference' if self.holds else 'REFUSED'}",
        ]
        return "\n".join(lines)


def check_set(name: str | Path, *, backend: str, precision: str) -> Check:
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
    golden, lr = opening.golden, opening.manifest.lr
    reference = _candidates(golden, lr)
    found = _candidates(outputs, lr)
    difference = np.abs(
        outputs["rnn_scores"].mean(1) - golden["rnn_scores"].mean(1)
    ).max()
    return Check(
        name=opening.manifest.name,
        backend=chosen,
        precision=precision,
        sha256=opening.sha256,
        rows=agreements(golden, outputs, opening.manifest.tolerance),
        candidates_reference=sum(map(len, reference)),
        candidates=sum(map(len, found)),
        candidates_same=sum(map(_same, reference, found)),
        slide_score_difference=float(difference),
    )


def _candidates(outputs: dict[str, Array] | Any, lr: LrTable) -> list[Peaks]:
    """Candidates of each golden tile by the default rule, behind the gate."""
    return [
        find_peaks(heat, threshold=lr.peak_threshold)
        if float(gate.max()) > lr.gate
        else np.empty((0, 3), np.float32)
        for gate, heat in zip(
            outputs["lr_probability"],
            np.asarray(outputs["lr_location"], np.float32),
            strict=True,
        )
    ]


def _same(reference: Peaks, found: Peaks) -> int:
    if not len(reference) or not len(found):
        return 0
    apart: NDArray[np.float32] = np.linalg.norm(
        reference[:, None, :2] - found[None, :, :2], axis=2
    )
    return int((apart.min(1) <= _SAME_CELLS).sum())
