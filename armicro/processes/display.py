"""display: the operator's window, fed by the newest words of capture and infer.

It knows nothing that it could lose: killed and started again, it has the field with the
next frame and the slide with infer's next word. Pixels stay in the ring: a field is cut
and resized straight from its slot when it is painted, and thrown away when the slot was
overwritten under it.
"""

import contextlib
import getpass
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from armicro.calibrate.certificate import Certificate
from armicro.field import FieldHead, Overview, Pixels
from armicro.file import write_whole
from armicro.overlay.snapshot import (
    DisplayOptics,
    LiveField,
    OverlaySettings,
    SlideState,
    Snapshot,
)
from armicro.overlay.view import Cut, cut_out
from armicro.processes.job import Job
from armicro.processes.life import Life
from armicro.report import Finding
from armicro.rig import Rig
from armicro.session.record import overview_of
from armicro.slide.decision import LONGEST_NAME, Decision
from armicro.slide.journal import Journal
from armicro.slide.track import decode_crop
from armicro.verdict import AnalysisState
from armicro.wire.link import Subscriber
from armicro.wire.ring import Ring
from armicro.wire.topic import Shot, Slide, View

PICTURE = "window.png"
"""Screenshot of the last moment, in the session's folder."""
PAINTED = "painted.csv"
"""From the end of exposure to painted, of the last fields."""


def run(job: Job, life: Life) -> None:
    """Show the window until it is closed or the session ends.

    Raises:
        ArmicroError: the ring or a link cannot be used.
    """
    life.beat("starting", at_once=True)
    if job.display == "offscreen":
        # Qt reads it when it is loaded, which the import below does.
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from armicro.overlay.application import run_window

    keys = job.rig.wire.keys
    with (
        Ring.attach(job.ring) as ring,
        Subscriber(job.addresses["view"], "view", keys=keys) as view,
        Subscriber(job.addresses["slide"], "slide", keys=keys) as slide,
        open_journal(job) as journal,
    ):
        feed = WireFeed(
            ring,
            view,
            slide,
            overview=overview_of(journal) if journal else None,
            analysis=life.analysis,
        )
        notebook = None
        # In parts, what infer finds is kept on another machine.
        if journal is not None and job.part == "all":
            notebook = JournalNotebook(journal, reader_of(job.reader))

        def on_tick() -> bool:
            life.beat(
                fields=feed.frames,
                text=feed.figures(),
                messages_dropped=view.dropped.total()
                + slide.dropped.total()
                + ring.dropped,
            )
            return not life.stopping

        with slot_errors():
            run_window(
                feed,
                title="armicro",
                setting=setting_of(job.rig),
                folder=job.folder,
                notebook=notebook,
                on_tick=on_tick,
                picture=job.folder / PICTURE,
            )
        # `armicro calibrate latency --session` reads it.
        rows = "".join(f"{span_ms:.3f}\n" for span_ms in feed.painted_ms)
        with contextlib.suppress(OSError):
            # A full disk has been told of elsewhere.
            write_whole(job.folder / PAINTED, f"grab_to_painted_ms\n{rows}".encode())


class JournalNotebook:
    """Decisions, each kept in the journal before it is shown."""

    def __init__(self, journal: Journal, reader: str) -> None:
        self._journal, self.reader = journal, reader
        self._said = journal.decisions()

    def said(self) -> tuple[Decision, ...]:
        """All that was said of this slide, by any reader."""
        return self._said

    def crop(self, finding: Finding) -> Pixels | None:
        """The best view of a finding's cell; None where none is kept."""
        jpeg = self._journal.crop_jpeg(finding)
        return decode_crop(jpeg) if jpeg else None

    def keep(self, decision: Decision) -> None:
        """Keep one more.

        Raises:
            DiskError: it is not kept.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept = self._journal.decide(msgspec.structs.replace(decision, at=at))
        self._said = (*self._said, kept)


def open_journal(job: Job) -> contextlib.AbstractContextManager[Journal | None]:
    """Open the session's journal, which is checked whole; None where there is none."""
    return Journal(job.journal) if job.journal.exists() else contextlib.nullcontext()


def reader_of(given: str) -> str:
    """The reader's name: as given, or the user of the machine."""
    if given:
        return given
    try:
        return getpass.getuser()[:LONGEST_NAME] or "reader"
    except (OSError, KeyError):
        # A user without a name.
        return "reader"


def setting_of(rig: Rig) -> OverlaySettings:
    """The window's limits: the place must be known as well as the cascade wants it."""
    limit_um = rig.cascade.place_error_um
    # A tight limit leaves the boxes less room to fade.
    fade_from_um = min(OverlaySettings().fade_from_um, limit_um / 2)
    # One that is not in force says nothing.
    certificate = None if rig.calibration_fault else rig.calibration
    latency = certificate.latency if certificate else None
    return OverlaySettings(
        fade_from_um=fade_from_um,
        largest_place_error_um=limit_um,
        uncalibrated=rig.camera.uncalibrated,
        least_coverage=rig.display.least_coverage,
        least_focus=rig.cascade.least_focus,
        most_smear_um=rig.cascade.most_smear_um,
        optical=rig.display.mode == "optical",
        optics=optics_of(certificate),
        latency_ms=rig.display.latency_ms,
        glass_to_glass_ms=latency.median_ms if latency else 0.0,
    )


def optics_of(certificate: Certificate | None) -> DisplayOptics | None:
    """How camera pixels lie on an optical display; None where it was not measured."""
    display = certificate.display if certificate else None
    if display is None:
        return None
    size_px = display.width_px, display.height_px
    return DisplayOptics(display.homography, display.distortion, size_px)


@contextlib.contextmanager
def slot_errors() -> Iterator[None]:
    """Raise what goes wrong inside Qt's event loop, which would only print it.

    A window whose every tick fails beats on and shows an old picture; one that ends is
    started again.
    """
    from armicro.overlay.application import application

    errors: list[BaseException] = []

    def told(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        del kind, trace
        errors.append(error)
        application().exit(1)

    before, sys.excepthook = sys.excepthook, told
    try:
        yield
    finally:
        sys.excepthook = before
    if errors:
        raise errors[0]


class WireFeed:
    """Snapshots made of the newest ``view`` and ``slide`` messages."""

    def __init__(
        self,
        ring: Ring,
        view: Subscriber,
        slide: Subscriber,
        *,
        overview: Overview | None,
        analysis: Callable[[], AnalysisState] = lambda: "",
    ) -> None:
        """Take the links; ``analysis`` tells what the supervisor knows of infer."""
        self._ring, self._view, self._slide = ring, view, slide
        self._snapshot = Snapshot(overview=overview)
        self._analysis = analysis
        self._taken: dict[int, int] = {}
        self.painted_ms: deque[float] = deque(maxlen=2_000)
        """Grab to painted of the last fields."""
        self.frames = 0

    def poll(self) -> Snapshot:
        """The newest known state, at once."""
        view, slide = self._view.newest(), self._slide.newest()
        now_ns = time.monotonic_ns()
        news: dict[str, Any] = {}
        if isinstance(view, View):
            news |= {"source": view.source, "problem": view.problem}
            news |= {"warning": view.warning, "heard_ns": now_ns}
            if view.shot and _is_news(view.shot.head, self._snapshot.field):
                news["field"] = self._field(view.shot)
        if isinstance(slide, Slide):
            told = msgspec.structs.asdict(slide.report)
            news["slide"] = SlideState(**told, heard_ns=now_ns)
            news["finished"] = slide.report.finished
        analysis = self._analysis()
        if news or analysis != self._snapshot.analysis:
            self._snapshot = replace(self._snapshot, **news, analysis=analysis)
        return self._snapshot

    def painted(self, seq: int, painted_ns: int) -> None:
        """The field ``seq`` stands in the window since ``painted_ns``."""
        self.frames += 1
        taken_ns = self._taken.pop(seq, None)
        if taken_ns is not None:
            self.painted_ms.append((painted_ns - taken_ns) / 1e6)

    def figures(self) -> str:
        """Grab to painted of the last fields, for the heartbeat."""
        if not self.painted_ms:
            return ""
        p50, p95 = np.percentile(self.painted_ms, (50, 95))
        return f"grab_to_painted_ms p50={p50:.1f} p95={p95:.1f}"

    def _field(self, shot: Shot) -> LiveField:
        self._taken = {shot.head.seq: shot.head.taken_ns}
        told = msgspec.structs.asdict(shot.head)
        return LiveField(**told, render=partial(self._render, shot))

    def _render(self, shot: Shot, cut: Cut) -> Pixels | None:
        return self._ring.look(shot, lambda pixels: cut_out(pixels, cut))


def _is_news(head: FieldHead, shown: FieldHead | None) -> bool:
    """Whether it is another field; a capture that started anew may count from 0."""
    if shown is None:
        return True
    return (head.seq, head.taken_ns) != (shown.seq, shown.taken_ns)
