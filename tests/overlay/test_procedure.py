"""The calibration window with a host whose measurements are known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from armicro.calibrate.certificate import CertificateLine
from armicro.calibrate.guide import Guide, GuideStep, Outcome
from armicro.errors import CalibrationError, SourceError
from armicro.field import Field
from armicro.overlay.procedure import ProcedureWindow
from tests.calibrate.test_guide import SCALE, steps
from tests.patience import wait_until


@dataclass
class FakeHost:
    """Gives fields of one level, and measures what needs moves."""

    level: int = 210
    fails: bool = False
    prepared: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    seq: int = 0
    lost: bool = False

    def take(self) -> Field | None:
        if self.lost:
            raise SourceError("camera: not found; check its cable")
        self.seq += 1
        pixels = np.full((60, 80, 3), self.level, np.uint8)
        return Field(0.25, self.seq, self.seq, pixels=pixels)

    def prepare(self, step: GuideStep) -> None:
        self.prepared.append(step.name)

    def measure(self, step: GuideStep) -> Outcome:
        if self.fails:
            raise CalibrationError("the stage does not move: switch it on")
        return Outcome((SCALE,), "moved 9 times")

    def keep(self, outcome: Outcome) -> tuple[CertificateLine, ...]:
        self.kept.append(outcome.words)
        return tuple(CertificateLine("scale", words, "", "") for words in self.kept)


Make = Callable[..., ProcedureWindow]


@pytest.fixture
def make_window(qtbot: QtBot) -> Make:
    def make(host: FakeHost) -> ProcedureWindow:
        window = ProcedureWindow(Guide(steps()), host)
        qtbot.addWidget(window)
        window.resize(1200, 800)
        window.show()
        return window

    return make


def tick_until(window: ProcedureWindow, holds: Callable[[], object]) -> None:
    def ticked() -> object:
        window.tick()
        return holds()

    wait_until(ticked)


def tick_until_in(window: ProcedureWindow, phase: str) -> None:
    tick_until(window, lambda: window._guide.phase == phase and window._work is None)


def tick_until_judged(window: ProcedureWindow) -> None:
    tick_until(window, window.checks.text)


def test_measure_can_be_pressed_only_when_all_is_right(make_window: Make) -> None:
    host = FakeHost(level=90)
    window = make_window(host)
    tick_until_judged(window)
    assert "more" in window.checks.text()
    assert not window.buttons["measure"].isEnabled()
    host.level = 210
    tick_until(window, window.buttons["measure"].isEnabled)


def test_from_the_first_step_to_the_certificate(
    make_window: Make, tmp_path: Path
) -> None:
    host = FakeHost()
    window = make_window(host)
    tick_until_judged(window)
    window.buttons["measure"].click()
    tick_until_in(window, "measured")
    assert "210 of 3" in window.result.text()
    window.buttons["accept"].click()
    assert host.kept == ["210 of 3"]
    assert host.prepared == ["scale", "stage"]
    assert window.title.text() == "Stage"
    tick_until_judged(window)
    window.buttons["measure"].click()
    tick_until_in(window, "measured")
    window.buttons["accept"].click()
    assert window.title.text() == "Certificate"
    assert "moved 9 times" in window.result.text()
    assert not any(button.isVisible() for button in window.buttons.values())
    window.screenshot(tmp_path / "window.png")
    assert (tmp_path / "window.png").stat().st_size > 1000


def test_a_refusal_is_shown_and_can_be_repeated(make_window: Make) -> None:
    host = FakeHost(fails=True)
    window = make_window(host)
    window.buttons["skip"].click()
    tick_until_judged(window)
    window.buttons["measure"].click()
    tick_until_in(window, "refused")
    assert "switch it on" in window.result.text()
    assert not window.buttons["accept"].isVisible()
    window.buttons["repeat"].click()
    assert window._guide.phase == "looking"
    assert host.kept == []


def test_a_camera_that_cannot_be_used_ends_the_window_with_its_reason(
    make_window: Make,
) -> None:
    window = make_window(FakeHost(lost=True))
    window.tick()
    assert not window.isVisible()
    assert "not found" in str(window.error)
