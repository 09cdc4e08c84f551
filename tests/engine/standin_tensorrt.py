"""A stand-in for ``tensorrt`` 10 and 11 that refuses what the real one refuses.

Calls in the wrong order, shapes outside the profile, addresses that are not set or too
small, flags that a version lacks: each is answered as TensorRT answers it (False, None
or an exception). A "plan" holds the ONNX, and running it computes its true result on
what lies in the stand-in GPU's memory when the stream comes to it.
"""

import json
from enum import Enum
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from armicro.engine import Array
from armicro.engine.openvino import OpenVinoEngine, Placement
from tests.engine.standin_cuda import Gpu


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(Enum):
    FLOAT = np.float32
    UINT8 = np.uint8


class ExecutionContextAllocationStrategy(Enum):
    STATIC = 0
    USER_MANAGED = 2


class MemoryPoolType(Enum):
    WORKSPACE = 0


class Severity(Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        self.initialised = True

    def log(self, severity: Enum, message: str) -> None:
        raise NotImplementedError


Flags10 = Enum("Flags10", ["FP16", "INT8", "BF16", "TF32"])
Flags11 = Enum("Flags11", ["TF32"])


class Network:
    def __init__(self, onnx_bytes: bytes) -> None:
        self.onnx = onnx_bytes
        graph = onnx.load_model_from_string(onnx_bytes).graph
        bytes_in = [
            port.name
            for port in graph.input
            if port.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        ]
        for node in graph.node:
            # NVIDIA/TensorRT issue 3985: not even a transpose takes uint8.
            if node.op_type != "Cast" and set(node.input) & set(bytes_in):
                raise ValueError(f"{node.op_type} of uint8")
        self.inputs = {port.name: tensor_of(port) for port in graph.input}
        self.outputs = {port.name: tensor_of(port) for port in graph.output}
        self._engine: OpenVinoEngine | None = None

    def run(self, arrays: dict[str, Array]) -> dict[str, Array]:
        if self._engine is None:
            self._engine = OpenVinoEngine(
                "standin",
                self.onnx,
                precision="native",
                placement=Placement(1, 1),
            )
        return self._engine.infer(arrays)

    def output_shape(self, name: str, inputs: dict[str, tuple[int, ...]]) -> Any:
        arrays = {
            tensor: np.zeros((1, *shape[1:]), self.inputs[tensor][0].value)
            for tensor, shape in inputs.items()
        }
        batch = next(iter(inputs.values()))[0]
        return batch, *self.run(arrays)[name].shape[1:]


def tensor_of(port: onnx.ValueInfoProto) -> tuple[DataType, tuple[int, ...]]:
    kind = port.type.tensor_type
    dtype = (
        DataType.UINT8 if kind.elem_type == onnx.TensorProto.UINT8 else DataType.FLOAT
    )
    sides = (side.dim_value or -1 for side in kind.shape.dim)
    return dtype, tuple(sides)


def tensorrt_module(  # noqa: C901 - a list of classes
    gpu: Gpu, version: str = "11.4.0"
) -> ModuleType:
    """Build a ``tensorrt`` of this version."""
    module: Any = ModuleType("tensorrt")
    major = int(version.split(".")[0])
    flags = Flags11 if major >= 11 else Flags10
    module.flags_set = []
    module.refuse_capture = False

    class Definition:
        network: Network | None = None

        def get_input(self, index: int) -> Any:
            if self.network is None:
                raise IndexError("network has no inputs")
            return Named(list(self.network.inputs)[index])

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    class ParserError:
        def desc(self) -> str:
            return "Unsupported operator: Magic"

    class OnnxParser:
        def __init__(self, network: Definition, logger: ILogger) -> None:
            need(logger.initialised)
            self.network = network
            self.num_errors = 0

        def parse(self, model: bytes) -> bool:
            try:
                self.network.network = Network(model)
            except Exception:  # noqa: BLE001 - any bad protobuf is a parser error
                self.num_errors = 1
                return False
            return True

        def get_error(self, index: int) -> ParserError:
            need(index < self.num_errors)
            return ParserError()

    class OptimizationProfile:
        def __init__(self) -> None:
            self.shapes: dict[str, Any] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
            ordered = all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True))
            need(ordered)
            self.shapes[input] = (min, opt, max)

    class BuilderConfig:
        def __init__(self) -> None:
            self.flags: set[Any] = set()
            self.profiles: list[OptimizationProfile] = []

        def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
            need(size > 0)

        def set_flag(self, flag: Any) -> None:
            need(isinstance(flag, flags))
            self.flags.add(flag)
            module.flags_set.append(flag.name)

        def clear_flag(self, flag: Any) -> None:
            need(isinstance(flag, flags))
            module.flags_set.append(f"-{flag.name}")

        def add_optimization_profile(self, profile: OptimizationProfile) -> int:
            if not profile.shapes:
                return -1
            self.profiles.append(profile)
            return len(self.profiles) - 1

    class Builder:
        def __init__(self, logger: ILogger) -> None:
            if not gpu.gpus:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            need(logger.initialised)
            self._logger = logger

        def create_network(self, flags: int = 0) -> Definition:
            need(flags == 0)
            return Definition()

        def create_builder_config(self) -> BuilderConfig:
            return BuilderConfig()

        def create_optimization_profile(self) -> OptimizationProfile:
            return OptimizationProfile()

        def build_serialized_network(
            self, network: Definition, config: BuilderConfig
        ) -> bytearray | None:
            made = network.network
            problem = problem_of(made, config)
            if made is None or problem:
                self._logger.log(Severity.ERROR, problem)
                return None
            shapes = [profile.shapes for profile in config.profiles]
            head = {"version": version, "gpu": gpu.name, "profiles": shapes}
            return bytearray(json.dumps(head).encode() + b"\n" + made.onnx)

    def problem_of(made: Network | None, config: BuilderConfig) -> str:
        if made is None:
            return "Network must have at least one output"
        if (
            not all(
                set(made.inputs) == set(profile.shapes) for profile in config.profiles
            )
            or not config.profiles
        ):
            return "Network has dynamic inputs, but no optimization profile"
        named = {flag.name for flag in config.flags}
        if b"QuantizeLinear" in made.onnx and major < 11 and "INT8" not in named:
            return "Q/DQ layers need the INT8 flag"
        return ""

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            need(logger.initialised)
            self._logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> "Engine | None":
            need(isinstance(plan, bytes))
            head, _, body = plan.partition(b"\n")
            try:
                said = json.loads(head)
            except ValueError:
                said = {}
            if said.get("version") != version or said.get("gpu") != gpu.name:
                self._logger.log(Severity.ERROR, "plan of another version")
                return None
            return Engine(Network(body), said["profiles"])

    class Engine:
        def __init__(self, network: Network, profiles: Any) -> None:
            self.network, self.profiles = network, profiles
            self.tensors = network.inputs | network.outputs
            self.num_io_tensors = len(self.tensors)

        def get_tensor_name(self, index: int) -> str:
            return str(list(self.tensors)[index])

        def get_tensor_mode(self, name: str) -> TensorIOMode:
            modes = TensorIOMode
            return modes.INPUT if name in self.network.inputs else modes.OUTPUT

        def get_tensor_dtype(self, name: str) -> DataType:
            return self.tensors[name][0]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self.tensors[name][1]

        def get_device_memory_size_for_profile_v2(self, index: int) -> int:
            shapes = self.profiles[index].values()
            return max(int(prod(most)) for _, _, most in shapes)

        def create_execution_context(
            self,
            strategy: Enum = ExecutionContextAllocationStrategy.STATIC,
        ) -> "Context":
            managed = strategy is ExecutionContextAllocationStrategy.USER_MANAGED
            return Context(self, managed=managed)

    class Context:
        """Profile, then shapes, then addresses, then execution."""

        def __init__(self, engine: Engine, *, managed: bool) -> None:
            self._engine, self._profile = engine, -1
            self._scratch = (0, -1 if managed else 1 << 40)
            self._shapes: dict[str, tuple[int, ...]] = {}
            self._addresses: dict[str, int] = {}
            self._ran = False

        def set_optimization_profile_async(self, index: int, stream: int) -> bool:
            if stream not in gpu.streams or index >= len(self._engine.profiles):
                return False
            self._profile = index
            self._shapes.clear()
            return True

        def set_device_memory(self, memory: int, size: int) -> None:
            need(gpu.holds(gpu.device, memory, size))
            self._scratch = memory, size

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            if self._profile < 0 or name not in self._engine.network.inputs:
                return False
            low, _, high = self._engine.profiles[self._profile][name]
            if len(shape) != len(low) or not all(
                a <= b <= c for a, b, c in zip(low, shape, high, strict=True)
            ):
                return False
            self._shapes[name], self._ran = tuple(shape), False
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            network = self._engine.network
            if self.infer_shapes():
                return self._engine.tensors[name][1]
            if name in self._shapes:
                return self._shapes[name]
            return tuple(network.output_shape(name, self._shapes))

        def infer_shapes(self) -> list[str]:
            return [n for n in self._engine.network.inputs if n not in self._shapes]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            if not isinstance(memory, int):
                raise TypeError("set_tensor_address(): incompatible arguments")
            if name not in self._engine.tensors:
                return False
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            stream = gpu.streams.get(stream_handle)
            if stream is None or self.infer_shapes():
                return False
            needed = self._engine.get_device_memory_size_for_profile_v2(self._profile)
            if self._scratch[1] < needed:
                return False
            # The first run after a change of shape sets things up: not in a capture.
            if stream.captured is not None and (not self._ran or module.refuse_capture):
                return False
            for name, (dtype, _) in self._engine.tensors.items():
                nbytes = prod(self.get_tensor_shape(name)) * dtype.value().itemsize
                if not gpu.holds(gpu.device, self._addresses.get(name, 0), nbytes):
                    return False
            shapes = dict(self._shapes)
            gpu.push(stream, lambda: self._compute(shapes))
            self._ran = True
            return True

        def _compute(self, shapes: dict[str, tuple[int, ...]]) -> None:
            network = self._engine.network
            arrays = {
                name: self._view(name, shape).copy() for name, shape in shapes.items()
            }
            for name, values in network.run(arrays).items():
                self._view(name, values.shape)[:] = values

        def _view(self, name: str, shape: tuple[int, ...]) -> Array:
            block = gpu.device[self._addresses[name]]
            dtype = np.dtype(self._engine.tensors[name][0].value)
            values: Array = block[: prod(shape) * dtype.itemsize].view(dtype)
            return values.reshape(shape)

    def need(holds: object) -> None:
        if not holds:
            raise TypeError("incompatible function arguments")

    module.__version__ = version
    module.BuilderFlag = flags
    module.nptype = lambda dtype: dtype.value
    for thing in (Builder, OnnxParser, Runtime, ILogger):
        setattr(module, thing.__name__, thing)
    for kind in (MemoryPoolType, TensorIOMode, ExecutionContextAllocationStrategy):
        setattr(module, kind.__name__, kind)
    return module  # type: ignore[no-any-return]
