"""From trained networks to the ONNX files of a set: fp32 first, then INT8.

The dynamic axes are the batch and, for LR, height and width, so that one file serves
tiles and whole fields. INT8 is post-training quantisation by NNCF, calibrated on
training tiles: symmetric, per tensor for activations and per channel for weights, which
both OpenVINO and TensorRT take. NNCF leaves weights as float behind a QuantizeLinear;
they are folded into int8 initialisers, which makes a file four times smaller.
"""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from armicro.field import Pixels
from armicro.train.networks import HighResolution, LowResolution, SlideRnn

OPSET = 17
INPUTS = {"lr": "tiles", "hr": "tiles", "rnn": "features"}
OUTPUTS = {
    "lr": ("probability", "location"),
    "hr": ("probability", "features"),
    "rnn": ("scores",),
}


def export_onnx(network: nn.Module) -> onnx.ModelProto:
    """Return the fp32 graph of one of the three networks, in its contract's form."""
    network = network.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    name, example, axes = _contract(network)
    stream = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        stream,  # type: ignore[arg-type]
        input_names=[INPUTS[name]],
        output_names=list(OUTPUTS[name]),
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load_from_string(stream.getvalue())
    model.producer_name = "armicro"
    onnx.checker.check_model(model)
    return model


def _contract(
    network: nn.Module,
) -> tuple[str, torch.Tensor, dict[str, dict[int, str]]]:
    batch = {0: "n"}
    if isinstance(network, LowResolution):
        example = torch.zeros(1, 512, 512, 3, dtype=torch.uint8)
        sides = {
            "tiles": {0: "n", 1: "height", 2: "width"},
            "probability": {0: "n", 1: "rows", 2: "cols"},
            "location": {0: "n", 1: "map_height", 2: "map_width"},
        }
        return "lr", example, sides
    if isinstance(network, HighResolution):
        example = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
        return "hr", example, dict.fromkeys(("tiles", *OUTPUTS["hr"]), batch)
    if isinstance(network, SlideRnn):
        example = torch.zeros(1, 30, 2048)
        return "rnn", example, dict.fromkeys(("features", "scores"), batch)
    raise TypeError(f"{type(network).__name__} is none of the three networks")


def quantise(
    model: onnx.ModelProto, tiles: Sequence[Pixels], *, weights_7_bit: bool = True
) -> onnx.ModelProto:
    """Return the INT8 form of an LR or HR graph.

    Args:
        model: fp32, with input ``tiles``.
        tiles: calibration tiles (h, w, 3) uint8, of training data.
        weights_7_bit: use half of the weights' range. CPUs without VNNI add pairs of
            products in 16 bits, which would saturate (NNCF's "overflow fix").
    """
    # NNCF would tell its makers of every call; so it is silent, and only so.
    os.environ["NNCF_CI"] = "1"
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    fix = OverflowFix.ENABLE if weights_7_bit else OverflowFix.DISABLE
    quantised = nncf.quantize(
        model,
        nncf.Dataset([{"tiles": tile[None]} for tile in tiles]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(tiles),
        ignored_scope=nncf.IgnoredScope(names=float_nodes(model), validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=fix,
            # The default cuts the tail of activations, and the tail is what the
            # global max pool hands on.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )
    return fold_weights(sign_activations(quantised))


def sign_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make unsigned activation quantisers signed: TensorRT knows no others.

    The range stays (0-255 steps become 0-127 of twice the size): one bit is lost.
    """
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    for node in graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        scale, zero = (numpy_helper.to_array(constants[n]) for n in node.input[1:3])
        if zero.dtype != np.uint8:
            continue
        name = f"{node.output[0]}.signed"
        for index, array in ((1, scale * np.float32(255 / 127)), (2, np.int8(0))):
            part = f"{name}.{index}"
            value = np.asarray(array).reshape(zero.shape)
            graph.initializer.append(numpy_helper.from_array(value, part))
            node.input[index] = part
    # The types that NNCF inferred for the unsigned tensors hold no more.
    del graph.value_info[:]
    return model


FLOAT_NODES = ("/normalise/", "/head/", "/location/out", "/Softmax")


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that stay in float: the heads' small convolutions."""
    return [node.name for node in model.graph.node if node.name.startswith(FLOAT_NODES)]


def fold_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace QuantizeLinear of constants by int8 initialisers."""
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in constants:
            kept.append(node)
            continue
        weight, scale, zero = (numpy_helper.to_array(constants[n]) for n in node.input)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        values = quantised_values(weight, scale, zero, axis)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    drop_unused(graph)
    onnx.checker.check_model(model)
    return model


def quantised_values(
    weight: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int
) -> NDArray[np.int8]:
    """Return int8 of a weight as QuantizeLinear would give it."""
    shape = [1] * weight.ndim
    if scale.ndim and scale.size > 1:
        shape[axis] = -1
    steps = np.rint(weight / scale.reshape(shape)) + zero.astype(int).reshape(shape)
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(steps, limits.min, limits.max), np.int8)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove initialisers that no node reads."""
    used = {name for node in graph.node for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def store_weights_int8(model: onnx.ModelProto, *, least: int = 4096) -> onnx.ModelProto:
    """Store large matrices as int8, a scale a column; computation stays float."""
    graph = model.graph
    added: list[onnx.NodeProto] = []
    for item in list(graph.initializer):
        weight = numpy_helper.to_array(item)
        if weight.dtype != np.float32 or weight.ndim != 2 or weight.size < least:
            continue
        axis = 1
        scale = (np.abs(weight).max(axis=0) / 127 + 1e-12).astype(np.float32)
        name = item.name
        values = np.rint(weight / scale).astype(np.int8)
        zeros = np.zeros(len(scale), np.int8)
        graph.initializer.remove(item)
        parts = [f"{name}.{part}" for part in ("int8", "scale", "zero")]
        for part, array in zip(parts, (values, scale, zeros), strict=True):
            graph.initializer.append(numpy_helper.from_array(array, part))
        added.append(helper.make_node("DequantizeLinear", parts, [name], axis=axis))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def run_onnx(
    model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Run a graph once in onnxruntime, the fp32 reference."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
