"""What a network set says of itself, and the proof that its files are those it names.

A set is a folder; ``manifest.toml`` in it lists every other file with its SHA-256.
``verify`` reads each file once and hands back the very bytes that it hashed, so a
backend never opens a file that could have changed in between. Documents that nothing
reads (a model card) need no entry; any other file that is not listed is refused.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from armicro.engine.external import has_external_weights
from armicro.errors import EngineError
from armicro.file import MOST_TOML_BYTES, decode_toml, read_bounded

MANIFEST_NAME = "manifest.toml"
NETWORK_FILES = ("lr.onnx", "hr.onnx", "rnn.onnx")
GOLDEN_NAME = "golden.npz"

_DOCUMENTS = (".md", ".txt", ".png")
_FREE = ("training", "metrics", "gpu")
_MOST_BYTES = 1 << 30
"""Of one file; the largest network has 25 MB."""

Share = Annotated[float, Meta(ge=0, le=1)]
UmPerPx = Annotated[float, Meta(ge=0.001, le=100.0)]
Side = Annotated[int, Meta(gt=0, le=8192, multiple_of=32)]
Count = Annotated[int, Meta(gt=0, le=1000)]
Difference = Annotated[float, Meta(gt=0, le=1)]
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
Normalisation = str | dict[str, list[float]]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class LrTable(_Table, frozen=True):
    """The LR network's input and the numbers that go with its outputs."""

    um_per_px: UmPerPx
    tile_px: Side
    overlap: Annotated[float, Meta(ge=0, lt=1)] = 0.25
    gate: Share = 0.5
    """Tile probability above which a tile is searched for candidates."""
    peak_threshold: Share = 0.5
    """Height of a local maximum of the location map that makes a candidate."""
    normalisation: Normalisation = ""
    """For the reader: it is part of the graph, which takes uint8 RGB."""
    precision: str = ""
    """Of the file, "int8" or "fp32"; for the reader."""
    whole_field_max_difference: Share | None = None
    """Measured at export: whole field against tiles, in probability."""


class HrTable(_Table, frozen=True):
    """The HR network's input."""

    um_per_px: UmPerPx
    tile_px: Side
    normalisation: Normalisation = ""
    precision: str = ""


class RnnTable(_Table, frozen=True):
    """The slide networks: two each over so many of the top findings."""

    top: tuple[Count, ...] = (10, 20, 30)
    precision: str = ""


class Tolerance(_Table, frozen=True):
    """Largest accepted difference from the golden outputs of the fp32 reference."""

    lr_probability: Difference
    lr_location: Difference
    hr_probability: Difference
    hr_features: Difference
    """As a share of the reference's own largest feature."""
    rnn_scores: Difference


class Manifest(_Table, frozen=True):
    """``manifest.toml``; unknown keys are errors outside the free tables."""

    name: str
    version: str
    created: str
    """Date of the export, ISO 8601."""
    files: Annotated[dict[FileName, Digest], Meta(max_length=64)]
    lr: LrTable
    hr: HrTable
    rnn: RnnTable
    tolerance: Tolerance
    description: str = ""
    training: dict[str, Any] = {}
    """Free: data, splits, seeds, licences."""
    metrics: dict[str, Any] = {}
    """Free: figures with their intervals."""
    gpu: dict[str, Any] = {}
    """Free: what was and was not run on a GPU."""


def manifest_bytes(folder: Path) -> bytes:
    """Read a set's manifest file.

    Raises:
        EngineError: there is none.
    """
    try:
        return read_bounded(folder / MANIFEST_NAME, MOST_TOML_BYTES)
    except OSError as error:
        raise EngineError(
            f"network set {folder}: {MANIFEST_NAME} cannot be read "
            f"({error.strerror or error}); expected a folder that `armicro train` "
            "exported"
        ) from error


def read_manifest(folder: Path) -> Manifest:
    """Read and check a set's manifest; the files are ``verify``'s work.

    Raises:
        EngineError: it is missing, is not TOML, or a value is not what it must be.
    """
    try:
        manifest = decode_toml(manifest_bytes(folder), Manifest, free=_FREE)
    except msgspec.DecodeError as error:
        raise EngineError(
            f"network set {folder}: {MANIFEST_NAME}: {error}; "
            "export the set again or correct the file"
        ) from error
    missing = [n for n in (*NETWORK_FILES, GOLDEN_NAME) if n not in manifest.files]
    if missing:
        raise EngineError(
            f"network set {folder}: [files] of {MANIFEST_NAME} does not list "
            f"{', '.join(missing)}; export the set again"
        )
    return manifest


def sha256_of(data: bytes) -> str:
    """Digest in the manifest's form.

    >>> sha256_of(b"")[:16]
    'sha256:e3b0c4429'
    """
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def verify(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Hash every file of a set and return the bytes that were hashed, by file name.

    Raises:
        EngineError: files are missing, changed or not listed; all are named.
    """
    faults, contents = [], {}
    for name, digest in manifest.files.items():
        try:
            data = read_bounded(folder / name, _MOST_BYTES)
        except FileNotFoundError:
            faults.append(f"{name} is missing")
            continue
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror or error})")
            continue
        if sha256_of(data) != digest:
            faults.append(
                f"{name} has changed ({sha256_of(data)[:19]}, not {digest[:19]})"
            )
        contents[name] = data
    faults += [f"{name} is not listed" for name in _extra(folder, manifest)]
    if faults:
        raise EngineError(
            f"network set {manifest.name} in {folder} is not what its manifest says: "
            f"{'; '.join(faults)}; restore the files or export the set again"
        )
    for name, data in contents.items():
        if name.endswith(".onnx"):
            _require_whole(manifest.name, name, data)
    return contents


def _require_whole(network_set: str, name: str, model: bytes) -> None:
    try:
        external = has_external_weights(model)
    except ValueError as error:
        raise EngineError(
            f"network set {network_set}: {name} is no ONNX file ({error}); export the "
            "set again"
        ) from error
    if external:
        raise EngineError(
            f"network set {network_set}: {name} keeps weights in another file; "
            "expected one ONNX file with its weights inside"
        )


def _extra(folder: Path, manifest: Manifest) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        str(path)
        for path in found
        if str(path) not in manifest.files
        and str(path) != MANIFEST_NAME
        and path.suffix.lower() not in _DOCUMENTS
        and not path.name.startswith(".")
    )
