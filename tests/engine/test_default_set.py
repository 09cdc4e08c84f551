"""The set that the project ships, wherever it is found."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from armicro.command.engine_check import check_set
from armicro.engine.registry import DEFAULT_SET, find_set, open_set
from armicro.errors import EngineError

MOST_BYTES = 60_000_000


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return find_set(DEFAULT_SET)
    except EngineError as error:
        pytest.skip(str(error))


def graph_of(folder: Path, network: str) -> onnx.GraphProto:
    return onnx.load(str(folder / f"{network}.onnx")).graph


def test_the_default_set_says_what_its_reference_said(folder: Path) -> None:
    with open_set(folder) as networks:
        assert networks.manifest.name == DEFAULT_SET
        assert all(row.holds for row in networks.agreement)
        nothing = np.zeros((1, *networks.rnn_shape), np.float32)
        assert networks.rnn.infer({"features": nothing})["scores"].shape == (1, 6)


def test_the_default_set_finds_its_reference_s_candidates(folder: Path) -> None:
    check = check_set(folder, backend="openvino", precision="native")
    assert check.holds, str(check)


def test_the_default_set_fits_into_a_repository(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES


@pytest.mark.parametrize("network", ["lr", "hr"])
def test_its_pixels_meet_a_cast_first_as_tensorrt_wants(
    folder: Path, network: str
) -> None:
    graph = graph_of(folder, network)
    tiles = graph.input[0]
    assert tiles.type.tensor_type.elem_type == TensorProto.UINT8
    readers = [node.op_type for node in graph.node if tiles.name in node.input]
    assert readers == ["Cast"]


@pytest.mark.parametrize("network", ["lr", "hr", "rnn"])
def test_its_quantisers_are_symmetric_as_tensorrt_wants(
    folder: Path, network: str
) -> None:
    graph = graph_of(folder, network)
    constants = {item.name: item for item in graph.initializer}
    for node in graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            zero = numpy_helper.to_array(constants[node.input[2]])
            assert zero.dtype == np.int8
            assert not zero.any()
