from pathlib import Path

import numpy as np
import onnx
import pytest

from armicro.engine import Array
from armicro.engine.openvino import OpenVinoEngine, Placement, place, usable_cores
from armicro.errors import EngineError

TILE = (512, 512, 3)
CROP = (256, 256, 3)


def open_network(
    folder: Path,
    name: str,
    *,
    precision: str = "native",
    batched: tuple[int, ...] = (),
    lanes: int = 2,
) -> OpenVinoEngine:
    return OpenVinoEngine(
        name,
        (folder / f"{name}.onnx").read_bytes(),
        precision=precision,
        placement=Placement(threads=lanes, lanes=lanes),
        batched=batched,
    )


def noise(count: int, shape: tuple[int, ...], seed: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, shape[0] // 16, shape[1] // 16, 3))
    return np.repeat(np.repeat(coarse, 16, 1), 16, 2).astype(np.uint8)


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize(("name", "shape"), [("lr", TILE), ("hr", CROP)])
def test_a_samples_result_is_the_same_to_the_bit_in_any_batch(
    tiny_set: Path, name: str, shape: tuple[int, ...], lanes: int
) -> None:
    engine = open_network(tiny_set, name, batched=shape, lanes=lanes)
    tiles = noise(5, shape)
    together = engine.infer({"tiles": tiles})
    assert len(np.unique(together["probability"])) > 1
    for part in (slice(0, 1), slice(1, 3), slice(4, None), slice(None, None, -1)):
        alone = engine.infer({"tiles": tiles[part]})
        for output, values in together.items():
            np.testing.assert_array_equal(alone[output], values[part])


def test_outputs_have_the_contracts_names_shapes_and_types(tiny_set: Path) -> None:
    shapes = {
        "lr": {"probability": (2, 1, 1), "location": (2, 16, 16)},
        "hr": {"probability": (2,), "features": (2, 2048)},
        "rnn": {"scores": (2, 6)},
    }
    inputs = {
        "lr": {"tiles": noise(2, TILE)},
        "hr": {"tiles": noise(2, CROP)},
        "rnn": {"features": np.zeros((2, 30, 2048), np.float32)},
    }
    for name, wanted in shapes.items():
        said = open_network(tiny_set, name).infer(inputs[name])
        assert {k: v.shape for k, v in said.items()} == wanted
        assert {v.dtype for v in said.values()} == {np.dtype(np.float32)}


def test_an_empty_batch_gives_empty_outputs(tiny_set: Path) -> None:
    said = open_network(tiny_set, "hr").infer({"tiles": noise(0, CROP)})
    assert said["probability"].shape == (0,)
    assert said["features"].shape == (0, 2048)


def test_a_whole_field_gives_a_probability_for_each_tile_of_it(tiny_set: Path) -> None:
    engine = open_network(tiny_set, "lr", batched=TILE)
    field = np.full((1, 512, 896, 3), 238, np.uint8)
    field[0, 240:280, 700:732] = (60, 50, 90)  # a large nucleus in the right tile
    said = engine.infer({"tiles": field})
    assert said["probability"].shape == (1, 1, 2)
    assert said["location"].shape == (1, 16, 28)
    assert said["probability"][0, 0, 1] > 0.9 > 0.1 > said["probability"][0, 0, 0]
    right = engine.infer({"tiles": field[:, :, 384:]})
    assert right["probability"][0, 0, 0] == pytest.approx(
        said["probability"][0, 0, 1], abs=1e-3
    )


def test_results_are_the_callers_own(tiny_set: Path) -> None:
    engine = open_network(tiny_set, "hr")
    first = engine.infer({"tiles": noise(2, CROP)})["features"]
    kept = first.copy()
    engine.infer({"tiles": noise(2, CROP, seed=2)})
    np.testing.assert_array_equal(first, kept)


def test_tiles_that_do_not_lie_in_one_piece_are_taken(tiny_set: Path) -> None:
    engine = open_network(tiny_set, "hr")
    wide = noise(2, (512, 512))
    said = engine.infer({"tiles": wide[:, ::2, ::2]})
    same = engine.infer({"tiles": np.ascontiguousarray(wide[:, ::2, ::2])})
    np.testing.assert_array_equal(said["features"], same["features"])


REFUSED: dict[str, tuple[dict[str, Array], str]] = {
    "another name": ({"images": noise(1, CROP)}, r"expected \['tiles'\]"),
    "floats": ({"tiles": noise(1, CROP).astype(np.float32)}, "float32"),
    "another size": ({"tiles": noise(1, (128, 128))}, r"\(n, 256, 256, 3\)"),
    "no batch": ({"tiles": noise(1, CROP)[0]}, r"expected uint8 \(n"),
    "a number": ({"tiles": np.full((), 3, np.uint8)}, "expected uint8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_input_that_is_not_the_networks_is_refused(
    tiny_set: Path, case: str
) -> None:
    inputs, said = REFUSED[case]
    with pytest.raises(EngineError, match=said):
        open_network(tiny_set, "hr").infer(inputs)


def test_a_field_too_small_for_a_tile_is_an_engine_error(tiny_set: Path) -> None:
    with pytest.raises(EngineError, match=r"lr: OpenVINO failed"):
        open_network(tiny_set, "lr").infer({"tiles": noise(1, (128, 128))})


def test_a_file_that_is_no_network_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match=r"lr: OpenVINO .* cannot read it"):
        OpenVinoEngine("lr", b"no", precision="native", placement=Placement(1, 1))


def test_an_unknown_precision_is_refused(tiny_set: Path) -> None:
    with pytest.raises(EngineError, match="native, bf16, fp32"):
        open_network(tiny_set, "hr", precision="int4")


def test_fp32_takes_the_activation_quantisers_out_and_native_keeps_them(
    tiny_set: Path,
) -> None:
    exact = (tiny_set / "rnn.onnx").read_bytes()
    coarse = with_quantiser(exact, steps=8)
    features = np.zeros((1, 30, 2048), np.float32)
    features[0, :4, 0] = 0.6
    said = {
        (name, precision): OpenVinoEngine(
            "rnn", model, precision=precision, placement=Placement(1, 1)
        ).infer({"features": features})["scores"]
        for name, model in (("exact", exact), ("coarse", coarse))
        for precision in ("native", "fp32")
    }
    steps = said["coarse", "native"] * 8
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)
    assert np.abs(said["coarse", "native"] - said["exact", "native"]).max() > 0.01
    np.testing.assert_allclose(
        said["coarse", "fp32"], said["exact", "native"], atol=1e-5
    )


def with_quantiser(model: bytes, *, steps: int) -> bytes:
    """Put a Q/DQ pair of so many steps up to 1 behind the scores."""
    made = onnx.load_model_from_string(model)
    graph = made.graph
    graph.node[-1].output[0] = "exact"
    pair = [("QuantizeLinear", "exact", "q"), ("DequantizeLinear", "q", "scores")]
    for kind, source, sink in pair:
        graph.node.append(onnx.helper.make_node(kind, [source, "s", "z"], [sink]))
    for name, value in (("s", np.float32(1 / steps)), ("z", np.int8(0))):
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return bytes(made.SerializeToString())


def test_a_closed_engine_says_so_and_closes_twice(tiny_set: Path) -> None:
    engine = open_network(tiny_set, "hr")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="after it was closed"):
        engine.infer({"tiles": noise(1, CROP)})


PLACEMENTS = [
    ({"threads": 0, "latency": False, "cores": 1}, Placement(1, 1)),
    ({"threads": 0, "latency": True, "cores": 1}, Placement(1, 1)),
    ({"threads": 0, "latency": False, "cores": 2}, Placement(2, 1)),
    ({"threads": 0, "latency": True, "cores": 8}, Placement(7, 3)),
    ({"threads": 3, "latency": True, "cores": 8}, Placement(3, 1)),
    ({"threads": 0, "latency": False, "cores": 64}, Placement(64, 4)),
]


@pytest.mark.parametrize(("asked", "given"), PLACEMENTS)
def test_threads_leave_a_core_in_live_and_share_the_rest(
    asked: dict[str, int], given: Placement
) -> None:
    assert (
        place(
            threads=asked["threads"],
            latency=bool(asked["latency"]),
            cores=asked["cores"],
        )
        == given
    )


def test_there_is_at_least_one_usable_core() -> None:
    assert usable_cores() >= 1
