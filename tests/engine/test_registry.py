import io
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from armicro.engine.manifest import MANIFEST_NAME, read_manifest
from armicro.engine.registry import (
    DEFAULT_SET,
    SEARCH_PATH,
    find_set,
    list_sets,
    open_set,
)
from armicro.errors import EngineError
from tests.tiny import MANIFEST, write_manifest


@pytest.fixture
def set_copy(tiny_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_set, tmp_path / "tiny"))


def rewrite(folder: Path, changes: dict[str, bytes], text: str = MANIFEST) -> None:
    """Change files and let the manifest vouch for them: only golden can tell."""
    names = ("lr.onnx", "hr.onnx", "rnn.onnx", "golden.npz")
    files = {name: (folder / name).read_bytes() for name in names} | changes
    for name, data in changes.items():
        (folder / name).write_bytes(data)
    write_manifest(folder, text, files)


def test_a_set_is_found_by_its_folder(tiny_set: Path) -> None:
    assert find_set(tiny_set) == tiny_set
    assert find_set(str(tiny_set)) == tiny_set


def test_a_set_is_found_by_name_in_the_folders_of_the_environment(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SEARCH_PATH, f"{tmp_path}:{tiny_set.parent}")
    assert find_set("tiny") == tiny_set
    assert tiny_set in list_sets()


@pytest.mark.parametrize("where", ["the working folder", "the environment's folder"])
def test_a_shipped_name_is_the_shipped_set_and_the_other_is_told(
    tiny_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    planted = Path(shutil.copytree(tiny_set, tmp_path / DEFAULT_SET))
    if where == "the working folder":
        monkeypatch.chdir(tmp_path)
    else:
        monkeypatch.setenv(SEARCH_PATH, str(tmp_path))
    found = find_set(DEFAULT_SET)
    assert found.resolve() != planted.resolve()
    assert read_manifest(found).name == DEFAULT_SET
    (told,) = [record.getMessage() for record in caplog.records]
    assert str(planted) in told
    assert "\n" not in told


@pytest.mark.parametrize("path", [f"./{DEFAULT_SET}", f"../here/{DEFAULT_SET}", "{}"])
def test_a_folder_given_as_a_path_is_that_folder(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    folder = tmp_path / "here" / DEFAULT_SET
    shutil.copytree(tiny_set, folder)
    monkeypatch.chdir(folder.parent)
    assert read_manifest(find_set(path.format(folder))).name == "tiny"


def test_a_bare_name_is_never_a_folder_here_and_says_how_to_mean_it(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_set, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match=r"\./tiny"):
        find_set("tiny")


def test_the_shipped_set_seen_from_its_own_folder_is_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(find_set(DEFAULT_SET).parent)
    find_set(DEFAULT_SET)
    assert not caplog.records


def test_a_name_that_nobody_knows_says_what_there_is(
    tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SEARCH_PATH, str(tiny_set.parent))
    with pytest.raises(EngineError, match=r"no network set 'other'.*tiny"):
        find_set("other")


@pytest.mark.parametrize("precision", ["native", "fp32"])
@pytest.mark.parametrize("latency", [False, True])
def test_a_set_that_says_what_its_reference_said_is_opened(
    tiny_set: Path, precision: str, *, latency: bool
) -> None:
    with open_set(tiny_set, precision=precision, latency=latency) as networks:
        assert networks.backend == "openvino"
        assert networks.precision == precision
        assert networks.manifest.name == "tiny"
        assert networks.sha256.startswith("sha256:")
        assert len(networks.agreement) == 5
        assert max(row.difference for row in networks.agreement) < 1e-4
        scores = networks.rnn.infer({"features": np.zeros((1, 30, 2048), np.float32)})[
            "scores"
        ]
    assert scores.max() < 0.1


def test_a_set_whose_networks_say_something_else_is_refused_with_the_numbers(
    set_copy: Path,
) -> None:
    with np.load(set_copy / "golden.npz") as arrays:
        golden = dict(arrays)
    golden["hr_probability"] = golden["hr_probability"] + np.float32(0.25)
    np.savez(set_copy / "golden.npz", **golden)
    rewrite(set_copy, {"golden.npz": (set_copy / "golden.npz").read_bytes()})
    with pytest.raises(
        EngineError, match=r"hr_probability differs by 0\.25, tolerance 0\.02"
    ) as caught:
        open_set(set_copy)
    assert "lr_probability" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_an_output_that_is_not_a_number_is_outside_any_tolerance(
    set_copy: Path,
) -> None:
    with np.load(set_copy / "golden.npz") as arrays:
        golden = dict(arrays)
    golden["rnn_scores"] = np.full((2, 6), np.nan, np.float32)
    np.savez(set_copy / "golden.npz", **golden)
    rewrite(set_copy, {"golden.npz": (set_copy / "golden.npz").read_bytes()})
    with pytest.raises(EngineError, match="rnn_scores differs by nan"):
        open_set(set_copy)


def test_a_changed_file_is_refused_before_it_is_opened(set_copy: Path) -> None:
    (set_copy / "lr.onnx").write_bytes(b"not a network at all")
    with pytest.raises(EngineError, match=r"lr\.onnx has changed"):
        open_set(set_copy)


def test_swapped_networks_are_an_engine_error(set_copy: Path) -> None:
    rewrite(set_copy, {"rnn.onnx": (set_copy / "hr.onnx").read_bytes()})
    with pytest.raises(EngineError, match="rnn: inputs are"):
        open_set(set_copy)


def npz(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return packed.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    return (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data
    )


SHAPED = "{{'descr': '|u1', 'fortran_order': False, 'shape': {}}}\n"
BROKEN_GOLDEN: dict[str, Callable[[], bytes]] = {
    "cut off": lambda: b"PK\x03\x04 cut off",
    "empty": lambda: b"",
    "300 MB in 300 kB": lambda: npz(
        "lr_tiles.npy", npy(SHAPED.format("(300000000,)"), bytes(300_000_000))
    ),
    "a header that claims terabytes": lambda: npz(
        "lr_tiles.npy", npy(SHAPED.format("(1000000000000,)"))
    ),
    "a header that claims less than nothing": lambda: npz(
        "lr_tiles.npy", npy(SHAPED.format("(-1,)"))
    ),
    "a header of brackets": lambda: npz("lr_tiles.npy", npy("(" * 9000)),
    "no array": lambda: npz("lr_tiles.npy", b"text"),
    "complex numbers": lambda: npz(
        "lr_tiles.npy", npy(SHAPED.format("(1,)").replace("|u1", "<c16"), bytes(16))
    ),
}


@pytest.mark.parametrize("what", BROKEN_GOLDEN)
def test_golden_outputs_that_cannot_be_read_are_an_engine_error(
    set_copy: Path, what: str
) -> None:
    rewrite(set_copy, {"golden.npz": BROKEN_GOLDEN[what]()})
    with pytest.raises(EngineError, match=r"^golden\.npz[^\n]*$"):
        open_set(set_copy)


def test_golden_inputs_of_another_shape_are_an_engine_error(set_copy: Path) -> None:
    path = set_copy / "golden.npz"
    with np.load(path) as arrays:
        golden = dict(arrays)
    golden["rnn_features"] = golden["rnn_features"][0]
    np.savez(path, **golden)
    rewrite(set_copy, {"golden.npz": path.read_bytes()})
    with pytest.raises(EngineError, match=r"rnn_features has the shape \(30, 2048\)"):
        open_set(set_copy)


def test_golden_outputs_with_objects_in_them_are_never_unpickled(
    set_copy: Path,
) -> None:
    path = set_copy / "golden.npz"
    with np.load(path) as arrays:
        golden = dict(arrays)
    golden["lr_tiles"] = np.array([print], dtype=object)
    np.savez(path, **golden)
    rewrite(set_copy, {"golden.npz": path.read_bytes()})
    with pytest.raises(EngineError, match="expected plain arrays"):
        open_set(set_copy)


def test_an_unknown_backend_is_refused(tiny_set: Path) -> None:
    with pytest.raises(EngineError, match="'magic' is not one of auto, openvino"):
        open_set(tiny_set, backend="magic")


def test_the_digest_follows_the_manifest(set_copy: Path, tiny_set: Path) -> None:
    (set_copy / MANIFEST_NAME).write_bytes(
        (set_copy / MANIFEST_NAME).read_bytes() + b"\n# a word\n"
    )
    with open_set(set_copy) as changed, open_set(tiny_set) as first:
        assert changed.sha256 != first.sha256
