"""One of two lanes through a GPU engine: a stream, its buffers, a graph a batch size.

While one lane's stream copies and computes, the host fills the other lane's pinned
buffers: so copies hide behind computation. A batch size that comes for the first time
runs once as it is, which TensorRT needs before a capture, and is then captured with its
copies into a CUDA graph. Where that fails, that size runs without a graph.

Each size has an execution context of its own: a captured graph stays bound to the shape
and the memory of the context that it was captured from. The contexts of a lane never
run at once, so they share one block of scratch memory, that of the profile's largest
batch; by default each would hold what the largest whole field needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from armicro.engine import Array
from armicro.engine.cuda import Bytes, Cuda
from armicro.errors import EngineError


@dataclass(frozen=True, slots=True, eq=False)
class _Buffer:
    """One input or output, for the largest batch."""

    host: Bytes
    address: int
    dtype: np.dtype[Any]
    sample: tuple[int, ...]
    is_input: bool

    def part(self, count: int) -> Bytes:
        """Bytes of the first ``count`` samples."""
        return self.host[: count * prod(self.sample) * self.dtype.itemsize]

    def values(self, count: int) -> Array:
        """The first ``count`` samples on the host."""
        typed: Array = self.part(count).view(self.dtype)
        return typed.reshape(count, *self.sample)


@dataclass(slots=True)
class _Size:
    """A batch size: its context, and its graph once it is captured."""

    context: Any
    graph: Any = None
    runs: int = 0


class Lane:
    """A stream with pinned and device buffers, one batch in flight at most."""

    def __init__(
        self, trt: Any, engine: Any, cuda: Cuda, *, profile: int, most: int, name: str
    ) -> None:
        self._trt = trt
        self._engine = engine
        self._cuda = cuda
        self._profile = profile
        self._most = most
        self._name = name
        self._stream = cuda.stream()
        self._buffers: dict[str, _Buffer] = {}
        self._sizes: dict[int, _Size] = {}
        self._samples: dict[str, tuple[int, ...]] = {}
        self._pending = 0
        self._scratch_bytes = engine.get_device_memory_size_for_profile_v2(profile)
        self._scratch = cuda.allocate(max(self._scratch_bytes, 1))

    @property
    def busy(self) -> bool:
        """Whether a batch is in flight."""
        return self._pending > 0

    @property
    def graphs(self) -> int:
        """Batch sizes that run as CUDA graphs."""
        return sum(size.graph is not None for size in self._sizes.values())

    def prepare(self, samples: Mapping[str, tuple[int, ...]]) -> None:
        """Allocate for samples of these shapes.

        Raises:
            EngineError: TensorRT or CUDA refused.
        """
        self._samples = dict(samples)
        context = self._context(self._most)
        for name in self._names():
            shape = tuple(context.get_tensor_shape(name))
            if any(side < 0 for side in shape):
                raise self._failed(f"shape of {name} is not known: {shape}")
            dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
            nbytes = prod(shape) * dtype.itemsize
            host, address = self._cuda.pinned(nbytes), self._cuda.allocate(nbytes)
            mode = self._engine.get_tensor_mode(name)
            is_input = mode == self._trt.TensorIOMode.INPUT
            self._buffers[name] = _Buffer(host, address, dtype, shape[1:], is_input)
        self._sizes[self._most] = self._addressed(context)

    def start(self, arrays: Mapping[str, Array]) -> None:
        """Queue a batch of at most ``most`` samples; ``finish`` fetches its results.

        Raises:
            EngineError: TensorRT or CUDA refused.
        """
        count = len(next(iter(arrays.values())))
        batch = min(1 << (count - 1).bit_length(), self._most)
        for name, array in arrays.items():
            # The rest of a batch that is not full keeps what was there: no sample
            # looks at another.
            self._buffers[name].values(count)[:] = array
        size = self._sizes.get(batch)
        if size is None:
            size = self._sizes[batch] = self._addressed(self._context(batch))
        self._pending = count
        if size.graph is None and size.runs == 1:
            size.graph = self._captured(size, batch)
        size.runs += 1
        if size.graph is not None:
            self._cuda.launch(size.graph, self._stream)
        else:
            self._queue(size, batch)

    def finish(self) -> dict[str, Array]:
        """Wait for the batch in flight and copy its results out.

        Raises:
            EngineError: CUDA failed.
        """
        count, self._pending = self._pending, 0
        self._cuda.wait(self._stream)
        return {
            name: buffer.values(count).copy()
            for name, buffer in self._buffers.items()
            if not buffer.is_input
        }

    def _names(self) -> list[str]:
        count = self._engine.num_io_tensors
        return [self._engine.get_tensor_name(index) for index in range(count)]

    def _context(self, batch: int) -> Any:
        """Return a context that is set to the profile and to a batch of this size."""
        managed = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(managed)
        if context is None:
            raise self._failed("no execution context; the GPU may be out of memory")
        handle = self._cuda.handle(self._stream)
        if not context.set_optimization_profile_async(self._profile, handle):
            raise self._failed(f"profile {self._profile} cannot be set")
        self._cuda.wait(self._stream)
        context.set_device_memory(self._scratch, self._scratch_bytes)
        for name, sample in self._samples.items():
            if not context.set_input_shape(name, (batch, *sample)):
                raise self._failed(f"input {name} cannot be {(batch, *sample)}")
        return context

    def _addressed(self, context: Any) -> _Size:
        for name, buffer in self._buffers.items():
            if not context.set_tensor_address(name, buffer.address):
                raise self._failed(f"address of {name} is refused")
        lacking = context.infer_shapes()
        if lacking:
            raise self._failed(f"{', '.join(lacking)} is not specified")
        return _Size(context)

    def _queue(self, size: _Size, batch: int) -> None:
        """Queue copies in, the network, copies out."""
        for buffer in self._buffers.values():
            if buffer.is_input:
                self._cuda.upload(buffer.address, buffer.part(batch), self._stream)
        if not size.context.execute_async_v3(self._cuda.handle(self._stream)):
            raise self._failed(f"a batch of {batch} could not be queued")
        for buffer in self._buffers.values():
            if not buffer.is_input:
                self._cuda.download(buffer.part(batch), buffer.address, self._stream)

    def _captured(self, size: _Size, batch: int) -> Any:
        """Return the graph of this size, or None where capture fails."""
        if not self._cuda.can_capture:
            return None
        try:
            return self._cuda.capture(self._stream, lambda: self._queue(size, batch))
        except EngineError:
            # Some layers cannot be captured; the batch then runs as it always did.
            return None

    def _failed(self, what: str) -> EngineError:
        return EngineError(f"{self._name}: TensorRT: {what}")
