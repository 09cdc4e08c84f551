import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from armicro import table
from armicro.errors import SourceError
from armicro.train.augment import augment
from armicro.train.data import read_dataset
from armicro.train.sample import (
    AREA_CATEGORY,
    BalancedSampler,
    TilePlan,
    cut_tile,
    cut_tile_with_lesions,
    find_lesion_free,
    list_samples,
)
from armicro.verdict import HR_UM_PER_PX

PLAN = TilePlan(96, HR_UM_PER_PX, 4.0)


def test_every_source_of_either_form_is_read(lab_folder: Path) -> None:
    dataset = read_dataset(lab_folder)
    assert len(dataset.fields) == 6
    assert len(dataset.crops) == 24
    assert {crop.source for crop in dataset.crops} == {"crops"}


def test_no_group_lies_in_both_splits(lab_folder: Path) -> None:
    dataset = read_dataset(lab_folder)
    for members in (dataset.fields, dataset.crops):
        train = {one.group for one in members if one.split == "train"}
        val = {one.group for one in members if one.split == "val"}
        assert train
        assert val
        assert not train & val


def with_splits(lab_folder: Path, folder: Path, splits: Sequence[str]) -> Path:
    """Copy the source of fields, with other splits; return its folder."""
    source = folder / "lab"
    shutil.copytree(lab_folder / "lab", source)
    with (source / "fields.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row, split in zip(rows, splits, strict=True):
        row["split"] = split
    with (source / "fields.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return source


def test_fields_of_another_split_are_left_to_the_user(
    lab_folder: Path, tmp_path: Path
) -> None:
    splits = ["train", "", "val", "test", "held out", "train"]
    source = with_splits(lab_folder, tmp_path, splits)
    read = {field.name: field.split for field in read_dataset(tmp_path).fields}
    assert read == {
        "field0.png": "train",
        "field1.png": "train",
        "field2.png": "val",
        "field5.png": "train",
    }
    chosen = table.read_fields(source / "fields.csv", split="test")
    assert [field.image for field in chosen] == ["field3.png"]


def test_fields_that_nobody_annotated_give_no_lesion_free_area(
    lab_folder: Path, tmp_path: Path
) -> None:
    splits = ["unlabelled", "train", "train", "Unlabeled", "val", "val"]
    source = with_splits(lab_folder, tmp_path, splits)
    rows = (source / "cells.csv").read_text().splitlines(keepends=True)
    lost = [row for row in rows if not row.startswith("field1.png")]
    (source / "cells.csv").write_text("".join(lost))
    dataset = read_dataset(tmp_path)
    names = {"field2.png", "field4.png", "field5.png"}
    assert {field.name for field in dataset.fields} == names
    samples = list_samples(dataset)
    assert {one.group for one in samples if one.category == AREA_CATEGORY} == names


@pytest.mark.parametrize(
    ("split", "wanted"),
    [("Val", "val"), ("validation", "val"), (" val", "val"), ("TRAIN", "train")],
)
def test_another_word_for_a_split_is_told_with_its_row(
    lab_folder: Path, tmp_path: Path, split: str, wanted: str
) -> None:
    with_splits(lab_folder, tmp_path, ["train", "train", split, "val", "val", "val"])
    said = rf"fields\.csv: split of field2\.png is '{split}'; expected '{wanted}', or"
    with pytest.raises(SourceError, match=said):
        read_dataset(tmp_path)


def test_a_folder_without_sources_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found no source"):
        read_dataset(tmp_path)


def test_a_missing_picture_is_named(lab_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "crops"
    source.mkdir()
    text = (lab_folder / "crops" / "cells.csv").read_text()
    (source / "cells.csv").write_text(text)
    with pytest.raises(SourceError, match=r"crop0\.png"):
        read_dataset(tmp_path)


def test_draws_are_balanced_over_sources_and_labels(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder))
    sampler = BalancedSampler(samples, source_weights={"lab": 0.5, "crops": 0.5})
    drawn = [samples[i] for i in sampler.draw(2000, np.random.default_rng(1))]
    lesions = np.mean([sample.lesion for sample in drawn])
    crops = np.mean([sample.source == "crops" for sample in drawn])
    assert lesions == pytest.approx(0.5, abs=0.05)
    assert crops == pytest.approx(0.5, abs=0.05)


def test_a_waiting_source_is_never_drawn(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder))
    sampler = BalancedSampler(samples, source_weights={"lab": 0.5, "crops": 0.5})
    drawn = sampler.draw(300, np.random.default_rng(1), without=("crops",))
    assert {samples[i].source for i in drawn} == {"lab"}


def test_hard_samples_come_more_often(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder))
    sampler = BalancedSampler(samples, source_weights={"lab": 1.0, "crops": 1.0})
    sampler.difficulty[0] = 10.0
    drawn = sampler.draw(2000, np.random.default_rng(1))
    alike = [i for i, s in enumerate(samples) if s.category == samples[0].category]
    others = np.mean([np.sum(drawn == i) for i in alike if i])
    assert np.sum(drawn == 0) > 4 * others


def test_a_seed_names_a_tile(lab_folder: Path) -> None:
    sample = list_samples(read_dataset(lab_folder))[0]
    one = cut_tile(sample, PLAN, np.random.default_rng(5))
    two = cut_tile(sample, PLAN, np.random.default_rng(5))
    other = cut_tile(sample, PLAN, np.random.default_rng(6))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_an_unaugmented_tile_shows_its_nucleus_in_the_middle(lab_folder: Path) -> None:
    sample = list_samples(read_dataset(lab_folder))[0]
    plan = TilePlan(96, HR_UM_PER_PX, 0.0, augmented=False)
    tile = cut_tile(sample, plan, np.random.default_rng(0))
    assert tile.shape == (96, 96, 3)
    assert tile[48, 48].max() < 90
    assert tile[2, 2].min() > 200


def test_lesion_places_follow_turn_flip_scale_and_shift(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder))
    sample = next(s for s in samples if s.lesion and s.source == "lab")
    plan = TilePlan(160, HR_UM_PER_PX, 8.0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        # Geometry is drawn before colour, so places are those of the augmented tile.
        tile, places = cut_tile_with_lesions(sample, plan, rng)
        x, y = np.rint(places[0]).astype(int)
        darkness = 255 - tile.mean(axis=2)
        near = darkness[y - 3 : y + 4, x - 3 : x + 4].mean()
        assert near > np.percentile(darkness, 80)


def test_an_area_holds_no_lesion(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder))
    field = next(s for s in samples if s.category == AREA_CATEGORY).picture
    plan = TilePlan(64, HR_UM_PER_PX, 0.0)
    rng = np.random.default_rng(3)
    for _ in range(20):
        place = find_lesion_free(field, plan, rng)  # type: ignore[arg-type]
        gaps = np.abs(field.points_px[field.lesion] - place).max(axis=1)  # type: ignore[union-attr]
        assert gaps.min() > 30


def test_augmentation_keeps_shape_and_type() -> None:
    tile = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(40):
        changed = augment(tile, rng)
        assert changed.shape == tile.shape
        assert changed.dtype == np.uint8
