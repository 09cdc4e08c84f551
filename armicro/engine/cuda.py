"""The few CUDA calls that TensorRT needs, through pycuda or NVIDIA's cuda-python.

pycuda is taken where it is installed, else cuda-python. Both work in the device's
primary context, which TensorRT uses too. pycuda has no stream capture, so CUDA graphs
come with cuda-python only. Every failed call is an ``EngineError`` that names the call.

Not run on a GPU yet: written against pycuda's documentation and cuda-bindings 13.5,
whose signatures were checked by import, and tested with a stand-in.
"""

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from armicro.errors import EngineError

Bytes = NDArray[np.uint8]


_NO_GRAPHS = "pycuda has no CUDA graphs; install cuda-python for them"


@dataclass(frozen=True, slots=True)
class Device:
    """The GPU that everything runs on."""

    name: str
    capability: str
    """Compute capability, "8.9"."""
    driver: str


class Cuda(Protocol):
    """One device; what it hands out is freed by ``free``, last made first."""

    device: Device
    can_capture: bool
    _undo: list[Callable[[], object]]

    def pinned(self, nbytes: int) -> Bytes:
        """Return page-locked host memory, which copies run from without a detour."""

    def allocate(self, nbytes: int) -> int:
        """Return the address of device memory."""

    def stream(self) -> Any:
        """Return a new stream; ``int(handle)`` of it goes to TensorRT."""

    def handle(self, stream: Any) -> int:
        """Return a stream's handle."""

    def upload(self, address: int, host: Bytes, stream: Any) -> None:
        """Queue a copy to the device."""

    def download(self, host: Bytes, address: int, stream: Any) -> None:
        """Queue a copy from the device."""

    def wait(self, stream: Any) -> None:
        """Wait until a stream has done all that was queued."""

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Record what ``work`` queues instead of running it; return the graph."""
        raise EngineError(_NO_GRAPHS)

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a recorded graph."""
        raise EngineError(_NO_GRAPHS)

    def free(self) -> None:
        """Free streams, graphs and memory; nothing may be queued any more."""
        while self._undo:
            self._undo.pop()()

    def close(self) -> None:
        """Free everything and leave the device; may be called twice."""
        self.free()


class CudaPython(Cuda):
    """CUDA runtime through ``cuda.bindings.runtime`` (cuda-python 12.6 and later)."""

    can_capture = True

    def __init__(self, ordinal: int = 0) -> None:
        self._rt: Any = importlib.import_module("cuda.bindings.runtime")
        self._undo = []
        count = self._call("cudaGetDeviceCount")
        if ordinal >= count:
            raise EngineError(f"CUDA finds {count} GPUs; expected at least one")
        self._call("cudaSetDevice", ordinal)
        said = self._call("cudaGetDeviceProperties", ordinal)
        driver = self._call("cudaDriverGetVersion")
        self.device = Device(
            said.name.decode(errors="replace").rstrip("\0"),
            f"{said.major}.{said.minor}",
            f"{driver // 1000}.{driver % 1000 // 10}",
        )

    def pinned(self, nbytes: int) -> Bytes:
        """Return page-locked host memory."""
        address = int(self._kept("cudaFreeHost", self._call("cudaMallocHost", nbytes)))
        block = (ctypes.c_uint8 * nbytes).from_address(address)
        return np.ctypeslib.as_array(block)

    def allocate(self, nbytes: int) -> int:
        """Return the address of device memory."""
        return int(self._kept("cudaFree", self._call("cudaMalloc", nbytes)))

    def stream(self) -> Any:
        """Return a new stream that does not wait for the default one."""
        flags = self._rt.cudaStreamNonBlocking
        stream = self._call("cudaStreamCreateWithFlags", flags)
        return self._kept("cudaStreamDestroy", stream)

    def handle(self, stream: Any) -> int:
        """Return a stream's handle."""
        return int(stream)

    def upload(self, address: int, host: Bytes, stream: Any) -> None:
        """Queue a copy to the device."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        source = host.ctypes.data
        self._call("cudaMemcpyAsync", address, source, host.nbytes, kind, stream)

    def download(self, host: Bytes, address: int, stream: Any) -> None:
        """Queue a copy from the device."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        target = host.ctypes.data
        self._call("cudaMemcpyAsync", target, address, host.nbytes, kind, stream)

    def wait(self, stream: Any) -> None:
        """Wait until a stream has done all that was queued."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Record what ``work`` queues; the capture is ended whatever happens in it."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            # Ends the broken capture and takes its error off the stream.
            self._rt.cudaStreamEndCapture(stream)
            self._rt.cudaGetLastError()
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            made = self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)
        return self._kept("cudaGraphExecDestroy", made)

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a recorded graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def _kept(self, undo: str, thing: Any) -> Any:
        self._undo.append(partial(getattr(self._rt, undo), thing))
        return thing

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            status, *said = getattr(self._rt, name)(*arguments)
        except RuntimeError as error:
            raise EngineError(f"CUDA: {name}: {error}") from error
        if int(status) != 0:
            _, text = self._rt.cudaGetErrorString(status)
            words = text.decode() if isinstance(text, bytes) else str(text)
            raise EngineError(f"CUDA: {name} failed: {words} ({int(status)})")
        return said[0] if said else None


class PyCuda(Cuda):
    """CUDA driver through pycuda; no graphs, kernels are launched one by one."""

    can_capture = False

    def __init__(self, ordinal: int = 0) -> None:
        self._driver: Any = importlib.import_module("pycuda.driver")
        self._undo = []
        self._context: Any = None
        self._call(self._driver.init)
        if ordinal >= self._call(self._driver.Device.count):
            raise EngineError("pycuda finds no GPU; expected at least one")
        device = self._call(self._driver.Device, ordinal)
        # The primary context, which TensorRT and the CUDA runtime share.
        self._context = self._call(device.retain_primary_context)
        self._call(self._context.push)
        major, minor = device.compute_capability()
        driver = self._call(self._driver.get_driver_version)
        self.device = Device(
            device.name(),
            f"{major}.{minor}",
            f"{driver // 1000}.{driver % 1000 // 10}",
        )

    def pinned(self, nbytes: int) -> Bytes:
        """Return page-locked host memory."""
        array = self._call(self._driver.pagelocked_empty, nbytes, np.uint8)
        return np.asarray(array)

    def allocate(self, nbytes: int) -> int:
        """Return the address of device memory."""
        memory = self._call(self._driver.mem_alloc, nbytes)
        self._undo.append(memory.free)
        return int(memory)

    def stream(self) -> Any:
        """Return a new stream."""
        return self._call(self._driver.Stream)

    def handle(self, stream: Any) -> int:
        """Return a stream's handle."""
        return int(stream.handle)

    def upload(self, address: int, host: Bytes, stream: Any) -> None:
        """Queue a copy to the device."""
        self._call(self._driver.memcpy_htod_async, address, host, stream)

    def download(self, host: Bytes, address: int, stream: Any) -> None:
        """Queue a copy from the device."""
        self._call(self._driver.memcpy_dtoh_async, host, address, stream)

    def wait(self, stream: Any) -> None:
        """Wait until a stream has done all that was queued."""
        self._call(stream.synchronize)

    def close(self) -> None:
        """Free the memory and leave the context; the rest goes with its objects."""
        self.free()
        if self._context is not None:
            self._context.pop()
            self._context = None

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            name = getattr(function, "__name__", str(function))
            raise EngineError(f"CUDA: {name} failed: {error}") from error


def open_cuda() -> Cuda:
    """Open the first GPU through whichever package works.

    Raises:
        EngineError: neither works; the message says why for each.
    """
    reasons = []
    kinds: dict[str, Callable[[], Cuda]] = {"pycuda": PyCuda, "cuda-python": CudaPython}
    for package, kind in kinds.items():
        try:
            return kind()
        except ModuleNotFoundError:
            reasons.append(f"{package} is not installed")
        except (ImportError, OSError, AttributeError, EngineError) as error:
            reasons.append(f"{package}: {error}")
    raise EngineError(
        f"no NVIDIA GPU can be used: {'; '.join(reasons)}; "
        "install the driver and `armicro[gpu]`"
    )
