"""The networks on an NVIDIA GPU through TensorRT 10 and 11: the only file with it.

Precision: ``native`` is what the ONNX says: Q/DQ nodes run in INT8, and on TensorRT 10
the rest may run in FP16 (11 is strongly typed and has no such flags: there the file's
own types hold). ``bf16`` exists on 10 only. ``fp32`` forbids TF32 and sets no flag.

An engine is built once (``armicro engine build``, minutes), kept as ``plan`` says and
never loaded from elsewhere. Batches are rounded up to a power of two, so that a handful
of sizes, each a CUDA graph, serves them all; a whole field has a profile of its own.

Not run on a GPU yet. Its calls were checked against NVIDIA's documentation and samples
and the names in the TensorRT 11.4 bindings, and run against a stand-in that refuses
what the real one refuses. On a GPU run first: ``armicro engine build``, then
``armicro engine check --backend tensorrt`` and ``armicro engine bench``.
"""

import importlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from armicro.engine import Array
from armicro.engine.cuda import Cuda, Device, open_cuda
from armicro.engine.lane import Lane
from armicro.engine.manifest import Manifest, sha256_of
from armicro.engine.plan import (
    PlanKey,
    Profile,
    cache_folder,
    has_plan,
    read_plan,
    write_plan,
)
from armicro.engine.signature import InputSpec, check_inputs
from armicro.errors import EngineError

NOTE = "written for TensorRT 10 and 11, not run on a GPU yet"
PRECISIONS = ("native", "bf16", "fp32")
_WORKSPACE_BYTES = 2 << 30
_SHAPES_KEPT = 3
_WHOLE_STRIDES = 6
"""Tiles beside the first that a whole field may have each way (2816 px)."""
_BATCHES = {"lr": (4, 8), "hr": (8, 16), "rnn": (1, 4)}
"""Usual and largest batch of each network."""


class Opening(Protocol):
    """What of ``registry.Opening`` is needed here."""

    @property
    def manifest(self) -> Manifest:
        """Numbers of the set."""

    @property
    def contents(self) -> Mapping[str, bytes]:
        """Files that were hashed."""

    @property
    def precision(self) -> str:
        """One of PRECISIONS."""

    @property
    def samples(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each network's input."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in the cache."""

    network: str
    path: Path
    megabytes: float
    fresh: bool
    """Built now, not found in the cache."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network,
            "path": str(self.path),
            "megabytes": self.megabytes,
            "fresh": self.fresh,
        }

    def as_text(self) -> str:
        """Line for people."""
        state = "built" if self.fresh else "was built before"
        return f"{self.network}: {state}, {self.megabytes:.1f} MB, {self.path}"


@dataclass(slots=True)
class _Said:
    """What TensorRT's logger last complained of, for error messages."""

    lines: list[str] = field(default_factory=list)

    def take(self) -> str:
        """Return and forget it."""
        text = "; ".join(self.lines[-3:]) or "no reason given"
        self.lines.clear()
        return text


def missing() -> str:
    """Why TensorRT cannot be used here; empty when it can."""
    try:
        _load()
        open_cuda().close()
    except EngineError as error:
        return str(error)
    return ""


def profiles_of(opening: Opening) -> dict[str, tuple[Profile, ...]]:
    """Shapes that each network is built for."""
    profiles: dict[str, tuple[Profile, ...]] = {}
    for network, sample in opening.samples.items():
        usual, most = _BATCHES[network]
        tiles = Profile((1, *sample), (usual, *sample), (most, *sample))
        profiles[network] = (tiles,)
    lr = opening.manifest.lr
    stride = round(lr.tile_px * (1 - lr.overlap))
    sides = [lr.tile_px + stride * count for count in (0, 2, _WHOLE_STRIDES)]
    whole = Profile(*((1, side, side, 3) for side in sides))
    profiles["lr"] += (whole,)
    return profiles


def ready(opening: Opening) -> bool:
    """Whether a GPU is there and all three plans of the set are built for it."""
    if opening.precision not in PRECISIONS:
        return False
    try:
        trt, cuda = _load(), open_cuda()
    except EngineError:
        return False
    cuda.close()
    return all(map(has_plan, _keys(trt, cuda.device, opening).values()))


def build_set(
    opening: Opening, *, force: bool, progress: Callable[[str], None]
) -> list[Plan]:
    """Build what is not in the cache, or everything.

    Raises:
        EngineError: TensorRT or CUDA is missing or failed.
    """
    trt, cuda = _load(), open_cuda()
    plans = []
    try:
        for network, key in _keys(trt, cuda.device, opening).items():
            path = cache_folder() / key.file_name
            fresh = force or not has_plan(key)
            if fresh:
                progress(f"building {network} for {key.gpu}: this takes minutes")
                onnx = opening.contents[f"{network}.onnx"]
                path = write_plan(key, _build(trt, network, onnx, key))
            plans.append(Plan(network, path, path.stat().st_size / 1e6, fresh))
    finally:
        cuda.close()
    return plans


def open_tensorrt(opening: Opening) -> dict[str, "TensorRtEngine"]:
    """Open the three networks from this machine's plans.

    Raises:
        EngineError: no GPU, no plan, or TensorRT refused it.
    """
    trt, cuda = _load(), open_cuda()
    keys = _keys(trt, cuda.device, opening)
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


class TensorRtEngine:
    """One network on the GPU; one caller at a time."""

    def __init__(
        self,
        name: str,
        plan: bytes,
        *,
        trt: Any,
        cuda: Cuda,
        profiles: tuple[Profile, ...],
    ) -> None:
        self._name = name
        self._trt = trt
        self._cuda = cuda
        self._profiles = profiles
        self._lanes: OrderedDict[tuple[int, ...], tuple[Lane, Lane]] = OrderedDict()
        said = _Said()
        self._logger = _logger(trt, said)
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(plan)
        if self._engine is None:
            cuda.close()
            raise EngineError(
                f"{name}: TensorRT refuses the engine ({said.take()}); "
                "run `armicro engine build --force`"
            )
        self._inputs = {
            tensor: self._spec(tensor) for tensor in self._tensors(inputs=True)
        }

    @property
    def graphs(self) -> int:
        """CUDA graphs captured so far."""
        return sum(lane.graphs for lanes in self._lanes.values() for lane in lanes)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch in parts, one lane filling while the other computes.

        Raises:
            EngineError: an input is not the network's, or TensorRT or CUDA failed.
        """
        if self._engine is None:
            raise EngineError(f"{self._name}: used after it was closed")
        arrays = check_inputs(self._name, self._inputs, inputs)
        samples = {name: array.shape[1:] for name, array in arrays.items()}
        first = next(iter(arrays.values()))
        profile = self._profile(first.shape[1:])
        lanes = self._lanes_for(samples, profile)
        step = self._profiles[profile].most[0]
        parts = []
        try:
            for turn, start in enumerate(range(0, max(len(first), 1), step)):
                lane = lanes[turn % 2]
                if lane.busy:
                    parts.append(lane.finish())
                part = {name: a[start : start + step] for name, a in arrays.items()}
                lane.start(part if len(first) else _one_of_nothing(part))
            behind = (turn + 1) % 2
            parts += [x.finish() for x in (lanes[behind], lanes[1 - behind]) if x.busy]
        except BaseException:
            self._drop_lanes()
            raise
        return {
            name: np.concatenate([part[name] for part in parts])[: len(first)]
            for name in parts[0]
        }

    def close(self) -> None:
        """Free the GPU; may be called twice."""
        self._lanes.clear()
        self._engine = None
        self._cuda.close()

    def _profile(self, sample: tuple[int, ...]) -> int:
        for index, profile in enumerate(self._profiles):
            if profile.takes(sample):
                return index
        raise EngineError(
            f"{self._name}: a sample of {sample} is not among the shapes that the "
            f"engine was built for, up to {self._profiles[-1].most[1:]}"
        )

    def _lanes_for(
        self, samples: Mapping[str, tuple[int, ...]], profile: int
    ) -> tuple[Lane, Lane]:
        key = next(iter(samples.values()))
        if key not in self._lanes:
            if len(self._lanes) >= _SHAPES_KEPT:
                self._drop_lanes()
            most = self._profiles[profile].most[0]
            one, other = (
                Lane(
                    self._trt,
                    self._engine,
                    self._cuda,
                    profile=profile,
                    most=most,
                    name=self._name,
                )
                for _ in range(2)
            )
            one.prepare(samples)
            other.prepare(samples)
            self._lanes[key] = one, other
        self._lanes.move_to_end(key)
        return self._lanes[key]

    def _drop_lanes(self) -> None:
        """Free all buffers; nothing may be in flight that still writes to them."""
        for lanes in self._lanes.values():
            for lane in lanes:
                if lane.busy:
                    try:
                        lane.finish()
                    except EngineError:
                        # The first error is the one to report; this stream is lost.
                        continue
        self._lanes.clear()
        self._cuda.free()

    def _tensors(self, *, inputs: bool) -> list[str]:
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        wanted = self._trt.TensorIOMode.INPUT
        return [n for n in names if (engine.get_tensor_mode(n) == wanted) == inputs]

    def _spec(self, tensor: str) -> InputSpec:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(tensor)))
        shape = tuple(self._engine.get_tensor_shape(tensor))
        return InputSpec(dtype, tuple(None if s < 0 else s for s in shape[1:]))


def _one_of_nothing(part: Mapping[str, Array]) -> dict[str, Array]:
    """Stand-in for an empty batch, whose outputs' shapes only the engine knows."""
    return {name: np.zeros((1, *a.shape[1:]), a.dtype) for name, a in part.items()}


def _load() -> Any:
    """Import TensorRT.

    Raises:
        EngineError: it is not installed, cannot be loaded, or is older than 10.
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
    if int(trt.__version__.split(".")[0]) < 10:
        raise EngineError(f"TensorRT is {trt.__version__}; expected 10 or 11")
    return trt


def _logger(trt: Any, said: _Said) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps errors for our own messages and prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """Take a message; warnings and notes are nobody's business here."""
            worst = trt.ILogger.Severity
            if severity in (worst.ERROR, worst.INTERNAL_ERROR):
                said.lines.append(message)

    return Logger()


def _keys(trt: Any, device: Device, opening: Opening) -> dict[str, PlanKey]:
    return {network: _key(trt, device, opening, network) for network in opening.samples}


def _key(trt: Any, device: Device, opening: Opening, network: str) -> PlanKey:
    return PlanKey(
        network=network,
        onnx_sha256=sha256_of(opening.contents[f"{network}.onnx"]),
        gpu=device.name,
        capability=device.capability,
        driver=device.driver,
        tensorrt=trt.__version__,
        precision=opening.precision,
        profiles=profiles_of(opening)[network],
    )


def _build(trt: Any, network: str, onnx: bytes, key: PlanKey) -> bytes:
    """Build one engine; minutes.

    Raises:
        EngineError: TensorRT refused; its own words are in the message.
    """
    said = _Said()
    try:
        logger = _logger(trt, said)
        builder = trt.Builder(logger)
        definition = builder.create_network(0)
        parser = trt.OnnxParser(definition, logger)
        if not parser.parse(onnx):
            errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise EngineError(
                f"{network}: TensorRT {trt.__version__} cannot read the ONNX: "
                f"{'; '.join(errors) or said.take()}"
            )
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
        _set_precision(trt, config, key.precision, quantised=b"QuantizeLinear" in onnx)
        for profile in key.profiles:
            _add_profile(builder, config, definition.get_input(0).name, profile)
        plan = builder.build_serialized_network(definition, config)
    except (TypeError, RuntimeError) as error:
        # pybind11 raises TypeError from trt.Builder(...) where there is no GPU.
        raise EngineError(
            f"{network}: TensorRT failed: {error} ({said.take()})"
        ) from error
    if plan is None:
        raise EngineError(f"{network}: TensorRT could not build it: {said.take()}")
    return bytes(plan)


def _add_profile(builder: Any, config: Any, tensor: str, profile: Profile) -> None:
    made = builder.create_optimization_profile()
    made.set_shape(tensor, profile.least, profile.usual, profile.most)
    if config.add_optimization_profile(made) < 0:
        raise EngineError(f"TensorRT refuses the shapes {profile} of {tensor}")


def _set_precision(trt: Any, config: Any, precision: str, *, quantised: bool) -> None:
    """Set what this version has flags for; 11 takes types from the ONNX alone."""
    flags = trt.BuilderFlag
    weakly_typed = hasattr(flags, "FP16")
    if precision not in PRECISIONS or (precision == "bf16" and not weakly_typed):
        raise EngineError(
            f"precision {precision!r} is not one of TensorRT {trt.__version__}: "
            "expected native or fp32"
        )
    if precision == "fp32":
        config.clear_flag(flags.TF32)
    if not weakly_typed:
        return
    if precision != "fp32":
        config.set_flag(flags.FP16 if precision == "native" else flags.BF16)
    if quantised:
        config.set_flag(flags.INT8)
