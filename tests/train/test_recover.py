from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from armicro.errors import EngineError
from armicro.train.export import export_onnx, write_onnx
from armicro.train.networks import HighResolution
from armicro.train.recover import blend, recover


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_network_comes_back_out_of_its_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = HighResolution("resnet18").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
    write_onnx(export_onnx(network), tmp_path / "hr.onnx")
    other = HighResolution("resnet18").eval()
    recover(other, tmp_path / "hr.onnx")
    tiles = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    )
    with torch.no_grad():
        torch.testing.assert_close(
            other.logits(tiles), network.logits(tiles), rtol=1e-3, atol=1e-3
        )
    with pytest.raises(EngineError, match="holds 22 of"):
        recover(HighResolution("resnet34"), tmp_path / "hr.onnx")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hr.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match="not a readable ONNX"):
        recover(HighResolution("resnet18"), tmp_path / "hr.onnx")


def test_a_blend_lies_between() -> None:
    new, old = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        new.weight.fill_(1.0)
        old.weight.fill_(0.0)
    blend(new, old, 0.25)
    torch.testing.assert_close(new.weight, torch.full((2, 2), 0.25))
