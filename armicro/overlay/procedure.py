"""The window that leads through the calibration: what to do, what is seen, the result.

It shows a ``Guide`` and presses its buttons; fields come from ``take``, everything else
(files, stage, another specimen under a simulated objective) is the host's. Checks and
measurements run in a thread of their own, so the picture stays alive meanwhile.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import Protocol

import cv2
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QImage, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from armicro.calibrate.certificate import CertificateLine
from armicro.calibrate.guide import FieldCheck, Guide, GuideStep, Outcome
from armicro.errors import ArmicroError
from armicro.field import Field, Pixels
from armicro.overlay import paint
from armicro.overlay.application import application
from armicro.overlay.window import save_widget
from armicro.overlay.words import RESEARCH_ONLY

# ---------------------------------------------------------------------------
# The words of the calibration window, as rich text in the theme's colours.


def way_text(guide: Guide) -> str:
    """All steps in one line each, with what became of them."""
    lines = []
    for index, step in enumerate(guide.steps):
        if step.name in guide.accepted:
            mark, shade = "●", paint.ACCENT
        elif index < guide.index:
            mark, shade = "–", paint.FAINT
        elif index == guide.index:
            mark, shade = "○", paint.TEXT
        else:
            mark, shade = "○", paint.FAINT
        words = guide.accepted[step.name].words if step.name in guide.accepted else ""
        rest = f" <span style='color:{paint.MUTED.name()}'>{words}</span>"
        here = f"<b>{step.title}</b>" if index == guide.index else step.title
        lines.append(f"<span style='color:{shade.name()}'>{mark} {here}</span>{rest}")
    return "<br>".join(lines)


def checks_text(checks: tuple[FieldCheck, ...]) -> str:
    """What is right of the field, and what to do about the rest."""
    rows = []
    for check in checks:
        shade = paint.ACCENT if check.ok else paint.WARN
        mark = "✓" if check.ok else "!"
        rows.append(
            f"<p style='margin:0 0 6px 0'><b style='color:{shade.name()}'>{mark} "
            f"{check.name}</b> <span style='color:{paint.MUTED.name()}'>{check.value}"
            "</span>" + (f"<br>{check.advice}" if check.advice else "") + "</p>"
        )
    return "".join(rows)


def table_text(lines: tuple[CertificateLine, ...]) -> str:
    """The certificate."""
    muted = paint.MUTED.name()
    return "".join(
        f"<p style='margin:0 0 8px 0'><b>{line.name}</b> {line.value}<br>"
        f"<span style='color:{muted}'>{line.how}</span></p>"
        if line.how
        else f"<p style='margin:0 0 8px 0; color:{muted}'>{line.name} {line.value}</p>"
        for line in lines
    )


def paragraph_text(text: str, shade: str) -> str:
    """One thing said, in a colour."""
    return f"<span style='color:{shade}'>{escape(text)}</span>"


# ---------------------------------------------------------------------------
# The window that leads through the calibration.


TICK_MS = 60
_PANEL_PX = 400
_WIDEST_PX = 1600
"""A picture is shrunk to this before it is painted."""


class Host(Protocol):
    """Who owns camera, stage and files."""

    def take(self) -> Field | None:
        """The newest field that was not taken yet; at once."""

    def prepare(self, step: GuideStep) -> None:
        """A step begins: a simulated microscope changes its specimen."""

    def measure(self, step: GuideStep) -> Outcome:
        """Measure what needs moves or a pattern.

        Raises:
            CalibrationError: it cannot be measured.
        """

    def keep(self, outcome: Outcome) -> tuple[CertificateLine, ...]:
        """Put an accepted measurement into the certificate; return all its lines.

        Raises:
            ArmicroError: it cannot be written.
        """


class ProcedureWindow(QWidget):
    """The guide on a screen."""

    def __init__(self, guide: Guide, host: Host, *, where: str = "") -> None:
        """Lay the window out and begin the first step.

        Args:
            guide: what to show.
            host: camera, stage and files.
            where: name of the certificate's file.
        """
        super().__init__()
        self._guide, self._host, self._where = guide, host, where
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="guide")
        self._work: Future[None] | None = None
        self._shown: Pixels | None = None
        self._lines: tuple[CertificateLine, ...] = ()
        self.error: ArmicroError | None = None
        """What ended the window: the camera cannot be opened..."""
        self._lay_out()
        host.prepare(guide.step)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.tick)
        self._show_all()

    def start(self) -> None:
        """Tick by the timer from now on."""
        self._timer.start(TICK_MS)

    def tick(self) -> None:
        """Show the newest field, have it judged, show what was judged."""
        if self._work is not None and self._work.done():
            work, self._work = self._work, None
            work.result()
            self._show_all()
        try:
            field = self._host.take()
        except ArmicroError as error:
            self._end(error)
            return
        if field is None:
            return
        if self._guide.phase not in ("looking", "measuring"):
            return
        self._show_picture(field.pixels)
        if self._work is None:
            self._work = self._worker.submit(self._judge, field)

    def _judge(self, field: Field) -> None:
        guide = self._guide
        guide.see(field)
        if not guide.wants_host:
            return
        try:
            guide.finish(self._host.measure(guide.step))
        except ArmicroError as error:
            guide.refuse(str(error))

    def press(self, name: str) -> None:
        """Do what a button is for: measure, accept, repeat or skip."""
        if self._work is not None:
            # The judgement of the last field must not come after the button.
            self._work.result()
            self._work = None
        if name == "accept":
            self._accept()
        else:
            {
                "measure": self._guide.start,
                "repeat": self._guide.repeat,
                "skip": self._guide.skip,
            }[name]()
        if name in ("accept", "skip") and self._guide.phase != "finished":
            try:
                self._host.prepare(self._guide.step)
            except ArmicroError as error:
                self._end(error)
                return
        self._show_all()

    def _end(self, error: ArmicroError) -> None:
        # An error inside Qt's loop would only be printed.
        self.error = error
        self.close()

    def _accept(self) -> None:
        outcome = self._guide.outcome
        if outcome is None:
            return
        try:
            self._lines = self._host.keep(outcome)
        except ArmicroError as error:
            self._guide.refuse(str(error))
            return
        self._guide.accept()

    def screenshot(self, path: Path) -> None:
        """Save the window as it stands, as a PNG.

        Raises:
            DiskError: the file cannot be written.
        """
        save_widget(self, path)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """Stop; what was accepted is in the certificate already."""
        self._timer.stop()
        self._worker.shutdown(wait=True, cancel_futures=True)
        event.accept()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Fit the picture to the room."""
        self._show_picture(self._shown)

    def _lay_out(self) -> None:
        self.setWindowTitle("armicro calibration")
        self.setMinimumSize(1000, 640)
        paint.dress(self)
        self.picture = QLabel("waiting for the camera")
        self.picture.setObjectName("picture")
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        room = QSizePolicy.Policy.Ignored
        self.picture.setSizePolicy(room, room)
        self.way, self.title, self.instruction = (
            _label(),
            _label("step"),
            _label(),
        )
        self.checks, self.result = _label(), _label("result")
        panel = QWidget()
        panel.setFixedWidth(_PANEL_PX)
        column = QVBoxLayout(panel)
        column.setContentsMargins(18, 16, 18, 16)
        column.setSpacing(12)
        badge = _label("badge")
        badge.setText(RESEARCH_ONLY)
        for label in (badge, self.way, self.title, self.instruction, self.checks):
            column.addWidget(label)
        column.addWidget(self.result)
        column.addStretch(1)
        self.buttons = {
            name: self._button(name, column)
            for name in ("measure", "accept", "repeat", "skip")
        }
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.picture, 1)
        whole.addWidget(panel)

    def _button(self, name: str, column: QVBoxLayout) -> QPushButton:
        words = {"skip": "Leave this out"}
        button = QPushButton(words.get(name, name.capitalize()))
        button.setObjectName(name)
        button.clicked.connect(lambda: self.press(name))
        column.addWidget(button)
        return button

    def _show_all(self) -> None:
        guide = self._guide
        finished = guide.phase == "finished"
        self.way.setText(way_text(guide))
        self.title.setText("Certificate" if finished else guide.step.title)
        self.instruction.setText(
            f"Written to {self._where}. A rig takes it with: certificate = FILE"
            if finished
            else guide.step.instruction
        )
        looking = guide.phase in ("looking", "measuring")
        self.checks.setText(checks_text(guide.checks) if looking else "")
        self.checks.setVisible(looking)
        self.result.setText(self._result())
        if guide.outcome is not None and guide.outcome.picture is not None:
            self._show_picture(guide.outcome.picture)
        shown = {
            "measure": looking,
            "accept": guide.phase == "measured",
            "repeat": guide.phase in ("measured", "refused"),
            "skip": not finished,
        }
        for name, button in self.buttons.items():
            button.setVisible(shown[name])
        self.buttons["measure"].setEnabled(guide.phase == "looking" and guide.ready)
        # A stage that moves is not left alone.
        self.buttons["skip"].setEnabled(guide.phase != "measuring")

    def _result(self) -> str:
        guide = self._guide
        if guide.phase == "finished":
            return table_text(self._lines)
        if guide.phase == "measuring":
            return paragraph_text("measuring ...", paint.ACCENT.name())
        if guide.phase == "refused":
            return paragraph_text(guide.refusal, paint.ALARM.name())
        return (
            paragraph_text(guide.outcome.words, paint.TEXT.name())
            if guide.outcome
            else ""
        )

    def _show_picture(self, pixels: Pixels | None) -> None:
        if pixels is None:
            return
        self._shown = pixels
        height, width = pixels.shape[:2]
        shrink = min(
            1.0, _WIDEST_PX / width, self.picture.width() / width,
            self.picture.height() / height,
        )  # fmt: skip
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        image = QImage(
            small.data, size[0], size[1], size[0] * 3, QImage.Format.Format_RGB888
        )
        # A pixmap has pixels of its own: the array may go.
        self.picture.setPixmap(QPixmap.fromImage(image))


def _label(name: str = "plain") -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setWordWrap(True)
    return label


def run_procedure(guide: Guide, host: Host, *, where: str = "") -> None:
    """Show the guide until its window is closed.

    Raises:
        ArmicroError: the camera cannot be used.
    """
    app = application()
    window = ProcedureWindow(guide, host, where=where)
    window.resize(1440, 900)
    window.show()
    window.start()
    app.exec()
    if window.error is not None:
        raise window.error
