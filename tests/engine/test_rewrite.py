"""Graphs rewritten for OpenVINO: the same result, computed in integers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from armicro.engine.openvino import pool_before_strides
from armicro.engine.registry import DEFAULT_SET, find_set
from armicro.errors import EngineError

FLOAT_PARTS = ("/head/", "/location/out")
"""Small and left in float on purpose (``train.export``)."""


def quantised_fork() -> bytes:
    """A quantised picture read by a 1x1 convolution a stride, 1, 2 and 2."""
    rng = np.random.default_rng(3)
    scale, zero = np.float32(0.05), np.int8(0)
    constants: dict[str, NDArray[Any]] = {
        "scale": np.asarray(scale),
        "zero": np.asarray(zero),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
    ]
    strides = {"one": 1, "two": 2, "three": 2}
    for name, stride in strides.items():
        constants[f"w_{name}"] = rng.normal(0, 1, (4, 8, 1, 1)).astype(np.float32)
        nodes.append(
            helper.make_node(
                "Conv", ["dq", f"w_{name}"], [name], name=name, strides=[stride] * 2
            )
        )
    graph = helper.make_graph(
        nodes,
        "fork",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 9, 9])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in strides
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return bytes(model.SerializeToString())


def strides_of(model: openvino.Model) -> dict[str, list[int]]:
    return {
        node.get_friendly_name().split("/")[0]: list(node.get_attributes()["strides"])
        for node in model.get_ops()
        if node.get_type_name() == "Convolution"
    }


def test_a_pool_takes_the_step_of_a_1x1_convolution_and_the_result_stays() -> None:
    core = openvino.Core()
    picture = np.random.default_rng(5).normal(0, 2, (1, 8, 9, 9)).astype(np.float32)
    plain = core.read_model(quantised_fork())
    pooled = plain.clone()
    pool_before_strides(pooled)
    assert strides_of(plain) == {"one": [1, 1], "two": [2, 2], "three": [2, 2]}
    assert set(map(tuple, strides_of(pooled).values())) == {(1, 1)}
    kinds = [node.get_type_name() for node in pooled.get_ops()]
    assert kinds.count("MaxPool") == 1
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    said = [
        core.compile_model(model, "CPU", hint)(picture).to_dict().values()
        for model in (plain, pooled)
    ]
    for one, other in zip(*said, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(other, one, atol=1e-4)


@pytest.mark.parametrize(("network", "side"), [("lr", 512), ("hr", 256)])
def test_the_default_set_s_convolutions_run_in_integers(
    network: str, side: int
) -> None:
    try:
        folder: Path = find_set(DEFAULT_SET)
    except EngineError as error:
        pytest.skip(str(error))
    if "DequantizeLinear" not in {
        node.op_type for node in onnx.load(folder / f"{network}.onnx").graph.node
    }:
        pytest.skip("the default set is not INT8")
    core = openvino.Core()
    model = core.read_model(folder / f"{network}.onnx")
    pool_before_strides(model)
    model.reshape([1, side, side, 3])
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", hint).get_runtime_model()
    float_ones = []
    for node in compiled.get_ops():
        facts = {key: str(value.astype(str)) for key, value in node.rt_info.items()}
        is_float = facts["runtimePrecision"] not in ("u8", "i8")
        if facts["layerType"] == "Convolution" and is_float:
            float_ones.append(node.get_friendly_name())
    assert [name for name in float_ones if not name.startswith(FLOAT_PARTS)] == []
