"""Serialized GPU engines ("plans") on disk: built here, kept here, loaded from here.

Deserializing a plan runs native code, so one is read only from the user's own cache,
which nobody else may write to, and only when its digest, written with it, is right. Its
name is a digest of everything that it depends on; whatever changes makes another name.
"""

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from armicro.errors import EngineError

FORMAT = 1
"""Raised when plans are built differently by armicro itself."""
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes that a plan is built for, batch first."""

    least: Shape
    usual: Shape
    """Shape that the kernels are chosen for."""
    most: Shape

    def takes(self, sample: Shape) -> bool:
        """Whether one sample (no batch axis) lies within it."""
        return len(sample) + 1 == len(self.most) and all(
            low <= side <= high
            for low, side, high in zip(
                self.least[1:], sample, self.most[1:], strict=True
            )
        )


@dataclass(frozen=True, slots=True)
class PlanKey:
    """All that a plan depends on."""

    network: str
    onnx_sha256: str
    gpu: str
    capability: str
    driver: str
    tensorrt: str
    precision: str
    profiles: tuple[Profile, ...]

    @property
    def file_name(self) -> str:
        """Name of the plan's file, readable in front, certain behind."""
        text = json.dumps(asdict(self) | {"format": FORMAT}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{self.network}-{self.precision}-{digest}.plan"


def cache_folder() -> Path:
    """Folder of this user's plans."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "armicro" / "tensorrt"


def has_plan(key: PlanKey) -> bool:
    """Whether a plan was built; ``read_plan`` says whether it may be used."""
    return (cache_folder() / key.file_name).is_file()


def read_plan(key: PlanKey) -> bytes:
    """Read a plan that this user built on this machine.

    Raises:
        EngineError: there is none, somebody else could have written it, or its digest
            is not right.
    """
    path = cache_folder() / key.file_name
    try:
        _require_private(path.parent)
        _require_private(path)
        digest, _, plan = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise EngineError(
            f"TensorRT engine of {key.network} ({key.precision}) is not built for "
            f"{key.gpu} with TensorRT {key.tensorrt}; run `armicro engine build`"
        ) from error
    if hashlib.sha256(plan).hexdigest().encode() != digest:
        raise EngineError(
            f"{path} is damaged; run `armicro engine build --force` to make it again"
        )
    return plan


def write_plan(key: PlanKey, plan: bytes) -> Path:
    """Keep a plan; readers see the whole of it or nothing.

    Raises:
        EngineError: the cache cannot be written, or is open to others.
    """
    folder = cache_folder()
    path = folder / key.file_name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(folder)
        # mkstemp gives mode 0600 and a name that nobody can foresee.
        number, name = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(number, "wb") as file:
            file.write(hashlib.sha256(plan).hexdigest().encode() + b"\n" + plan)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise EngineError(
            f"TensorRT cache {folder}: {error.strerror or error}; "
            "set XDG_CACHE_HOME to a folder of your own"
        ) from error
    return path


def _require_private(path: Path) -> None:
    """Refuse what another user owns or may write to."""
    said = path.stat()
    foreign = hasattr(os, "getuid") and said.st_uid != os.getuid()
    if foreign or said.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineError(
            f"{path} belongs to or can be written by somebody else, and a GPU engine "
            f"runs native code; expected your own (chmod go-w {path})"
        )
