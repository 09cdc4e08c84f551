"""What the LR network hands over, by what lies there."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from armicro.engine import Array
from armicro.engine.manifest import Manifest
from armicro.train.assemble import set_tables
from armicro.train.data import AnnotatedField, read_dataset
from armicro.train.finds import Candidates, cut_samples, find_in_fields, look_at
from armicro.train.sample import list_samples

UM_PER_PX = 0.486


class Pointing:
    """An LR network that points at three cells of the location map of every tile."""

    def __init__(self, cells: list[tuple[int, int]]) -> None:
        self.cells = cells

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(inputs["tiles"])
        heat = np.zeros((count, 16, 16), np.float32)
        for row, column in self.cells:
            heat[:, row, column] = 0.9
        return {"probability": np.ones((count, 1, 1), np.float32), "location": heat}

    def close(self) -> None:
        pass


def candidates(cells: list[tuple[int, int]]) -> Candidates:
    tables = set_tables({"peak_threshold": 0.1, "whole_max": 0.0}, "fp32")
    head = {"name": "t", "version": "0", "created": "", "files": {}}
    return Candidates(msgspec.convert(head | tables, Manifest), Pointing(cells))


def picture() -> AnnotatedField:
    """A lesion at the middle of map cell (4, 4), a normal cell at (12, 12)."""
    pixels = np.full((512, 512, 3), 235, np.uint8)
    points = np.array([[4.5 * 32, 4.5 * 32], [12.5 * 32, 12.5 * 32]])
    for x, y in points.astype(int):
        pixels[y - 12 : y + 12, x - 12 : x + 12] = 60
    return AnnotatedField(
        "a", "lab", "one", "train", pixels, UM_PER_PX, points, ("HSIL", "NILM")
    )


def test_a_find_is_a_lesion_by_what_lies_in_the_middle_of_its_tile() -> None:
    # On the lesion, beside it (1.6 cells are 25 um: neither), on the normal cell.
    networks = candidates([(4, 4), (12, 12)])
    finds = find_in_fields(networks, [picture()], rounds=0, seed=1)
    assert sorted(finds.lesion.tolist()) == [False, True]
    assert set(finds.picture.tolist()) == {0}
    field = picture()
    places = field.points_px * field.um_per_px
    assert sorted(finds.xy_um.tolist()) == sorted(places.tolist())
    at = finds.xy_um[finds.lesion][0]
    assert at == pytest.approx(np.full(2, 4.5 * 32 * UM_PER_PX), abs=1.0)
    beside = candidates([(4, 6), (12, 12), (4, 4)])
    assert find_in_fields(beside, [picture()], rounds=0, seed=1).lesion.sum() == 1
    assert finds.tiles.shape == (2, 256, 256, 3)


def test_every_round_shows_a_group_in_another_stain_and_alike() -> None:
    fields = [picture(), picture()]
    finds = find_in_fields(candidates([(4, 4), (12, 12)]), fields, rounds=1, seed=1)
    assert set(finds.group.tolist()) == {"lab/one/0", "lab/one/1"}
    assert len(set(finds.spot.tolist())) == 4
    plain, stained = (finds.tiles[finds.group == f"lab/one/{k}"] for k in (0, 1))
    assert (plain != stained).any()
    glass = stained[:, 4, 4].astype(int)
    assert np.ptp(glass, axis=0).max() <= 12


def test_annotated_cells_stand_in_for_a_network_that_finds_nothing() -> None:
    finds = find_in_fields(candidates([]), [picture()], rounds=0, seed=1)
    assert sorted(finds.lesion.tolist()) == [False, True]
    assert set(finds.picture.tolist()) == {0}
    field = picture()
    places = field.points_px * field.um_per_px
    assert sorted(finds.xy_um.tolist()) == sorted(places.tolist())


def test_looking_keeps_order_and_labels(lab_folder: Path) -> None:
    samples = list_samples(read_dataset(lab_folder), areas=False)[:20]
    finds = cut_samples(samples, rounds=1, seed=2)
    assert len(finds.tiles) == 40

    def look(tiles: Array) -> tuple[Array, Array]:
        mean = tiles.mean(axis=(1, 2, 3)).astype(np.float32)
        return mean, mean[:, None]

    pool = look_at(finds, look)
    assert pool.probability == pytest.approx(finds.tiles.mean(axis=(1, 2, 3)), rel=1e-4)
    assert (pool.lesion == finds.lesion).all()
