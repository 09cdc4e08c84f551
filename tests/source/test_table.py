"""A bad table is one line that says what was seen, what was expected and what to do."""

from pathlib import Path

import pytest

from armicro.errors import SourceError
from armicro.table import (
    is_annotated,
    number,
    read_annotated,
    read_cells,
    read_fields,
    read_rows,
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n1\n", r"t\.csv: has no column b; expected a, b; add what is missing"),
        (b"", r"t\.csv: has no column a, b; expected a, b; add what is missing"),
        (b"a,b\n", r"t\.csv: has no rows; expected at least one; fill it"),
        (b"a,b\n\xff\n", r"t\.csv: cannot be read \(.*\); expected a CSV .* a, b; ch"),
        (None, r"t\.csv: cannot be read \(No such file.*\); expected a CSV table"),
    ],
)
def test_a_table_that_cannot_be_used_is_told(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=said) as told:
        read_rows(path, ("a", "b"))
    assert "\n" not in str(told.value)


def test_a_short_row_is_empty_where_it_ends_and_a_long_one_is_cut(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1\n1,2,3\n")
    assert read_rows(path, ("a", "b")) == [{"a": "1", "b": ""}, {"a": "1", "b": "2"}]


@pytest.mark.parametrize("value", ["", "x", "nan", "inf"])
def test_what_is_no_number_is_told_with_its_row(tmp_path: Path, value: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"image,bethesda,x_px,y_px\nf1.png,NILM,3,{value}\n")
    said = rf"t\.csv: y_px of f1\.png is '{value}'; expected a number; correct"
    with pytest.raises(SourceError, match=said):
        read_cells(path)


def test_a_number_is_read() -> None:
    assert number({"image": "f", "x_px": " 2.5"}, "x_px", Path("t.csv")) == 2.5


@pytest.mark.parametrize("value", ["0", "-0.25"])
def test_a_scale_that_no_picture_has_is_told_with_its_row(
    tmp_path: Path, value: str
) -> None:
    path = tmp_path / "fields.csv"
    path.write_text(f"image,um_per_px\nf1.png,0.25\nf2.png,{value}\n")
    said = rf"fields\.csv: um_per_px of f2\.png is {value}; expected .* above 0; corr"
    with pytest.raises(SourceError, match=said):
        read_fields(path)


@pytest.mark.parametrize("value", ["", " "])
def test_a_nucleus_without_a_class_is_no_lesion_but_an_error(
    tmp_path: Path, value: str
) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(f"image,bethesda,x_px,y_px\nf1.png,NILM,3,4\nf2.png,{value},5,6\n")
    said = r"cells\.csv: bethesda of f2\.png at 5,6 is empty; expected NILM or .*; fill"
    with pytest.raises(SourceError, match=said):
        read_cells(path)


def test_a_space_around_a_class_makes_no_lesion(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("image,bethesda,x_px,y_px\nf1.png,NILM ,3,4\n")
    assert not read_cells(path)[0].lesion


@pytest.mark.parametrize(
    ("split", "label", "points", "annotated"),
    [
        pytest.param("train", "", 4, True, id="points"),
        pytest.param("", "", 1, True, id="points, no split"),
        pytest.param("val", "NILM", 0, True, id="normal as a whole"),
        pytest.param("val", " NILM ", 0, True, id="normal as a whole, spaces"),
        pytest.param("val", "HSIL", 0, False, id="a lesion somewhere"),
        pytest.param("val", "", 0, False, id="points lost"),
        pytest.param("unlabelled", "", 0, False, id="unlabelled"),
        pytest.param("unlabelled", "", 4, False, id="unlabelled, yet with points"),
        pytest.param("unlabelled", "NILM", 0, False, id="unlabelled, yet with a label"),
        pytest.param(" Unlabeled", "", 4, False, id="another spelling"),
    ],
)
def test_a_field_is_annotated_by_points_or_by_a_normal_label(
    split: str, label: str, points: int, annotated: bool
) -> None:
    assert is_annotated(split, label, points) == annotated


def test_fields_that_nobody_annotated_are_left_out_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields, cells = tmp_path / "fields.csv", tmp_path / "cells.csv"
    fields.write_text(
        "image,um_per_px,split,bethesda\n"
        "a,0.25,val,\nlost,0.25,val,\nwhole,0.25,val,NILM\nu,0.25,unlabelled,\n"
    )
    cells.write_text("image,bethesda,x_px,y_px\na,NILM,1,2\nu,HSIL,3,4\n")
    read = [(row.image, len(found)) for row, found in read_annotated(fields, cells)]
    assert read == [("a", 1), ("whole", 0)]
    said = capsys.readouterr().err
    assert said.startswith(f"{fields}: 2 of 4 fields are left out: nobody annotated")
    with pytest.raises(SourceError, match=r"nobody annotated u and the other fields"):
        read_annotated(fields, cells, split="unlabelled")
    assert len(read_annotated(fields, cells, split="val")) == 2


@pytest.mark.data
def test_the_unlabelled_fields_of_the_data_are_read_by_nobody(data: Path) -> None:
    cric = data / "cric"
    every = read_fields(cric / "fields.csv")
    annotated = read_annotated(cric / "fields.csv", cric / "cells.csv")
    left_out = {row.image for row in every} - {row.image for row, _ in annotated}
    assert left_out == {row.image for row in every if row.split == "unlabelled"}
    assert len(left_out) == 3
