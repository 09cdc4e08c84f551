import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from armicro.engine.manifest import (
    FAMILIAR_NAME,
    MANIFEST_NAME,
    read_familiar,
    read_manifest,
    verify,
)
from armicro.errors import EngineError
from tests.engine.test_external import EXTERNAL
from tests.tiny import MANIFEST, write_manifest


@pytest.fixture
def set_copy(tiny_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_set, tmp_path / "tiny"))


def test_files_that_match_come_back_as_the_bytes_that_were_hashed(
    tiny_set: Path,
) -> None:
    contents = verify(tiny_set, read_manifest(tiny_set))
    assert set(contents) == {"lr.onnx", "hr.onnx", "rnn.onnx", "golden.npz"}
    assert contents["lr.onnx"] == (tiny_set / "lr.onnx").read_bytes()


def test_every_missing_changed_and_unlisted_file_is_named(set_copy: Path) -> None:
    (set_copy / "lr.onnx").unlink()
    with (set_copy / "hr.onnx").open("ab") as file:
        file.write(b"!")
    (set_copy / "more").mkdir()
    (set_copy / "more" / "weights.bin").write_bytes(b"")
    with pytest.raises(EngineError) as caught:
        verify(set_copy, read_manifest(set_copy))
    message = str(caught.value)
    assert "lr.onnx is missing" in message
    assert "hr.onnx has changed" in message
    assert "more/weights.bin is not listed" in message
    assert "rnn.onnx" not in message
    assert caught.value.exit_status == 2


def test_one_flipped_bit_is_a_changed_file(set_copy: Path) -> None:
    data = bytearray((set_copy / "rnn.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (set_copy / "rnn.onnx").write_bytes(data)
    with pytest.raises(EngineError, match=r"rnn\.onnx has changed"):
        verify(set_copy, read_manifest(set_copy))


def test_a_model_card_needs_no_entry(set_copy: Path) -> None:
    (set_copy / "README.md").write_text("# Model card", "utf-8")
    verify(set_copy, read_manifest(set_copy))


LR_REFUSED = {
    "keeps weights in another file": EXTERNAL["a node's tensor"]().SerializeToString(),
    "is no ONNX file": b"not a network at all",
}


@pytest.mark.parametrize("said", LR_REFUSED)
def test_a_network_that_is_not_whole_is_refused(set_copy: Path, said: str) -> None:
    files = {path.name: path.read_bytes() for path in set_copy.glob("*.[on]*")}
    files["lr.onnx"] = LR_REFUSED[said]
    (set_copy / "lr.onnx").write_bytes(files["lr.onnx"])
    write_manifest(set_copy, MANIFEST, files)
    with pytest.raises(EngineError, match=rf"lr\.onnx {said}"):
        verify(set_copy, read_manifest(set_copy))


def test_a_folder_without_a_manifest_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"manifest\.toml cannot be read"):
        read_manifest(tmp_path)


Edit = Callable[[str], str]
REFUSED: dict[str, tuple[Edit, str]] = {
    "a misspelt key": (lambda t: t.replace("gate =", "gaet ="), "gaet"),
    "a gate above one": (lambda t: t.replace("gate = 0.5", "gate = 1.5"), "gate"),
    "a side that the network cannot halve": (
        lambda t: t.replace("tile_px = 512", "tile_px = 500"),
        "tile_px",
    ),
    "a digest that is none": (lambda t: t.replace("sha256:", "md5:"), "files"),
    "a side of two million": (
        lambda t: t.replace("tile_px = 512", "tile_px = 2000032"),
        "tile_px",
    ),
    "a negative side": (lambda t: t.replace("tile_px = 512", "tile_px = -32"), "tile"),
    "no scale at all": (lambda t: t.replace("= 0.486", "= 1e-300"), "um_per_px"),
    "a scale that is no number": (lambda t: t.replace("= 0.486", "= nan"), "um_per_px"),
    "a tolerance that proves nothing": (
        lambda t: t.replace("hr_probability = 0.02", "hr_probability = inf"),
        "tolerance.hr_probability",
    ),
    "a negative top": (lambda t: t.replace("[10, 20, 30]", "[-10, 20, 30]"), "top"),
    "a file outside the folder": (
        lambda t: t.replace('"lr.onnx"', '"../lr.onnx"'),
        "files",
    ),
    "no tolerance": (lambda t: t.replace("[tolerance]", "[metrics2]"), "metrics2"),
    "not TOML": (lambda t: t + "= =", "TOML|line"),
    "a network not listed": (
        lambda t: t.replace('"hr.onnx"', '"xr.onnx"'),
        r"does not list hr\.onnx",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_manifest_that_is_off_is_refused_with_the_place(
    set_copy: Path, case: str
) -> None:
    edit, said = REFUSED[case]
    path = set_copy / MANIFEST_NAME
    text = path.read_text("utf-8")
    assert edit(text) != text
    path.write_text(edit(text), "utf-8")
    with pytest.raises(EngineError, match=said):
        read_manifest(set_copy)


def test_free_tables_take_any_key(set_copy: Path) -> None:
    path = set_copy / MANIFEST_NAME
    path.write_text(path.read_text("utf-8") + "\n[training]\nseed = 1\n[gpu]\nx = 2\n")
    manifest = read_manifest(set_copy)
    assert manifest.training == {"seed": 1}
    assert manifest.gpu == {"x": 2}


KNOWN = {
    "mean": np.ones(8, np.float16),
    "axes": np.eye(2, 8, dtype=np.float16),
    "usual": np.array(2.0),
    "farthest": np.array(1.9),
}


def packed(arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return {FAMILIAR_NAME: stream.getvalue()}


def test_what_lies_on_the_plane_of_known_cells_is_familiar() -> None:
    assert read_familiar({}) is None
    known = read_familiar(packed(KNOWN))
    assert known is not None
    along, off = np.ones((2, 2, 8), np.float32)
    along[:, 0] = 50.0
    off[:, 7] = 1.0 + 4.0
    assert known.distance(along) == pytest.approx(0.0)
    assert known.distance(off) == pytest.approx(16.0 / 2.0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("axes", np.eye(2, 7), r"\(2, 7\) axes and \(8,\) mean"),
        ("axes", np.full((2, 8), np.nan), "fit no features"),
        ("usual", np.array(0.0), "usual 0"),
        ("farthest", np.array(np.nan), "farthest nan"),
        ("usual", np.ones(3), "expected mean, axes, usual and farthest"),
    ],
)
def test_a_file_that_says_nothing_of_features_is_refused(
    name: str, value: np.ndarray, said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        read_familiar(packed({**KNOWN, name: value}))
    with pytest.raises(EngineError, match="run armicro train familiar"):
        read_familiar({FAMILIAR_NAME: b"no archive"})
