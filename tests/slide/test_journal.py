"""The journal keeps whole fields, once, through anything that kills its writer."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.field import Place
from armicro.report import (
    Account,
    FieldReport,
    Finding,
    Observation,
    Shown,
    SlideScore,
)
from armicro.rule import MOST_TEXT
from armicro.slide.coverage import Ground
from armicro.slide.decision import Decision
from armicro.slide.journal import Event, Journal

STATIONS = {"taken": 100, "received": 250, "inferred": 900}


def observe(seq: int, index: int = 0, hr: float = 0.5) -> Observation:
    """An observation whose features and crop encode where it came from."""
    finding = Finding(10.0 * index, 7.0 * seq, 62.0, 62.0, 0.75, hr, seq)
    features = np.full(2048, seq + index / 8, np.float32)
    ramp = np.arange(256, dtype=np.uint8)
    crop = np.stack(
        np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(seq)), axis=-1
    )
    return Observation(finding, features, crop)


def tell(seq: int, observations: list[Observation] | None = None) -> FieldReport:
    return FieldReport(
        seq=seq,
        state="analysed",
        place=Place(seq * 600.0, 0.0, 0.0, "slide_file"),
        width_um=612.0,
        height_um=512.0,
        findings=tuple(o.finding for o in observations or []),
    )


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, to compare two journals."""
    with sqlite3.connect(path) as database:
        tables = ("meta", "fields", "observations", "events")
        rows = {t: list(database.execute(f"SELECT * FROM {t}")) for t in tables}
    database.close()
    return rows


def test_a_reason_that_is_too_long_is_cut_so_that_it_can_be_read(
    tmp_path: Path,
) -> None:
    report = FieldReport(3, "unreadable", reason="x" * 9_000)
    with Journal(tmp_path / "session.sqlite") as journal:
        assert journal.write(report, [], STATIONS)
        (back,) = journal.reports()
    assert (len(back.reason), back.reason[-2:]) == (MOST_TEXT, "x…")


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    seen = [observe(3, 0, 0.2), observe(3, 1, 0.9)]
    report = tell(3, seen)
    with Journal(tmp_path / "session.sqlite") as journal:
        assert journal.write(report, seen, STATIONS)
    with Journal(tmp_path / "session.sqlite", must_exist=True) as journal:
        assert journal.reports() == [report]
        assert journal.stations() == [(3, STATIONS)]
        back = list(journal.observations())
        assert [o.finding for o in back] == [seen[1].finding, seen[0].finding]
        assert np.array_equal(back[0].features, seen[1].features)
        difference = back[0].crop.astype(int) - seen[1].crop
        assert np.abs(difference).mean() < 1.0


def test_a_field_seen_twice_leaves_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    seen = [observe(0), observe(0, 1)]
    with Journal(path) as journal:
        journal.write(tell(0, seen), seen, STATIONS)
        once = everything(path)
        again = msgspec.structs.replace(tell(0, seen), inference_ns=5)
        assert not journal.write(again, [observe(0, 2)], {"taken": 7})
        assert everything(path) == once


def test_the_same_observation_twice_is_one_row(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.write(tell(0), [observe(0), observe(0), observe(0, 1)], STATIONS)
        assert len(list(journal.observations())) == 2


def test_order_of_writing_does_not_show(tmp_path: Path) -> None:
    fields = [[observe(s, i, (s * 3 + i) % 5 / 5) for i in range(3)] for s in range(5)]
    answers = []
    for name, order in (("up", range(5)), ("down", reversed(range(5)))):
        with Journal(tmp_path / name) as journal:
            for seq in order:
                journal.write(tell(seq, fields[seq]), fields[seq], STATIONS)
            found = [o.finding for o in journal.observations(crops=False)]
            answers.append((journal.reports(), journal.done(), found))
    assert answers[0] == answers[1]
    probabilities = [f.hr_probability for f in answers[0][2]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_done_gives_ranges_of_what_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        assert journal.done() == []
        for seq in (7, 0, 1, 2, 5, 6, 10):
            journal.write(tell(seq), [], STATIONS)
        assert journal.done() == [(0, 2), (5, 7), (10, 10)]


def test_observation_of_another_field_is_refused_whole(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        with pytest.raises(ValueError, match="field 1 holds findings of"):
            journal.write(tell(1), [observe(1), observe(2)], STATIONS)
        short = Observation(
            observe(1).finding, np.zeros(3, np.float32), observe(1).crop
        )
        with pytest.raises(ValueError, match=r"features \(3,\), expected \(2048,\)"):
            journal.write(tell(1), [short], STATIONS)
        assert journal.reports() == []


def test_what_is_found_late_is_written_with_the_field_that_caused_it(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.write(tell(1, [observe(1)]), [observe(1)], STATIONS)
        grown = tell(1, [observe(1), observe(1, 1)])
        late = Account(grown, [observe(1, 1)])
        assert journal.write(tell(2), [], STATIONS, late=late)
        # Capture repeats field 2, and nothing changes.
        assert not journal.write(tell(2), [], STATIONS, late=Account(tell(1), []))
        assert journal.reports() == [grown, tell(2)]
        assert len(list(journal.observations())) == 2


def test_what_is_found_at_the_end_is_kept_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.write(tell(1), [], STATIONS)
        late = Account(tell(1, [observe(1)]), [observe(1)])
        journal.amend(late)
        journal.amend(late)
        assert journal.reports() == [late.report]
        assert len(list(journal.observations())) == 1
        with pytest.raises(ValueError, match="field 1 holds findings of"):
            journal.amend(Account(tell(1), [observe(2)]))


def test_journal_of_the_first_schema_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    with Journal(path) as journal:
        journal.write(tell(1, [observe(1)]), [observe(1)], STATIONS)
    with sqlite3.connect(path) as database:
        for column in ("place_error_um", "focus"):
            database.execute(f"ALTER TABLE observations DROP COLUMN {column}")
        database.execute("DROP TABLE decisions")
        database.execute("PRAGMA user_version = 1")
    database.close()
    blurred = msgspec.structs.replace(observe(2).finding)
    seen = Observation(blurred, observe(2).features, observe(2).crop, 3.5, 0.6)
    with Journal(path) as journal:
        journal.write(tell(2, [seen]), [seen], STATIONS)
    with Journal(path) as journal:
        back = {o.finding.field_seq: o for o in journal.observations()}
    assert (back[1].place_error_um, back[1].focus) == (0.0, None)
    assert (back[2].place_error_um, back[2].focus) == (3.5, 0.6)


def test_journal_of_the_second_schema_takes_decisions(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    with Journal(path) as journal:
        journal.write(tell(1, [observe(1)]), [observe(1)], STATIONS)
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE decisions")
        database.execute("PRAGMA user_version = 2")
    database.close()
    said = Decision(at="", reader="ada", x_um=1.0, y_um=2.0, verdict="unsure")
    with Journal(path) as journal:
        assert journal.decisions() == ()
        kept = journal.decide(said)
    with Journal(path) as journal:
        assert journal.decisions() == (kept,)
        assert len(journal.reports()) == 1


def test_crops_may_be_left_out_and_fetched_one_by_one(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.write(tell(0), [observe(0)], STATIONS)
        (light,) = journal.observations(crops=False)
        assert light.crop.size == 0
        jpeg = journal.crop_jpeg(light.finding)
        assert jpeg is not None
        assert jpeg.startswith(b"\xff\xd8")
        elsewhere = msgspec.structs.replace(light.finding, x_um=-1.0)
        assert journal.crop_jpeg(elsewhere) is None


def test_facts_are_typed_and_replaced(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.set("score", SlideScore(score=0.1))
        journal.set("score", SlideScore(score=0.4, fields=2))
        journal.set("picture", b"\x00\xff")
        assert journal.get("score", SlideScore) == SlideScore(score=0.4, fields=2)
        assert journal.get("picture", bytes) == b"\x00\xff"
        assert journal.get("never set", int) is None
        with pytest.raises(SourceError, match="its entry 'score' is not what"):
            journal.get("score", int)


def test_facts_travel_with_their_field(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.write(tell(0), [], STATIONS, {"score": SlideScore(fields=1)})
        assert not journal.write(tell(0), [], STATIONS, {"spent": 2})
        assert journal.get("score", SlideScore) == SlideScore(fields=1)
        assert journal.get("spent", int) == 2


def test_events_keep_their_order_and_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.note("restart", "capture was restarted", 20)
        journal.note("lost", "camera unplugged", 10)
        assert journal.events() == [
            Event(20, "restart", "capture was restarted"),
            Event(10, "lost", "camera unplugged"),
        ]


def _random_bytes(path: Path) -> None:
    path.write_bytes(b"no journal at all" * 400)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE shopping (item)")
    database.close()


def _other_version(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def _torn(path: Path) -> None:
    with Journal(path) as journal:
        for seq in range(20):
            journal.write(tell(seq), [observe(seq)], STATIONS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (_random_bytes, "damaged or not a journal"),
        (_foreign, "another program, not a journal; choose another"),
        (_other_version, "schema 99, this armicro reads 3"),
        (_torn, "damaged or not a journal.*move it away"),
        (_folder, "unable to open database file; check"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_is_no_whole_journal_of_ours_is_refused(
    tmp_path: Path, spoil: object, what: str
) -> None:
    path = tmp_path / "session.sqlite"
    assert callable(spoil)
    spoil(path)
    with pytest.raises(SourceError, match=rf"session\.sqlite: .*{what}"):
        Journal(path)


def test_a_journal_that_must_exist_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    with pytest.raises(SourceError, match="no journal there"):
        Journal(path, must_exist=True)
    assert not path.exists()


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from armicro.report import FieldReport, Finding, Observation
    from armicro.slide.journal import Journal

    with Journal(Path(sys.argv[1])) as journal:
        first = journal.done()[-1][1] + 1 if journal.done() else 0
        for seq in range(first, 100_000):
            seen = [
                Observation(
                    Finding(float(i), 0.0, 62.0, 62.0, 0.5, 0.5, seq),
                    np.full(2048, seq, np.float32),
                    np.full((256, 256, 3), i, np.uint8),
                )
                for i in range(3)
            ]
            report = FieldReport(seq, "analysed", findings=tuple(
                each.finding for each in seen))
            journal.write(report, seen, {"taken": seq})
            print(seq, flush=True)
    """
)


def test_killed_at_any_moment_it_holds_every_told_field_whole(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    told = -1
    for fields in (1, 7, 23):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(fields):
                told = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            told = max([told, *(int(line) for line in writer.stdout)])
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        with Journal(path) as journal:
            ((first, last),) = journal.done()
            assert (first, last >= told) == (0, True)
            # No half field: each report's findings are all there, and nothing else.
            kept = sorted(f for r in journal.reports() for f in astuples(r))
            rows = journal.observations()
            assert sorted(msgspec.structs.astuple(o.finding) for o in rows) == kept


def astuples(report: FieldReport) -> list[tuple[object, ...]]:
    return [msgspec.structs.astuple(finding) for finding in report.findings]


def test_what_was_shown_is_kept_as_a_union_over_all_lives(tmp_path: Path) -> None:
    told = []
    for number, (x_um, count) in enumerate([(0.0, 3), (0.0, 5), (900.0, 2)]):
        ground = Ground()
        ground.add((x_um, 0.0, 300.0, 200.0))
        told.append(Shown(min(number, 1), number, count, ground.pack()))
    whole = Ground(told[0].ground)
    whole.join(Ground(told[2].ground))
    for order in ((0, 1, 2), (2, 0, 1, 1, 0)):
        with Journal(tmp_path / f"{len(order)}.sqlite") as journal:
            assert journal.shown()[0].pack() == b""
            for index in order:
                journal.pass_by(told[index])
        with Journal(tmp_path / f"{len(order)}.sqlite") as journal:
            ground, unplaced = journal.shown()
            assert ground.pack() == whole.pack()
            assert unplaced == {0: 3, 1: 5}


def test_ground_that_is_damaged_is_said(tmp_path: Path) -> None:
    with Journal(tmp_path / "s.sqlite") as journal:
        journal.set("shown", b"12345")
        with pytest.raises(SourceError, match="5 bytes"):
            journal.shown()
