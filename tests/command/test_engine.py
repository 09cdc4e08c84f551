import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from armicro.__main__ import main
from armicro.engine.registry import SEARCH_PATH
from tests.engine.test_registry import rewrite
from tests.tiny import MANIFEST


@pytest.fixture(autouse=True)
def named(tiny_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEARCH_PATH, str(tiny_set.parent))
    # A machine without TensorRT, also where it is installed.
    monkeypatch.setitem(sys.modules, "tensorrt", None)


@pytest.fixture
def set_copy(tiny_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_set, tmp_path / "tiny"))


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_list_names_the_sets_and_what_the_gpu_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["engine", "list", "--json"]) == 0
    result = said(capsys)
    tiny = next(row for row in result["sets"] if row["name"] == "tiny")
    assert tiny["valid"]
    assert tiny["metrics"] == {"none": "made by hand"}
    assert "not run on a GPU" in result["tensorrt_note"]
    assert main(["engine", "list"]) == 0
    text = capsys.readouterr().out
    assert "files: as the manifest says" in text
    assert "not run on a GPU yet" in text


def test_list_shows_a_broken_set_with_the_reason(
    set_copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SEARCH_PATH, str(set_copy.parent))
    (set_copy / "hr.onnx").unlink()
    assert main(["engine", "list", "--json"]) == 0
    # Shipped sets come first.
    row = said(capsys)["sets"][-1]
    assert not row["valid"]
    assert "hr.onnx is missing" in row["state"]


def test_check_compares_outputs_candidates_and_slide_score(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["engine", "check", "tiny", "--precision", "native", "fp32"]) == 0
    text = capsys.readouterr().out
    assert text.count("agrees with its fp32 reference") == 2
    assert main(["engine", "check", "tiny", "--json"]) == 0
    (check,) = said(capsys)["checks"]
    assert check["holds"]
    assert check["backend"] == "openvino"
    assert check["candidates_same"] == check["candidates_reference"] == 4
    assert check["slide_score_difference"] < 1e-4
    rows = {row["output"]: row["difference"] for row in check["rows"]}
    assert len(rows) == 8
    assert rows["candidates_lost"] == rows["candidates_added"] == 0
    assert rows["slide_score"] == check["slide_score_difference"]


def change_golden(
    folder: Path, change: Callable[[dict[str, Any]], None], text: str = MANIFEST
) -> None:
    path = folder / "golden.npz"
    with np.load(path) as arrays:
        golden = dict(arrays)
    change(golden)
    np.savez(path, **golden)
    rewrite(folder, {"golden.npz": path.read_bytes()}, text)


def outside(check: Any) -> set[str]:
    return {row["output"] for row in check["rows"] if not row["holds"]}


def test_check_of_a_set_that_disagrees_prints_by_how_much_and_is_2(
    set_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(golden: dict[str, Any]) -> None:
        golden["lr_location"] = np.roll(golden["lr_location"], 4, axis=1)
        golden["rnn_scores"] = golden["rnn_scores"] * np.float32(0.5)

    change_golden(set_copy, change)
    assert main(["engine", "check", str(set_copy), "--json"]) == 2
    (check,) = said(capsys)["checks"]
    assert not check["holds"]
    assert check["candidates_reference"] == 4
    assert check["candidates_same"] == 0
    assert check["slide_score_difference"] == pytest.approx(0.481, abs=0.01)
    assert {"lr_location", "candidates_lost", "slide_score"} <= outside(check)
    assert main(["engine", "check", str(set_copy)]) == 2
    text = capsys.readouterr().out
    assert "lr_location" in text
    assert "OUTSIDE" in text
    assert "REFUSED" in text


def move(heat: Any) -> None:
    """Put the reference's candidates elsewhere."""
    heat[:] = np.roll(heat, 4, axis=1)


def crowd(heat: Any) -> None:
    """Give the reference a crowd of high cells around its one local maximum."""
    y, x = np.argwhere(heat[0] == heat[0].max())[0]
    heat[0, y - 1 : y + 2, x - 1 : x + 2] = 0.6
    heat[0, y, x] = 0.9


def flatten(heat: Any) -> None:
    """Take the low maxima of the small nuclei from the reference."""
    heat[heat < 0.5] = 0


@pytest.mark.parametrize(
    ("change", "threshold", "refused"),
    [
        (move, 0.5, {"candidates_lost", "candidates_added"}),
        (crowd, 0.5, {"candidates_lost"}),
        (flatten, 0.0001, {"candidates_added"}),
    ],
)
def test_other_candidates_refuse_a_set_whose_maps_are_within_tolerance(
    change: Callable[[Any], None],
    threshold: float,
    refused: set[str],
    set_copy: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = MANIFEST.replace("lr_location = 0.02", "lr_location = 1.0").replace(
        "peak_threshold = 0.5", f"peak_threshold = {threshold:f}"
    )
    change_golden(set_copy, lambda golden: change(golden["lr_location"]), text)
    assert main(["engine", "check", str(set_copy), "--json"]) == 2
    (check,) = said(capsys)["checks"]
    assert outside(check) == refused


def test_check_of_a_changed_file_is_one_line_and_2(
    set_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (set_copy / "lr.onnx").write_bytes(b"")
    assert main(["engine", "check", str(set_copy)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert "lr.onnx has changed" in streams.err


def test_check_of_a_backend_that_is_not_there_is_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["engine", "check", "tiny", "--backend", "tensorrt"]) == 2
    assert "TensorRT" in capsys.readouterr().err


def test_build_without_a_gpu_says_what_is_missing_and_is_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["engine", "build", "tiny", "--json"]) == 1
    streams = capsys.readouterr()
    assert json.loads(streams.out)["built"] == []
    assert "TensorRT is not installed" in streams.err
    assert "runs on OpenVINO" in streams.err


def test_build_of_a_set_that_is_not_there_is_wrong_use(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["engine", "build", "nobody"]) == 2
    assert "no network set 'nobody'" in capsys.readouterr().err


def test_bench_times_each_network_and_names_what_did_not_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = ["engine", "bench", "tiny", "--runs", "2", "--batch", "1", "3"]
    ways = ["--backend", "openvino", "tensorrt", "--precision", "native", "fp32"]
    assert main([*run, *ways, "--json"]) == 0
    result = said(capsys)
    assert len(result["rows"]) == 3 * 2 * 2
    assert all(
        0 < row["ms_least"] <= row["ms_per_sample"] <= row["ms_most"]
        for row in result["rows"]
    )
    assert set(result["refused"]) == {"tensorrt/native", "tensorrt/fp32"}
    assert main([*run, "--networks", "rnn"]) == 0
    text = capsys.readouterr().out
    assert "openvino/native" in text
    assert "hr" not in text.split("\n", 1)[1]


def test_wrong_use_is_2() -> None:
    for wrong in (["engine"], ["engine", "bench", "tiny", "--runs", "0"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2


@pytest.mark.parametrize("action", ["list", "check", "build", "bench"])
def test_help_has_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["engine", action, "--help"])
    assert caught.value.code == 0
    assert f"armicro engine {action}" in capsys.readouterr().out.split("example")[1]
