"""What a reader decides in the window, and what the notebook then holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QInputDialog
from pytestqt.qtbot import QtBot

from armicro.errors import DiskError
from armicro.field import Pixels
from armicro.overlay.window import Window
from armicro.overlay.words import Item
from armicro.report import Finding
from armicro.slide.decision import Decision, standing
from tests.overlay.scene import (
    Clock,
    Played,
    field_at,
    pixels_of,
    place_at,
    slide_with,
)
from tests.overlay.test_window import FINDINGS, Stage, press, snapshot_with


class Book:
    """A notebook in memory; its disk may be full."""

    def __init__(self, *said: Decision) -> None:
        self.reader, self.full = "ada", False
        self._said = said

    def said(self) -> tuple[Decision, ...]:
        return self._said

    def crop(self, finding: Finding) -> Pixels | None:
        return pixels_of(256, 256) if finding == FINDINGS[0] else None

    def keep(self, decision: Decision) -> None:
        if self.full:
            raise DiskError("session.sqlite: no space left")
        number = len(self._said) + 1
        kept = structs.replace(decision, at="2026-01-01T00:00:00Z", number=number)
        self._said = (*self._said, kept)

    def stands(self) -> list[str]:
        return [one.label for one in standing(self._said)]


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def reading(qtbot: QtBot, tmp_path: Path, book: Book) -> Iterator[Stage]:
    feed, clock = Played(), Clock()
    window = Window(feed, folder=tmp_path, notebook=book, clock=clock)
    qtbot.addWidget(window)
    window.resize(1000, 700)
    window.show()
    QApplication.processEvents()
    stage = Stage(window, feed, clock)
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    yield stage
    window.close()


def said(stage: Stage) -> str:
    stage.play(stage.feed.snapshot)
    return stage.window.status.said


KEYS = [
    (Qt.Key.Key_A, "accept", ""),
    (Qt.Key.Key_X, "reject", ""),
    (Qt.Key.Key_U, "unsure", ""),
    (Qt.Key.Key_1, "reject", "NILM"),
    (Qt.Key.Key_2, "accept", "ASC-US"),
    (Qt.Key.Key_5, "accept", "HSIL"),
    (Qt.Key.Key_8, "accept", "AIS"),
]


@pytest.mark.parametrize(("key", "verdict", "category"), KEYS)
def test_a_key_decides_on_the_picked_finding(
    reading: Stage, book: Book, key: Qt.Key, verdict: str, category: str
) -> None:
    press(reading, Qt.Key.Key_Down)
    press(reading, key)
    (kept,) = book.said()
    assert (kept.verdict, kept.category) == (verdict, category)
    assert (kept.x_um, kept.y_um) == (FINDINGS[0].x_um, FINDINGS[0].y_um)
    assert kept.hr_probability == FINDINGS[0].hr_probability
    box = reading.window.canvas.shown_layout.boxes[0]
    assert box.label == kept.sign
    assert (box.opacity < 0.6) == (verdict == "reject")
    assert "Backspace takes it back" in said(reading)


def test_a_later_word_follows_and_undo_goes_back_one_by_one(
    reading: Stage, book: Book
) -> None:
    press(reading, Qt.Key.Key_Down)
    for key in (Qt.Key.Key_A, Qt.Key.Key_5, Qt.Key.Key_X):
        press(reading, key)
    assert book.stands() == ["rejected"]
    for left in (["HSIL"], ["accepted"], []):
        press(reading, Qt.Key.Key_Backspace)
        assert book.stands() == left
    assert reading.window.canvas.shown_layout.boxes[0].label == "0.950"
    press(reading, Qt.Key.Key_Backspace)
    assert said(reading) == "nothing to take back"
    assert len(book.said()) == 6


def test_nothing_is_decided_where_nothing_is_picked(reading: Stage, book: Book) -> None:
    press(reading, Qt.Key.Key_A)
    assert "pick a finding first" in said(reading)
    press(reading, Qt.Key.Key_N)
    assert "decide first" in said(reading)
    assert book.said() == ()


def test_what_is_not_kept_is_not_shown(reading: Stage, book: Book) -> None:
    book.full = True
    press(reading, Qt.Key.Key_Down)
    press(reading, Qt.Key.Key_A)
    assert said(reading) == "not kept: session.sqlite: no space left"
    assert reading.window.canvas.shown_layout.boxes[0].label == "0.950"


def test_a_cell_that_was_not_found_is_marked_and_given_its_category(
    reading: Stage, book: Book
) -> None:
    press(reading, Qt.Key.Key_M)
    press(reading, Qt.Key.Key_4)
    first, second = book.said()
    # 400 by 300 pixels of 0.25 µm.
    assert (first.x_um, first.y_um) == pytest.approx((50, 37.5), abs=0.3)
    assert first.hr_probability is None
    assert (second.x_um, second.category) == (first.x_um, "LSIL")
    labels = [box.label for box in reading.window.canvas.shown_layout.boxes]
    assert "LSIL" in labels


def test_a_double_click_marks_the_cell_under_it(reading: Stage, book: Book) -> None:
    canvas = reading.window.canvas
    x, y = canvas.view.to_screen(300, 200)
    left = Qt.MouseButton.LeftButton
    QTest.mouseDClick(canvas, left, pos=QPoint(round(x), round(y)))
    (kept,) = book.said()
    assert (kept.x_um, kept.y_um) == pytest.approx((75, 50), abs=0.5)


def test_a_field_without_a_place_marks_nothing(reading: Stage, book: Book) -> None:
    reading.play(snapshot_with(field_at(None, seq=2)))
    press(reading, Qt.Key.Key_M)
    assert "nobody knows where this field lies" in said(reading)
    assert book.said() == ()


def test_a_click_on_a_box_picks_its_finding(reading: Stage, book: Book) -> None:
    canvas = reading.window.canvas
    x, y = canvas.view.to_screen(50 / 0.25, 40 / 0.25)
    left = Qt.MouseButton.LeftButton
    QTest.mouseClick(canvas, left, pos=QPoint(round(x), round(y)))
    press(reading, Qt.Key.Key_U)
    assert [one.x_um for one in book.said()] == [FINDINGS[0].x_um]


def test_a_note_is_one_more_decision_of_the_same(
    reading: Stage, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("koilocyte", True))
    press(reading, Qt.Key.Key_Down)
    press(reading, Qt.Key.Key_4)
    press(reading, Qt.Key.Key_N)
    noted = book.said()[-1]
    assert (noted.category, noted.note) == ("LSIL", "koilocyte")
    assert book.stands() == ["LSIL"]


def test_the_list_and_the_foot_say_what_was_decided(reading: Stage) -> None:
    press(reading, Qt.Key.Key_Down)
    press(reading, Qt.Key.Key_5)
    reading.play(reading.feed.snapshot)
    table = reading.window.findings.table
    assert table.model().index(0, 1).data() == "0.950  HSIL"
    assert Item("decided", "1 of 2") in reading.window.status.items


def test_another_readers_words_are_not_ones_own(qtbot: QtBot) -> None:
    other = Decision(
        at="", reader="bob", x_um=50.0, y_um=40.0, verdict="reject",
        hr_probability=0.95, number=1,
    )  # fmt: skip
    window = Window(Played(), notebook=Book(other), clock=Clock())
    qtbot.addWidget(window)
    window.show()
    stage = Stage(window, window._feed, Clock())  # type: ignore[arg-type]
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    assert window.canvas.shown_layout.boxes[0].label == "0.950"
    press(stage, Qt.Key.Key_Backspace)
    assert said(stage) == "nothing to take back"


def test_without_a_notebook_it_is_said_why(qtbot: QtBot) -> None:
    feed = Played(snapshot_with(field_at(place_at(0, 0)), slide=slide_with(FINDINGS)))
    window = Window(feed, clock=Clock())
    qtbot.addWidget(window)
    window.show()
    stage = Stage(window, feed, Clock())
    stage.play(feed.snapshot)
    press(stage, Qt.Key.Key_Down)
    press(stage, Qt.Key.Key_A)
    assert "not here" in window._said


def test_the_picked_cell_is_shown_where_it_has_a_picture(reading: Stage) -> None:
    window = reading.window
    shown = []
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Escape):
        press(reading, key)
        shown.append((window.cell.isVisible(), window.map_card.isVisible()))
    assert shown == [(True, False), (False, True), (True, False), (False, True)]


def test_the_end_of_the_slide_is_said_and_the_window_stays(reading: Stage) -> None:
    assert "Q closes and writes the report" in reading.window.canvas.scene.badge
    assert reading.window.isVisible()
