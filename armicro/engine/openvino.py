"""The networks on a CPU through OpenVINO, which no other package imports.

Every sample is its own request of batch one on a static shape, and a batch is spread
over lanes: so a sample's result is the same to the bit whatever else is in the batch,
and nothing is padded. A lane is a network compiled for itself, with threads of its own.
OpenVINO's streams would do the same with less memory, but with INT8 networks on AVX2
CPUs two streams give wrong results that change from run to run (2026.4.1).

The LR network also takes whole fields: a shape seen for the first time is compiled
then, on one lane with all threads (a field is a batch of one), and kept.

Precisions: ``native`` runs the file as it is (INT8 where it holds Q/DQ nodes, else
float32), ``bf16`` runs the float part in bfloat16 and refuses a CPU without it,
``fp32`` takes the activation quantisers out and runs everything in float32.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset1

from armicro.engine import Array, InputSpec, check_inputs
from armicro.errors import EngineError

# ---------------------------------------------------------------------------
# OpenVINO graphs rewritten before they are compiled.
#
# A QuantizeLinear arrives as FakeQuantize, its DequantizeLinear as Convert, Subtract
# and Multiply behind it.


def drop_activation_quantisers(model: Any) -> None:
    """Take Q/DQ pairs out of the graph; weights keep their quantised values.

    Who reads the end of a pair's chain shall read its beginning.
    """
    for quantiser in _quantisers(model):
        for end in _chain_ends(quantiser):
            end.replace(quantiser.input_value(0))


def pool_before_strides(model: Any) -> None:
    """Let a 1x1 max pool take the steps of 1x1 convolutions of INT8 activations.

    The result is the same. OpenVINO (2026.4.1) moves such a stride up the graph,
    through the quantiser, and then computes the convolution in float32: a quarter of
    the time of a ResNet50 v1, whose stages begin with two of them.
    """
    for quantiser in _quantisers(model):
        for end in _chain_ends(quantiser):
            _pool(end)


def _quantisers(model: Any) -> list[Any]:
    return [o for o in model.get_ordered_ops() if o.get_type_name() == "FakeQuantize"]


def _pool(source: Any) -> None:
    """Take the strides out of the 1x1 convolutions that read an output."""
    pools: dict[tuple[int, ...], Any] = {}
    for port in list(source.get_target_inputs()):
        reader = port.get_node()
        if not _steps(reader):
            continue
        strides = tuple(reader.get_attributes()["strides"])
        ones, zeros = [1] * len(strides), [0] * len(strides)
        if strides not in pools:
            pools[strides] = opset1.max_pool(source, strides, zeros, zeros, ones)
        reader.set_attribute("strides", ones)
        port.replace_source_output(pools[strides].output(0))


def _steps(operation: Any) -> bool:
    """Whether this is a 1x1 convolution with a stride and without a border."""
    if operation.get_type_name() != "Convolution":
        return False
    attributes = operation.get_attributes()
    kernel = operation.input_value(1).get_partial_shape()[2:]
    return (
        all(side == 1 for side in kernel)
        and max(attributes["strides"]) > 1
        and not any((*attributes["pads_begin"], *attributes["pads_end"]))
    )


def _chain_ends(operation: Any) -> list[Any]:
    """Outputs where the chains behind a quantiser are float again."""
    followers = [port.get_node() for port in operation.output(0).get_target_inputs()]
    ends = []
    for follower in followers:
        kind = follower.get_type_name()
        if kind == "Multiply":
            ends.append(follower.output(0))
        elif kind in ("Convert", "Subtract"):
            ends += _chain_ends(follower)
    # Output and input in the same scale: the quantiser has no chain, it is the pair.
    is_pair = not ends and operation.get_type_name() == "FakeQuantize"
    return [operation.output(0)] if is_pair else ends


# ---------------------------------------------------------------------------
# The networks on a CPU.

_SHAPES_KEPT = 4
"""Compiled shapes kept a network; whole fields of one rig need one or two."""
_LANES_MOST = 4
_LEAST_THREADS = 2
"""Of a lane: a single tile still splits well over two threads, and a batch of any
size then leaves no core idle for long."""
Shapes = tuple[tuple[int, ...], ...]
"""Of one sample of each input."""
_HINTS = {"native": "f32", "bf16": "bf16", "fp32": "f32"}


@dataclass(frozen=True, slots=True)
class Placement:
    """How many threads a network gets and how they share a batch."""

    threads: int
    lanes: int
    """Samples in flight; each has threads // lanes of its own."""


def place(*, threads: int, latency: bool, cores: int | None = None) -> Placement:
    """Choose threads and lanes.

    With ``threads`` 0 every usable core works, in ``latency`` mode (live) all but one,
    which capture and display need.

    >>> place(threads=0, latency=True, cores=2)
    Placement(threads=1, lanes=1)
    >>> place(threads=0, latency=False, cores=16)
    Placement(threads=16, lanes=4)
    """
    cores = cores or usable_cores()
    count = max(1, threads or (cores - 1 if latency else cores))
    return Placement(count, max(1, min(_LANES_MOST, count // _LEAST_THREADS)))


def usable_cores() -> int:
    """Physical cores that this process may run on, at least 1."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, os.cpu_count() or 1)
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list")
        try:
            cores.add(siblings.read_text("ascii"))
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


class OpenVinoEngine:
    """One network on the CPU; one caller at a time."""

    def __init__(
        self,
        name: str,
        onnx: bytes,
        *,
        precision: str,
        placement: Placement,
        batched: tuple[int, ...] = (),
    ) -> None:
        """Read a network from bytes that were hashed before.

        ``batched`` is the shape of a sample that comes in batches (a tile): it runs on
        all lanes. Other shapes come alone and get all threads on one lane.

        Raises:
            EngineError: it cannot be read, or the precision is not one of this backend.
        """
        if precision not in _HINTS:
            raise EngineError(
                f"{name}: precision {precision!r} is not one of OpenVINO's: "
                f"{', '.join(_HINTS)}"
            )
        self._name = name
        self._hint = _HINTS[precision]
        self._placement = placement
        self._batched = batched
        self._core = openvino.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in able:
            raise EngineError(
                f"{name}: this CPU has no bfloat16 (it has {', '.join(able)}); "
                "use --precision native or fp32"
            )
        try:
            self._model: Any = self._core.read_model(onnx)
            self._outputs = [port.any_name for port in self._model.outputs]
            if precision == "fp32":
                drop_activation_quantisers(self._model)
            else:
                pool_before_strides(self._model)
        except RuntimeError as error:
            raise EngineError(
                f"{name}: OpenVINO {openvino.__version__} cannot read it: "
                f"{_reason(error)}; export the set again"
            ) from error
        self._inputs = {port.any_name: _spec(port) for port in self._model.inputs}
        self._compiled: OrderedDict[Shapes, _Compiled] = OrderedDict()

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch, a request a sample; see the package for names and shapes.

        Raises:
            EngineError: an input's name, dtype or shape is not the network's, or
                OpenVINO failed.
        """
        arrays = check_inputs(self._name, self._inputs, inputs)
        shapes = tuple(array.shape[1:] for array in arrays.values())
        try:
            return self._at(shapes).run(arrays)
        except RuntimeError as error:
            raise EngineError(
                f"{self._name}: OpenVINO failed on inputs {shapes}: {_reason(error)}"
            ) from error

    def close(self) -> None:
        """Free the compiled networks; may be called twice."""
        self._compiled.clear()
        self._model = None

    def _at(self, shapes: Shapes) -> "_Compiled":
        if shapes in self._compiled:
            self._compiled.move_to_end(shapes)
            return self._compiled[shapes]
        self._compiled[shapes] = compiled = self._compile(shapes)
        if len(self._compiled) > _SHAPES_KEPT:
            self._compiled.popitem(last=False)
        return compiled

    def _compile(self, shapes: Shapes) -> "_Compiled":
        if self._model is None:
            raise EngineError(f"{self._name}: used after it was closed")
        model = self._model.clone()
        sides = [openvino.PartialShape([1, *shape]) for shape in shapes]
        model.reshape(dict(zip(model.inputs, sides, strict=True)))
        lanes = self._placement.lanes if self._batched in shapes else 1
        settings = {
            "INFERENCE_PRECISION_HINT": self._hint,
            "INFERENCE_NUM_THREADS": self._placement.threads // lanes,
            "NUM_STREAMS": 1,
            # Pinned threads of three networks would sit on the same cores, and in
            # live capture and display must be able to push them aside.
            "ENABLE_CPU_PINNING": False,
        }
        first = self._core.compile_model(model, "CPU", settings)
        others: list[Any] = []
        if lanes > 1:
            # Loading what was compiled a moment ago takes a third of compiling it.
            blob = first.export_model().getvalue()
            others = [
                self._core.import_model(io.BytesIO(blob), "CPU", settings)
                for _ in range(lanes - 1)
            ]
        return _Compiled([first, *others], self._outputs)


def _spec(port: Any) -> InputSpec:
    shape = port.partial_shape
    sides = [None if side.is_dynamic else side.get_length() for side in shape]
    return InputSpec(np.dtype(port.element_type.to_dtype()), tuple(sides[1:]))


class _Compiled:
    """A network compiled for one shape of sample, once a lane."""

    def __init__(self, lanes: Sequence[Any], outputs: Sequence[str]) -> None:
        # Two requests a lane: the next sample waits there when the last one is done.
        self._requests = [lane.create_infer_request() for lane in (*lanes, *lanes)]
        self._outputs = {
            name: (tuple(port.shape)[1:], port.element_type.to_dtype())
            for name, port in zip(outputs, lanes[0].outputs, strict=True)
        }

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch; results are written straight into the arrays returned."""
        count = len(next(iter(arrays.values())))
        results = {
            name: np.empty((count, *shape), dtype)
            for name, (shape, dtype) in self._outputs.items()
        }
        busy: set[int] = set()
        try:
            for index in range(count):
                slot = index % len(self._requests)
                request = self._requests[slot]
                if slot in busy:
                    request.wait()
                for port, array in enumerate(arrays.values()):
                    request.set_input_tensor(port, _view(array, index))
                for port, array in enumerate(results.values()):
                    request.set_output_tensor(port, _view(array, index))
                request.start_async()
                busy.add(slot)
        finally:
            # Requests write into these arrays: none may run on when they are gone.
            _wait_for([self._requests[slot] for slot in busy])
        return results


def _view(array: Array, index: int) -> Any:
    """Sample of a batch as a tensor on the same memory."""
    return openvino.Tensor(array[index : index + 1], shared_memory=True)


def _wait_for(requests: Sequence[Any]) -> None:
    """Wait for all of them, and only then raise what one of them raised."""
    failures = []
    for request in requests:
        try:
            request.wait()
        except RuntimeError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _reason(error: Exception) -> str:
    """Return what OpenVINO said last: its first lines are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception from")]
    return (said or lines or [type(error).__name__])[0]
