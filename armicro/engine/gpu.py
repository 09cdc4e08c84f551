"""A network on an NVIDIA GPU: batches in parts through two lanes of a TensorRT engine.

Batches are rounded up to a power of two, so that a handful of sizes, each a CUDA graph,
serves them all; a whole field has a profile of its own. ``trt`` is the module that
``tensorrt.load`` imported.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from armicro.engine import Array
from armicro.engine.builder import Said, make_logger
from armicro.engine.cuda import Cuda
from armicro.engine.lane import Lane
from armicro.engine.plan import Profile
from armicro.engine.signature import InputSpec, check_inputs
from armicro.errors import EngineError

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
        self._name = name
        self._trt = trt
        self._cuda = cuda
        self._profiles = profiles
        self._lanes: OrderedDict[tuple[int, ...], tuple[Lane, Lane]] = OrderedDict()
        said = Said()
        self._logger = make_logger(trt, said)
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
