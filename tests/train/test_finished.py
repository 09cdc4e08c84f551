import os
from pathlib import Path

import onnx
import pytest

from armicro.errors import EngineError
from armicro.train.export import Finished, is_finished, keep_finished, read_finished


def one_node() -> onnx.ModelProto:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [out]))


def test_a_finished_network_comes_back(tmp_path: Path) -> None:
    graph = one_node()
    keep_finished(tmp_path / "hr", Finished(graph, graph, {"hr_offset": -0.5}))
    back = read_finished(tmp_path / "hr")
    assert back.fp32 == graph
    assert back.figures == {"hr_offset": -0.5}


def test_a_network_that_was_trained_on_since_is_not_finished(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"")
    assert not is_finished(tmp_path / "lr", checkpoint)
    keep_finished(tmp_path / "lr", Finished(one_node(), one_node(), {}))
    assert is_finished(tmp_path / "lr", checkpoint)
    later = (tmp_path / "lr" / "figures.json").stat().st_mtime + 60
    os.utime(checkpoint, (later, later))
    assert not is_finished(tmp_path / "lr", checkpoint)


def test_a_network_that_is_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="lr, hr and rnn first"):
        read_finished(tmp_path / "hr")
