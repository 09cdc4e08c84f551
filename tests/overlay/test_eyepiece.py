"""One real window as an optical display, offscreen."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from armicro.field import Sight
from armicro.overlay.application import run_window
from armicro.overlay.snapshot import DisplayOptics, LiveField, OverlaySettings, Snapshot
from armicro.overlay.window import Window
from tests.overlay.scene import (
    SECOND_NS,
    Clock,
    Played,
    field_at,
    finding_at,
    place_at,
    slide_with,
)
from tests.overlay.test_window import Stage

CELL_UM = (50.0, 30.0)
MIRRORED = DisplayOptics(
    ((-1.6, 0.12, 850.0), (0.1, 1.5, 40.0), (0.0, 1e-4, 1.0)), size_px=(1000, 700)
)


@pytest.fixture
def stage(qtbot: QtBot, tmp_path: Path) -> Iterator[Stage]:
    feed, clock = Played(), Clock()
    setting = OverlaySettings(optical=True, latency_ms=20.0, optics=MIRRORED)
    window = Window(feed, setting=setting, folder=tmp_path, clock=clock)
    qtbot.addWidget(window)
    window.resize(1000, 700)
    window.show()
    QApplication.processEvents()
    yield Stage(window, feed, clock)
    window.close()


def snapshot_of(field: LiveField) -> Snapshot:
    slide = slide_with((finding_at(*CELL_UM, 0.95),))
    return Snapshot(field, slide, heard_ns=SECOND_NS, finished=True)


def on_display(x_px: float, y_px: float) -> NDArray[np.float64]:
    x, y, w = np.array(MIRRORED.homography) @ (x_px - 0.5, y_px - 0.5, 1.0)
    return np.array([x / w + 0.5, y / w + 0.5])


def lit_middle(stage: Stage) -> NDArray[np.float64]:
    """Middle of what is lit around the cell's box, without its label."""
    lit = stage.pixels().max(axis=2) > 60
    ys, xs = np.nonzero(lit)
    spot = on_display(CELL_UM[0] / 0.25, CELL_UM[1] / 0.25)
    near = (np.abs(xs - spot[0]) < 70) & (np.abs(ys - spot[1]) < 27)
    xs, ys = xs[near], ys[near]
    return np.array([xs.min() + xs.max() + 1, ys.min() + ys.max() + 1]) / 2


def still() -> LiveField:
    sight = Sight(velocity_xy_um_per_s=(0.0, 0.0))
    return replace(field_at(place_at(0.0, 0.0)), sight=sight)


def test_only_boxes_are_lit_and_they_lie_where_the_mirror_puts_the_cell(
    stage: Stage,
) -> None:
    stage.play(snapshot_of(still()), after_ms=10)
    pixels = stage.pixels()
    assert np.mean(pixels.max(axis=2) > 20) < 0.01
    assert not stage.window.panel.isVisible()
    spot = on_display(CELL_UM[0] / 0.25, CELL_UM[1] / 0.25)
    assert np.abs(lit_middle(stage) - spot).max() < 4


def test_boxes_go_ahead_of_an_old_field_while_the_stage_moves(stage: Stage) -> None:
    stage.play(snapshot_of(still()), after_ms=10)
    before = lit_middle(stage)
    moving = replace(still(), seq=1, sight=Sight(velocity_xy_um_per_s=(60.0, 0.0)))
    moved = []
    # 10 + 20 ms, then 30 ms later, of the same field: the view went on by 1.8, 3.6 µm.
    for after_ms in (0, 30):
        stage.play(snapshot_of(moving), after_ms=after_ms)
        moved.append(lit_middle(stage)[0] - before[0])
    x_px, y_px = CELL_UM[0] / 0.25, CELL_UM[1] / 0.25
    for ahead_um, went_px in zip((1.8, 3.6), moved, strict=True):
        true = on_display(x_px - ahead_um / 0.25, y_px) - on_display(x_px, y_px)
        assert went_px == pytest.approx(true[0], abs=2)


def test_boxes_vanish_when_no_newer_field_comes(stage: Stage) -> None:
    stage.play(snapshot_of(still()), after_ms=10)
    assert stage.window.canvas.shown_layout.boxes
    stage.play(snapshot_of(still()), after_ms=400)
    assert not stage.window.canvas.shown_layout.boxes


@pytest.mark.parametrize("size_px", [(900, 650), (1000, 650), (1280, 700)])
def test_a_display_of_another_size_than_was_measured_gets_no_boxes(
    stage: Stage, size_px: tuple[int, int]
) -> None:
    stage.window.resize(*size_px)
    QApplication.processEvents()
    stage.play(snapshot_of(still()), after_ms=10)
    assert not stage.window.canvas.shown_layout.boxes
    banner = stage.window.canvas.scene.banner
    assert banner is not None
    assert banner.text.startswith(f"display of {size_px[0]}x{size_px[1]} px")
    assert "measured was 1000x700: use that one" in banner.text
    stage.window.resize(1000, 700)
    QApplication.processEvents()
    stage.play(snapshot_of(still()), after_ms=10)
    assert stage.window.canvas.shown_layout.boxes


def test_zooming_and_freezing_do_nothing(stage: Stage) -> None:
    stage.play(snapshot_of(still()), after_ms=10)
    before = stage.pixels()
    stage.window.canvas.zoom(2.0)
    stage.window.canvas.freeze(on=True)
    assert np.array_equal(stage.pixels(), before)
    assert not stage.window.canvas.frozen


def test_an_optical_display_is_filled(qtbot: QtBot) -> None:
    feed = Played(snapshot_of(replace(still(), taken_ns=time.monotonic_ns())))
    sizes: list[tuple[bool, bool]] = []

    def on_tick() -> bool:
        sizes.extend(
            (widget.isFullScreen(), widget.canvas.size() == widget.size())
            for widget in QApplication.topLevelWidgets()
            if isinstance(widget, Window) and widget.isVisible()
        )
        return not feed.seqs

    run_window(
        feed, setting=OverlaySettings(optical=True, optics=MIRRORED), on_tick=on_tick
    )
    assert feed.seqs == [0]
    assert sizes[-1] == (True, True)
