import json
from pathlib import Path

import pytest
import torch

from armicro.__main__ import main
from armicro.train.checkpoint import Checkpoint, write_checkpoint
from armicro.train.networks import HighResolution

FIGURES = {
    f"{name}{end}"
    for name in ("auc", "sensitivity", "specificity")
    for end in ("", "_low", "_high")
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = HighResolution("resnet18")
    path = tmp_path / "init.safetensors"
    write_checkpoint(path, Checkpoint(network.backbone.state_dict(), {}))
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("sources", ["lab", ""])
def test_the_baseline_says_all_figures_of_each_source_that_is_asked_for(
    sources: str, lab_folder: Path, weights: Path, tmp_path: Path
) -> None:
    where = ["--data", str(lab_folder), "--out", str(tmp_path), "--init", str(weights)]
    how = ["--backbone", "resnet18", "--no-phantom", "--sources", sources]
    assert main(["train", "baseline", *where, *how]) == 0
    table = json.loads((tmp_path / "baseline.json").read_text("utf-8"))
    assert set(table["sources"]) == ({"lab"} if sources else {"lab", "crops"})
    lab = table["sources"]["lab"]
    assert lab["n_positive"] == lab["n_negative"] == 4
    assert FIGURES | {"n_positive", "n_negative"} <= set(lab)
    for figures in table["sources"].values():
        assert 0 <= figures["auc"] <= 1
        # So few fields and cases have no interval, and it is said why.
        assert figures["auc_low"] is figures["auc_high"] is None
        assert "an interval needs" in figures["auc_interval"]
