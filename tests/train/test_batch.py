from pathlib import Path

import numpy as np

from armicro.train.data import read_dataset
from armicro.train.sample import (
    LR_UM_PER_PX,
    BalancedSampler,
    TilePlan,
    cut_mosaic,
    draw_batch,
    label,
    list_samples,
)

PLAN = TilePlan(128, LR_UM_PER_PX, 4.0, augmented=False, by_cell=False, mosaic=0.5)


def sampler(folder: Path) -> BalancedSampler:
    samples = list_samples(read_dataset(folder))
    return BalancedSampler(samples, source_weights={"lab": 0.5, "crops": 0.5})


def test_a_lesion_of_a_mosaic_lies_where_its_place_says(lab_folder: Path) -> None:
    seen = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        tile, places = cut_mosaic(sampler(lab_folder), PLAN, rng)
        for x, y in np.rint(places).astype(int).clip(0, 127):
            assert tile[y, x].max() < 120
            seen += 1
    assert seen > 5


def test_half_of_the_tiles_hold_a_lesion_and_the_label_says_so(
    lab_folder: Path,
) -> None:
    rng = np.random.default_rng(2)
    batch = draw_batch(sampler(lab_folder), PLAN, 120, rng)
    sure = batch.weight > 0
    assert 0.3 < batch.lesion[sure].mean() < 0.8
    assert 0.3 < np.mean(batch.drawn < 0) < 0.9
    for place in np.flatnonzero(sure):
        expected, _ = label(batch.places[place], PLAN.tile_px)
        assert batch.lesion[place] == expected


def test_a_lesion_on_the_rim_leaves_the_tile_out_of_the_loss() -> None:
    assert label(np.array([[2.0, 60.0]]), 128) == (False, False)
    assert label(np.array([[60.0, 60.0], [2.0, 60.0]]), 128) == (True, True)
    assert label(np.array([[300.0, 60.0]]), 128) == (False, True)
