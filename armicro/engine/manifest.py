"""What a network set says of itself, and the proof that its files are those it names.

A set is a folder; ``manifest.toml`` in it lists every other file with its SHA-256.
``verify`` reads each file once and hands back the very bytes that it hashed, so a
backend never opens a file that could have changed in between. Documents that nothing
reads (a model card) need no entry; any other file that is not listed is refused.
"""

import hashlib
import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec
import numpy as np
from msgspec import Meta

from armicro.engine import Array, Engine
from armicro.errors import EngineError
from armicro.file import MOST_TOML_BYTES, decode_toml, read_bounded

# ---------------------------------------------------------------------------
# Whether an ONNX file keeps weights in another file, found by reading its structure.
#
# The file is a tree of protobuf messages; only the branches that can hold a tensor are
# walked, values are stepped over. What is no well-formed message is refused, since a
# backend might read it in another way than we did. Groups are refused too: ONNX has
# none.
#
# Numbers are those of ``onnx.proto3``, whose fields never change their number.

_TENSOR = "TensorProto"
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR,
        6: "GraphProto",
        10: _TENSOR,
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}
"""Fields that hold a message in which a tensor may lie."""
_DEEPEST = 100
"""Messages within messages, as protobuf's own parsers allow."""
_MOST_FIELDS = 200_000
"""Some seconds of walking on a slow machine; ours have 4,000 to 8,000."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


class _Field(NamedTuple):
    number: int
    wire_type: int
    value: int
    """Of a varint."""
    start: int
    end: int
    """Of the content of bytes."""


def has_external_weights(model: bytes) -> bool:
    """Whether any tensor of a model says that its values lie elsewhere.

    Args:
        model: the content of an ONNX file.

    Raises:
        ValueError: it is no well-formed model, nested too deeply, or of more parts than
            any network has.
    """
    fields_left = _MOST_FIELDS
    waiting = [("ModelProto", 0, len(model), 0)]
    while waiting:
        message, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"nested deeper than {_DEEPEST} messages")
        inner = _MESSAGES[message]
        for field in _fields(model, start, end):
            fields_left -= 1
            if not fields_left:
                raise ValueError(f"more than {_MOST_FIELDS:,} parts")
            if message == _TENSOR and _is_external(field):
                return True
            if field.number in inner and field.wire_type == _BYTES:
                waiting.append((inner[field.number], field.start, field.end, depth + 1))
    return False


def _is_external(field: _Field) -> bool:
    # DEFAULT is 0; a parser cuts the number to 32 bits, so any other is suspect.
    named = field.number == _DATA_LOCATION and field.value != 0
    return named or field.number == _EXTERNAL_DATA


def _fields(model: bytes, start: int, end: int) -> Iterator[_Field]:
    position = start
    while position < end:
        tag, position = _varint(model, position, end)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"a field numbered {number} at byte {position}")
        value, content = 0, position
        if wire_type == _VARINT:
            value, position = _varint(model, position, end)
        elif wire_type == _BYTES:
            length, content = _varint(model, position, end)
            position = content + length
        elif wire_type in _WIDTHS:
            position += _WIDTHS[wire_type]
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position > end:
            raise ValueError(f"cut short at byte {end}")
        yield _Field(number, wire_type, value, content, position)


def _varint(model: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of up to 64 bits, and where it ends."""
    value = 0
    for index in range(10):
        if position + index >= end:
            raise ValueError(f"cut short at byte {end}")
        byte = model[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError(f"a number without an end at byte {position}")


# ---------------------------------------------------------------------------
# The manifest.

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
Slope = Annotated[float, Meta(ge=0, le=20)]
Difference = Annotated[float, Meta(gt=0, le=1)]
Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
Normalisation = str | dict[str, list[float]]
View = Literal["mirrored", "upside_down", "turned", "grey"]
VIEWS: tuple[View, ...] = get_args(View)
"""What HR may be shown besides a tile as it is: mirrored sideways, upside down, turned
by a quarter, without colour."""


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
    more_views: tuple[View, ...] = ()
    """What may be a lesion is looked at in these too; the mean of the logits counts."""
    normalisation: Normalisation = ""
    precision: str = ""


class RnnTable(_Table, frozen=True):
    """The slide networks: two each over so many of the top findings."""

    top: tuple[Count, ...] = (10, 20, 30)
    size_slopes: tuple[Slope, ...] = ()
    """Of each network: how far its logit falls when ten times the cell area was
    analysed, since the most suspicious of more normal cells look worse; empty: not."""
    size_mm2: Annotated[float, Meta(gt=0)] = 1.0
    """Cell area at which nothing is taken off."""
    precision: str = ""

    def __post_init__(self) -> None:
        if len(self.size_slopes) not in {0, 2 * len(self.top)}:
            raise ValueError(
                f"rnn.size_slopes has {len(self.size_slopes)} numbers, expected one a "
                f"network, {2 * len(self.top)}, or none"
            )


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


# ---------------------------------------------------------------------------
# The golden outputs: what the fp32 reference said, and how near an engine comes.
#
# The reference ran once, at export, on inputs that travel with its outputs in
# ``golden.npz``. An engine is used only after it says the same within the manifest's
# tolerance; the table of differences is what ``armicro engine check`` prints.

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


# ---------------------------------------------------------------------------
# What a set's networks know: cells unlike all that HR learned from have no score.

FAMILIAR_NAME = "familiar.npz"
_MOST_FAMILIAR_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Familiar:
    """What the HR network's features of the cells that it learned from have in common.

    They lie near a plane of few dimensions (principal components). How far cells of a
    slide lie off it tells a stain or a tissue that the networks never saw (after the
    reconstruction error of Hawkins et al. 1974, "Q statistic").
    """

    mean: Array
    """(2048,)"""
    axes: Array
    """(k, 2048), of length 1 and at right angles."""
    usual: float
    """Mean squared distance of the known cells from their plane."""
    farthest: float
    """The largest mean distance that a laboratory had when it was left out."""

    def distance(self, features: Array) -> float:
        """Return the mean squared distance of (n, 2048); 1 is that of known cells."""
        off = features - self.mean
        squared = (off**2).sum(axis=1) - ((off @ self.axes.T) ** 2).sum(axis=1)
        return float(squared.mean() / self.usual)


def read_familiar(contents: Mapping[str, bytes]) -> Familiar | None:
    """Read what a set's networks know, from its proven files; None: it does not say.

    Raises:
        EngineError: the file holds something else.
    """
    if FAMILIAR_NAME not in contents:
        return None
    try:
        arrays = read_arrays(contents[FAMILIAR_NAME], _MOST_FAMILIAR_BYTES)
        mean, axes = (arrays[name].astype(np.float32) for name in ("mean", "axes"))
        usual, farthest = (float(arrays[name]) for name in ("usual", "farthest"))
    except (ValueError, TypeError, KeyError) as error:
        raise EngineError(
            f"{FAMILIAR_NAME}: {error}; expected mean, axes, usual and farthest; run "
            "armicro train familiar again"
        ) from error
    fits = mean.ndim == 1 and axes.ndim == 2 and axes.shape[1:] == mean.shape
    if not (fits and usual > 0 and farthest > 0 and np.isfinite(axes).all()):
        raise EngineError(
            f"{FAMILIAR_NAME}: {axes.shape} axes and {mean.shape} mean, usual {usual:g}"
            f" and farthest {farthest:g} fit no features; run armicro train familiar "
            "again"
        )
    return Familiar(mean, axes, usual, farthest)


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


# ---------------------------------------------------------------------------
# A set whose files are proved.


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """A set whose files are proved: what a backend needs to open its networks."""

    folder: Path
    sha256: str
    """Digest of the manifest, and through it of every file."""
    manifest: Manifest
    contents: Mapping[str, bytes]
    """The set's files, hashed."""
    golden: Golden
    precision: str
    threads: int
    latency: bool
    """Live: leave a core to capture and display."""

    @property
    def samples(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each network's input."""
        lr_px, hr_px = self.manifest.lr.tile_px, self.manifest.hr.tile_px
        rows, width = self.golden["rnn_features"].shape[1:]
        return {
            "lr": (lr_px, lr_px, 3),
            "hr": (hr_px, hr_px, 3),
            "rnn": (rows, width),
        }
