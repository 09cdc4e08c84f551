"""A session is read from its journal alone, whole or not."""

import numpy as np
import pytest

from armicro.report import SlideScore
from armicro.session.record import SlideCard, read_session
from armicro.slide.journal import Journal


def test_findings_are_one_a_cell_and_ranked(finished: Journal) -> None:
    session = read_session(finished)
    assert [f.hr_probability for f in session.findings] == [0.99984, 0.75, 0.6, 0.2]
    # 0.60 lies 65 µm from 0.75, nearer than the top list allows.
    assert [f.hr_probability for f in session.top] == [0.99984, 0.75, 0.2]
    assert len(session.crops) == 3


def test_merge_distance_is_the_sessions_own(finished: Journal) -> None:
    finished.set("settings", {"cascade": {"merge_um": 100.0}})
    assert len(read_session(finished).findings) == 3
    finished.set("settings", {"cascade": {"merge_um": 1.0}})
    assert len(read_session(finished).findings) == 5


def test_a_crashed_session_reads_with_defaults(journal: Journal) -> None:
    session = read_session(journal)
    assert not session.finished
    assert session.slide == SlideCard()
    assert session.score == SlideScore()
    assert session.wall_s is None
    assert session.inference_s == pytest.approx(12.0)
    assert [session.count(s) for s in ("analysed", "unreadable")] == [3, 1]


def test_a_crashed_session_knows_what_it_had_spent(journal: Journal) -> None:
    journal.set("spent", {"wall_s": 9.0, "inference_s": 7.5, "fields_dropped": 4})
    session = read_session(journal)
    assert (session.wall_s, session.inference_s, session.fields_dropped) == (
        None, 7.5, 4,
    )  # fmt: skip


def test_planned_fields_that_are_missing_are_counted(finished: Journal) -> None:
    finished.set("slide", SlideCard(fields_planned=10))
    assert read_session(finished).fields_missing == 4


def test_what_a_later_version_adds_is_ignored(finished: Journal) -> None:
    finished.set("slide", {"name": "s", "colour_of_the_label": "green"})
    assert read_session(finished).slide == SlideCard(name="s")


def test_top_crops_are_those_of_their_findings(finished: Journal) -> None:
    session = read_session(finished)
    for finding, jpeg in zip(session.top, session.crops, strict=True):
        assert finished.crop_jpeg(finding) == jpeg
    assert len(set(session.crops)) == 3
    assert np.all([jpeg.startswith(b"\xff\xd8") for jpeg in session.crops])
