"""What LR found, as samples that HR's last stage draws."""

from pathlib import Path

import numpy as np
import pytest

from armicro.errors import EngineError
from armicro.train.data import AnnotatedField, read_dataset
from armicro.train.finds import FOUND, Finds, read_found, samples_of, write_found
from armicro.train.recipe import training_sampler
from armicro.train.sample import BalancedSampler, Sample

UM_PER_PX = 0.5


def picture(name: str) -> AnnotatedField:
    points = np.array([[100.0, 100.0], [300.0, 300.0]])
    pixels = np.full((400, 400, 3), 235, np.uint8)
    return AnnotatedField(
        name, "lab", name, "train", pixels, UM_PER_PX, points, ("HSIL", "NILM")
    )


def finds(rows: list[tuple[bool, int, tuple[float, float]]]) -> Finds:
    return Finds(
        np.array([row[0] for row in rows]),
        np.array(["lab/one/0"] * len(rows)),
        np.array([row[1] for row in rows]),
        np.array([row[1] % 2 for row in rows]),
        np.array([row[2] for row in rows]),
        np.full(len(rows), 0.1),
        tiles=np.zeros((len(rows), 256, 256, 3), np.uint8),
    )


def test_a_lesion_at_the_rim_of_the_view_is_no_sample() -> None:
    rows = [
        (True, 0, (52.0, 50.0)),  # 2 um beside the lesion
        (True, 1, (50.0, 67.0)),  # 17 um: the cascade's lesion, HR may not see it
        (False, 3, (150.0, 150.0)),  # of the second round's second field
    ]
    found = samples_of(finds(rows), [picture("a"), picture("b")])
    assert [(one.group, one.lesion, one.point_px) for one in found] == [
        ("a", True, (104.0, 100.0)),
        ("b", False, (300.0, 300.0)),
    ]


def test_what_was_found_comes_back_from_its_file(tmp_path: Path) -> None:
    pictures = [picture("a"), picture("b")]
    found = samples_of(finds([(False, 1, (150.0, 150.0))]), pictures)
    write_found(tmp_path / "found.csv", found)
    (back,) = read_found(tmp_path / "found.csv", pictures)
    assert back.picture is pictures[1]
    assert (back.point_px, back.lesion) == ((300.0, 300.0), False)
    with pytest.raises(EngineError, match="train lr again"):
        read_found(tmp_path / "found.csv", [picture("other")])
    with pytest.raises(EngineError, match="train lr first"):
        read_found(tmp_path / "none.csv", pictures)


def test_stages_without_the_finds_draw_as_if_there_were_none(lab_folder: Path) -> None:
    dataset = read_dataset(lab_folder)
    where = dataset.fields[0]
    found = [
        Sample(FOUND, FOUND, lesion, "g", where, (9.0, 9.0)) for lesion in (False, True)
    ]

    def drawn(sampler: BalancedSampler, *without: str) -> list[int]:
        numbers = sampler.draw(60, np.random.default_rng(3), without=without)
        return [int(number) for number in numbers]

    plain, both = training_sampler(dataset), training_sampler(dataset, found)
    assert drawn(both, FOUND) == drawn(plain)
    assert max(drawn(both)) >= len(plain.samples)
