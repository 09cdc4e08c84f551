"""``armicro phantom`` as its user types it."""

import json
from pathlib import Path

import pytest

from armicro.__main__ import main

TABLES = ["--megapixels", "1", "--fields", "f.csv", "--cells", "c.csv"]


def test_a_drawn_slide_is_described_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "slide.tif"
    status = main(
        ["phantom", str(out), "--megapixels", "0.5", "--lesions", "3", "--json"]
    )
    told = json.loads(capsys.readouterr().out)
    assert status == 0
    assert told["kind"] == "drawn"
    assert told["lesions"] == 3
    assert told["megapixels"] == pytest.approx(0.5, rel=0.01)
    for key in ("slide", "truth_csv", "truth_geojson"):
        assert Path(told[key]).is_file()


def test_a_small_slide_gets_as_many_lesions_as_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "slide.tif"
    assert main(["phantom", str(out), "--megapixels", "0.2"]) == 0
    assert "5 of them lesions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--megapixels", "0"], "expected a number above 0"),
        (["--megapixels", "-4"], "expected a number above 0"),
        (["--megapixels", "1", "--stain", "green"], "unknown stain 'green'"),
        (["--megapixels", "1", "--split", "val"], "--fields and --cells"),
        (["--megapixels", "1", "--fields", "f.csv"], "give the other too"),
        ([*TABLES, "--stain", "blue"], "the stain of its fields"),
        (TABLES, "f.csv: cannot be read"),
        (["--megapixels", "1", "--defocus", "-2"], "expected 0 to 20"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    status = main(["phantom", str(tmp_path / "slide.tif"), *options])
    said = capsys.readouterr().err
    assert status == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_read_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "slide.truth.csv"
    table.write_text("image\n")
    given = ["--fields", str(tmp_path / "f.csv"), "--cells", str(table)]
    out = tmp_path / "slide.tif"
    assert main(["phantom", str(out), "--megapixels", "1", *given]) == 2
    assert "would be written over, which is read" in capsys.readouterr().err
    assert table.read_text() == "image\n"
