"""The golden outputs: what the fp32 reference said, and how near an engine comes.

The reference ran once, at export, on inputs that travel with its outputs in
``golden.npz``. An engine is used only after it says the same within the manifest's
tolerance; the table of differences is what ``armicro engine check`` prints.
"""

import io
import math
import tokenize
import zipfile
import zlib
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

_AXES = {"lr_tiles": 4, "hr_tiles": 4, "rnn_features": 3}
MOST_GOLDEN_BYTES = 1 << 28
"""Of all arrays, unpacked; the shipped set has 3 MB."""
_BROKEN = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
"""What zipfile and NumPy raise on bytes that somebody chose."""

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
        golden = read_arrays(data, MOST_GOLDEN_BYTES)
    except ValueError as error:
        raise EngineError(
            f"{GOLDEN_NAME}: {error}; expected plain arrays; export the set again"
        ) from error
    wanted = [array for _, array in INPUTS.values()] + list(OUTPUTS)
    missing = [name for name in wanted if name not in golden]
    if missing:
        raise EngineError(
            f"{GOLDEN_NAME} lacks {', '.join(missing)}; export the set again"
        )
    for name, axes in _AXES.items():
        if golden[name].ndim != axes or not golden[name].size:
            raise EngineError(
                f"{GOLDEN_NAME}: {name} has the shape {golden[name].shape}, expected "
                f"{axes} axes; export the set again"
            )
    return golden


def read_arrays(data: bytes, most_bytes: int) -> dict[str, Array]:
    """Read an NPZ of numbers; nothing is unpacked before its size is known.

    Raises:
        ValueError: it is none, holds something else, or unpacks to over ``most_bytes``.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            left = most_bytes
            for member in archive.infolist():
                left -= member.file_size
                if left < 0:
                    raise ValueError(f"unpacks to more than {most_bytes >> 20} MB")
                _check_member(archive, member)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except _BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse an array whose header claims another size: NumPy takes memory by it."""
    with archive.open(member) as file:
        major, _ = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if major == 1
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        claimed = math.prod(shape) * dtype.itemsize + file.tell()
    if dtype.kind not in "fiu" or claimed != member.file_size:
        raise ValueError(f"{member.filename} holds {dtype} {shape}")


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
