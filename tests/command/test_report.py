"""``armicro report`` makes a session's files from its journal and nothing else."""

import json
from pathlib import Path

import pytest

from armicro.__main__ import main
from armicro.report import FieldReport, SlideScore
from armicro.session.record import SlideCard
from armicro.slide.journal import Journal


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A session that crashed after two fields."""
    folder = tmp_path / "s1"
    folder.mkdir()
    with Journal(folder / "session.sqlite") as journal:
        journal.set("slide", SlideCard(name="S-1", fields_planned=5))
        journal.set("score", SlideScore(score=0.25, coverage=0.4))
        for seq in range(2):
            journal.write(FieldReport(seq, "blank"), [], {"taken": seq})
    return folder


def test_report_writes_the_files_and_says_where(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(session)]) == 0
    assert (session / "report.html").is_file()
    assert capsys.readouterr().out == (
        "S-1: score so far 0.250 over 40 % of the visited cell area analysed, "
        "0 findings in 2 fields, "
        f"not finished -> {session / 'report.html'}\n"
    )


def test_the_journal_itself_may_be_named(session: Path) -> None:
    assert main(["report", str(session / "session.sqlite")]) == 0
    assert (session / "slide.json").is_file()


def test_json_is_the_slide_json(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(session), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((session / "slide.json").read_text())
    assert (printed["slide"], printed["fields"]) == ("S-1", 2)


def test_a_folder_without_a_session_is_bad_input_and_stays_as_it_was(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "photos"
    other.mkdir()
    assert main(["report", str(session), str(other)]) == 2
    assert "photos: holds no session.sqlite; expected" in capsys.readouterr().err
    assert list(other.iterdir()) == []
    assert not (session / "report.html").exists()


def test_a_damaged_journal_is_one_line_and_status_2(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (session / "session.sqlite").write_bytes(b"not a database at all" * 100)
    assert main(["report", str(session)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "damaged or not a journal" in error


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", "--help"])
    assert end.value.code == 0
    assert "armicro report out/slide" in capsys.readouterr().out
