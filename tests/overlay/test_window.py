"""One real window, offscreen, fed by hand."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontInfo, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from armicro.field import Sight
from armicro.overlay import paint
from armicro.overlay.application import run_window
from armicro.overlay.layout import Box
from armicro.overlay.snapshot import LiveField, Snapshot
from armicro.overlay.window import Window
from armicro.report import Revisit
from armicro.verdict import badge_text
from tests.overlay.scene import (
    SECOND_NS,
    Clock,
    Played,
    Slot,
    field_at,
    finding_at,
    overview,
    pixels_of,
    place_at,
    slide_with,
)

FINDINGS = (finding_at(50.0, 40.0, 0.95), finding_at(3000.0, 40.0, 0.7))


class Stage:
    """A window with its feed and its clock."""

    def __init__(self, window: Window, feed: Played, clock: Clock) -> None:
        self.window, self.feed, self.clock = window, feed, clock

    def play(self, snapshot: Snapshot, *, after_ms: float = 300.0) -> None:
        """Show a snapshot to the end: tick, then let Qt paint."""
        self.clock.pass_ms(after_ms)
        self.feed.snapshot = snapshot
        self.window.tick()
        QApplication.processEvents()

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, 3): the canvas as it stands."""
        image = self.window.canvas.grab().toImage()
        image = image.convertToFormat(QImage.Format.Format_RGB888)
        rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
        return (
            rows[:, : 3 * image.width()]
            .reshape(image.height(), image.width(), 3)
            .copy()
        )


@pytest.fixture
def stage(qtbot: QtBot, tmp_path: Path) -> Iterator[Stage]:
    feed, clock = Played(), Clock()
    window = Window(feed, folder=tmp_path, clock=clock)
    qtbot.addWidget(window)
    window.resize(1000, 700)
    window.show()
    QApplication.processEvents()
    yield Stage(window, feed, clock)
    window.close()


def snapshot_with(field: LiveField | None, **changes: object) -> Snapshot:
    snapshot = Snapshot(
        field,
        slide_with(FINDINGS),
        source="simulated",
        heard_ns=SECOND_NS,
        overview=overview(),
        finished=True,
    )
    return replace(snapshot, **changes)  # type: ignore[arg-type]


def first_box(stage: Stage) -> Box:
    return stage.window.canvas.shown_layout.boxes[0]


def shown_seq(stage: Stage) -> int | None:
    field = stage.window.canvas.field
    return field.seq if field else None


def test_the_field_fills_the_canvas_with_its_own_pixels(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0)), slide=None))
    shown = stage.pixels()
    view = stage.window.canvas.view
    for x_px, y_px in ((40, 150), (200, 60), (360, 200)):
        x, y = view.to_screen(x_px, y_px)
        wanted = pixels_of(400, 300)[y_px, x_px]
        assert shown[round(y), round(x)].tolist() == pytest.approx(
            wanted.tolist(), abs=4
        )


def test_a_box_is_painted_around_its_cell_and_not_on_it(stage: Stage) -> None:
    field = field_at(place_at(0.0, 0.0))
    stage.play(snapshot_with(field))
    with_box = stage.pixels().astype(int)
    stage.play(snapshot_with(field, slide=slide_with()))
    changed = np.abs(with_box - stage.pixels()).max(axis=2) > 40
    view = stage.window.canvas.view
    x0, y0 = view.to_screen((50 - 5) / 0.25, (40 - 4) / 0.25)
    x1, y1 = view.to_screen((50 + 5) / 0.25, (40 + 4) / 0.25)
    corner = changed[round(y0) - 2 : round(y0) + 3, round(x0) - 2 : round(x0) + 3]
    assert corner.any()
    inside = changed[round(y0) + 6 : round(y1) - 6, round(x0) + 6 : round(x1) - 6]
    assert inside.size
    assert not inside.any()


def test_boxes_move_with_the_field_that_is_painted(stage: Stage) -> None:
    slot = Slot(pixels_of(400, 300))
    stage.play(snapshot_with(field_at(place_at(0.0, 0.0), seq=1, slot=slot)))
    first = first_box(stage).box_xyxy_px
    slot.overwritten = True
    stage.play(snapshot_with(field_at(place_at(10.0, 0.0), seq=2, slot=slot)))
    assert first_box(stage).box_xyxy_px == first
    assert stage.feed.seqs == [1]
    slot.overwritten = False
    stage.play(snapshot_with(field_at(place_at(10.0, 0.0), seq=3, slot=slot)))
    moved = first_box(stage).box_xyxy_px
    assert moved[0] == pytest.approx(first[0] - 40)
    assert stage.feed.seqs == [1, 3]


def test_each_painted_field_is_told_once(stage: Stage) -> None:
    snapshot = snapshot_with(field_at(place_at(0, 0), seq=5))
    for _ in range(4):
        stage.play(snapshot)
    stage.window.canvas.repaint()
    assert stage.feed.seqs == [5]


def test_a_field_that_is_sent_again_is_not_painted_as_a_new_one(stage: Stage) -> None:
    slot = Slot(pixels_of(400, 300))
    for _ in range(3):
        stage.play(snapshot_with(field_at(place_at(0, 0), seq=5, slot=slot)))
    assert stage.feed.seqs == [5]
    assert len(slot.cuts) == 1


def test_an_unchanged_snapshot_fetches_no_pixels_again(stage: Stage) -> None:
    slot = Slot(pixels_of(400, 300))
    snapshot = snapshot_with(field_at(place_at(0, 0), slot=slot))
    for _ in range(5):
        stage.play(snapshot)
    assert len(slot.cuts) == 1


def test_only_device_pixels_are_fetched(stage: Stage) -> None:
    slot = Slot(pixels_of(400, 300))
    stage.play(snapshot_with(field_at(place_at(0, 0), slot=slot)))
    width_px, height_px = slot.cuts[-1].size_px
    canvas = stage.window.canvas
    assert width_px <= canvas.width() * canvas.devicePixelRatioF() + 1
    assert height_px <= canvas.height() * canvas.devicePixelRatioF() + 1


def test_infer_silent_turns_boxes_grey_and_back(stage: Stage) -> None:
    field = field_at(place_at(0, 0))
    going_on = snapshot_with(field, finished=False)
    stage.play(going_on, after_ms=100)
    assert not first_box(stage).dashed
    stage.play(going_on, after_ms=2500)
    assert first_box(stage).dashed
    fresh = slide_with(FINDINGS, heard_ns=stage.clock.now_ns)
    stage.play(replace(going_on, slide=fresh))
    assert not first_box(stage).dashed


def test_the_way_in_the_list_is_that_of_the_picture_on_the_screen(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0), seq=1)))
    stage.window.canvas.freeze(on=True)
    stage.play(snapshot_with(field_at(None, seq=2)))
    assert stage.window.canvas.shown_layout.boxes
    assert stage.window.canvas.scene.banner is None


def press(stage: Stage, key: Qt.Key) -> None:
    QTest.keyClick(stage.window, key)
    QApplication.processEvents()


def test_b_hides_the_boxes_and_says_so(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    before = stage.pixels()
    press(stage, Qt.Key.Key_B)
    assert not np.array_equal(stage.pixels(), before)
    press(stage, Qt.Key.Key_B)
    assert np.array_equal(stage.pixels(), before)


def test_space_holds_the_picture_even_when_its_slot_is_overwritten(
    stage: Stage,
) -> None:
    slot = Slot(pixels_of(400, 300))
    stage.play(snapshot_with(field_at(place_at(0, 0), seq=1, slot=slot)))
    press(stage, Qt.Key.Key_Space)
    slot.pixels[:] = 0
    slot.overwritten = True
    press(stage, Qt.Key.Key_Plus)
    assert stage.pixels()[..., 2].max() >= 128
    slot.overwritten = False
    stage.play(snapshot_with(field_at(place_at(9, 9), seq=2, slot=slot)))
    assert shown_seq(stage) == 1
    press(stage, Qt.Key.Key_Space)
    stage.play(snapshot_with(field_at(place_at(9, 9), seq=3, slot=slot)))
    assert shown_seq(stage) == 3


def test_plus_zooms_in_on_fewer_pixels_and_0_shows_all(
    stage: Stage,
) -> None:
    slot = Slot(pixels_of(400, 300))
    stage.play(snapshot_with(field_at(place_at(0, 0), slot=slot)))
    press(stage, Qt.Key.Key_Plus)
    x0, y0, x1, y1 = slot.cuts[-1].crop_xyxy_px
    assert (x1 - x0) * (y1 - y0) < 400 * 300
    press(stage, Qt.Key.Key_0)
    assert slot.cuts[-1].crop_xyxy_px == (0, 0, 400, 300)


def test_down_picks_findings_and_escape_lets_go_before_it_closes(
    stage: Stage,
) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    press(stage, Qt.Key.Key_Down)
    assert first_box(stage).chosen
    press(stage, Qt.Key.Key_Escape)
    assert not first_box(stage).chosen
    assert stage.window.isVisible()
    press(stage, Qt.Key.Key_Escape)
    assert not stage.window.isVisible()


def test_escape_leaves_full_screen_before_it_closes(stage: Stage) -> None:
    press(stage, Qt.Key.Key_F)
    assert stage.window.isFullScreen()
    press(stage, Qt.Key.Key_Escape)
    assert (stage.window.isFullScreen(), stage.window.isVisible()) == (False, True)


def test_a_click_in_the_list_picks_that_finding(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    chosen: list[object] = []
    stage.window.findings.chosen.connect(chosen.append)
    table = stage.window.findings.table
    for row, picked in ((1, FINDINGS[1]), (0, FINDINGS[0]), (0, None)):
        at = table.visualRect(table.model().index(row, 0)).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=at)
        stage.play(stage.feed.snapshot)
        assert chosen.pop() == picked
        assert [item.text(0) for item in table.selectedItems()] == (
            [f"{row + 1}"] if picked else []
        )


def test_what_the_panel_shows_can_be_read_aloud(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    table = stage.window.findings.table
    row = [table.model().index(1, column).data() for column in range(3)]
    assert row == ["2", "0.700", "2.95 mm"]
    named = {
        widget.accessibleName()
        for widget in stage.window.panel.findChildren(QWidget)
        if widget.isVisible()
    }
    assert {"Slide map", "Findings", "slide score", "coverage"} <= named


def test_a_long_name_is_cut_and_widens_nothing(stage: Stage) -> None:
    slide = structs.replace(slide_with(FINDINGS), name="slide-" * 80)
    stage.play(snapshot_with(field_at(place_at(0, 0)), slide=slide))
    assert stage.window.width() == 1000
    assert stage.window.minimumSizeHint().width() <= 900


PARTS = (
    Revisit(20_000.0, 40.0, 300.0, 200.0, "skipped"),
    Revisit(10.0, 9_000.0, 60.0, 60.0, "passing"),
)


def test_r_leads_through_what_should_be_seen_again_the_most_pressing_first(
    stage: Stage,
) -> None:
    slide = structs.replace(slide_with(FINDINGS), revisits=PARTS)
    snapshot = snapshot_with(field_at(place_at(0, 0)), slide=slide)
    stage.play(snapshot)
    assert stage.window.revisits.isVisible()
    plain = stage.pixels()
    targets = []
    for _ in range(3):
        press(stage, Qt.Key.Key_R)
        goal = stage.window.canvas.scene.goal
        assert goal is not None
        targets.append(goal.target)
    assert targets == [PARTS[1], PARTS[0], PARTS[1]]
    assert not np.array_equal(stage.pixels(), plain)
    press(stage, Qt.Key.Key_Down)
    assert first_box(stage).chosen


def test_a_part_that_was_seen_again_is_let_go(stage: Stage) -> None:
    slide = structs.replace(slide_with(FINDINGS), revisits=PARTS)
    stage.play(snapshot_with(field_at(place_at(0, 0)), slide=slide))
    press(stage, Qt.Key.Key_R)
    rest = structs.replace(PARTS[1], height_um=20.0)
    for seq, parts, picked in ((1, (PARTS[0], rest), rest), (2, PARTS[:1], None)):
        left = structs.replace(slide, revisits=parts)
        stage.play(snapshot_with(field_at(place_at(0, 0), seq=seq), slide=left))
        goal = stage.window.canvas.scene.goal
        assert (goal and goal.target) == picked
    nothing = structs.replace(slide, revisits=())
    stage.play(snapshot_with(field_at(place_at(0, 0), seq=3), slide=nothing))
    assert not stage.window.revisits.isVisible()
    press(stage, Qt.Key.Key_R)
    stage.window.tick()
    assert "nothing to go back to" in stage.window.status.said


def test_a_part_to_be_seen_again_is_framed_once_it_is_in_sight(stage: Stage) -> None:
    part = Revisit(30.0, 20.0, 40.0, 30.0, "edge")
    slide = structs.replace(slide_with(), revisits=(part,))
    stage.play(snapshot_with(field_at(place_at(0, 0)), slide=slide))
    before = stage.pixels().astype(int)
    press(stage, Qt.Key.Key_R)
    changed = np.abs(before - stage.pixels()).max(axis=2) > 40
    view = stage.window.canvas.view
    left, top = view.to_screen(30 / 0.25, 20 / 0.25)
    right, bottom = view.to_screen(70 / 0.25, 50 / 0.25)
    frame = changed[round(top) - 1 : round(top) + 2, round(left) : round(right)]
    assert frame.any(axis=0).mean() > 0.8
    inside = changed[
        round(top) + 6 : round(bottom) - 6, round(left) + 6 : round(right) - 6
    ]
    assert not inside.any()


def test_who_is_lost_is_told_the_way_back(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0), seq=1)))
    there = structs.replace(
        field_at(place_at(90, 0), seq=2), taken_ns=SECOND_NS + 100_000_000
    )
    stage.play(snapshot_with(there))
    assert stage.window.canvas.scene.banner is None
    stage.play(snapshot_with(field_at(None, seq=3)))
    scene = stage.window.canvas.scene
    assert scene.banner is not None
    assert "place lost: move back" in scene.banner.text
    assert scene.back_xy == (-1.0, 0.0)
    assert not stage.window.canvas.shown_layout.boxes


def test_before_any_place_nobody_is_told_to_go_back(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(None)))
    scene = stage.window.canvas.scene
    assert scene.banner is not None
    assert "place unknown" in scene.banner.text
    assert scene.back_xy is None


def test_moving_is_said_on_the_picture(stage: Stage) -> None:
    field = field_at(place_at(0, 0))
    stage.play(snapshot_with(field))
    before = stage.pixels()
    smeared = structs.replace(field, seq=1, sight=Sight(smear_um=5.0))
    stage.play(snapshot_with(smeared))
    assert stage.window.canvas.scene.badge == badge_text("moving")
    assert not np.array_equal(stage.pixels(), before)


def test_s_saves_what_is_shown(stage: Stage, tmp_path: Path) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0), seq=12)))
    press(stage, Qt.Key.Key_S)
    (path,) = tmp_path.glob("window_000012_*.png")
    image = QImage(str(path))
    assert (image.width(), image.height()) == (1000, 700)


def test_a_picture_that_cannot_be_saved_is_said_and_ends_nothing(
    qtbot: QtBot, tmp_path: Path
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    window = Window(Played(), folder=occupied / "below")
    qtbot.addWidget(window)
    window.show()
    QTest.keyClick(window, Qt.Key.Key_S)
    window.tick()
    assert "screenshot" in window.status.said
    assert window.isVisible()


def test_closing_is_told_once(qtbot: QtBot) -> None:
    told: list[str] = []
    window = Window(Played(), on_close=lambda: told.append("closed"))
    qtbot.addWidget(window)
    window.show()
    window.close()
    window.close()
    assert told == ["closed"]


def test_every_key_works_before_the_first_field(stage: Stage) -> None:
    for key in Window.KEYS:
        if key not in {Qt.Key.Key_Q, Qt.Key.Key_Escape}:
            press(stage, Qt.Key(key))
    assert stage.window.isVisible()


@pytest.mark.parametrize("size", [(900, 600), (1000, 1400), (2200, 900)])
def test_the_window_paints_at_any_size(stage: Stage, size: tuple[int, int]) -> None:
    stage.window.resize(*size)
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    x, y = stage.window.canvas.view.to_screen(200, 150)
    shown = stage.pixels()[round(y), round(x)].tolist()
    assert shown == pytest.approx([127, 127, 128], abs=4)


def test_letters_come_with_the_package(qtbot: QtBot) -> None:
    info = QFontInfo(paint.font(14, bold=True))
    assert info.family().startswith("Roboto")
    assert info.bold()


def test_another_slide_begins_a_new_map(stage: Stage) -> None:
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    other = structs.replace(slide_with(), name="slide-8")
    stage.play(snapshot_with(field_at(place_at(5000, 0), seq=1), slide=other))
    extent = stage.window.seen.extent_xyxy_um
    assert extent is not None
    assert extent[0] == 5000.0


def test_a_small_window_leaves_out_the_trend_before_the_list(stage: Stage) -> None:
    stage.window.resize(1200, 1000)
    stage.play(snapshot_with(field_at(place_at(0, 0))))
    assert stage.window.trend.height() > 100
    stage.window.resize(900, 600)
    QApplication.processEvents()
    assert not stage.window.trend.isVisible()
    assert stage.window.findings.height() >= 90


def test_run_window_ends_when_it_is_told_to(qtbot: QtBot, tmp_path: Path) -> None:
    told: list[str] = []
    feed = Played(snapshot_with(field_at(place_at(0, 0), seq=3)))
    picture = tmp_path / "last.png"
    run_window(
        feed,
        on_close=lambda: told.append("closed"),
        on_tick=lambda: not feed.seqs,
        picture=picture,
    )
    assert told == ["closed"]
    assert feed.seqs == [3]
    assert not QImage(str(picture)).isNull()
