"""A network on an NVIDIA GPU: batches in parts through two lanes of a TensorRT engine.

Batches are rounded up to a power of two, so that a handful of sizes, each a CUDA graph,
serves them all; a whole field has a profile of its own. ``trt`` is the module that
``tensorrt.load`` imported.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from armicro.engine import Array, InputSpec, check_inputs
from armicro.engine.cuda import Bytes, Cuda
from armicro.engine.plan import Profile, TrtLog, make_logger
from armicro.errors import EngineError

# ---------------------------------------------------------------------------
# One of two lanes through a GPU engine: a stream, its buffers, a graph a batch size.
#
# While one lane's stream copies and computes, the host fills the other lane's pinned
# buffers: so copies hide behind computation. A batch size that comes for the first time
# runs once as it is, which TensorRT needs before a capture, and is then captured with
# its copies into a CUDA graph. Where that fails, that size runs without a graph.
#
# Each size has an execution context of its own: a captured graph stays bound to the
# shape and the memory of the context that it was captured from. The contexts of a lane
# never run at once, so they share one block of scratch memory, that of the profile's
# largest batch; by default each would hold what the largest whole field needs.


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


def tensor_names(engine: Any) -> list[str]:
    """Names of all inputs and outputs of an engine."""
    return [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]


class Lane:
    """A stream with pinned and device buffers, one batch in flight at most."""

    def __init__(
        self, trt: Any, engine: Any, cuda: Cuda, *, profile: int, most: int, name: str
    ) -> None:
        self._trt, self._engine, self._cuda = trt, engine, cuda
        self._profile, self._most, self._name = profile, most, name
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
        for name in tensor_names(self._engine):
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


# ---------------------------------------------------------------------------
# The network.

_SHAPES_KEPT = 3


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
        self._name, self._trt, self._cuda, self._profiles = name, trt, cuda, profiles
        self._lanes: OrderedDict[tuple[int, ...], tuple[Lane, Lane]] = OrderedDict()
        said = TrtLog()
        self._logger = make_logger(trt, said)
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(plan)
        if self._engine is None:
            cuda.close()
            raise EngineError(
                f"{name}: TensorRT refuses the engine ({said.take()}); "
                "run `armicro engine build --force`"
            )
        self._inputs = {
            name: self._spec(name)
            for name in tensor_names(self._engine)
            if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
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
            parts = self._trt, self._engine, self._cuda
            most = self._profiles[profile].most[0]
            one, other = (
                Lane(*parts, profile=profile, most=most, name=self._name)
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

    def _spec(self, tensor: str) -> InputSpec:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(tensor)))
        shape = tuple(self._engine.get_tensor_shape(tensor))
        return InputSpec(dtype, tuple(None if s < 0 else s for s in shape[1:]))


def _one_of_nothing(part: Mapping[str, Array]) -> dict[str, Array]:
    """Stand-in for an empty batch, whose outputs' shapes only the engine knows."""
    return {name: np.zeros((1, *a.shape[1:]), a.dtype) for name, a in part.items()}
