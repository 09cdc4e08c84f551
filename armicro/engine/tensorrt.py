"""TensorRT 10 and 11: the only file that imports it, and the door to the GPU.

An engine is built once (``armicro engine build``, minutes); ``plan`` builds and keeps
it, and it is never loaded from elsewhere; ``gpu`` runs it.

Not run on a GPU yet. Its calls were checked against NVIDIA's documentation and samples
and the names in the TensorRT 11.4 bindings, and run against a stand-in that refuses
what the real one refuses. On a GPU run first: ``armicro engine build``, then
``armicro engine check --backend tensorrt`` and ``armicro engine bench``.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armicro.engine.cuda import open_cuda
from armicro.engine.gpu import TensorRtEngine
from armicro.engine.manifest import Opening
from armicro.engine.plan import (
    PRECISIONS,
    build_plan,
    cache_folder,
    has_plan,
    plan_keys,
    read_plan,
    write_plan,
)
from armicro.errors import EngineError

NOTE = "written for TensorRT 10 and 11, not run on a GPU yet"


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan in the cache."""

    network: str
    path: Path
    megabytes: float
    fresh: bool
    """Built now, not found in the cache."""


def missing() -> str:
    """Why TensorRT cannot be used here; empty when it can."""
    try:
        load()
        open_cuda().close()
    except EngineError as error:
        return str(error)
    return ""


def ready(opening: Opening) -> bool:
    """Whether a GPU is there and all three plans of the set are built for it."""
    if opening.precision not in PRECISIONS:
        return False
    try:
        trt, cuda = load(), open_cuda()
    except EngineError:
        return False
    cuda.close()
    return all(map(has_plan, plan_keys(trt, cuda.device, opening).values()))


def build_set(
    opening: Opening, *, force: bool, progress: Callable[[str], None]
) -> list[CachedPlan]:
    """Build what is not in the cache, or everything.

    Raises:
        EngineError: TensorRT or CUDA is missing or failed.
    """
    trt, cuda = load(), open_cuda()
    plans = []
    try:
        for network, key in plan_keys(trt, cuda.device, opening).items():
            path = cache_folder() / key.file_name
            fresh = force or not has_plan(key)
            if fresh:
                progress(f"building {network} for {key.gpu}: this takes minutes")
                onnx = opening.contents[f"{network}.onnx"]
                path = write_plan(key, build_plan(trt, network, onnx, key))
            plans.append(CachedPlan(network, path, path.stat().st_size / 1e6, fresh))
    finally:
        cuda.close()
    return plans


def open_tensorrt(opening: Opening) -> dict[str, TensorRtEngine]:
    """Open the three networks from this machine's plans.

    Raises:
        EngineError: no GPU, no plan, or TensorRT refused it.
    """
    trt, cuda = load(), open_cuda()
    keys = plan_keys(trt, cuda.device, opening)
    cuda.close()
    plans = {network: read_plan(key) for network, key in keys.items()}
    engines: dict[str, TensorRtEngine] = {}
    try:
        for network, plan in plans.items():
            profiles = keys[network].profiles
            engines[network] = TensorRtEngine(
                network, plan, trt=trt, cuda=open_cuda(), profiles=profiles
            )
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    return engines


def load() -> Any:
    """Import TensorRT.

    Raises:
        EngineError: it is not installed, cannot be loaded, or is older than 10.1.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise EngineError(
            "TensorRT is not installed; install `armicro[gpu]` on a machine with an "
            "NVIDIA GPU"
        ) from error
    except (ImportError, OSError) as error:
        raise EngineError(f"TensorRT cannot be loaded: {error}") from error
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if version < (10, 1):
        raise EngineError(f"TensorRT is {trt.__version__}; expected 10.1 or later")
    return trt
