import csv
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.cascade.tile import tile_of_crop
from armicro.errors import SourceError
from armicro.metrics import Judged, judge
from armicro.table import CellRow, CropRow, FieldRow, read_crops, read_fields
from armicro.validate.cells import (
    look_at_cells,
    look_at_crops,
    tiles_of_points,
)
from armicro.validate.fields import SeenField, field_figures, judge_fields
from armicro.validate.folder import plot_scores


class DarknessEngine:
    """Stands in for HR: a lesion is what is dark in the middle."""

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tiles = inputs["tiles"]
        middle = tiles[:, 120:136, 120:136].mean(axis=(1, 2, 3))
        features = np.zeros((len(tiles), 2048), np.float32)
        return {
            "probability": (1 - middle / 255).astype(np.float32),
            "features": features,
        }

    def close(self) -> None:
        pass


def seen(
    findings: list[tuple[float, float, float]],
    lesions: list[tuple[float, float]],
    name: str = "f",
    normals: int = 0,
) -> SeenField:
    places = np.array([f[:2] for f in findings], float).reshape(-1, 2)
    return SeenField(
        name,
        name,
        places,
        np.array([f[2] for f in findings], float),
        np.array(lesions, float).reshape(-1, 2),
        normals,
        0.25,
    )


def test_a_lesion_in_the_tile_of_a_called_finding_is_found() -> None:
    field = seen([(100, 100, 0.9)], [(130, 100), (132, 100)])
    assert field.found.tolist() == [True, False]


def test_a_finding_below_half_finds_nothing() -> None:
    assert seen([(100, 100, 0.49)], [(100, 100)]).found.tolist() == [False]


def test_the_top_rate_takes_as_many_findings_as_lesions() -> None:
    field = seen([(0, 0, 0.9), (500, 500, 0.8), (100, 0, 0.7)], [(0, 0), (100, 0)])
    assert field.top_rate == 0.5
    assert seen([(0, 0, 0.9)], [(0, 0), (100, 0)]).top_rate == 0.5
    assert seen([(0, 0, 0.9)], []).top_rate is None


def test_figures_over_fields_are_those_of_the_design() -> None:
    fields = [
        seen([(0, 0, 0.9), (300, 0, 0.6)], [(0, 0), (200, 0)], "a"),
        seen([(0, 0, 0.2)], [], "b"),
        seen([(0, 0, 0.8)], [(10, 10)], "c"),
    ]
    table = field_figures(fields)
    assert table["lesion_recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert table["findings_per_field"] == 1.0
    assert table["top10_tpr"] == pytest.approx((0.5 + 1) / 2)
    assert table["candidates_per_field"] == pytest.approx(4 / 3, abs=1e-3)
    assert judge_fields(fields).lesion.tolist() == [True, False, True]


def test_false_boxes_are_counted_by_field_area_and_normal_cell() -> None:
    fields = [
        seen([(0, 0, 0.9), (300, 0, 0.6), (600, 0, 0.4)], [(0, 0)], "a", normals=40),
        seen([(0, 0, 0.7)], [], "b", normals=60),
    ]
    table = field_figures(fields)
    assert table["false_per_field"] == 1.0
    assert table["false_per_100_normals"] == 2.0
    assert table["false_per_mm2"] == pytest.approx(2 / (2 * 0.25))
    assert table["normals"] == 100


FROC = [
    # false boxes allowed a field, lesions found: 0.9, 0.8 and 0.3 (the fourth never),
    # false findings at 0.85, 0.5 and 0.2 in two fields
    (1 / 8, 0.25),
    (1 / 2, 0.5),
    (1, 0.75),
    (4, 0.75),
]


@pytest.mark.parametrize(("allowed", "recall"), FROC)
def test_recall_where_so_many_false_boxes_are_allowed(
    allowed: float, recall: float
) -> None:
    fields = [
        seen([(0, 0, 0.9), (300, 0, 0.85), (600, 0, 0.3)], [(0, 0), (600, 0)], "a"),
        seen([(0, 0, 0.8), (300, 0, 0.5), (900, 0, 0.2)], [(9, 9), (2000, 0)], "b"),
    ]
    rows = {row["false_per_field"]: row for row in field_figures(fields)["froc"]}
    assert rows[allowed]["recall"] == recall
    assert rows[allowed]["recall_interval"].startswith("none: rests on 2 groups")


def test_no_field_has_figures_of_nothing() -> None:
    table = field_figures([])
    assert {row["recall"] for row in table["froc"]} == {None}
    assert table["false_per_mm2"] is None


def test_a_crop_is_scaled_and_centred() -> None:
    crop = np.full((100, 80, 3), 220, np.uint8)
    cv2.circle(crop, (40, 50), 10, (20, 20, 20), -1)
    tile = tile_of_crop(crop, 0.486)
    assert tile.shape == (256, 256, 3)
    dark = np.argwhere(tile.mean(axis=2) < 100)
    np.testing.assert_allclose(dark.mean(axis=0), (127.5, 127.5), atol=1.5)
    assert len(dark) == pytest.approx(np.pi * 20**2, rel=0.15)
    assert tile[0, 0].tolist() == [220, 220, 220]


def test_tiles_of_points_show_glass_beyond_the_field() -> None:
    field = np.full((300, 300, 3), 240, np.uint8)
    cv2.circle(field, (4, 4), 8, (30, 30, 30), -1)
    tile = tiles_of_points(field, 0.243, [(4.0, 4.0)])[0]
    assert tile[128, 128].max() < 60
    assert tile[10, 10].min() >= 235


def test_cells_of_fields_are_judged_by_their_class(tmp_path: Path) -> None:
    field = np.full((300, 400, 3), 240, np.uint8)
    cv2.circle(field, (100, 100), 20, (20, 20, 20), -1)
    cv2.imwrite(str(tmp_path / "a.png"), field)
    row = FieldRow("a.png", tmp_path / "a.png", 0.25, "val", "g")
    cells = (CellRow("a.png", "HSIL", 100, 100), CellRow("a.png", "NILM", 300, 200))
    looked = look_at_cells(DarknessEngine(), [(row, cells)])
    assert looked.judged.lesion.tolist() == [True, False]
    assert looked.judged.score[0] > 0.8 > 0.2 > looked.judged.score[1]
    with pytest.raises(SourceError, match="no cell"):
        look_at_cells(DarknessEngine(), [(row, ())])


def test_crops_are_read_beside_their_table_and_grouped(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20, 3), 10, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((20, 20, 3), 250, np.uint8))
    table = tmp_path / "cells.csv"
    absolute = str(tmp_path / "b.png")
    table.write_text(f"file,abnormal,case_id\na.png,1,k\n{absolute},0,k\n")
    crops = read_crops(table)
    looked = look_at_crops(DarknessEngine(), crops, 0.243)
    assert looked.judged.group.tolist() == ["k", "k"]
    assert looked.judged.score[0] > looked.judged.score[1]


def test_no_crops_and_no_fields_are_no_lesions() -> None:
    looked = look_at_crops(DarknessEngine(), [], 0.243)
    for judged in (looked.judged, judge_fields([])):
        assert judged.lesion.dtype == bool
        assert judge(judged)["n_negative"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\na.png\n", "no column abnormal"),
        ("file,abnormal\na.png,yes\n", "expected 0 or 1"),
        ("file,abnormal\n", "no rows"),
    ],
)
def test_a_bad_table_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=said):
        read_crops(path)


def test_an_unreadable_crop_is_named(tmp_path: Path) -> None:
    row = CropRow("x.png", tmp_path / "x.png", lesion=True, category="", group="g")
    with pytest.raises(SourceError, match=r"x\.png"):
        look_at_crops(DarknessEngine(), [row], 0.2)


def test_fields_of_an_unknown_split_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "fields.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("image", "um_per_px", "split"), ("a.png", 0.25, "train")])
    assert len(read_fields(path, split="train")) == 1
    with pytest.raises(SourceError, match="no field of split"):
        read_fields(path, split="test")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_plots_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = Judged(
        np.array([0.1, 0.4, 0.6, 0.9]),
        np.array([False, True, False, True]),
        np.array(list("abcd")),
        np.array(list("nlnl")),
    )
    plot_scores(rows, tmp_path, "title")
    names = {path.name for path in tmp_path.glob("*.png")}
    wanted = {"roc", "precision_recall", "calibration", "histogram"}
    assert names == {f"{name}.png" for name in wanted}
