import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.table import split_of_group
from armicro.validate.cells import join, look_at_sources, read_scales, source_tables
from armicro.validate.folder import plot_features


class MiddleEngine:
    """Stands in for HR: a lesion is what is dark in the middle."""

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        middle = inputs["tiles"][:, 126:130, 126:130].mean(axis=(1, 2, 3))
        features = np.zeros((len(middle), 2048), np.float32)
        features[:, 0] = middle
        return {"probability": 1 - middle / 255, "features": features}

    def close(self) -> None:
        pass


@pytest.fixture
def crops_folder(tmp_path: Path) -> Path:
    """Twenty crops of two sources, lesions dark, a group each."""
    for source in ("one", "two"):
        (tmp_path / source).mkdir()
        rows = [("file", "class", "abnormal", "case_id")]
        for number in range(20):
            dark = number % 2
            pixels = np.full((40, 40, 3), 30 if dark else 220, np.uint8)
            cv2.imwrite(str(tmp_path / source / f"{number}.png"), pixels)
            rows.append((f"{number}.png", f"c{dark}", str(dark), f"case{number}"))
        with (tmp_path / source / "cells.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return tmp_path


def arguments(folder: Path, scales: str, *, split: str = "train") -> argparse.Namespace:
    return argparse.Namespace(data=folder, split=split, crop_scales=scales)


def add_fields(folder: Path, split: str, image: str = "a.png") -> None:
    """Add a source of one field with one nucleus."""
    source = folder / "fields"
    source.mkdir()
    cv2.imwrite(str(source / "a.png"), np.full((300, 300, 3), 220, np.uint8))
    (source / "fields.csv").write_text(f"image,um_per_px,split\na.png,0.25,{split}\n")
    cells = f"image,bethesda,x_px,y_px\n{image},HSIL,99,99\n"
    (source / "cells.csv").write_text(cells)


def test_each_source_has_its_table_and_only_the_wanted_split(
    crops_folder: Path,
) -> None:
    sources = look_at_sources(
        MiddleEngine(), arguments(crops_folder, "one=0.2,two=0.2")
    )
    wanted = sum(split_of_group(f"case{n}", 15) == "train" for n in range(20))
    tables = source_tables(sources)
    assert {name: table["auc"] for name, table in tables.items()} == {
        "one": 1.0,
        "two": 1.0,
    }
    assert tables["one"]["n_positive"] + tables["one"]["n_negative"] == wanted
    assert set(tables["two"]["by_class"]) == {"c0", "c1"}
    whole = join(sources)
    assert len(whole.name) == len(set(whole.judged.group.tolist())) == 2 * wanted


def test_a_source_of_unknown_scale_is_refused(crops_folder: Path) -> None:
    with pytest.raises(SourceError, match="give --crop-scales two="):
        look_at_sources(MiddleEngine(), arguments(crops_folder, "one=0.2"))


def test_features_are_drawn_by_source(crops_folder: Path, tmp_path: Path) -> None:
    whole = join(
        look_at_sources(MiddleEngine(), arguments(crops_folder, "one=0.2,two=0.2"))
    )
    path = tmp_path / "tsne.png"
    plot_features(whole.features, whole.judged, path, "drawn", label=whole.judged.group)
    drawn = cv2.imread(str(path))
    assert drawn is not None
    assert drawn.std() > 5


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_a_scale_of_crops_that_no_picture_has_is_refused(value: str) -> None:
    with pytest.raises(SourceError, match=f"--crop-scales: two is {value}; expected"):
        read_scales(f"one=0.2,two={value}")


def test_a_source_without_held_out_cells_is_left_out_with_a_note(
    crops_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_fields(crops_folder, "val")
    few = crops_folder / "one" / "cells.csv"
    held = next(n for n in range(20) if split_of_group(f"case{n}", 15) == "val")
    lines = few.read_text().splitlines()
    few.write_text("\n".join([lines[0], lines[held + 1]]))
    sources = look_at_sources(MiddleEngine(), arguments(crops_folder, "two=0.2"))
    assert set(sources) == {"two"}
    notes = capsys.readouterr().err.splitlines()
    for name in ("fields", "one"):
        said = f"{crops_folder / name / 'cells.csv'}: no cell is of split 'train'; "
        assert sum(note.startswith(said) for note in notes) == 1


def test_no_source_with_held_out_cells_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_fields(tmp_path, "train")
    with pytest.raises(SourceError, match="no source has cells of split 'val'; exp"):
        look_at_sources(MiddleEngine(), arguments(tmp_path, "", split="val"))
    assert "left out" in capsys.readouterr().err


def test_nuclei_that_lie_in_no_field_are_an_error_and_no_note(tmp_path: Path) -> None:
    add_fields(tmp_path, "val", image="b.png")
    with pytest.raises(SourceError, match="no cell of CELLS"):
        look_at_sources(MiddleEngine(), arguments(tmp_path, "", split="val"))
