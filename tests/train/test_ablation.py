from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from armicro.errors import SourceError
from armicro.train import experiment
from armicro.train.data import Crop, Dataset, read_dataset
from armicro.train.experiment import (
    ROWS,
    Row,
    Study,
    judge_row,
    run_ablation,
    unseen,
)
from armicro.train.networks import HighResolution
from armicro.train.sample import AREA_CATEGORY, Sample, groups_of, list_samples

CROP = Crop(
    "a", "crops", "case", "val", np.zeros((8, 8, 3), np.uint8), (0.2, 0.2), "", False
)
CELL = Sample("crops", "", False, "case", CROP)


def test_each_row_but_the_last_changes_one_switch_of_the_first() -> None:
    plain, *others, _ = ROWS.values()
    switches = [each.name for each in fields(Row) if each.name != "name"]
    for row in others:
        assert sum(getattr(plain, s) != getattr(row, s) for s in switches) == 1


def test_the_gain_is_paired_and_none_against_itself() -> None:
    rng = np.random.default_rng(1)
    lesion = np.arange(200) % 2 == 0
    cells = [
        replace(CELL, lesion=bool(one), group=str(n // 4))
        for n, one in enumerate(lesion)
    ]
    plain = (lesion + rng.normal(0, 1, 200))[None]
    better = (2 * lesion + rng.normal(0, 1, 200))[None]
    same = judge_row(plain, plain, cells)
    assert (same["auc_gain"], same["auc_gain_low"], same["auc_gain_high"]) == (0, 0, 0)
    gain = judge_row(better, plain, cells)
    assert 0 < gain["auc_gain_low"] < gain["auc_gain"] < gain["auc_gain_high"]


def test_cells_of_a_picture_that_took_part_are_not_judged(dataset: Dataset) -> None:
    samples = list_samples(dataset)
    train = [one for one in samples if "group2" not in groups_of(one)]
    assert set(unseen(samples, train)) == {"group2"}
    assert all(
        one.category != AREA_CATEGORY for one in unseen(samples, train)["group2"]
    )
    one_source = [one for one in samples if one.source == "lab"]
    assert set(unseen(samples, one_source)) == {"crops"}


@pytest.mark.parametrize(
    ("rows", "left_out", "said"),
    [(["nothing"], ["crops"], "no row nothing"), (["plain"], ["cric-9"], "cric-9")],
)
def test_a_row_or_group_that_is_not_there_is_named(
    dataset: Dataset, tmp_path: Path, rows: list[str], left_out: list[str], said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        run_ablation(dataset, start, tmp_path, Study(rows, left_out, 1))


def test_the_table_is_taken_up_where_it_stopped(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "ONE_SOURCE", "lab")
    monkeypatch.setattr(
        experiment,
        "ROWS",
        {"plain": Row("plain", 32, all_sources=False), "all": Row("all", 32)},
    )
    monkeypatch.setattr(experiment, "RESAMPLES", 20)
    starts = []

    def counted() -> HighResolution:
        starts.append(1)
        return start()

    def run(*left_out: str) -> list[dict[str, object]]:
        return run_ablation(
            dataset, counted, tmp_path, Study(["plain", "all"], left_out, 1)
        )

    first = run("crops")
    assert {each["views"] for each in first} == {"plain", "all"}
    assert {(each["row"], each["group"]) for each in first} == {
        ("plain", "crops"),
        ("all", "crops"),
    }
    assert len(starts) == 2
    assert run("crops") == first
    assert len(starts) == 2
    # Another group left out is another training; what was never seen is judged by both.
    table = run("crops", "group1")
    assert len(starts) == 4
    assert {each["trainings"] for each in table if each["row"] == "plain"} == {1, 2}


@pytest.fixture
def dataset(lab_folder: Path) -> Dataset:
    return read_dataset(lab_folder)


def start() -> HighResolution:
    torch.manual_seed(1)
    return HighResolution("resnet18")
