"""Finds a network set by name, proves it, opens it, and refuses what disagrees.

A path (with a separator, such as ./NAME) is a folder. A bare name is looked for among
the sets that are shipped (in the package, beside it in a source checkout), then in the
folders that ARMICRO_ENGINES names, and never in the working folder: whoever unpacks
something there must not change what a name means. What is found is hashed, opened on a
backend and made to reproduce its golden outputs before anybody gets it.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from armicro.engine import Engine
from armicro.engine.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    Agreement,
    Familiar,
    Manifest,
    Opening,
    agreements,
    manifest_bytes,
    read_familiar,
    read_golden,
    read_manifest,
    require_agreement,
    run_golden,
    sha256_of,
    verify,
)
from armicro.errors import EngineError

DEFAULT_SET = "cervical-r50"
SEARCH_PATH = "ARMICRO_ENGINES"
"""Environment: folders of sets, separated as in PATH."""

Backend = Literal["openvino", "tensorrt", "recorded"]
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSet:
    """Three checked networks and what they are; ``with`` closes them."""

    manifest: Manifest
    lr: Engine
    hr: Engine
    rnn: Engine
    backend: Backend
    precision: str
    sha256: str
    """Digest of the manifest, and through it of every file of the set."""
    agreement: tuple[Agreement, ...]
    """Distances from the golden outputs, measured when it was opened."""
    rnn_shape: tuple[int, ...] = (30, 2048)
    """Findings and features of one slide."""
    familiar: Familiar | None = None
    """What its networks know; None: the set does not say."""

    @property
    def provenance(self) -> dict[str, str]:
        """What every figure says of its networks: enough to find the same again."""
        return {
            "set": self.manifest.name,
            "version": self.manifest.version,
            "hash": self.sha256,
            "backend": self.backend,
            "precision": self.precision,
        }

    def __enter__(self) -> "NetworkSet":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the device; may be called twice."""
        for engine in (self.lr, self.hr, self.rnn):
            engine.close()


def find_set(name_or_folder: str | Path) -> Path:
    """Folder of a set.

    Raises:
        EngineError: there is none of that name; the message lists those there are.
    """
    named = str(name_or_folder)
    folder = Path(name_or_folder).expanduser()
    bare = isinstance(name_or_folder, str) and folder.name == named
    if not bare and (folder / MANIFEST_NAME).is_file():
        return folder
    found = [path for path in list_sets() if bare and path.name == named]
    if found:
        _tell_of_others(found[0], [*found[1:], folder])
        return found[0]
    here = f"; ./{named} is meant by that path only" if bare and folder.is_dir() else ""
    known = ", ".join(sorted({path.name for path in list_sets()})) or "none"
    raise EngineError(
        f"no network set {named!r}: expected a folder with a {MANIFEST_NAME} or one of "
        f"the sets found ({known}); set {SEARCH_PATH} to the folder that holds yours"
        f"{here}"
    )


def _tell_of_others(used: Path, others: list[Path]) -> None:
    """Say in one line that a name could have meant something else."""
    for other in others:
        if (other / MANIFEST_NAME).is_file() and not other.samefile(used):
            logging.getLogger(__name__).warning(
                "network set %s: %s is used, not %s; give its path to use that one",
                used.name,
                used,
                other.absolute(),
            )


def list_sets() -> list[Path]:
    """Folders of all sets, in the order of search; a name's first one is used."""
    return [
        path
        for root in _roots()
        for path in sorted(root.glob("*"))
        if (path / MANIFEST_NAME).is_file()
    ]


def read_set(
    name: str | Path = DEFAULT_SET,
    *,
    precision: str = "native",
    threads: int = 0,
    latency: bool = False,
) -> Opening:
    """Find a set and prove its files, without opening a network.

    Raises:
        EngineError: it is not found, or its files are not those of its manifest.
    """
    folder = find_set(name)
    sha256 = sha256_of(manifest_bytes(folder))
    manifest = read_manifest(folder)
    contents = verify(folder, manifest)
    return Opening(
        folder=folder,
        sha256=sha256,
        manifest=manifest,
        contents=contents,
        golden=read_golden(contents[GOLDEN_NAME]),
        precision=precision,
        threads=threads,
        latency=latency,
    )


def open_engines(opening: Opening, backend: str) -> tuple[Backend, dict[str, Engine]]:
    """Open the three networks on a backend; they are not checked yet.

    Raises:
        EngineError: the backend is not there or cannot open a network.
    """
    chosen = _choose(opening, backend)
    return chosen, _OPENERS[chosen](opening)


def open_set(
    name: str | Path = DEFAULT_SET,
    *,
    backend: str = "auto",
    precision: str = "native",
    threads: int = 0,
    latency: bool = False,
) -> NetworkSet:
    """Find, prove and open a network set.

    Raises:
        EngineError: it is not found, its files are not those of its manifest, the
            backend is not there, or an output lies outside the golden tolerance.
    """
    opening = read_set(name, precision=precision, threads=threads, latency=latency)
    manifest, familiar = opening.manifest, read_familiar(opening.contents)
    chosen, engines = open_engines(opening, backend)
    try:
        outputs = run_golden(opening.golden, engines)
        rows = agreements(opening.golden, outputs, manifest.tolerance)
        require_agreement(manifest.name, f"{chosen} ({precision})", rows)
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    return NetworkSet(
        manifest=manifest,
        backend=chosen,
        precision=precision,
        sha256=opening.sha256,
        agreement=rows,
        rnn_shape=opening.samples["rnn"],
        familiar=familiar,
        **engines,
    )


def _roots() -> Iterator[Path]:
    yield _PACKAGE / "networks"
    yield _PACKAGE.parent / "engines"
    for folder in os.environ.get(SEARCH_PATH, "").split(os.pathsep):
        if folder:
            yield Path(folder).expanduser()


def _open_openvino(opening: Opening) -> dict[str, Engine]:
    from armicro.engine.openvino import OpenVinoEngine, place

    placement = place(threads=opening.threads, latency=opening.latency)
    return {
        name: OpenVinoEngine(
            name,
            opening.contents[f"{name}.onnx"],
            precision=opening.precision,
            placement=placement,
            batched=sample,
        )
        for name, sample in opening.samples.items()
    }


def _open_recorded(opening: Opening) -> dict[str, Engine]:
    from armicro.engine.recorded import open_recorded

    return open_recorded(opening.golden, opening.contents)


def _open_tensorrt(opening: Opening) -> dict[str, Engine]:
    from armicro.engine.tensorrt import open_tensorrt

    return dict(open_tensorrt(opening))


_OPENERS: Mapping[Backend, Callable[[Opening], dict[str, Engine]]] = {
    "openvino": _open_openvino,
    "tensorrt": _open_tensorrt,
    "recorded": _open_recorded,
}


def _choose(opening: Opening, backend: str) -> Backend:
    if backend == "auto":
        from armicro.engine import tensorrt

        return "tensorrt" if tensorrt.ready(opening) else "openvino"
    for known in _OPENERS:
        if backend == known:
            return known
    raise EngineError(f"backend {backend!r} is not one of auto, {', '.join(_OPENERS)}")
