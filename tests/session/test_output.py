"""The session folder holds what DESIGN's table says, and only whole files."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.field import Place
from armicro.report import FieldReport, Finding, Observation
from armicro.session.output import JOURNAL, write_outputs
from armicro.session.record import SlideCard
from armicro.slide.decision import Decision
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
        "hr_probability", "field_seq", "verdict", "category",
    ]  # fmt: skip
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[1] == {
        "rank": "2", "x_um": "595.000", "y_um": "302.000", "width_um": "62.000",
        "height_um": "62.000", "lr_probability": "0.800000",
        "hr_probability": "0.750000", "field_seq": "1", "verdict": "", "category": "",
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


def _find(journal: Journal, probability: float) -> None:
    """A cell at (50, 50) µm, in the slide's first field."""
    finding = Finding(50.0, 50.0, 62.0, 62.0, 0.8, probability, 0)
    crop = np.full((256, 256, 3), 200, np.uint8)
    seen = Observation(finding, np.zeros(2048, np.float32), crop)
    place = Place(0.0, 0.0, 0.0, "slide_file")
    report = FieldReport(
        0, "analysed", place=place, width_um=600.0, height_um=600.0, findings=(finding,)
    )
    journal.write(report, [seen], {})


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (None, [38, 38, 162, 162]),
        # The scanned part begins 20 px right and 10 px down.
        ((20, 10, 500, 500), [18, 28, 142, 152]),
        # The box reaches over the edges of what is shown.
        ((60, 50, 90, 40), [0, 0, 90, 40]),
        ((170, 10, 500, 500), None),
    ],
)
def test_geojson_is_in_the_pixels_that_viewers_show(
    shown: tuple[int, int, int, int] | None, expected: list[int] | None, tmp_path: Path
) -> None:
    with Journal(tmp_path / JOURNAL) as journal:
        journal.set("slide", SlideCard(name="s", pixel_um=0.5, shown_xywh_px=shown))
        _find(journal, 0.9978)
        write_outputs(tmp_path, journal)
    features = json.loads((tmp_path / "findings.geojson").read_text())["features"]
    rings = [feature["geometry"]["coordinates"][0] for feature in features]
    assert [[*ring[0], *ring[2]] for ring in rings] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("probability", "digits"), [(0.9978, "997"), (0.57, "570"), (0.3219, "321")]
)
def test_every_place_writes_the_same_digits(
    probability: float, digits: str, tmp_path: Path
) -> None:
    with Journal(tmp_path / JOURNAL) as journal:
        _find(journal, probability)
        write_outputs(tmp_path, journal)
    (row,) = rows_of(tmp_path / "findings.csv")
    (crop,) = (tmp_path / "top").iterdir()
    (shape,) = json.loads((tmp_path / "findings.geojson").read_text())["features"]
    assert row["hr_probability"].startswith(f"0.{digits}")
    assert crop.name.startswith(f"01_{digits}")
    assert shape["properties"]["name"] == f"#1  0.{digits}"
    page = (tmp_path / "report.html").read_text()
    assert f"0.{digits}<" in page
    assert f"Finding 1: 0.{digits}<" in page


OUTPUTS = ["slide.json", ".slide.json.part", "report.html", "findings.csv"]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_link_in_the_place_of_an_output_is_replaced_and_its_target_stays(
    tmp_path: Path, name: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    with Journal(folder / "session.sqlite") as journal:
        write_outputs(folder, journal)
    assert precious.read_text() == "mine"
    assert not (folder / name).is_symlink()


def test_crops_are_not_written_into_a_folder_that_a_link_names(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "01_0990.jpg").write_text("mine")
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "top").symlink_to(elsewhere)
    with (
        Journal(folder / "session.sqlite") as journal,
        pytest.raises(SourceError, match=r"^[^\n]*a link[^\n]*$"),
    ):
        write_outputs(folder, journal)
    assert [path.read_text() for path in elsewhere.iterdir()] == ["mine"]


def test_a_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session.sqlite").symlink_to(tmp_path / "elsewhere.sqlite")
    with pytest.raises(SourceError, match=r"^[^\n]*a link[^\n]*$"):
        Journal(tmp_path / "session.sqlite")
    assert not (tmp_path / "elsewhere.sqlite").exists()


def test_an_empty_journal_is_no_session(tmp_path: Path) -> None:
    (tmp_path / "session.sqlite").write_bytes(b"")
    with pytest.raises(SourceError, match="an empty one"):
        Journal(tmp_path / "session.sqlite", must_exist=True)
    assert (tmp_path / "session.sqlite").stat().st_size == 0


SPOTS = [
    # what is said of which rank (0: a cell that was not found), and its row
    (2, {"verdict": "accept", "category": "HSIL"}, "HSIL", [164, 19, 60]),
    (2, {"verdict": "reject", "category": "NILM"}, "NILM", [120, 130, 140]),
    (1, {"verdict": "unsure"}, "Unsure", [226, 149, 38]),
    (0, {"verdict": "accept", "note": '=1+1, "cluster"'}, "Accepted", [164, 19, 60]),
]


@pytest.mark.parametrize(("rank", "words", "name", "colour"), SPOTS)
def test_decisions_go_into_every_output(
    finished: Journal,
    tmp_path: Path,
    rank: int,
    words: dict[str, str],
    name: str,
    colour: list[int],
) -> None:
    found = write_outputs(tmp_path, finished).findings
    x_um, y_um = (found[rank - 1].x_um, found[rank - 1].y_um) if rank else (77.0, 88.0)
    share = found[rank - 1].hr_probability if rank else None
    said = {"at": "2026-03-01T09:05:00+00:00", "reader": "<ada>", "x_um": x_um}
    finished.decide(
        msgspec.convert(
            said | {"y_um": y_um, "hr_probability": share} | words, Decision
        )
    )
    session = write_outputs(tmp_path, finished)
    rows = rows_of(tmp_path / "findings.csv")
    decided = {row["rank"]: (row["verdict"], row["category"]) for row in rows}
    expected = dict.fromkeys(decided, ("", ""))
    if rank:
        expected[str(rank)] = (words["verdict"], words.get("category", ""))
    assert decided == expected
    (row,) = rows_of(tmp_path / "decisions.csv")
    assert (row["reader"], row["verdict"]) == ("<ada>", words["verdict"])
    assert row["note"] == words.get("note", "")
    assert (row["hr_probability"] == "") == (rank == 0)
    features = json.loads((tmp_path / "findings.geojson").read_text())["features"]
    assert len(features) == len(rows) + (rank == 0)
    kind = features[rank - 1]["properties"]["classification"]
    assert kind == {"name": name, "color": colour}
    page = (tmp_path / "report.html").read_text()
    assert "<ada>" not in page
    assert session.decided_text in page
    assert json.loads((tmp_path / "slide.json").read_text())["decisions"] == 1
