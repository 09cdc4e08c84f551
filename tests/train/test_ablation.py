from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from armicro.train import ablation
from armicro.train.ablation import ROWS, Row, auc_interval, replace_mean, run_ablation
from armicro.train.data import read_dataset
from armicro.train.found import FOUND
from armicro.train.networks import HighResolution
from armicro.train.sample import list_samples


def test_a_row_of_averaged_weights_is_not_another_training() -> None:
    last = ROWS[-1]
    assert last.mean
    assert replace_mean(last) == ROWS[-2]
    assert [replace_mean(row) for row in ROWS[:-1]] == list(ROWS[:-1])


def test_each_row_changes_one_switch() -> None:
    for before, after in pairwise(ROWS):
        fields = set(Row.__dataclass_fields__) - {"name"}
        changed = [f for f in fields if getattr(before, f) != getattr(after, f)]
        assert len(changed) == 1


def test_the_interval_holds_the_figure_and_widens_with_few_groups() -> None:
    rng = np.random.default_rng(1)
    lesion = np.arange(200) % 2 == 0
    # Of 40 neighbours all are told apart well, or all badly, as in a slide group.
    sharpness = np.repeat([2.0, 0.2, 2.0, 0.2, 1.0], 40)
    scores = (lesion * sharpness + rng.normal(0, 1, 200))[None]
    many = auc_interval(scores, lesion, [str(n // 2) for n in range(200)])
    few = auc_interval(scores, lesion, [str(n // 40) for n in range(200)])
    assert many[0] < ablation.mean_auc(scores, lesion) < many[1]
    assert few[1] - few[0] > many[1] - many[0]


def test_the_table_is_taken_up_where_it_stopped(
    lab_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "ONE_SOURCE", "lab")
    monkeypatch.setattr(ablation, "ROWS", ROWS[-2:])
    monkeypatch.setattr(ablation, "RESAMPLES", 20)
    monkeypatch.setattr(ablation, "PLAN", replace(ablation.PLAN, tile_px=32))
    starts = []

    def start() -> HighResolution:
        starts.append(1)
        torch.manual_seed(1)
        return HighResolution("resnet18")

    dataset = read_dataset(lab_folder)
    found = [replace(list_samples(dataset)[0], source=FOUND)]
    first = run_ablation(dataset, found, start, tmp_path, steps=1)
    assert run_ablation(dataset, found, start, tmp_path, steps=1) == first
    assert len(starts) == 1
    # What another LR found is another training.
    others = [replace(list_samples(dataset)[1], source=FOUND)]
    run_ablation(dataset, others, start, tmp_path, steps=1)
    assert len(starts) == 2
    assert {"auc_lab", "auc_crops_low"} <= set(first[0])
