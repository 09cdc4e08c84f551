"""The golden outputs: what the fp32 reference said, and how near an engine comes.

The reference ran once, at export, on inputs that travel with its outputs in
``golden.npz``. An engine is used only after it says the same within the manifest's
tolerance; the table of differences is what ``armicro engine check`` prints.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from armicro.engine import Array, Engine
from armicro.engine.manifest import GOLDEN_NAME, Tolerance
from armicro.errors import EngineError

Golden = Mapping[str, Array]
"""Arrays of ``golden.npz`` by name."""

INPUTS = {
    "lr": ("tiles", "lr_tiles"),
    "hr": ("tiles", "hr_tiles"),
    "rnn": ("features", "rnn_features"),
}
"""Network: name of its input, array that holds it."""

OUTPUTS = {
    "lr_probability": ("lr", "probability"),
    "lr_location": ("lr", "location"),
    "hr_probability": ("hr", "probability"),
    "hr_features": ("hr", "features"),
    "rnn_scores": ("rnn", "scores"),
}
"""Array of the reference: network and its output."""

_RELATIVE = frozenset({"hr_features"})
"""Compared as a share of the reference's own maximum: features have no unit."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one output of an engine lies from the reference's."""

    output: str
    difference: float
    """Largest absolute difference; NaN or infinite when the output is."""
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the output lies within tolerance; not for NaN."""
        return self.difference <= self.tolerance


def read_golden(data: bytes) -> dict[str, Array]:
    """Read ``golden.npz`` from bytes that were hashed before.

    Raises:
        EngineError: it is not an NPZ of plain arrays or an array is missing.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            golden = {name: np.asarray(arrays[name]) for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise EngineError(
            f"{GOLDEN_NAME}: {error}; expected plain arrays; export the set again"
        ) from error
    wanted = [array for _, array in INPUTS.values()] + list(OUTPUTS)
    missing = [name for name in wanted if name not in golden]
    if missing:
        raise EngineError(
            f"{GOLDEN_NAME} lacks {', '.join(missing)}; export the set again"
        )
    return golden


def run_golden(golden: Golden, engines: Mapping[str, Engine]) -> dict[str, Array]:
    """Run the golden inputs; outputs by the reference's array names.

    Raises:
        EngineError: an engine failed.
    """
    said = {
        network: engine.infer({INPUTS[network][0]: golden[INPUTS[network][1]]})
        for network, engine in engines.items()
    }
    return {
        name: said[network][output]
        for name, (network, output) in OUTPUTS.items()
        if network in said
    }


def agreements(
    golden: Golden, outputs: Mapping[str, Array], tolerance: Tolerance
) -> tuple[Agreement, ...]:
    """Compare outputs with the reference's, one row an output."""
    return tuple(
        Agreement(
            name,
            _difference(golden[name], said, relative=name in _RELATIVE),
            float(getattr(tolerance, name)),
        )
        for name, said in outputs.items()
    )


def require_agreement(name: str, backend: str, rows: tuple[Agreement, ...]) -> None:
    """Refuse an engine that does not say what the reference said.

    Raises:
        EngineError: an output lies outside its tolerance; every one is named.
    """
    off = [row for row in rows if not row.holds]
    if off:
        figures = "; ".join(
            f"{row.output} differs by {row.difference:.4g}, tolerance {row.tolerance:g}"
            for row in off
        )
        raise EngineError(
            f"network set {name} on {backend} does not reproduce its golden outputs: "
            f"{figures}; run `armicro engine check {name}`, try --precision fp32, or "
            "export the set again"
        )


def _difference(reference: Array, said: Array, *, relative: bool) -> float:
    if reference.shape != said.shape:
        return float("inf")
    difference = float(np.max(np.abs(said.astype(np.float64) - reference), initial=0.0))
    if relative:
        difference /= max(float(np.max(np.abs(reference), initial=0.0)), 1e-12)
    return difference
