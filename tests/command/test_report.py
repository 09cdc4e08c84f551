"""``armicro report`` makes a session's files from its journal and nothing else."""

import base64
import json
import os
import shutil
import sqlite3
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from armicro.__main__ import main
from armicro.errors import SourceError
from armicro.report import FieldReport, Finding, Observation, SlideScore
from armicro.session.record import SlideCard
from armicro.slide.journal import Journal
from armicro.slide.track import encode_crop


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


CASES = Path(os.environ.get("ARMICRO_DATA", "data")).parent / "cases"
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT i, i AS time_ns, 'x' AS kind, 'x' AS text FROM n WHERE i < 0"
)


def png_bomb() -> bytes:
    """A PNG of 60 bytes that claims 3.6 gigapixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [head, b"IDAT" + zlib.compress(bytes(8)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
        for c in chunks
    )


def jpeg_bomb() -> bytes:
    """A JPEG of a crop that claims 60,000 × 60,000 px."""
    jpeg = encode_crop(np.zeros((256, 256, 3), np.uint8))
    at = jpeg.index(b"\xff\xc0") + 5
    return (
        jpeg[:at] + struct.pack(">HH", 60_000, 60_000) + jpeg[at + 4 :] + bytes(90_000)
    )


def meta(key: str, value: object) -> tuple[str, tuple[object, ...]]:
    text = value if isinstance(value, (str, bytes)) else json.dumps(value)
    return "INSERT OR REPLACE INTO meta VALUES (?,?)", (key, text)


OVERVIEW = {"um_per_px": 8.0, "x_um": 0.0, "y_um": 0.0}
STRANGE: dict[str, tuple[str, tuple[object, ...]]] = {
    "a place at infinity": ("UPDATE observations SET x_um = 9e999", ()),
    "a place off every slide": ("UPDATE observations SET y_um = -1e12", ()),
    "text for a number": ("UPDATE observations SET hr_probability = 'abc'", ()),
    "bytes for a number": ("UPDATE observations SET width_um = x'00ff'", ()),
    "a probability above one": ("UPDATE observations SET lr_probability = 1.5", ()),
    "a width below nothing": ("UPDATE observations SET height_um = -3.0", ()),
    "a focus of text": ("UPDATE observations SET focus = 'sharp'", ()),
    "a negative place error": ("UPDATE observations SET place_error_um = -1", ()),
    "features of half a number": ("UPDATE observations SET features = x'00'", ()),
    "features that are text": ("UPDATE observations SET features = 'f'", ()),
    "features that are no numbers": (
        "UPDATE observations SET features = ?",
        (np.full(2048, np.nan, np.float32).tobytes(),),
    ),
    "a crop that is no JPEG": ("UPDATE observations SET crop = x'00112233'", ()),
    "a crop that is text": ("UPDATE observations SET crop = 'crop'", ()),
    "a crop that is a bomb": ("UPDATE observations SET crop = ?", (jpeg_bomb(),)),
    "a field of another number": ("UPDATE fields SET seq = seq + 70", ()),
    "a field of another state": ("UPDATE fields SET state = 'analysed'", ()),
    "a report that is no JSON": ("UPDATE fields SET report = '{'", ()),
    "a report that is bytes": ("UPDATE fields SET report = x'ff'", ()),
    "a report nested deeply": (
        "UPDATE fields SET report = ?",
        ('{"seq":0,"x":' + "[" * 100_000 + "]" * 100_000 + "}",),
    ),
    "a field without an end": (
        "UPDATE fields SET report = ? WHERE seq = 0",
        ('{"seq":0,"state":"blank","width_um":1e300}',),
    ),
    "cells without their bits": (
        "UPDATE fields SET report = ? WHERE seq = 0",
        (
            '{"seq":0,"state":"blank","cells":'
            '{"rows":60000,"columns":60000,"pitch_um":1.0,"bits":""}}',
        ),
    ),
    "a station before time": ("UPDATE fields SET stations = '{\"taken\":-5}'", ()),
    "a station of text": ("UPDATE fields SET stations = '{\"taken\":\"x\"}'", ()),
    "stations without number": (
        "UPDATE fields SET stations = ?",
        (json.dumps({f"s{i}": i for i in range(5_000)}),),
    ),
    "an event of no time": ("INSERT INTO events VALUES (1, 'noon', 'a', 'b')", ()),
    "an event of bytes": ("INSERT INTO events VALUES (1, 5, 'a', x'ff')", ()),
    "cells nearer than can be": meta("settings", {"cascade": {"merge_um": 1e-320}}),
    "cells merged by text": meta("settings", {"cascade": {"merge_um": "near"}}),
    "cells merged over all": meta("settings", {"merge_um": 1e300}),
    "settings nested deeply": meta("settings", '{"a":' * 500 + "1" + "}" * 500),
    "settings nested too deeply": meta("settings", '{"a":' * 9_000 + "1" + "}" * 9_000),
    "settings that are a list": meta("settings", [1, 2]),
    "settings that are bytes": meta("settings", b"\xff\xfe"),
    "a score above one": meta("score", {"score": 1.5}),
    "a coverage below nothing": meta("score", {"coverage": -0.5}),
    "a score of no number": meta("score", '{"score":NaN}'),
    "a scale of nothing": meta("slide", {"um_per_px": 0.0}),
    "a scale below nothing": meta("slide", {"pixel_um": -0.25}),
    "a size below nothing": meta("slide", {"width_px": -4}),
    "more fields than there can be": meta("slide", {"fields_planned": 10**18}),
    "time below nothing": meta("wall_s", -1.0),
    "time without an end": meta("wall_s", "1e308"),
    "a sum of text": meta("spent", {"fields_dropped": "many"}),
    "an overview that is a bomb": meta(
        "overview", OVERVIEW | {"png": base64.b64encode(png_bomb()).decode()}
    ),
    "an overview nowhere": meta("overview", OVERVIEW | {"png": "", "x_um": 1e300}),
    "an overview of no scale": meta("overview", OVERVIEW | {"png": "", "um_per_px": 0}),
    "a view": (f"CREATE VIEW more AS {ENDLESS}", ()),
    "a trigger": (
        "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM fields; END", ()
    ),
    "another table": ("CREATE TABLE shopping (item)", ()),
    "a virtual table": ("CREATE VIRTUAL TABLE v USING fts5(x)", ()),
    "an index of its own": ("CREATE INDEX i ON events (kind)", ()),
    "a column that is worked out": (
        "ALTER TABLE events ADD COLUMN more AS (time_ns + 1)", ()
    ),
    "a column more": ("ALTER TABLE events ADD COLUMN more", ()),
}  # fmt: skip


@pytest.fixture
def found(session: Path) -> Path:
    """A session with one finding."""
    with Journal(session / "session.sqlite") as journal:
        journal.write(
            FieldReport(2, "blank"),
            [
                Observation(
                    Finding(10.0, 20.0, 62.0, 62.0, 0.9, 0.8, 2),
                    np.zeros(2048, np.float32),
                    np.zeros((256, 256, 3), np.uint8),
                )
            ],
            {"taken": 2},
        )
    return session


def refused_line(session: Path, capsys: pytest.CaptureFixture[str]) -> str:
    begun = time.thread_time()
    assert main(["report", str(session)]) == 2
    assert time.thread_time() - begun < 20.0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) < 600
    return error


@pytest.mark.parametrize("what", STRANGE)
def test_a_strangers_journal_is_refused_in_one_line(
    found: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    database = sqlite3.connect(found / "session.sqlite")
    with database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(*STRANGE[what])
    database.close()
    refused_line(found, capsys)
    assert not (found / "report.html").exists()


@pytest.mark.parametrize("table", ["meta", "fields", "observations", "events"])
def test_a_view_in_the_place_of_a_table_is_refused_at_once(
    found: Path, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    database = sqlite3.connect(found / "session.sqlite")
    with database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(f"DROP TABLE {table}")
        database.execute(f"CREATE VIEW {table} AS {ENDLESS}")
    database.close()
    assert f"view '{table}'" in refused_line(found, capsys)


def test_a_statement_without_an_end_is_ended(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        begun = time.thread_time()
        with pytest.raises(SourceError, match="far longer to read"), journal._told():
            journal._database.execute(ENDLESS).fetchall()
        assert time.thread_time() - begun < 20.0


@pytest.mark.parametrize("name", ["infinite-place", "text-for-number", "merge-tiny"])
def test_journals_that_went_wrong_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    case = CASES / f"journal-{name}.sqlite"
    if not case.is_file():
        pytest.skip(f"{case.name} is not here")
    shutil.copyfile(case, tmp_path / "session.sqlite")
    refused_line(tmp_path, capsys)
