from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from armicro.errors import EngineError
from armicro.train.finished import Finished, keep_finished, keep_lr, read_finished
from armicro.train.manifest import read_version, write_manifest


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


def test_a_network_that_is_not_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="with rnn first"):
        read_finished(tmp_path / "hr")


def test_a_kept_lr_brings_its_figures_and_its_golden_outputs(tmp_path: Path) -> None:
    (tmp_path / "lr.onnx").write_bytes(one_node().SerializeToString())
    tiles, features = np.arange(3), np.arange(4)
    np.savez(tmp_path / "golden.npz", lr_tiles=tiles, hr_features=features)
    tables: dict[str, dict[str, Any]] = {
        "lr": {"peak_threshold": 0.2, "whole_field_max_difference": 0.7},
        "metrics": {"lr_peak_recall": 0.9, "hr_offset": 1.0, "lr_x": {"a": 1}},
    }
    files = ["lr.onnx", "golden.npz"]
    write_manifest(tmp_path, name="set", files=files, tables=tables, version=3)
    done, golden = keep_lr(tmp_path)
    assert done.figures == {
        "lr_peak_recall": 0.9,
        "peak_threshold": 0.2,
        "whole_max": 0.7,
    }
    assert list(golden) == ["lr_tiles"]
    assert read_version(tmp_path) == 3
