"""A stand-in for ``cuda.bindings.runtime`` and ``pycuda.driver`` that refuses.

Streams are queues that run only when somebody waits for them, so work that reads or
overwrites a buffer too early shows in the results. Memory is known by address: copies
outside a block, or of the wrong kind, are errors, and so is what CUDA forbids while a
stream is being captured. Attributes that the real modules lack are missing here too.
"""

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Op = Callable[[], None]


class CudaError(IntEnum):
    cudaSuccess = 0  # noqa: N815 - NVIDIA's own names
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815
    cudaErrorInvalidResourceHandle = 400  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class MemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class CaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815


class Stream:
    """Queue of work; ``int`` gives its handle as in cuda-python."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.queue: list[Op] = []
        self.captured: list[Op] | None = None

    def __int__(self) -> int:
        return self.handle


class Gpu:
    """The device behind both modules: memory, streams, calls and injected failures."""

    def __init__(self, name: str = "Standin 4000", gpus: int = 1) -> None:
        self.name = name
        self.gpus = gpus
        self.host: dict[int, NDArray[np.uint8]] = {}
        self.device: dict[int, NDArray[np.uint8]] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Op]] = {}
        self.calls: list[str] = []
        self.failing: dict[str, CudaError] = {}
        self.launches = 0
        self.capturing: Stream | None = None

    @property
    def clean(self) -> bool:
        """Whether everything was given back."""
        return not (self.host or self.device or self.streams or self.graphs)

    def allocate(self, blocks: dict[int, NDArray[np.uint8]], nbytes: int) -> int:
        block = np.full(nbytes, 0xAB, np.uint8)
        address = int(block.ctypes.data)
        blocks[address] = block
        return address

    def holds(
        self, blocks: dict[int, NDArray[np.uint8]], address: int, nbytes: int
    ) -> bool:
        return any(
            start <= address and address + nbytes <= start + block.nbytes
            for start, block in blocks.items()
        )

    def push(self, stream: Stream, op: Op) -> None:
        (stream.queue if stream.captured is None else stream.captured).append(op)

    def copy(self, target: int, source: int, count: int, kind: int) -> Op:
        to_device = kind == MemcpyKind.cudaMemcpyHostToDevice
        sides = (self.device, self.host) if to_device else (self.host, self.device)
        if not self.holds(sides[0], target, count):
            raise ValueError("target")
        if not self.holds(sides[1], source, count):
            raise ValueError("source")
        return lambda: void(ctypes.memmove(target, source, count))

    def run(self, stream: Stream) -> None:
        while stream.queue:
            stream.queue.pop(0)()


def void(_: object) -> None:
    """Drop a value."""


class Properties:
    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.major = 8
        self.minor = 9


def runtime_module(gpu: Gpu) -> ModuleType:  # noqa: C901, PLR0915 - a list of calls
    """Build ``cuda.bindings.runtime``: every call returns (status, ...)."""
    module: Any = ModuleType("cuda.bindings.runtime")
    ok = CudaError.cudaSuccess
    bad = CudaError.cudaErrorInvalidValue
    captured = CudaError.cudaErrorStreamCaptureUnsupported

    def call(function: Callable[..., tuple[Any, ...]]) -> None:
        name = function.__name__

        def checked(*arguments: Any) -> tuple[Any, ...]:
            gpu.calls.append(name)
            if name in gpu.failing:
                return gpu.failing[name], None
            return function(*arguments)

        setattr(module, name, checked)

    @call
    def cudaGetDeviceCount() -> tuple[Any, ...]:  # noqa: N802
        return (ok, gpu.gpus) if gpu.gpus else (CudaError.cudaErrorNoDevice, None)

    @call
    def cudaSetDevice(ordinal: int) -> tuple[Any, ...]:  # noqa: N802
        return (ok if 0 <= ordinal < gpu.gpus else bad,)

    @call
    def cudaGetDeviceProperties(ordinal: int) -> tuple[Any, ...]:  # noqa: N802
        return ok, Properties(gpu.name)

    @call
    def cudaDriverGetVersion() -> tuple[Any, ...]:  # noqa: N802
        return ok, 13000

    @call
    def cudaMallocHost(size: int) -> tuple[Any, ...]:  # noqa: N802
        if gpu.capturing:
            return captured, None
        return ok, gpu.allocate(gpu.host, size)

    @call
    def cudaMalloc(size: int) -> tuple[Any, ...]:  # noqa: N802
        if gpu.capturing:
            return captured, None
        return ok, gpu.allocate(gpu.device, size)

    @call
    def cudaFreeHost(address: int) -> tuple[Any, ...]:  # noqa: N802
        return (ok if gpu.host.pop(address, None) is not None else bad,)

    @call
    def cudaFree(address: int) -> tuple[Any, ...]:  # noqa: N802
        return (ok if gpu.device.pop(address, None) is not None else bad,)

    @call
    def cudaStreamCreateWithFlags(flags: int) -> tuple[Any, ...]:  # noqa: N802
        stream = Stream(0x1000 + len(gpu.calls))
        gpu.streams[stream.handle] = stream
        return ok, stream

    @call
    def cudaStreamDestroy(stream: Stream) -> tuple[Any, ...]:  # noqa: N802
        return (ok if gpu.streams.pop(int(stream), None) else bad,)

    @call
    def cudaStreamSynchronize(stream: Stream) -> tuple[Any, ...]:  # noqa: N802
        if stream.captured is not None:
            return (captured,)
        gpu.run(stream)
        return (ok,)

    @call
    def cudaMemcpyAsync(  # noqa: N802
        target: int, source: int, count: int, kind: MemcpyKind, stream: Stream
    ) -> tuple[Any, ...]:
        try:
            gpu.push(stream, gpu.copy(target, source, count, kind))
        except ValueError:
            return (bad,)
        return (ok,)

    @call
    def cudaStreamBeginCapture(  # noqa: N802
        stream: Stream, mode: CaptureMode
    ) -> tuple[Any, ...]:
        if stream.queue or gpu.capturing:
            return (bad,)
        stream.captured, gpu.capturing = [], stream
        return (ok,)

    @call
    def cudaStreamEndCapture(stream: Stream) -> tuple[Any, ...]:  # noqa: N802
        if stream.captured is None:
            return CudaError.cudaErrorStreamCaptureInvalidated, None
        graph = tuple(stream.captured)
        stream.captured = gpu.capturing = None
        return ok, graph

    @call
    def cudaGraphInstantiate(  # noqa: N802
        graph: tuple[Op, ...], flags: int
    ) -> tuple[Any, ...]:
        made = 0x3000 + len(gpu.calls)
        gpu.graphs[made] = list(graph)
        return ok, made

    @call
    def cudaGraphDestroy(graph: tuple[Op, ...]) -> tuple[Any, ...]:  # noqa: N802
        return (ok,)

    @call
    def cudaGraphExecDestroy(made: int) -> tuple[Any, ...]:  # noqa: N802
        return (ok if gpu.graphs.pop(made, None) is not None else bad,)

    @call
    def cudaGraphLaunch(made: int, stream: Stream) -> tuple[Any, ...]:  # noqa: N802
        if made not in gpu.graphs:
            return (CudaError.cudaErrorInvalidResourceHandle,)
        gpu.launches += 1
        stream.queue.extend(gpu.graphs[made])
        return (ok,)

    @call
    def cudaGetErrorString(status: CudaError) -> tuple[Any, ...]:  # noqa: N802
        return ok, status.name.encode()

    @call
    def cudaGetLastError() -> tuple[Any, ...]:  # noqa: N802
        return (ok,)

    module.cudaStreamNonBlocking = 1
    module.cudaMemcpyKind = MemcpyKind
    module.cudaStreamCaptureMode = CaptureMode
    module.cudaError_t = CudaError
    return module  # type: ignore[no-any-return]


def pycuda_module(gpu: Gpu) -> ModuleType:  # noqa: C901 - a list of calls
    """Build ``pycuda.driver``: objects and exceptions, no stream capture."""
    module: Any = ModuleType("pycuda.driver")

    class Error(Exception):
        pass

    class Context:
        depth = 0

        def push(self) -> None:
            Context.depth += 1

        def pop(self) -> None:
            if Context.depth < 1:
                raise Error("cuCtxPopCurrent failed: invalid device context")
            Context.depth -= 1

    class Device:
        def __init__(self, ordinal: int) -> None:
            if not 0 <= ordinal < gpu.gpus:
                raise Error("cuDeviceGet failed: invalid device ordinal")

        @staticmethod
        def count() -> int:
            return gpu.gpus

        def name(self) -> str:
            return gpu.name

        def compute_capability(self) -> tuple[int, int]:
            return 8, 9

        def retain_primary_context(self) -> Context:
            return Context()

    class DeviceAllocation:
        def __init__(self, nbytes: int) -> None:
            self.address = gpu.allocate(gpu.device, nbytes)

        def __int__(self) -> int:
            return self.address

        def free(self) -> None:
            gpu.device.pop(self.address)

    def stream_of() -> Stream:
        need_context()
        stream = PyStream(0x2000 + len(gpu.streams))
        gpu.streams[stream.handle] = stream
        return stream

    class PyStream(Stream):
        __int__ = None  # type: ignore[assignment]

        def synchronize(self) -> None:
            gpu.run(self)

    def need_context() -> None:
        if not Context.depth:
            raise Error("explicit_context_dependent failed: invalid device context")

    def pagelocked_empty(shape: int, dtype: type) -> NDArray[np.uint8]:
        need_context()
        return gpu.host[gpu.allocate(gpu.host, shape)]

    def memcpy_htod_async(dest: int, src: NDArray[np.uint8], stream: Stream) -> None:
        kind = MemcpyKind.cudaMemcpyHostToDevice
        gpu.push(stream, gpu.copy(dest, src.ctypes.data, src.nbytes, kind))

    def memcpy_dtoh_async(dest: NDArray[np.uint8], src: int, stream: Stream) -> None:
        kind = MemcpyKind.cudaMemcpyDeviceToHost
        gpu.push(stream, gpu.copy(dest.ctypes.data, src, dest.nbytes, kind))

    module.Error, module.Device, module.Stream = Error, Device, stream_of
    module.init = lambda: None
    module.get_driver_version = lambda: 13000
    module.mem_alloc = DeviceAllocation
    module.pagelocked_empty = pagelocked_empty
    module.memcpy_htod_async = memcpy_htod_async
    module.memcpy_dtoh_async = memcpy_dtoh_async
    return module  # type: ignore[no-any-return]
