"""The operator's window: a timer takes the newest snapshot and shows it.

Nothing in a tick waits: the picture is fetched at the size of the canvas, the panel is
brought up to date five times a second, and equal content is not painted again.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from PySide6.QtCore import QBuffer, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QInputDialog, QVBoxLayout, QWidget

from armicro.errors import DISK_REMEDY, ArmicroError, DiskError
from armicro.file import write_whole
from armicro.overlay import Feed, Notebook, paint
from armicro.overlay.canvas import Canvas, Eyepiece
from armicro.overlay.guide import Goal, guide
from armicro.overlay.known import Known, SeenRaster
from armicro.overlay.layout import Scene
from armicro.overlay.minimap import MiniMap
from armicro.overlay.panel import (
    Card,
    CellCard,
    CoverageCard,
    GoalList,
    Heading,
    ScoreCard,
    StatusStrip,
    TrendCard,
)
from armicro.overlay.snapshot import LiveField, OverlaySettings, Snapshot
from armicro.overlay.words import (
    Pace,
    banner,
    coverage_words,
    decided_item,
    is_stale,
    motion_words,
    score_words,
    status_line,
)
from armicro.report import Finding, Revisit
from armicro.slide.decision import (
    CATEGORIES,
    LONGEST_NOTE,
    NORMAL,
    UNDECIDED,
    Category,
    Decided,
    Decision,
    Verdict,
    newest_of,
    standing,
)

TICK_MS = 8
"""A poll without news costs some microseconds, and a new field waits half of this."""
_PANEL_NS = 200_000_000
_PANEL_WIDTH_PX = 304
_SAID_NS = 4_000_000_000
_TREND_FROM_PX = 800

Target = Finding | Revisit


def save_widget(widget: QWidget, path: Path) -> None:
    """Write a picture of a widget as it stands, as a PNG of its device pixels.

    Raises:
        DiskError: the file cannot be written.
    """
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    widget.grab().save(buffer, "PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, bytes(buffer.data().data()))
    except OSError as error:
        raise DiskError(
            f"screenshot {path}: {error.strerror or error}; {DISK_REMEDY}"
        ) from error


def _decide_category(name: Category, window: "Window") -> None:
    window._decide("reject" if name == NORMAL else "accept", name)  # noqa: SLF001


class Window(QWidget):
    """One slide, live."""

    def __init__(  # noqa: PLR0913 (all by keyword, all with a default)
        self,
        feed: Feed,
        *,
        title: str = "armicro",
        setting: OverlaySettings | None = None,
        folder: Path | None = None,
        notebook: Notebook | None = None,
        on_close: Callable[[], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Lay the window out; it shows nothing before the first tick.

        Args:
            feed: brings the snapshots.
            title: first word of the heading.
            setting: limits.
            folder: where S saves pictures; None: the working folder.
            notebook: keeps decisions; None: none are taken.
            on_close: called once, when the operator closes the window.
            clock: monotonic nanoseconds, the clock of ``taken_ns`` and ``heard_ns``.
        """
        super().__init__()
        self._feed, self._clock, self._on_close = feed, clock, on_close
        self._setting = setting or OverlaySettings()
        self._folder = folder or Path()
        self._snapshot = Snapshot()
        self._known, self._pace = Known(), Pace()
        self._chosen: Target | None = None
        self._notebook, self._decided = notebook, UNDECIDED
        self._marked: Decision | None = None
        """The cell that was marked last, until a finding is picked."""
        self._boxes_on, self._help_on = True, False
        self._panel_due_ns = 0
        self._said, self._said_until_ns = "", 0
        self._lay_out(title)
        self._read_notebook()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.tick)

    def _lay_out(self, title: str) -> None:
        self.setWindowTitle(title)
        self.setMinimumSize(900, 600)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        paint.dress(self)
        self.heading, self.status = Heading(title), StatusStrip()
        optical = self._setting.optical
        self.canvas = (Eyepiece if optical else Canvas)(self._setting)
        self.canvas.painted.connect(self._on_painted)
        self.canvas.picked.connect(self._choose)
        self.canvas.pointed.connect(self._mark_at)
        self.score, self.map = ScoreCard(), MiniMap()
        self.map_card, self.cell = Card("Slide map", self.map), CellCard()
        self.cell.hide()
        self.trend = TrendCard(self._setting.suspicious_score)
        self.coverage = CoverageCard(self._setting.least_coverage)
        self.findings = GoalList("Findings")
        self.revisits = GoalList("Take me back", rows=4)
        for goals in (self.findings, self.revisits):
            goals.chosen.connect(self._choose)
        self.revisits.hide()
        self._stack()

    def _stack(self) -> None:
        self.panel = QWidget()
        self.panel.setFixedWidth(_PANEL_WIDTH_PX)
        cards = QVBoxLayout(self.panel)
        cards.setContentsMargins(10, 0, 10, 0)
        cards.setSpacing(8)
        cards.addWidget(self.score)
        cards.addWidget(self.coverage)
        cards.addWidget(self.trend)
        cards.addWidget(self.map_card, 2)
        cards.addWidget(self.cell, 4)
        cards.addWidget(self.findings, 3)
        cards.addWidget(self.revisits)
        middle = QHBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self.canvas, 1)
        middle.addWidget(self.panel)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.heading)
        whole.addLayout(middle, 1)
        whole.addWidget(self.status)
        if self._setting.optical:
            for beside in (self.heading, self.panel, self.status):
                beside.hide()

    @property
    def snapshot(self) -> Snapshot:
        """What was polled last."""
        return self._snapshot

    @property
    def seen(self) -> SeenRaster:
        """What was shown and analysed of this slide."""
        return self._known.seen

    def start(self) -> None:
        """Tick by the timer from now on."""
        self._timer.start(TICK_MS)

    def tick(self) -> None:
        """Take the newest snapshot and show what is new in it."""
        old, new = self._snapshot, self._feed.poll()
        self._snapshot = new
        now_ns = self._clock()
        if new.slide is not None and new.slide is not old.slide:
            chosen = self._known.chosen_after(new.slide, self._chosen)
            if chosen is not self._chosen:
                self._chosen = chosen
                self._show_cell()
        newer = new.field if _differs(new.field, self.canvas.field) else None
        if newer is not None:
            self._known.view(newer)
        self._show_canvas(newer, now_ns)
        if now_ns >= self._panel_due_ns:
            self._panel_due_ns = now_ns + _PANEL_NS
            self._show_panel(now_ns)

    def screenshot(self, path: Path) -> Path:
        """Save the window as it stands, as a PNG of its device pixels.

        Raises:
            DiskError: the file cannot be written.
        """
        save_widget(self, path)
        return path

    def _show_canvas(self, newer: LiveField | None, now_ns: int) -> None:
        snapshot, setting = self._snapshot, self._setting_here()
        # What is said belongs to the picture that will stand there.
        shown = self.canvas.field if self.canvas.frozen else newer or self.canvas.field
        trail = self._known.trail
        lost = shown is not None and shown.place is None
        scene = Scene(
            shelf=self._known.shelf,
            slide=snapshot.slide,
            stale=is_stale(snapshot, now_ns, setting),
            goal=self._goal(shown),
            back_xy=trail.back_xy if lost else None,
            badge=self._badge(shown),
            now_ns=now_ns if setting.optical else 0,
            banner=banner(
                snapshot, shown, now_ns, setting, was_placed=trail.place is not None
            ),
            waiting="The slide is read: pick a finding, Q closes"
            if snapshot.finished
            else f"Waiting for the first field{_of(snapshot.source)}",
            decided=self._decided,
            boxes_on=self._boxes_on,
            help_on=self._help_on,
        )
        self.canvas.show_scene(scene, newer)

    def _setting_here(self) -> OverlaySettings:
        """The limits, and on how much of which display boxes are drawn."""
        if isinstance(self.canvas, Eyepiece) and self._setting.optics is not None:
            size = self.canvas.size() * self.canvas.devicePixelRatioF()
            shown_px = size.width(), size.height()
            if shown_px != self._setting.shown_px:
                self._setting = replace(self._setting, shown_px=shown_px)
                self.canvas.use(self._setting)
        return self._setting

    def _badge(self, shown: LiveField | None) -> str:
        if self._snapshot.finished and self._notebook is not None:
            return "The slide is read: decide, then Q closes and writes the report"
        return motion_words(shown, self._setting) if shown else ""

    def _goal(self, shown: LiveField | None) -> Goal | None:
        if self._chosen is None:
            return None
        targets: tuple[Target, ...] = self._known.listed
        if isinstance(self._chosen, Revisit):
            targets = self._known.revisits
        rank = targets.index(self._chosen) if self._chosen in targets else 0
        sight = self.canvas.sight_on(shown)
        (goal,) = guide([self._chosen], sight, alone=_is_alone(shown))
        return replace(goal, rank=rank + 1)

    def _show_panel(self, now_ns: int) -> None:
        snapshot, setting = self._snapshot, self._setting
        shown = self.canvas.field
        stale = is_stale(snapshot, now_ns, setting)
        name = snapshot.slide.name if snapshot.slide else ""
        self.heading.say(name, snapshot.source if snapshot.source != name else "")
        self.score.show_score(score_words(snapshot, stale=stale, setting=setting))
        self.coverage.show_coverage(coverage_words(snapshot, setting, stale=stale))
        known = self._known
        self.map.draw(known.seen, snapshot.overview, changed=known.map_changed)
        known.map_changed = False
        if known.trend_changed and self.trend.isVisible():
            known.trend_changed = False
            self.trend.draw(known.trend)
        self._show_goals(shown)
        reading = self._pace.read(now_ns)
        said = self._said if now_ns < self._said_until_ns else ""
        items = status_line(snapshot, shown, reading, now_ns, setting)
        if self._notebook is not None:
            items = (decided_item(known.shelf.findings, self._decided), *items)
        self.status.say(items, said)

    def _show_goals(self, shown: LiveField | None) -> None:
        known, sight = self._known, self.canvas.sight_xyxy_um
        lost = known.trail.field if shown and shown.place is None else None
        self.map.mark(shown, known.listed, known.revisits, self._chosen, lost)
        alone = _is_alone(shown)
        goals = guide(known.listed, sight, alone=alone, decided=self._decided)
        self.findings.show_goals(goals, self._chosen)
        self.revisits.setVisible(bool(known.revisits))
        ways = guide(known.revisits, sight, alone=alone)
        self.revisits.show_goals(ways, self._chosen)

    def _on_painted(self, field: LiveField) -> None:
        now_ns = self._clock()
        self._pace.update(now_ns, field.taken_ns)
        self._feed.painted(field.seq, now_ns)

    def _say(self, text: str) -> None:
        self._said, self._said_until_ns = text, self._clock() + _SAID_NS
        self._panel_due_ns = 0

    def _choose(self, target: Target | None) -> None:
        self._chosen, self._marked = target, None
        self._panel_due_ns = 0
        self._show_cell()
        if isinstance(target, Finding) and target in self._known.listed:
            self.findings.reveal(self._known.listed.index(target))
        if isinstance(target, Revisit) and target in self._known.revisits:
            self.revisits.reveal(self._known.revisits.index(target))

    def _show_cell(self) -> None:
        """Show the picked cell in place of map and trend, where it has a picture."""
        picked, book, crop = self._chosen, self._notebook, None
        if isinstance(picked, Finding) and book is not None:
            try:
                crop = book.crop(picked)
            except ArmicroError as error:
                self._say(str(error))
            if crop is not None:
                self.cell.show_cell(crop, picked.width_um)
        self.cell.setVisible(crop is not None)
        self._make_room()

    def _make_room(self) -> None:
        """Leave out what the list or the picked cell needs the room of."""
        alone = self.cell.isHidden()
        self.map_card.setVisible(alone)
        self.trend.setVisible(alone and self.height() >= _TREND_FROM_PX)
        self._panel_due_ns = 0

    def _choose_revisit(self) -> None:
        """The next part that should be seen again, round and round."""
        parts = self._known.revisits
        if not parts:
            self._say("nothing to go back to")
        elif isinstance(self._chosen, Revisit) and self._chosen in parts:
            self._choose(parts[(parts.index(self._chosen) + 1) % len(parts)])
        else:
            self._choose(parts[0])

    def _choose_next(self, by: int) -> None:
        top = self._known.listed
        if top:
            picked = isinstance(self._chosen, Finding) and self._chosen in top
            at = top.index(self._chosen) + by if picked else 0
            self._choose(top[min(len(top) - 1, max(0, at))])

    def _read_notebook(self) -> None:
        if self._notebook is not None:
            reader = self._notebook.reader
            own = [one for one in self._notebook.said() if one.reader == reader]
            self._decided = Decided(standing(own))

    def _decide(self, verdict: Verdict, category: Category = "") -> None:
        """Say something of the finding that is picked, or of the cell marked last."""
        if isinstance(self._chosen, Finding):
            found = self._chosen
            spot, probability = (found.x_um, found.y_um), found.hr_probability
        elif self._marked is not None:
            spot, probability = (self._marked.x_um, self._marked.y_um), None
        else:
            self._say("pick a finding first: click on its box, or Up and Down")
            return
        self._keep(verdict, spot, category=category, hr_probability=probability)

    def _mark(self) -> None:
        xy_um = self.canvas.slide_um()
        if xy_um is None:
            self._say("nothing marked: nobody knows where this field lies")
        else:
            self._mark_at(*xy_um)

    def _mark_at(self, x_um: float, y_um: float) -> None:
        """Keep a cell that the machine has not found."""
        kept = self._keep("accept", (x_um, y_um))
        if kept is not None:
            self._chosen, self._marked = None, kept
            self._show_cell()

    def _note(self) -> None:
        stands = self._standing_here()
        if stands is None:
            self._say("decide first: a note belongs to a decision")
            return
        text, ok = QInputDialog.getText(
            self, "Note", f"Note on {stands.label}:", text=stands.note
        )
        if ok:
            self._keep(
                stands.verdict,
                (stands.x_um, stands.y_um),
                category=stands.category,
                hr_probability=stands.hr_probability,
                note=text[:LONGEST_NOTE],
            )

    def _standing_here(self) -> Decision | None:
        if isinstance(self._chosen, Finding):
            return self._decided.of(self._chosen)
        return self._decided.of(self._marked.mark) if self._marked else None

    def _take_back(self) -> None:
        book = self._notebook
        last = newest_of(book.said(), book.reader) if book else None
        if last is None:
            self._say("nothing to take back")
            return
        self._keep("undo", (last.x_um, last.y_um), undoes=last.number)

    def _keep(
        self, verdict: Verdict, xy_um: tuple[float, float], **more: Any
    ) -> Decision | None:
        """Have the notebook keep a decision; what it does not keep is not shown."""
        book = self._notebook
        if book is None:
            self._say("decisions are kept where the whole session runs, not here")
            return None
        decision = Decision(
            at="", reader=book.reader, x_um=xy_um[0], y_um=xy_um[1], verdict=verdict,
            **more,
        )  # fmt: skip
        try:
            book.keep(decision)
        except ArmicroError as error:
            self._say(f"not kept: {error}")
            return None
        self._read_notebook()
        again = "" if verdict == "undo" else " - Backspace takes it back"
        self._say(f"{decision.label}{again}")
        return decision

    def _toggle_boxes(self) -> None:
        self._boxes_on = not self._boxes_on

    def _toggle_help(self) -> None:
        self._help_on = not self._help_on

    def _toggle_freeze(self) -> None:
        self.canvas.freeze(on=not self.canvas.frozen)

    def _toggle_full_screen(self) -> None:
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def _toggle_panel(self) -> None:
        visible = not self.panel.isVisible()
        self.panel.setVisible(visible)
        if self._setting.optical:
            self.heading.setVisible(visible)
            self.status.setVisible(visible)

    def _save(self) -> None:
        seq = self.canvas.field.seq if self.canvas.field else 0
        name = f"window_{seq:06d}_{self._clock() // 1_000_000}.png"
        try:
            self._say(f"saved {self.screenshot(self._folder / name).name}")
        except ArmicroError as error:
            # Said where its reader looks: a full disk must not end a session.
            self._say(str(error))

    def _back(self) -> None:
        if self._help_on:
            self._help_on = False
        elif self._chosen is not None:
            self._choose(None)
        elif self.isFullScreen():
            self._toggle_full_screen()
        else:
            self.close()

    KEYS: ClassVar[dict[int, Callable[["Window"], object]]] = {
        Qt.Key.Key_A: lambda self: self._decide("accept"),
        Qt.Key.Key_X: lambda self: self._decide("reject"),
        Qt.Key.Key_U: lambda self: self._decide("unsure"),
        **{
            Qt.Key.Key_1 + at: partial(_decide_category, name)
            for at, name in enumerate(CATEGORIES)
        },
        Qt.Key.Key_M: _mark,
        Qt.Key.Key_N: _note,
        Qt.Key.Key_Backspace: _take_back,
        Qt.Key.Key_B: _toggle_boxes,
        Qt.Key.Key_F: _toggle_full_screen,
        Qt.Key.Key_P: _toggle_panel,
        Qt.Key.Key_R: _choose_revisit,
        Qt.Key.Key_S: _save,
        Qt.Key.Key_Space: _toggle_freeze,
        Qt.Key.Key_Question: _toggle_help,
        Qt.Key.Key_F1: _toggle_help,
        Qt.Key.Key_Plus: lambda self: self.canvas.zoom(1.25),
        Qt.Key.Key_Equal: lambda self: self.canvas.zoom(1.25),
        Qt.Key.Key_Minus: lambda self: self.canvas.zoom(0.8),
        Qt.Key.Key_0: lambda self: self.canvas.zoom(0),
        Qt.Key.Key_Up: lambda self: self._choose_next(-1),
        Qt.Key.Key_Down: lambda self: self._choose_next(1),
        Qt.Key.Key_Escape: _back,
        Qt.Key.Key_Q: lambda self: self.close(),
    }

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Do what the key is for, at once."""
        act = self.KEYS.get(event.key())
        if act is None:
            super().keyPressEvent(event)
            return
        act(self)
        self._show_canvas(None, self._clock())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Leave out what the list needs the room of."""
        self._make_room()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Stop ticking and tell whoever runs the session, once."""
        self._timer.stop()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        event.accept()


def _differs(field: LiveField | None, shown: LiveField | None) -> bool:
    """True for a field that does not stand in the window; one may be sent again."""
    if field is None or shown is None:
        return field is not shown
    return (field.seq, field.taken_ns) != (shown.seq, shown.taken_ns)


def _is_alone(field: LiveField | None) -> bool:
    """Whether it is a photograph of which nobody knows where it lies to the others."""
    place = field.place if field else None
    return place is not None and place.origin == "own_ground"


def _of(source: str) -> str:
    return f" from {source}" if source else ""
