"""``armicro review``: a second reader decides on what a session kept."""

import contextlib
import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from armicro.__main__ import main
from armicro.command import review
from armicro.overlay.window import Window
from armicro.processes.job import alone
from armicro.session.output import write_outputs
from armicro.slide.journal import Journal
from tests.session.conftest import finished, journal, observe  # noqa: F401

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def kept(finished: Journal, tmp_path: Path) -> Path:  # noqa: F811
    """The folder of a session that has ended."""
    write_outputs(tmp_path, finished)
    finished.close()
    return tmp_path


def press_in_turn(*keys: Qt.Key) -> list[str]:
    """Press keys in the window as soon as it stands; return what stood in it."""
    seen: list[str] = []

    def look() -> None:
        windows = [w for w in QApplication.topLevelWidgets() if isinstance(w, Window)]
        shown = [window for window in windows if window.isVisible()]
        if not shown:
            QTimer.singleShot(50, look)
            return
        for key in keys:
            shown[0].tick()
            QTest.keyClick(shown[0], key)
            QApplication.processEvents()
            scene, layout = shown[0].canvas.scene, shown[0].canvas.shown_layout
            banner = scene.banner.text if scene.banner else ""
            seen.append(f"{banner}{[box.label for box in layout.boxes if box.chosen]}")
        shown[0].close()

    QTimer.singleShot(50, look)
    return seen


def test_a_second_reader_decides_and_the_first_ones_word_stays(
    kept: Path, qtbot: QtBot, capsys: pytest.CaptureFixture[str]
) -> None:
    down, hsil, no = Qt.Key.Key_Down, Qt.Key.Key_5, Qt.Key.Key_X
    press_in_turn(down, hsil)
    assert main(["review", str(kept), "--reader", "ada"]) == 0
    assert "1 of" in capsys.readouterr().out
    seen = press_in_turn(down, no)
    assert main(["review", str(kept), "--reader", "bob", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == 2
    # The other's word is not shown before one's own stands.
    assert "HSIL" not in seen[0]
    assert "no" in seen[1]
    rows = (kept / "decisions.csv").read_text().splitlines()
    assert [row.split(",")[2:5] for row in rows[1:]] == [
        ["ada", "accept", "HSIL"],
        ["bob", "reject", ""],
    ]
    page = (kept / "report.html").read_text()
    assert "ada" in page
    assert "bob" in page


def test_what_cannot_be_reviewed_is_one_line(
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(*given: str) -> str:
        # argparse ends by itself.
        with contextlib.suppress(SystemExit):
            assert main(["review", *given]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "holds no session.sqlite" in said(str(tmp_path / "nowhere"))
    assert "is no name" in said(str(kept), "--reader", "  ")
    with alone(kept):
        assert "another armicro is running there" in said(str(kept))
    monkeypatch.setattr(review, "why_no_screen", lambda _: "DISPLAY is not set")
    assert "needs a screen: DISPLAY is not set" in said(str(kept))
