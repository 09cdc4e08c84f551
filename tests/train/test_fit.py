import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from armicro.errors import EngineError, SourceError
from armicro.train import fit as training
from armicro.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from armicro.train.construct import fit_platt, recall_offset
from armicro.train.data import read_dataset
from armicro.train.fit import FitSettings, TrainingStage, fit
from armicro.train.locate import location_target
from armicro.train.manifest import record_folder, to_toml, write_manifest
from armicro.train.networks import (
    HighResolution,
    LowResolution,
    fold,
    load_backbone,
)
from armicro.train.sample import (
    BalancedSampler,
    Batch,
    TilePlan,
    draw_batch,
    list_samples,
)
from armicro.verdict import HR_UM_PER_PX


def settings(steps: int) -> FitSettings:
    plan = TilePlan(32, HR_UM_PER_PX, 2.0)
    stages = (
        TrainingStage(2, plan, batch=2, frozen=2, hard_share=1.0),
        TrainingStage(6, plan, batch=2, frozen=3, hard_share=1.0),
    )
    return FitSettings(
        stages, mine_every=2, checkpoint_every=3, validate_every=100, stop_at=steps
    )


def train(data: Path, folder: Path, steps: int, *, resume: bool) -> HighResolution:
    dataset = read_dataset(data)
    sampler = BalancedSampler(
        list_samples(dataset.split("train")), source_weights={"lab": 1.0, "crops": 1.0}
    )
    torch.manual_seed(1)
    network = HighResolution("resnet18")
    val = list_samples(dataset.split("val"), areas=False)[:8]
    folder.mkdir(exist_ok=True)
    trained = fit(network, sampler, val, settings(steps), folder, resume=resume)
    assert isinstance(trained, HighResolution)
    return trained


def test_a_resumed_run_equals_an_unbroken_one(lab_folder: Path, tmp_path: Path) -> None:
    unbroken = train(lab_folder, tmp_path / "a", 8, resume=False).state_dict()
    # Off the steps at which hard samples are told anew.
    for steps in (3, 5):
        train(lab_folder, tmp_path / "b", steps, resume=steps > 3)
    resumed = train(lab_folder, tmp_path / "b", 8, resume=True).state_dict()
    for key, value in unbroken.items():
        torch.testing.assert_close(value, resumed[key], rtol=0, atol=1e-6)
    log, other = ((tmp_path / one / "log.csv").read_text() for one in "ab")
    assert log.startswith("step,stage,loss,auc_")
    assert (
        other.splitlines()[-1].split(",")[:-1] == log.splitlines()[-1].split(",")[:-1]
    )


def test_a_resumed_run_keeps_to_its_arithmetic(
    lab_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(lab_folder, tmp_path / "a", 2, resume=False)
    path = tmp_path / "a" / "checkpoint.safetensors"
    first = read_checkpoint(path).facts["bfloat16"]
    monkeypatch.setattr(training, "bfloat16_is_fast", lambda _: not first)
    train(lab_folder, tmp_path / "a", 3, resume=True)
    assert read_checkpoint(path).facts["bfloat16"] == first


def test_a_fresh_run_leaves_nothing_of_an_older_one(
    lab_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("best.safetensors", "log.csv"):
        (folder / name).write_text("of another run", "utf-8")
    train(lab_folder, folder, 2, resume=False)
    assert not (folder / "best.safetensors").exists()
    assert "another" not in (folder / "log.csv").read_text("utf-8")


def test_going_on_without_early_stopping_leaves_no_older_best(
    lab_folder: Path, tmp_path: Path
) -> None:
    train(lab_folder, tmp_path / "a", 2, resume=False)
    best = tmp_path / "a" / "best.safetensors"
    best.write_text("of when training stopped early", "utf-8")
    train(lab_folder, tmp_path / "a", 4, resume=True)
    assert not best.exists()


def test_mining_learns_nothing_of_tiles_that_nobody_can_label(
    lab_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Batch] = []

    def draw(*args: Any, **options: Any) -> Batch:
        batch = draw_batch(*args, **options)
        batch.weight[0] = 0.0
        drawn.append(batch)
        return batch

    monkeypatch.setattr(training, "draw_batch", draw)
    train(lab_folder, tmp_path / "a", 4, resume=False)
    facts = read_checkpoint(tmp_path / "a" / "checkpoint.safetensors").facts
    known = {str(batch.drawn[1]) for batch in drawn}
    assert set(facts["sample_loss"]) == known
    assert all(loss > 0 for loss in facts["sample_loss"].values())


def test_one_class_alone_is_named(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder), areas=False)
    normals = BalancedSampler(
        [sample for sample in samples if not sample.lesion], source_weights={}
    )
    with pytest.raises(SourceError, match="shows no lesion cell"):
        normals.draw(8, np.random.default_rng(0))


def test_a_checkpoint_of_other_data_or_another_network_is_not_resumed(
    lab_folder: Path, tmp_path: Path
) -> None:
    train(lab_folder, tmp_path / "a", 2, resume=False)
    samples = list_samples(read_dataset(lab_folder).split("train"))
    weights = {"lab": 1.0, "crops": 1.0}
    for kept, backbone, reason in (
        (samples[1:], "resnet18", "samples"),
        (samples, "resnet34", "--backbone"),
    ):
        with pytest.raises(EngineError, match=reason):
            fit(
                HighResolution(backbone),
                BalancedSampler(kept, source_weights=weights),
                (),
                settings(4),
                tmp_path / "a",
                resume=True,
            )


def test_a_run_of_other_stages_is_not_resumed(lab_folder: Path, tmp_path: Path) -> None:
    train(lab_folder, tmp_path / "a", 2, resume=False)
    samples = list_samples(read_dataset(lab_folder).split("train"))
    told = settings(4)
    plan = replace(told.stages[1].plan, by_cell=False)
    other = replace(told, stages=(told.stages[0], replace(told.stages[1], plan=plan)))
    with pytest.raises(EngineError, match="labelled by its cell"):
        fit(
            HighResolution("resnet18"),
            BalancedSampler(samples, source_weights={"lab": 1.0, "crops": 1.0}),
            (),
            other,
            tmp_path / "a",
            resume=True,
        )


def test_training_stops_early_and_returns_the_best(
    lab_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(lab_folder)
    sampler = BalancedSampler(
        list_samples(dataset.split("train")), source_weights={"lab": 1.0, "crops": 1.0}
    )
    scores = iter([0.7, 0.9, 0.8, 0.85, 0.99])
    monkeypatch.setattr(training, "validate", lambda *_, **__: {"lab": next(scores)})
    stage = TrainingStage(9, TilePlan(32, HR_UM_PER_PX, 2.0), batch=2, frozen=5)
    settings = FitSettings((stage,), validate_every=1, patience=2)
    val = list_samples(dataset.split("val"), areas=False)[:2]
    folder = tmp_path / "early"
    folder.mkdir()
    fit(HighResolution("resnet18"), sampler, val, settings, folder)
    assert len((folder / "log.csv").read_text().splitlines()) == 1 + 4
    assert read_checkpoint(folder / "checkpoint.safetensors").facts["waited"] == 2
    assert read_checkpoint(folder / "best.safetensors").facts["step"] == 2


def test_frozen_layers_stay_and_the_head_moves(
    lab_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    start = HighResolution("resnet18").state_dict()
    trained = train(lab_folder, tmp_path / "c", 3, resume=False).state_dict()
    same = "backbone.layer1.0.conv1.weight"
    torch.testing.assert_close(start[same], trained[same])
    moved = "head.hidden.weight"
    assert not torch.allclose(start[moved], trained[moved])


def test_a_checkpoint_comes_back_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "x" / "checkpoint.safetensors"
    write_checkpoint(path, Checkpoint({"model.a": torch.arange(4)}, {"step": 3}))
    saved = read_checkpoint(path)
    assert saved.facts["step"] == 3
    assert saved.part("model")["a"].tolist() == [0, 1, 2, 3]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(EngineError, match="not a checkpoint"):
        read_checkpoint(path)


def test_batch_normalisation_of_start_weights_is_folded_into_the_convolutions() -> None:
    torch.manual_seed(3)
    conv = nn.Conv2d(4, 6, 3, bias=False)
    norm = nn.BatchNorm2d(6).eval()
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name).data = torch.rand(6) + 0.5
    parts = {f"layer1.0.bn2.{key}": value for key, value in norm.state_dict().items()}
    weights = {"layer1.0.conv2.weight": conv.weight.detach()} | parts
    folded = nn.Conv2d(4, 6, 3)
    told = dict(fold("layer1.0.conv2", weights))
    folded.load_state_dict({key.rsplit(".", 1)[1]: one for key, one in told.items()})
    tiles = torch.randn(2, 4, 8, 8)
    assert torch.allclose(folded(tiles), norm(conv(tiles)), atol=1e-5)
    # What was folded once comes back as it is.
    assert dict(fold("layer1.0.conv2", told)) == told


def test_start_weights_of_another_backbone_are_refused() -> None:
    weights = HighResolution("resnet18").backbone.state_dict()
    with pytest.raises(EngineError, match="lack"):
        load_backbone(HighResolution("resnet34").backbone, weights)


def test_lr_gives_a_value_a_tile_and_a_map() -> None:
    network = LowResolution("resnet18").eval()
    tiles = torch.zeros(1, 896, 512, 3, dtype=torch.uint8)
    with torch.no_grad():
        probability, location = network(tiles)
    assert probability.shape == (1, 2, 1)
    assert location.shape == (1, 28, 16)


def test_the_target_peaks_on_the_nucleus() -> None:
    target = location_target(np.array([[100.0, 40.0]]), 256)
    assert target.argmax() == 1 * 8 + 3
    assert target.max() == 1.0
    assert location_target(np.zeros((0, 2)), 256).max() == 0.0
    assert location_target(np.array([[-5.0, 40.0]]), 256).max() == 0.0


def test_calibration_makes_overconfident_logits_mild() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.random(4000) < 0.5
    logits = np.where(wanted, 1.0, -1.0) * 2 + rng.normal(0, 2, 4000)
    temperature, offset = fit_platt(logits * 5, wanted)
    assert temperature == pytest.approx(5.0, rel=0.15)
    assert abs(offset) < 0.1


def test_a_missed_lesion_costs_two_false_boxes() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.random(20000) < 0.3
    logits = np.where(wanted, 1.0, -1.0) * 1.5 + rng.normal(0, 1.5, 20000)
    even, even_offset = fit_platt(logits, wanted)
    dear, dear_offset = fit_platt(logits, wanted, miss_cost=2.0)
    assert dear == pytest.approx(even, rel=0.05)
    assert dear_offset - even_offset == pytest.approx(np.log(2.0), abs=0.05)


def test_the_gate_passes_the_wanted_share_of_positives() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, 1000)
    wanted = np.ones(1000, bool)
    offset = recall_offset(logits, wanted, 2.0, recall=0.98)
    assert (logits / 2.0 + offset > 0).mean() == pytest.approx(0.98, abs=0.005)


def test_toml_reads_back() -> None:
    table = {
        "a": 'x "y"',
        "files": {"lr.onnx": "sha256:0"},
        "b": {"c": {"d": [1, 2.5]}},
    }
    assert tomllib.loads(to_toml(table)) == table


def test_the_hr_network_looks_at_the_middle_only() -> None:
    torch.manual_seed(0)
    network = HighResolution("resnet18", fovea_px=160).eval()
    tiles = torch.randint(0, 256, (1, 256, 256, 3), dtype=torch.uint8)
    other = tiles.clone()
    other[:, :48] = 0
    other[:, :, 208:] = 255
    with torch.no_grad():
        torch.testing.assert_close(network(tiles)[1], network(other)[1])
        other[:, 100:140, 100:140] = 0
        assert not torch.allclose(network(tiles)[1], network(other)[1])


def test_recorded_figures_keep_the_files_digests(tmp_path: Path) -> None:
    files = ["lr.onnx"]
    (tmp_path / "lr.onnx").write_bytes(b"x")
    tables = {"metrics": {"a": 1.5}}
    write_manifest(tmp_path, name="set", files=files, tables=tables)
    before = tomllib.loads((tmp_path / "manifest.toml").read_text())
    said = (
        f"armicro validate cells {tmp_path}/data/cric/cells.csv --engines {tmp_path} "
        f"--out {tmp_path}/val/cells"
    )
    figures = {"auc": 0.9, "by_class": {"HSIL": 1}, "command": said}
    val = tmp_path / "val" / "cells"
    val.mkdir(parents=True)
    sources = {"by_source": {"cric": {"auc": 0.8}}}
    (val / "metrics.json").write_text(json.dumps(figures | sources))
    record_folder(tmp_path, tmp_path / "val", tmp_path / "data")
    after = tomllib.loads((tmp_path / "manifest.toml").read_text())
    assert after["files"] == before["files"]
    assert after["metrics"] == {
        "a": 1.5,
        "cells": {
            "auc": 0.9,
            "command": "armicro validate cells DATA/cric/cells.csv --engines SET "
            "--out OUT",
        },
        "cells_cric": {"auc": 0.8},
    }
