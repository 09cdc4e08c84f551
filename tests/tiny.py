"""A network set made by hand: the right shapes, no training, and it means something.

The "lesion" that it knows is what the drawn slides have: a nucleus much larger and
darker than its neighbours. Darkness (of the lighter of red and green, so that coloured
cytoplasm does not count) is averaged over a large nucleus, less its wider surround. So
the processes, the pipeline and the slide's score can be tested on phantoms for true
findings, in milliseconds a tile, without the trained set.
"""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from armicro.engine import Array
from armicro.engine.manifest import GOLDEN_NAME, MANIFEST_NAME, sha256_of

LR_EVEN = 0.29
HR_EVEN = 0.32
"""Darkness above the surround that is even odds: LR looks for all, HR is strict. In the
drawn slides of every stain lesions have 0.29 to 0.56, most other nuclei below 0.3."""
SLOPE = 40.0
FEATURES = 2048
MANIFEST = """\
name = "tiny"
version = "1"
created = "2026-01-01"
description = "Hand-made networks for tests: large dark nuclei on bright ground."

[lr]
um_per_px = 0.486
tile_px = 512
overlap = 0.25
gate = 0.5
peak_threshold = 0.5
normalisation = "none: uint8 RGB / 255 in the graph"
precision = "fp32"

[hr]
um_per_px = 0.243
tile_px = 256

[rnn]
top = [10, 20, 30]

[tolerance]
lr_probability = 0.02
lr_location = 0.02
hr_probability = 0.02
hr_features = 0.02
rnn_scores = 0.02

[metrics]
none = "made by hand"
"""


class Graph:
    """Collects nodes and weights of one ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node; return its output's name."""
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def const(self, value: object, dtype: type = np.float32) -> str:
        """Append a weight; return its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def model(
        self, source: onnx.ValueInfoProto, sinks: dict[str, list[str | int]]
    ) -> bytes:
        """Return the checked model file."""
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in sinks.items()
        ]
        graph = helper.make_graph(self.nodes, "tiny", [source], outputs, self.weights)
        opset = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def contrast(graph: Graph, *, pool_px: int) -> str:
    """Darkness over 13 µm less that over 37 µm, (n, 1, h, w) at 1.944 µm a pixel."""
    floats = graph.op("Cast", "tiles", to=TensorProto.FLOAT)
    planes = graph.op("Transpose", floats, perm=[0, 3, 1, 2])
    planes = graph.op("Div", planes, graph.const(255.0))
    red, green, _ = (
        graph.op(
            "Slice",
            planes,
            graph.const([i], np.int64),
            graph.const([i + 1], np.int64),
            graph.const([1], np.int64),
        )
        for i in range(3)
    )
    dark = graph.op("Sub", graph.const(1.0), graph.op("Max", red, green))
    dark = average(graph, dark, pool_px, stride=pool_px)
    return graph.op("Sub", average(graph, dark, 7), average(graph, dark, 19))


def average(graph: Graph, x: str, side: int, *, stride: int = 1) -> str:
    """Mean over a square: padded at stride 1, else one square a cell."""
    edge = side // 2 if stride == 1 else 0
    for down, across in ((1, 0), (0, 1)):  # a row, then a column: far less work
        x = graph.op(
            "AveragePool",
            x,
            kernel_shape=[side if down else 1, side if across else 1],
            strides=[stride if down else 1, stride if across else 1],
            pads=[edge * down, edge * across] * 2,
            count_include_pad=0,
        )
    return x


def probability_of(graph: Graph, excess: str, even: float) -> str:
    """Sigmoid of the contrast around even odds."""
    logit = graph.op("Sub", excess, graph.const(even))
    return graph.op("Sigmoid", graph.op("Mul", logit, graph.const(SLOPE)))


def lr_model() -> bytes:
    """LR: a map of cells of 32 px, and its maximum over each tile."""
    graph = Graph()
    heat = probability_of(graph, contrast(graph, pool_px=4), LR_EVEN)
    cells = graph.op("MaxPool", heat, kernel_shape=[8, 8], strides=[8, 8])
    tiles = graph.op("MaxPool", cells, kernel_shape=[16, 16], strides=[12, 12])
    axis = graph.const([1], np.int64)
    graph.op("Squeeze", cells, axis, name="location")
    graph.op("Squeeze", tiles, axis, name="probability")
    source = helper.make_tensor_value_info(
        "tiles", TensorProto.UINT8, ["n", "h", "w", 3]
    )
    sinks: dict[str, list[str | int]] = {
        "probability": ["n", "rows", "cols"],
        "location": ["n", "y", "x"],
    }
    return graph.model(source, sinks)


def hr_model() -> bytes:
    """HR: the contrast at the centre; features are it and a fixed projection."""
    graph = Graph()
    excess = contrast(graph, pool_px=8)
    starts, ends, axes = (
        graph.const(v, np.int64) for v in ([11, 11], [21, 21], [2, 3])
    )
    centre = graph.op("Slice", excess, starts, ends, axes)
    peak = graph.op("ReduceMax", centre, axes, keepdims=1)
    flat = graph.const([0, -1], np.int64)
    probability = graph.op("Reshape", probability_of(graph, peak, HR_EVEN), flat)
    graph.op("Reshape", probability, graph.const([-1], np.int64), name="probability")
    coarse = graph.op("Reshape", average(graph, excess, 4, stride=4), flat)
    rest = graph.op("Relu", graph.op("MatMul", coarse, graph.const(projection())))
    graph.op("Concat", probability, rest, name="features", axis=1)
    source = helper.make_tensor_value_info(
        "tiles", TensorProto.UINT8, ["n", 256, 256, 3]
    )
    sinks: dict[str, list[str | int]] = {
        "probability": ["n"],
        "features": ["n", FEATURES],
    }
    return graph.model(source, sinks)


def rnn_model() -> bytes:
    """Slide: rises with the first feature of the findings, the first ones most."""
    graph = Graph()
    first = np.zeros((FEATURES, 1))
    first[0] = 1.0
    suspicion = graph.op("MatMul", "features", graph.const(first))
    row = graph.op("Reshape", suspicion, graph.const([0, -1], np.int64))
    logit = graph.op("MatMul", row, graph.const(rnn_weight()))
    logit = graph.op("Sub", logit, graph.const(4.0))
    graph.op("Sigmoid", logit, name="scores")
    source = helper.make_tensor_value_info(
        "features", TensorProto.FLOAT, ["n", 30, FEATURES]
    )
    return graph.model(source, {"scores": ["n", 6]})


def draw_nuclei(
    side_px: int, nuclei: list[tuple[float, float, float]], *, um_per_px: float
) -> NDArray[np.uint8]:
    """Draw purple discs (x, y, diameter in µm) on bright ground: (side, side, 3)."""
    picture = np.full((side_px, side_px, 3), (236, 238, 240), np.uint8)
    for x_um, y_um, diameter_um in nuclei:
        centre = round(x_um / um_per_px), round(y_um / um_per_px)
        radius = round(diameter_um / 2 / um_per_px)
        cv2.circle(picture, centre, radius, (62, 48, 96), -1, cv2.LINE_AA)
    return picture


def golden_inputs() -> dict[str, Array]:
    """Return one tile with a large nucleus, one with small ones; crops alike."""
    small = [(60.0, 70.0, 6.5), (150.0, 120.0, 7.0), (200.0, 40.0, 6.0)]
    large = [*small, (171.0, 93.0, 15.0)]
    crops = [[(31.1, 31.1, d)] for d in (16.0, 11.0, 6.5, 0.0)]
    features = np.zeros((2, 30, FEATURES), np.float32)
    features[0, :6, 0] = (0.99, 0.97, 0.9, 0.8, 0.6, 0.2)
    features[1, :, 0] = 0.01
    return {
        "lr_tiles": np.stack(
            [draw_nuclei(512, nuclei, um_per_px=0.486) for nuclei in (large, small)]
        ),
        "hr_tiles": np.stack([draw_nuclei(256, c, um_per_px=0.243) for c in crops]),
        "rnn_features": features,
    }


def reference_outputs(inputs: dict[str, Array]) -> dict[str, Array]:
    """Outputs by NumPy and OpenCV, which share no code with any backend."""
    lr = [sigmoid(excess_of(tile, 4), LR_EVEN) for tile in inputs["lr_tiles"]]
    cells = np.stack([heat.reshape(16, 8, 16, 8).max((1, 3)) for heat in lr])
    hr = np.stack([excess_of(tile, 8) for tile in inputs["hr_tiles"]])
    probability = sigmoid(hr[:, 11:21, 11:21].max((1, 2)), HR_EVEN)
    coarse = hr.reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(-1, 64)
    rest = np.maximum(coarse @ projection(), 0)
    rows = inputs["rnn_features"][:, :, 0]
    return {
        "lr_probability": cells.max((1, 2))[:, None, None],
        "lr_location": cells,
        "hr_probability": probability,
        "hr_features": np.concatenate([probability[:, None], rest], 1),
        "rnn_scores": 1 / (1 + np.exp(4.0 - rows @ rnn_weight())),
    }


def sigmoid(excess: Array, even: float) -> Array:
    """Probability of a contrast."""
    return np.asarray(1 / (1 + np.exp(-SLOPE * (excess - even))))


def excess_of(tile: Array, pool_px: int) -> Array:
    """``contrast`` of one tile (side, side, 3), once more without a network."""
    dark = 1 - tile[..., :2].max(2).astype(np.float32) / 255
    cells = len(dark) // pool_px
    dark = dark.reshape(cells, pool_px, cells, pool_px).mean((1, 3))
    return mean_over(dark, 7) - mean_over(dark, 19)


def mean_over(x: Array, side: int) -> Array:
    """Mean of what of a square lies inside the picture."""
    total, count = (
        cv2.boxFilter(y, -1, (side, side), normalize=False, borderType=0)
        for y in (x, np.ones_like(x))
    )
    return np.asarray(total / count)


def projection() -> Array:
    """(64, 2047), fixed: the HR features but the first, of an 8x8 map of contrast."""
    rng = np.random.default_rng(2021)
    return rng.normal(0, 1, (64, FEATURES - 1)).astype(np.float32)


def rnn_weight() -> Array:
    """(30, 6): five sure findings are enough for a high score."""
    weight = np.zeros((30, 6), np.float32)
    for column, top in enumerate((10, 10, 20, 20, 30, 30)):
        falling = 1.0 / (1 + np.arange(top)) if column % 2 else np.ones(top)
        weight[:top, column] = 8 * falling / falling[:5].sum()
    return weight


def write_tiny_set(folder: Path) -> Path:
    """Write the set into ``folder / "tiny"``; return that folder."""
    root = folder / "tiny"
    root.mkdir(parents=True, exist_ok=True)
    models = {"lr": lr_model(), "hr": hr_model(), "rnn": rnn_model()}
    inputs = golden_inputs()
    buffer = io.BytesIO()
    golden = inputs | reference_outputs(inputs)
    np.savez_compressed(buffer, allow_pickle=False, **golden)
    files = {f"{name}.onnx": data for name, data in models.items()}
    files[GOLDEN_NAME] = buffer.getvalue()
    write_manifest(root, MANIFEST, files)
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


def write_manifest(root: Path, text: str, files: dict[str, bytes]) -> None:
    """Write a manifest with the digests of its files."""
    lines = [f'"{name}" = "{sha256_of(data)}"' for name, data in files.items()]
    listed = "\n".join(["[files]", *lines, ""])
    (root / MANIFEST_NAME).write_text(f"{text}\n{listed}", "utf-8")
