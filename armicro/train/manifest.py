"""Writing a set's folder: the ONNX files, the golden outputs and ``manifest.toml``."""

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomli_w
from numpy.typing import NDArray

from armicro.engine.manifest import FAMILIAR_NAME, Familiar, sha256_of
from armicro.errors import EngineError
from armicro.file import write_whole
from armicro.train.checkpoint import Checkpoint
from armicro.train.data import Dataset
from armicro.train.export import write_arrays
from armicro.train.locate import LocationSettings
from armicro.train.recipe import FOVEA_PX, SEEDS
from armicro.train.sample import list_samples

MOST_BYTES = 60_000_000
"""Each file stays in the repository's history for ever."""

DESCRIPTION = (
    "residual-network cascade and six slide RNNs for cervical cytology; "
    "research use only"
)

Tables = Mapping[str, Any]
"""By name; a text replaces that of the head."""


def write_set(
    folder: Path,
    models: Mapping[str, onnx.ModelProto],
    golden: Mapping[str, NDArray[Any]],
    *,
    name: str,
    tables: Tables,
    version: int = 1,
) -> None:
    """Write a set; ``manifest.toml`` last, so that a half-written set has none.

    Raises:
        EngineError: an INT8 set is larger than a repository should hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"{network}.onnx" for network in models]
    for network, model in models.items():
        write_whole(folder / f"{network}.onnx", model.SerializeToString())
    write_arrays(folder / "golden.npz", golden)
    files.append("golden.npz")
    size = sum((folder / file).stat().st_size for file in files)
    # Only an INT8 set is ever committed, so only it has to be small.
    if size > MOST_BYTES and tables["hr"]["precision"] == "int8":
        raise EngineError(
            f"network set {name}: {size / 1e6:.0f} MB, expected at most "
            f"{MOST_BYTES / 1e6:.0f}; export a smaller --backbone"
        )
    write_manifest(folder, name=name, files=files, tables=tables, version=version)


def write_manifest(
    folder: Path,
    *,
    name: str,
    files: list[str],
    tables: Tables,
    version: int | str = 1,
) -> None:
    """Write ``manifest.toml`` with the digest of each file."""
    digests = {file: sha256_of((folder / file).read_bytes()) for file in files}
    head = {
        "name": name,
        "version": str(version),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "description": DESCRIPTION,
    }
    text = to_toml({**head, "files": digests, **tables})
    write_whole(folder / "manifest.toml", text.encode())


def to_toml(tables: Mapping[str, Any]) -> str:
    """Return tables as TOML, figures in six decimals."""
    return tomli_w.dumps(_rounded(tables))


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return round(float(value), 6) if isinstance(value, float | np.floating) else value


def record_metrics(folder: Path, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Write figures of ``armicro validate`` into a set's manifest, by name.

    Only plain numbers and the command are kept. The files' digests stay; the digest of
    the set, which is the manifest's, changes, so this is done before a set is used.
    """
    path = folder / "manifest.toml"
    table = tomllib.loads(path.read_text("utf-8"))
    for name, figures in metrics.items():
        table["metrics"][name] = {
            key: value
            for key, value in figures.items()
            if isinstance(value, int | float) or key == "command"
        }
    write_whole(path, to_toml(table).encode())


def manifest_of(folder: Path) -> Path:
    """Return the manifest of a set's folder.

    Raises:
        EngineError: there is no set.
    """
    path = folder / "manifest.toml"
    if not path.exists():
        raise EngineError(f"{folder}: holds no set; run armicro train set first")
    return path


def add_familiar(folder: Path, known: Familiar) -> None:
    """Write what a set's HR network knows into its folder and manifest.

    Raises:
        EngineError: there is no set.
    """
    path = manifest_of(folder)
    arrays = {
        "mean": known.mean.astype(np.float16),
        "axes": known.axes.astype(np.float16),
        "usual": np.array(known.usual),
        "farthest": np.array(known.farthest),
    }
    write_arrays(folder / FAMILIAR_NAME, arrays)
    table = tomllib.loads(path.read_text("utf-8"))
    data = (folder / FAMILIAR_NAME).read_bytes()
    table["files"][FAMILIAR_NAME] = sha256_of(data)
    table["metrics"]["farthest_laboratory"] = known.farthest
    write_whole(path, to_toml(table).encode())


def without_paths(command: str, data: Path, folder: Path) -> str:
    """Return a command as anybody may read it: DATA, SET and OUT in place of paths.

    >>> said = "armicro validate sources ../data --engines out/set --out out/val/a"
    >>> without_paths(said, Path("../data"), Path("out/set"))
    'armicro validate sources DATA --engines SET --out OUT'
    """
    words = command.split(" ")
    for place, word in enumerate(words):
        path = Path(word).resolve()
        if place and words[place - 1] == "--out":
            words[place] = "OUT"
        elif path == folder.resolve():
            words[place] = "SET"
        elif (
            "/" in word or word == str(data)  # Other words are no paths.
        ) and path.is_relative_to(data.resolve()):
            words[place] = str("DATA" / path.relative_to(data.resolve()))
    return " ".join(words)


def record_folder(folder: Path, validated: Path, data: Path) -> None:
    """Write what ``armicro validate`` left under a folder into a set's manifest.

    Each ``NAME/metrics.json`` becomes a table of that name, and each source of one with
    a table by source becomes ``NAME_SOURCE``. Commands lose the paths of this machine.

    Raises:
        EngineError: there is no set, or nothing to record.
    """
    manifest_of(folder)
    metrics: dict[str, Mapping[str, Any]] = {}
    for path in sorted(validated.glob("*/metrics.json")):
        table = json.loads(path.read_text("utf-8"))
        table["command"] = without_paths(table["command"], data, folder)
        name = path.parent.name
        metrics[name] = table
        for source, figures in table.get("by_source", {}).items():
            metrics[f"{name}_{source}"] = figures
    if not metrics:
        raise EngineError(
            f"{validated}: no NAME/metrics.json to record; run armicro validate with "
            f"--out {validated / 'NAME'} first"
        )
    record_metrics(folder, metrics)


# ---------------------------------------------------------------------------
# What a set's manifest says of its training.


def describe(
    dataset: Dataset, command: str, trained: Mapping[str, Checkpoint]
) -> dict[str, Any]:
    """Return what the manifest says of the training.

    Args:
        dataset: what it saw.
        command: the words after ``armicro``.
        trained: the last checkpoint of each tile network.
    """
    return {
        "paper": "Cheng et al. 2021, Nat Commun 12:5639",
        "intended_use": "research only; not a diagnostic device",
        "command": f"armicro {command}",
        "steps_done": {name: one.facts["step"] for name, one in trained.items()},
        "start_weights": {name: one.facts["origin"] for name, one in trained.items()},
        "bfloat16": {name: one.facts["bfloat16"] for name, one in trained.items()},
        "stages": {name: one.facts.get("stages", []) for name, one in trained.items()},
        "fovea_px": FOVEA_PX,
        "splits": "fields by their split column (CRIC: slide group), crops by a hash "
        "of their field or case",
        "seeds": SEEDS | {"location": LocationSettings().seed},
        "data": count_cells(dataset),
    }


def count_cells(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return how many lesions and normals each source has in each split."""
    sources: dict[str, dict[str, int]] = {}
    for one in list_samples(dataset, areas=False):
        table = sources.setdefault(one.source, {})
        key = f"{one.picture.split}_{'lesions' if one.lesion else 'normals'}"
        table[key] = table.get(key, 0) + 1
    return sources
