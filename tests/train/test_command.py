import tomllib
from pathlib import Path

import numpy as np
import pytest

from armicro.__main__ import main
from armicro.engine.manifest import VIEWS
from armicro.engine.registry import open_set, read_set
from armicro.errors import EngineError
from armicro.train import construct
from armicro.train.command import remove_later
from armicro.train.manifest import record_folder

QUICK = ["--backbone", "resnet18", "--no-phantom", "--quick", "--threads", "1"]


@pytest.fixture(autouse=True)
def few_halvings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of constructed slides are tried elsewhere."""
    monkeypatch.setattr(construct, "HALVINGS", 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_train_all_leaves_a_set_that_opens(
    lab_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(lab_folder), "--out", str(tmp_path)]
    assert main(["train", "all", *where, *QUICK, "--steps", "1", "--fp32"]) == 0
    said = capsys.readouterr().err
    assert "no --init" in said
    assert "too few cells to say what the networks know" in said
    manifest = tomllib.loads((tmp_path / "set" / "manifest.toml").read_text())
    assert manifest["training"]["data"]["lab"]["val_lesions"] == 4
    told = manifest["training"]
    assert told["command"].endswith(
        "--out OUT --steps 1 --backbone resnet18 --no-phantom --quick --fp32"
    )
    assert told["steps_done"] == {"lr": 1, "hr": 1}
    assert set(told["start_weights"].values()) == {"random"}
    assert {"hr_temperature", "peak_threshold"} <= set(manifest["metrics"])
    with open_set(tmp_path / "set", threads=1) as networks:
        outputs = networks.hr.infer({"tiles": np.zeros((1, 256, 256, 3), np.uint8)})
    assert outputs["features"].shape == (1, 2048)
    check_lr_of(lab_folder, tmp_path)
    # HR began with these finds: a resumed training keeps them, a fresh one does not.
    found = tmp_path / "found.csv"
    before = found.stat().st_mtime_ns
    again = [*where, *QUICK, "--steps", "1", "--fp32", "--resume"]
    assert main(["train", "lr", *again]) == 0
    assert found.stat().st_mtime_ns == before
    assert main(["train", "set", *where, *QUICK, "--resume"]) != 0
    assert "without INT8" in capsys.readouterr().err
    remove_later(tmp_path)
    assert not found.exists()
    assert not list(tmp_path.glob("hr/*.safetensors"))
    assert not list(tmp_path.glob("done/*/figures.json"))
    assert list(tmp_path.glob("lr/*.safetensors"))


def check_lr_of(lab_folder: Path, out: Path) -> None:
    """Another set may take its LR, and says so; what LR's fp32 graph said stays."""
    second = ["--data", str(lab_folder), "--out", str(out / "second")]
    taken = ["--lr-of", str(out / "set"), *QUICK, "--steps", "1", "--fp32"]
    assert main(["train", "all", *second, *taken]) == 0
    sets = [read_set(at / "set") for at in (out, out / "second")]
    assert sets[0].contents["lr.onnx"] == sets[1].contents["lr.onnx"]
    assert (sets[0].golden["lr_location"] == sets[1].golden["lr_location"]).all()
    assert sets[1].manifest.training["stages"]["lr"][-1] == "cervical-r50 1"
    assert "--lr-of SET" in sets[1].manifest.training["command"]
    assert len(sets[1].manifest.rnn.size_slopes) == 6
    assert sets[1].manifest.hr.more_views == VIEWS


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("lr", ["--init", "nowhere.safetensors"], "nowhere.safetensors"),
        ("lr", ["--sources", "lab,nosuch"], "has no source nosuch; it has crops, lab"),
        ("lr", ["--sources", "crops"], "no validation field shows a lesion"),
        ("record", [], "holds no set"),
        ("set", [], "run armicro train"),
    ],
)
def test_what_cannot_be_used_is_named(
    lab_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    more: list[str],
    said: str,
) -> None:
    where = ["--data", str(lab_folder), "--out", str(tmp_path)]
    assert main(["train", kind, *where, *QUICK, *more]) != 0
    assert said in capsys.readouterr().err


def test_seeds_that_are_no_numbers_are_refused(
    lab_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(lab_folder), "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(["train", "ablation", *where, "--seeds", "one"])
    assert "--seeds" in capsys.readouterr().err


def test_a_set_without_figures_to_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.toml").write_text("[metrics]\n")
    with pytest.raises(EngineError, match="run armicro validate"):
        record_folder(tmp_path / "set", tmp_path / "val", tmp_path)
