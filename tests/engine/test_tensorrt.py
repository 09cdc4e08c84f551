import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from armicro.engine import Array
from armicro.engine.gpu import TensorRtEngine
from armicro.engine.manifest import Opening
from armicro.engine.plan import cache_folder, profiles_of
from armicro.engine.registry import open_set, read_set
from armicro.engine.tensorrt import build_set, missing, open_tensorrt, ready
from armicro.errors import EngineError
from tests.engine.standin_cuda import CudaError, Gpu, pycuda_module, runtime_module
from tests.engine.standin_tensorrt import tensorrt_module
from tests.engine.test_openvino import CROP, noise, with_quantiser


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A machine with a GPU, TensorRT 11 and cuda-python, and an empty cache."""
    made = Gpu()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    install(monkeypatch, "tensorrt", tensorrt_module(made))
    install(monkeypatch, "pycuda", None)
    install(monkeypatch, "cuda", ModuleType("cuda"))
    install(monkeypatch, "cuda.bindings", ModuleType("cuda.bindings"))
    install(monkeypatch, "cuda.bindings.runtime", runtime_module(made))
    return made


def install(monkeypatch: pytest.MonkeyPatch, name: str, module: Any) -> None:
    monkeypatch.setitem(sys.modules, name, module)


def silent(_: str) -> None:
    """Take no notice of progress."""


@pytest.fixture
def opening(tiny_set: Path) -> Opening:
    return read_set(tiny_set)


@pytest.fixture
def built(gpu: Gpu, opening: Opening) -> Opening:
    build_set(opening, force=False, progress=silent)
    return opening


@pytest.fixture
def hr(built: Opening) -> Iterator[TensorRtEngine]:
    engines = open_tensorrt(built)
    yield engines["hr"]
    for engine in engines.values():
        engine.close()


@pytest.fixture(scope="module")
def expected(tiny_set: Path) -> Iterator[Callable[[Array], dict[str, Array]]]:
    with open_set(tiny_set, backend="openvino") as networks:
        yield lambda tiles: networks.hr.infer({"tiles": tiles})


def same(said: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert set(said) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(said[name], values, atol=1e-5)


def test_without_tensorrt_there_is_a_reason_and_openvino_runs(
    tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules is how Python says "not installed".
    install(monkeypatch, "tensorrt", None)
    assert missing().startswith("TensorRT is not installed")
    with open_set(tiny_set) as networks:
        assert networks.backend == "openvino"
    with pytest.raises(EngineError, match="TensorRT is not installed"):
        open_set(tiny_set, backend="tensorrt")


@pytest.mark.parametrize("error", [ImportError("libnvinfer"), OSError("libnvinfer")])
def test_a_broken_installation_is_a_reason_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr(importlib, "import_module", broken)
    assert missing() == "TensorRT cannot be loaded: libnvinfer"


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1"])
def test_tensorrt_before_10_1_is_refused(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    install(monkeypatch, "tensorrt", tensorrt_module(gpu, version))
    assert missing() == f"TensorRT is {version}; expected 10.1 or later"


def test_a_machine_without_gpu_says_so(gpu: Gpu, opening: Opening) -> None:
    gpu.gpus = 0
    assert "no NVIDIA GPU can be used" in missing()
    assert "pycuda is not installed" in missing()
    assert not ready(opening)


def test_engines_are_built_once_and_kept_for_the_user_alone(
    gpu: Gpu, opening: Opening
) -> None:
    assert not ready(opening)
    with pytest.raises(EngineError, match="run `armicro engine build`"):
        open_tensorrt(opening)
    first = build_set(opening, force=False, progress=silent)
    again = build_set(opening, force=False, progress=silent)
    assert [plan.fresh for plan in first] == [True] * 3
    assert [plan.fresh for plan in again] == [False] * 3
    assert ready(opening)
    assert {p.path.stat().st_mode & 0o777 for p in first} == {0o600}
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    assert not list(cache_folder().glob("*.part"))
    forced = build_set(opening, force=True, progress=silent)
    assert [plan.fresh for plan in forced] == [True] * 3


def test_auto_takes_the_gpu_once_the_set_is_built_and_checks_it(
    gpu: Gpu, built: Opening, tiny_set: Path
) -> None:
    with open_set(tiny_set) as networks:
        assert networks.backend == "tensorrt"
        assert max(row.difference for row in networks.agreement) < 1e-4
    assert gpu.clean


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 40])
def test_any_batch_gives_each_samples_own_result(
    hr: TensorRtEngine, expected: Callable[[Array], dict[str, Array]], count: int
) -> None:
    tiles = noise(count, CROP)
    same(hr.infer({"tiles": tiles}), expected(tiles))


def test_graphs_are_captured_and_change_nothing(
    gpu: Gpu, hr: TensorRtEngine, expected: Callable[[Array], dict[str, Array]]
) -> None:
    for seed in range(4):
        tiles = noise(20, CROP, seed=seed)
        same(hr.infer({"tiles": tiles}), expected(tiles))
    # 20 are 16 in one lane and 4 in the other: a graph each, from the second time on.
    assert hr.graphs == 2
    assert gpu.launches == 6


def test_where_capture_fails_batches_run_without_a_graph(
    gpu: Gpu, hr: TensorRtEngine, expected: Callable[[Array], dict[str, Array]]
) -> None:
    sys.modules["tensorrt"].refuse_capture = True  # type: ignore[attr-defined]
    for seed in range(3):
        tiles = noise(4, CROP, seed=seed)
        same(hr.infer({"tiles": tiles}), expected(tiles))
    assert hr.graphs == 0
    assert "cudaStreamEndCapture" in gpu.calls
    assert gpu.capturing is None


def test_an_empty_batch_gives_empty_outputs(hr: TensorRtEngine) -> None:
    said = hr.infer({"tiles": noise(0, CROP)})
    assert said["features"].shape == (0, 2048)


def test_a_whole_field_has_a_profile_of_its_own(built: Opening, gpu: Gpu) -> None:
    lr = open_tensorrt(built)["lr"]
    field = np.full((1, 896, 1280, 3), 238, np.uint8)
    said = lr.infer({"tiles": field})
    assert said["probability"].shape == (1, 2, 3)
    assert said["location"].shape == (1, 28, 40)
    same(lr.infer({"tiles": field}), said)
    with pytest.raises(EngineError, match="not among the shapes"):
        lr.infer({"tiles": np.zeros((1, 4096, 4096, 3), np.uint8)})


def test_inputs_are_checked_before_the_gpu_sees_them(hr: TensorRtEngine) -> None:
    with pytest.raises(EngineError, match=r"expected uint8 \(n, 256, 256, 3\)"):
        hr.infer({"tiles": noise(1, (128, 128))})


def test_everything_is_given_back_and_closing_twice_is_fine(
    gpu: Gpu, built: Opening
) -> None:
    engines = open_tensorrt(built)
    engines["hr"].infer({"tiles": noise(3, CROP)})
    assert gpu.device
    for _ in range(2):
        for engine in engines.values():
            engine.close()
    assert gpu.clean
    with pytest.raises(EngineError, match="after it was closed"):
        engines["hr"].infer({"tiles": noise(1, CROP)})


CALLS = [
    "cudaMallocHost",
    "cudaMalloc",
    "cudaStreamCreateWithFlags",
    "cudaMemcpyAsync",
    "cudaStreamSynchronize",
]


@pytest.mark.parametrize("call", CALLS)
def test_every_failing_call_is_an_engine_error_and_the_next_batch_runs(
    gpu: Gpu,
    hr: TensorRtEngine,
    expected: Callable[[Array], dict[str, Array]],
    call: str,
) -> None:
    gpu.failing[call] = CudaError.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match=f"{call} failed: cudaErrorMemoryAllocation"):
        hr.infer({"tiles": noise(20, CROP)})
    gpu.failing.clear()
    tiles = noise(20, CROP)
    same(hr.infer({"tiles": tiles}), expected(tiles))


def test_a_failing_launch_is_an_engine_error(gpu: Gpu, hr: TensorRtEngine) -> None:
    for _ in range(2):
        hr.infer({"tiles": noise(1, CROP)})
    gpu.failing["cudaGraphLaunch"] = CudaError.cudaErrorInvalidValue
    with pytest.raises(EngineError, match="cudaGraphLaunch failed"):
        hr.infer({"tiles": noise(1, CROP)})


FLAGS = [
    ("10.3.0", "native", ["FP16"]),
    ("10.3.0", "bf16", ["BF16"]),
    ("10.3.0", "fp32", ["-TF32"]),
    ("11.4.0", "native", []),
    ("11.4.0", "fp32", ["-TF32"]),
]


@pytest.mark.parametrize(("version", "precision", "flags"), FLAGS)
def test_flags_are_those_that_the_version_has(
    gpu: Gpu,
    tiny_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    precision: str,
    flags: list[str],
) -> None:
    module: Any = tensorrt_module(gpu, version)
    install(monkeypatch, "tensorrt", module)
    opening = read_set(tiny_set, precision=precision)
    build_set(opening, force=False, progress=silent)
    assert module.flags_set == flags * 3


def test_bf16_is_refused_where_types_come_from_the_file(
    gpu: Gpu, tiny_set: Path
) -> None:
    opening = read_set(tiny_set, precision="bf16")
    with pytest.raises(EngineError, match="'bf16' is not one of TensorRT 11"):
        build_set(opening, force=False, progress=silent)


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_quantised_files_get_the_int8_flag_where_there_is_one(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, version: str, opening: Opening
) -> None:
    module: Any = tensorrt_module(gpu, version)
    install(monkeypatch, "tensorrt", module)
    files = dict(opening.contents)
    files["rnn.onnx"] = with_quantiser(files["rnn.onnx"], steps=127)
    quantised = dataclasses.replace(opening, contents=files)
    build_set(quantised, force=False, progress=silent)
    assert module.flags_set.count("INT8") == (1 if version.startswith("10") else 0)


def test_an_onnx_that_tensorrt_cannot_read_says_what_the_parser_said(
    gpu: Gpu, opening: Opening
) -> None:
    broken = dict(opening.contents) | {"lr.onnx": b"\xff\xff"}
    with pytest.raises(EngineError, match="Unsupported operator: Magic"):
        build_set(
            dataclasses.replace(opening, contents=broken), force=False, progress=silent
        )
    assert not list(cache_folder().glob("lr*"))


def test_a_damaged_engine_is_refused(gpu: Gpu, built: Opening) -> None:
    path = next(cache_folder().glob("hr-*.plan"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EngineError, match="is damaged"):
        open_tensorrt(built)
    assert gpu.clean


@pytest.mark.parametrize("what", ["file", "folder"])
def test_an_engine_that_others_could_have_written_is_refused(
    gpu: Gpu, built: Opening, what: str
) -> None:
    path = next(cache_folder().glob("hr-*.plan"))
    (path if what == "file" else path.parent).chmod(0o777)
    with pytest.raises(EngineError, match="can be written by somebody else"):
        open_tensorrt(built)


def test_another_gpu_version_or_network_never_gets_the_same_engine(
    gpu: Gpu, built: Opening, tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ready(built)
    assert not ready(read_set(tiny_set, precision="fp32"))
    gpu.name = "Standin 5000"
    assert not ready(built)
    gpu.name = "Standin 4000"
    install(monkeypatch, "tensorrt", tensorrt_module(gpu, "11.5.0"))
    assert not ready(built)


def test_profiles_hold_tiles_batches_and_whole_fields(opening: Opening) -> None:
    profiles = profiles_of(opening)
    assert profiles["lr"][0].most == (8, 512, 512, 3)
    assert profiles["lr"][1].usual == (1, 1280, 1280, 3)
    assert profiles["rnn"][0].least == (1, 30, 2048)
    assert profiles["hr"][0].takes((256, 256, 3))
    assert not profiles["hr"][0].takes((512, 512, 3))


def test_pycuda_is_taken_where_it_is_and_runs_without_graphs(
    gpu: Gpu,
    built: Opening,
    expected: Callable[[Array], dict[str, Array]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "pycuda", ModuleType("pycuda"))
    install(monkeypatch, "pycuda.driver", pycuda_module(gpu))
    gpu.calls.clear()
    hr = open_tensorrt(built)["hr"]
    for seed in range(3):
        tiles = noise(20, CROP, seed=seed)
        same(hr.infer({"tiles": tiles}), expected(tiles))
    assert hr.graphs == 0
    assert gpu.calls == []
    hr.close()
    hr.close()
    assert not gpu.device
