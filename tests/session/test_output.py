"""The session folder holds what DESIGN's table says, and only whole files."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import pytest

from armicro.errors import SourceError
from armicro.session.output import write_outputs
from armicro.slide.journal import Journal


@pytest.fixture
def folder(finished: Journal, tmp_path: Path) -> Path:
    write_outputs(tmp_path, finished)
    return tmp_path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_of_the_table_is_there(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {
        "slide.json", "findings.csv", "findings.geojson", "top", "latency.csv",
        "session.sqlite", "report.html",
    }  # fmt: skip
    assert not list(folder.rglob("*.part"))


def test_slide_json_holds_the_score_and_its_provenance(folder: Path) -> None:
    summary = json.loads((folder / "slide.json").read_text())
    expected: dict[str, Any] = {
        "slide": "<script>alert('name')</script>",
        "score": 0.65,
        "scores": {"10": [0.9, 0.8], "20": [0.7, 0.6], "30": [0.5, 0.4]},
        "coverage": 0.97,
        "coverage_text": "97 % of the cell area analysed",
        "fields": 6,
        "fields_unreadable": 1,
        "fields_dropped": 3,
        "findings": 4,
        "megapixels": 20.5,
        "wall_s": 40.0,
        "inference_s": 12.0,
        "finished": True,
        "engine": {"set": "test-net", "hash": "abc", "backend": "recorded"},
        "rig": {"name": "bench", "sha256": "def", "certificate": None},
        "version": "0.0.7",
    }
    assert summary == expected


def test_findings_csv_is_ranked_and_has_its_columns(folder: Path) -> None:
    rows = rows_of(folder / "findings.csv")
    assert list(rows[0]) == [
        "rank", "x_um", "y_um", "width_um", "height_um", "lr_probability",
        "hr_probability", "field_seq",
    ]  # fmt: skip
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[1] == {
        "rank": "2", "x_um": "595.000", "y_um": "302.000", "width_um": "62.000",
        "height_um": "62.000", "lr_probability": "0.800000",
        "hr_probability": "0.750000", "field_seq": "1",
    }  # fmt: skip


def test_geojson_boxes_are_in_the_slide_files_pixels(folder: Path) -> None:
    collection = json.loads((folder / "findings.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    first = collection["features"][0]
    # Centre (100, 300) µm, 62 µm wide, at 0.5 µm/px.
    corners = [[138, 538], [262, 538], [262, 662], [138, 662], [138, 538]]
    assert first["geometry"] == {"type": "Polygon", "coordinates": [corners]}
    properties = first["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["classification"]["name"] == "Suspicious"
    assert properties["measurements"]["HR probability"] == 0.99984
    assert collection["features"][3]["properties"]["classification"]["name"] == (
        "Candidate"
    )
    assert len({feature["id"] for feature in collection["features"]}) == 4


def test_top_crops_are_named_by_rank_and_probability(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "top").iterdir())
    assert names == ["01_9998.jpg", "02_7500.jpg", "03_2000.jpg"]
    crop = cv2.imread(str(folder / "top" / "02_7500.jpg"))
    assert crop is not None
    assert crop.shape == (256, 256, 3)
    assert crop[128, 128].tolist() == pytest.approx([191, 100, 200], abs=3)


def test_latency_csv_has_a_row_a_field(folder: Path) -> None:
    rows = rows_of(folder / "latency.csv")
    assert [row["seq"] for row in rows] == [str(seq) for seq in range(6)]
    assert rows[1] == {
        "seq": "1", "taken_ns": "2000000000", "received_ns": "2020000000",
    }  # fmt: skip


def test_writing_twice_gives_the_same_files_and_no_old_crops(
    folder: Path, finished: Journal
) -> None:
    def content() -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith("session.sqlite")
        }

    before = content()
    (folder / "top" / "07_1234.jpg").write_bytes(b"of an earlier run")
    (folder / "top" / "notes.txt").write_text("a user's own")
    write_outputs(folder, finished)
    (folder / "top" / "notes.txt").unlink()
    assert content() == before


def test_a_crashed_session_still_gives_every_file(
    journal: Journal, tmp_path: Path
) -> None:
    write_outputs(tmp_path, journal)
    summary = json.loads((tmp_path / "slide.json").read_text())
    assert (summary["score"], summary["wall_s"], summary["finished"]) == (
        None, None, False,
    )  # fmt: skip
    assert (summary["fields"], summary["findings"]) == (6, 4)


def test_an_empty_session_still_gives_every_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        write_outputs(tmp_path, journal)
    assert rows_of(tmp_path / "findings.csv") == []
    assert (tmp_path / "latency.csv").read_text() == "seq\n"
    assert re.search("Nothing was found", (tmp_path / "report.html").read_text())


def test_a_folder_that_cannot_be_written_is_a_source_error(
    finished: Journal, tmp_path: Path
) -> None:
    (tmp_path / "top").write_text("a file where a folder belongs")
    with pytest.raises(
        SourceError, match=r"top.*check free space and write permission"
    ):
        write_outputs(tmp_path, finished)
