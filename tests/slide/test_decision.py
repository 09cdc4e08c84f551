"""What readers said of cells stands, follows, and is taken back."""

import time
from pathlib import Path

import msgspec
import pytest

from armicro.errors import SourceError
from armicro.report import Finding
from armicro.slide.decision import (
    CATEGORIES,
    Decided,
    Decision,
    Verdict,
    newest_of,
    standing,
)
from armicro.slide.journal import Journal


def decision(
    number: int,
    verdict: Verdict = "accept",
    *,
    x_um: float = 100.0,
    reader: str = "ada",
    undoes: int = 0,
) -> Decision:
    return Decision(
        at="2026-01-01T09:00:00+00:00", reader=reader, x_um=x_um, y_um=50.0,
        verdict=verdict, hr_probability=0.9, number=number, undoes=undoes,
    )  # fmt: skip


STANDS = [
    # said, numbers that stand
    ([], []),
    ([decision(1)], [1]),
    ([decision(1), decision(2, "reject")], [2]),
    ([decision(1), decision(2, x_um=104.0)], [2]),
    ([decision(1), decision(2, x_um=130.0)], [2, 1]),
    ([decision(1), decision(2, reader="bob")], [2, 1]),
    ([decision(1), decision(2, "undo", undoes=1)], []),
    ([decision(1), decision(2), decision(3, "undo", undoes=2)], [1]),
    ([decision(1), decision(2, "undo", undoes=1), decision(3)], [3]),
]


@pytest.mark.parametrize(("said", "numbers"), STANDS)
def test_of_each_reader_the_newest_word_on_a_cell_stands(
    said: list[Decision], numbers: list[int]
) -> None:
    for order in (said, said[::-1]):
        assert [one.number for one in standing(order)] == numbers


def test_undo_goes_back_through_ones_own_words_only() -> None:
    said = [decision(1), decision(2, reader="bob"), decision(3)]
    assert newest_of(said, "ada") == said[2]
    said.append(decision(4, "undo", undoes=3))
    assert newest_of(said, "ada") == said[0]
    said.append(decision(5, "undo", undoes=1))
    assert newest_of(said, "ada") is None
    assert newest_of(said, "bob") == said[1]


def test_a_finding_whose_best_view_has_moved_keeps_its_decision() -> None:
    decided = Decided([decision(2, x_um=130.0), decision(1)])
    numbers = [
        (said := decided.of(Finding(x_um, 50.0, 62, 62, 0.9, 0.8, 3))) and said.number
        for x_um in (100.0, 108.0, 111.0, 125.0, 200.0)
    ]
    assert numbers == [1, 1, None, 2, None]


def test_what_the_machine_had_not_found_is_missed_unless_rejected() -> None:
    marked = msgspec.structs.replace(decision(1), hr_probability=None)
    rejected = msgspec.structs.replace(marked, verdict="reject")
    assert Decided([marked]).missed() == (marked,)
    assert Decided([rejected]).missed() == ()
    assert Decided([decision(1)]).missed() == ()


def test_the_journal_keeps_every_word_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    with Journal(path) as journal:
        kept = [journal.decide(decision(0, verdict)) for verdict in ("accept", "undo")]
    with Journal(path) as journal:
        assert list(journal.decisions()) == kept
    assert [one.number for one in kept] == [1, 2]


BROKEN = [
    '{"at":"","reader":"","x_um":0,"y_um":0,"verdict":"accept"}',
    '{"at":"","reader":"r","x_um":1e12,"y_um":0,"verdict":"accept"}',
    '{"at":"","reader":"r","x_um":0,"y_um":0,"verdict":"maybe"}',
    '{"at":"","reader":"r","x_um":0,"y_um":0,"verdict":"accept","category":"CIN"}',
    "[]",
]


@pytest.mark.parametrize("said", BROKEN)
def test_a_strangers_decision_keeps_the_bounds(tmp_path: Path, said: str) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal._database.execute("INSERT INTO decisions (said) VALUES (?)", (said,))
        with pytest.raises(SourceError, match="damaged"):
            journal.decisions()


def test_a_journal_full_of_decisions_is_read_or_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [decision(at + 1, x_um=20.0 * at) for at in range(20_000)]
    begun = time.process_time()
    assert len(standing(many)) == len(many)
    assert time.process_time() - begun < 20
    monkeypatch.setattr("armicro.slide.journal.MOST_DECISIONS", 3)
    with Journal(tmp_path / "session.sqlite") as journal:
        for one in many[:4]:
            journal.decide(one)
        with pytest.raises(SourceError, match="more than 3 decisions"):
            journal.decisions()


def test_categories_are_those_of_the_bethesda_system() -> None:
    assert CATEGORIES[:5] == ("NILM", "ASC-US", "ASC-H", "LSIL", "HSIL")
    assert len(CATEGORIES) == 8
