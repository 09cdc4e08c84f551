from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from armicro.field import Pixels
from armicro.train import assemble
from armicro.train.assemble import AssembleSettings, difference, outputs_of, ship
from armicro.train.data import read_dataset
from armicro.train.export import export_onnx
from armicro.train.networks import HighResolution

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def graph(seed: int) -> onnx.ModelProto:
    torch.manual_seed(seed)
    return export_onnx(HighResolution("resnet18").eval())


def test_a_graph_lies_nowhere_from_itself_and_far_from_another() -> None:
    tiles = list(np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8))
    one, other = (outputs_of(graph(seed), tiles) for seed in (0, 1))
    assert difference(one, outputs_of(graph(0), tiles)) == 0
    assert difference(one, other) > 0.1


def test_int8_of_the_draw_that_lies_nearest_is_shipped(
    lab_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fp32, gaps = onnx.ModelProto(producer_name="fp32"), iter((0.3, 0.1, 0.2))
    drawn: list[float] = []

    def quantise(model: onnx.ModelProto, tiles: Sequence[Pixels]) -> onnx.ModelProto:
        drawn.append(float(np.mean(tiles)))
        return onnx.ModelProto(producer_name=f"int8 of draw {len(drawn)}")

    monkeypatch.setattr(assemble, "quantise", quantise)
    monkeypatch.setattr(assemble, "outputs_of", lambda *_: {})
    monkeypatch.setattr(assemble, "difference", lambda *_: next(gaps))
    settings = AssembleSettings(calibration_tiles=4)
    done = ship("hr", fp32, {"kept": 1.0}, read_dataset(lab_folder), settings)
    assert len(set(drawn)) == len(drawn) == settings.draws == 3
    assert done.fp32 is fp32
    assert done.shipped.producer_name == "int8 of draw 2"
    assert done.figures == {"kept": 1.0, "hr_int8_difference": 0.1}
