import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from armicro.train.export import (
    export_onnx,
    fold_weights,
    quantise,
    quantised_values,
    run_onnx,
    store_weights_int8,
)
from armicro.train.networks import HighResolution, LowResolution, SlideRnn


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_the_hr_graph_says_what_torch_says_at_any_batch() -> None:
    torch.manual_seed(0)
    network = HighResolution("resnet18").eval()
    model = export_onnx(network)
    tiles = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8)
    outputs = run_onnx(model, {"tiles": tiles})
    with torch.no_grad():
        probability, features = network(torch.from_numpy(tiles))
    np.testing.assert_allclose(outputs["probability"], probability, atol=1e-5)
    np.testing.assert_allclose(outputs["features"], features, atol=1e-3)
    assert features.shape == (3, 2048)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_the_lr_graph_takes_tiles_and_fields() -> None:
    model = export_onnx(LowResolution("resnet18").eval())
    for side, windows in ((512, 1), (896, 2)):
        tiles = np.zeros((1, side, side, 3), np.uint8)
        outputs = run_onnx(model, {"tiles": tiles})
        assert outputs["probability"].shape == (1, windows, windows)
        assert outputs["location"].shape == (1, side // 32, side // 32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_int8_weights_of_the_rnn_change_scores_little_and_the_file_much() -> None:
    torch.manual_seed(0)
    network = SlideRnn().eval()
    features = np.random.default_rng(0).random((2, 30, 2048)).astype(np.float32)
    model = export_onnx(network)
    size = model.ByteSize()
    before = run_onnx(model, {"features": features})["scores"]
    small = store_weights_int8(model)
    after = run_onnx(small, {"features": features})["scores"]
    assert small.ByteSize() < size / 3.5
    np.testing.assert_allclose(before, after, atol=0.02)


def test_folding_leaves_no_float_weight_and_the_same_result() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
    scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
    zero = np.zeros(4, np.int8)
    make = onnx.helper.make_node
    float_type = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            make("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
            make("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0),
            make("Conv", ["x", "d"], ["y"]),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("x", float_type, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", float_type, [1, 4, 8, 8])],
        [
            numpy_helper.from_array(array, name)
            for name, array in (("w", weight), ("s", scale), ("z", zero))
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    inputs = {"x": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}
    before = run_onnx(model, inputs)["y"]
    folded = fold_weights(model)
    assert [n.op_type for n in folded.graph.node] == ["DequantizeLinear", "Conv"]
    assert "w" not in {item.name for item in folded.graph.initializer}
    np.testing.assert_allclose(run_onnx(folded, inputs)["y"], before, atol=1e-6)


def test_quantised_values_saturate() -> None:
    values = quantised_values(
        np.array([[300.0, -300.0]]), np.array(1.0), np.array(0, np.int8), 0
    )
    assert values.tolist() == [[127, -128]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_int8_has_signed_symmetric_activations_and_says_nearly_the_same() -> None:
    torch.manual_seed(3)
    exact = export_onnx(HighResolution("resnet18").eval())
    rng = np.random.default_rng(3)
    tiles = [
        np.repeat(np.repeat(rng.integers(0, 256, (32, 32, 3), np.uint8), 8, 0), 8, 1)
        for _ in range(4)
    ]
    coarse = quantise(exact, tiles)
    constants = {
        one.name: numpy_helper.to_array(one) for one in coarse.graph.initializer
    }
    pairs = [node for node in coarse.graph.node if node.op_type == "QuantizeLinear"]
    assert len(pairs) > 15
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    head = [node for node in coarse.graph.node if node.name.startswith("/head/")]
    assert all("DequantizeLinear" not in node.op_type for node in head)
    batch = {"tiles": np.stack(tiles)}
    one, other = run_onnx(exact, batch), run_onnx(coarse, batch)
    scale = np.abs(one["features"]).mean()
    assert np.abs(one["features"] - other["features"]).mean() < 0.15 * scale
    assert np.abs(one["probability"] - other["probability"]).max() < 0.05
