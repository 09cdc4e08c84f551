"""From trained networks to the ONNX files of a set: fp32 first, then INT8.

The dynamic axes are the batch and, for LR, height and width, so that one file serves
tiles and whole fields. INT8 is post-training quantisation by NNCF, calibrated on
training tiles: symmetric, per tensor for activations and per channel for weights, which
both OpenVINO and TensorRT take. NNCF leaves weights as float behind a QuantizeLinear;
they are folded into int8 initialisers, which makes a file four times smaller.
"""

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from armicro.engine.manifest import (
    GOLDEN_NAME,
    INPUTS,
    MOST_GOLDEN_BYTES,
    OUTPUTS,
    read_arrays,
)
from armicro.errors import EngineError
from armicro.field import Pixels
from armicro.file import write_whole, written
from armicro.phantom import UM_PER_PX, paint_field
from armicro.train.networks import HighResolution, LowResolution, SlideRnn
from armicro.verdict import HR_TILE_PX

OPSET = 17


def export_onnx(network: nn.Module) -> onnx.ModelProto:
    """Return the fp32 graph of one of the three networks, in its contract's form."""
    network = network.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    name, example, axes = _contract(network)
    stream = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        stream,  # type: ignore[arg-type]
        input_names=[INPUTS[name][0]],
        output_names=[output for owner, output in OUTPUTS.values() if owner == name],
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
        names = ("tiles", "probability", "features")
        return "hr", example, dict.fromkeys(names, batch)
    if isinstance(network, SlideRnn):
        example = torch.zeros(1, 30, 2048)
        return "rnn", example, dict.fromkeys(("features", "scores"), batch)
    raise TypeError(f"{type(network).__name__} is none of the three networks")


def quantise(model: onnx.ModelProto, tiles: Sequence[Pixels]) -> onnx.ModelProto:
    """Return the INT8 form of an LR or HR graph.

    Args:
        model: fp32, with input ``tiles``.
        tiles: calibration tiles (h, w, 3) uint8, of training data.
    """
    # NNCF would tell its makers of every call; so it is silent, and only so.
    os.environ["NNCF_CI"] = "1"
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nodes = [node.name for node in model.graph.node]
    floats = [name for name in nodes if name.startswith(FLOAT_NODES)]
    quantised = nncf.quantize(
        model,
        nncf.Dataset([{"tiles": tile[None]} for tile in tiles]),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(tiles),
        ignored_scope=nncf.IgnoredScope(names=floats, validate=False),
        advanced_parameters=AdvancedQuantizationParameters(
            # Half of the weights' range: CPUs without VNNI add pairs of products in
            # 16 bits, which would saturate.
            overflow_fix=OverflowFix.ENABLE,
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
"""What stays in float: the heads' small convolutions."""


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
        scale = (np.abs(weight).max(axis=0) / 127 + 1e-12).astype(np.float32)
        name = item.name
        values = np.rint(weight / scale).astype(np.int8)
        zeros = np.zeros(len(scale), np.int8)
        graph.initializer.remove(item)
        parts = [f"{name}.{part}" for part in ("int8", "scale", "zero")]
        for part, array in zip(parts, (values, scale, zeros), strict=True):
            graph.initializer.append(numpy_helper.from_array(array, part))
        added.append(helper.make_node("DequantizeLinear", parts, [name], axis=1))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


# Ops between HR's Sigmoid and its output that change no value.
SHAPE_ONLY = frozenset({"Flatten", "Identity", "Reshape", "Squeeze"})


def correct_logit(
    model: onnx.ModelProto,
    *,
    gain: float,
    offset: float,
    weight: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> onnx.ModelProto:
    """Return an HR graph whose logit is ``gain`` times it, with an offset and features.

    The features are centred first: what is left is small, so that the sum bears
    half-precision floats too.

    Raises:
        EngineError: its probability is not made by a Sigmoid.
    """
    model = onnx.load_from_string(model.SerializeToString())
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    last = maker = makers["probability"]
    while maker.op_type in SHAPE_ONLY and maker.input[0] in makers:
        maker = makers[maker.input[0]]
    if maker.op_type != "Sigmoid":
        raise EngineError(
            f"hr.onnx: its probability comes of {maker.op_type}, expected a Sigmoid; "
            "export the set again"
        )
    # A set may be corrected again, and names are unique.
    name = f"site{sum(item.name.endswith('.gain') for item in graph.initializer)}"
    _rename(graph, last, "probability", f"{name}.before")
    flat = np.array([-1], np.int64)
    for part, value in (
        ("gain", np.float32(gain)),
        ("offset", np.float32(offset)),
        ("weight", weight.astype(np.float32)[:, None]),
        ("centre", centre.astype(np.float32)),
        ("flat", flat),
    ):
        array = numpy_helper.from_array(np.asarray(value), f"{name}.{part}")
        graph.initializer.append(array)
    steps = (
        ("Reshape", maker.input[0], "flat", "logit"),
        ("Mul", ".logit", "gain", "scaled"),
        ("Sub", "features", "centre", "centred"),
        ("MatMul", ".centred", "weight", "column"),
        ("Reshape", ".column", "flat", "said"),
        ("Add", ".scaled", "offset", "moved"),
        ("Add", ".moved", "said", "corrected"),
    )
    for kind, given, other, made in steps:
        first = f"{name}{given}" if given.startswith(".") else given
        inputs = [first, f"{name}.{other}"]
        graph.node.append(helper.make_node(kind, inputs, [f"{name}.{made}"]))
    graph.node.append(
        helper.make_node("Sigmoid", [f"{name}.corrected"], ["probability"])
    )
    drop_dead(graph)
    drop_unused(graph)
    onnx.checker.check_model(model)
    return model


def _rename(
    graph: onnx.GraphProto, maker: onnx.NodeProto, name: str, other: str
) -> None:
    maker.output[list(maker.output).index(name)] = other
    for node in graph.node:
        for place, given in enumerate(node.input):
            if given == name:
                node.input[place] = other


def drop_dead(graph: onnx.GraphProto) -> None:
    """Remove nodes that nothing reads."""
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {output.name for output in graph.output}
        kept = [node for node in graph.node if read.intersection(node.output)]
        if len(kept) == len(graph.node):
            return
        del graph.node[:]
        graph.node.extend(kept)


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


# ---------------------------------------------------------------------------
# Golden inputs and outputs of a set: phantom pictures and what the fp32 graphs say.
#
# Drawn pictures only: no image of a data set enters the repository.

GOLDEN_SEEDS = (90210, 90211)
LR_TILE_PX, ROWS = 512, 30


def draw_golden() -> tuple[Pixels, Pixels, Pixels]:
    """Return 2 LR tiles, 4 HR tiles and the HR tiles of a slide's cells."""
    lr, cells = [], []
    for seed, stain in zip(GOLDEN_SEEDS, ("classic", "warm"), strict=True):
        side = 2 * LR_TILE_PX
        pixels, truth = paint_field(
            seed=seed, width_px=side, height_px=side, lesions=5, stain=stain
        )
        half = (LR_TILE_PX, LR_TILE_PX)
        lr.append(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA))
        order = np.argsort(~truth.lesion, kind="stable")
        for index in order[:17]:
            centre = (truth.x_um[index] / UM_PER_PX, truth.y_um[index] / UM_PER_PX)
            square = (HR_TILE_PX, HR_TILE_PX)
            cells.append(cv2.getRectSubPix(pixels, square, centre))
    tiles = np.stack(cells).astype(np.uint8)
    chosen = tiles[[0, 16, 17, len(tiles) - 1]]
    return np.stack(lr).astype(np.uint8), chosen, tiles


def golden_arrays(models: Mapping[str, onnx.ModelProto]) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``golden.npz``: inputs, and outputs of the fp32 graphs."""
    lr_tiles, hr_tiles, cells = draw_golden()
    slide = run_onnx(models["hr"], {"tiles": cells})
    order = np.argsort(-slide["probability"])
    features = np.zeros((2, ROWS, slide["features"].shape[1]), np.float32)
    full, short = order[:ROWS], order[len(order) // 2 :][:6]
    features[0, : len(full)] = slide["features"][full]
    features[1, : len(short)] = slide["features"][short]
    # Features keep three digits: they are inputs here, and the file stays small.
    features = features.astype(np.float16).astype(np.float32)
    given: dict[str, NDArray[Any]] = {
        "lr_tiles": lr_tiles,
        "hr_tiles": hr_tiles,
        "rnn_features": features,
    }
    said = {
        network: run_onnx(models[network], {name: given[array]})
        for network, (name, array) in INPUTS.items()
    }
    return given | {
        array: said[network][output] for array, (network, output) in OUTPUTS.items()
    }


# ---------------------------------------------------------------------------
# A network ready to ship, and how it is kept between the steps of ``train all``.

FIGURES = "figures.json"
"""Written last: without it there is no finished network."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The two graphs of a network and the figures of its calibration."""

    fp32: onnx.ModelProto
    shipped: onnx.ModelProto
    figures: Mapping[str, float]
    golden: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What its fp32 graph said, of a network that another set ships: there
    ``fp32`` is the shipped graph too."""


def keep_finished(folder: Path, done: Finished) -> None:
    """Write a finished network; its figures last, so that half a one has none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).unlink(missing_ok=True)
    write_whole(folder / "fp32.onnx", done.fp32.SerializeToString())
    write_whole(folder / "shipped.onnx", done.shipped.SerializeToString())
    (folder / GOLDEN_NAME).unlink(missing_ok=True)
    if done.golden:
        write_arrays(folder / GOLDEN_NAME, done.golden)
    write_whole(folder / FIGURES, json.dumps(dict(done.figures)).encode())


def is_finished(folder: Path, trained: Path) -> bool:
    """Whether the network of a checkpoint was finished there, and not an older one."""
    figures = folder / FIGURES
    return figures.exists() and figures.stat().st_mtime >= trained.stat().st_mtime


def read_finished(folder: Path) -> Finished:
    """Read a finished network.

    Raises:
        EngineError: it is not there.
    """
    try:
        figures = json.loads((folder / FIGURES).read_text("utf-8"))
        graphs = [onnx.load(folder / f"{name}.onnx") for name in ("fp32", "shipped")]
    except OSError as error:
        raise EngineError(
            f"{folder}: no finished network ({error.strerror}); run armicro train "
            "lr, hr and rnn first"
        ) from error
    taken = folder / GOLDEN_NAME
    golden = (
        read_arrays(taken.read_bytes(), MOST_GOLDEN_BYTES) if taken.exists() else {}
    )
    return Finished(graphs[0], graphs[1], figures, golden)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a compressed NPZ, in one step."""
    with written(path) as file:
        np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]
