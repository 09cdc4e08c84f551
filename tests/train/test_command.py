import tomllib
from pathlib import Path

import numpy as np
import pytest

from armicro.__main__ import main
from armicro.engine.registry import open_set

QUICK = ["--backbone", "resnet18", "--no-phantom", "--quick", "--threads", "1"]


@pytest.mark.timeout(300)  # 15 s of a core, and the whole chain
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_train_all_leaves_a_set_that_opens(
    lab_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(lab_folder), "--out", str(tmp_path)]
    assert main(["train", "all", *where, *QUICK, "--steps", "1", "--fp32"]) == 0
    assert "no --init" in capsys.readouterr().err
    manifest = tomllib.loads((tmp_path / "set" / "manifest.toml").read_text())
    assert manifest["training"]["data"]["lab"]["val_lesions"] == 4
    told = manifest["training"]
    assert told["command"].endswith("--backbone resnet18 --no-phantom --quick --fp32")
    assert told["steps_done"] == {"lr": 1, "hr": 1}
    assert set(told["start_weights"].values()) == {"random"}
    assert {"hr_temperature", "peak_threshold"} <= set(manifest["metrics"])
    with open_set(tmp_path / "set", threads=1) as networks:
        outputs = networks.hr.infer({"tiles": np.zeros((1, 256, 256, 3), np.uint8)})
    assert outputs["features"].shape == (1, 2048)
