"""What the window is fed with: the newest messages of capture and infer, as they come.

Pixels stay in the ring: a field is cut and resized straight from its slot when it is
painted, and thrown away when the slot was overwritten under it.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np

from armicro.field import FieldHead, Overview, Pixels
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.overlay.view import Cut, cut_out
from armicro.processes.job import Job
from armicro.session.record import overview_of
from armicro.slide.journal import Journal
from armicro.verdict import AnalysisState
from armicro.wire.link import Subscriber
from armicro.wire.ring import Ring
from armicro.wire.topic import Shot, Slide, View


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
        before = self._snapshot
        field, source, problem = before.field, before.source, before.problem
        heard_ns, warning = before.heard_ns, before.warning
        if isinstance(view, View):
            source, problem, heard_ns = view.source, view.problem, now_ns
            warning = view.warning
            if view.shot is not None and _is_news(view.shot.head, field):
                field = self._field(view.shot)
        state = before.slide
        if isinstance(slide, Slide):
            told = msgspec.structs.asdict(slide.report)
            state = SlideState(**told, heard_ns=now_ns)
        if view is not None or slide is not None:
            finished = (
                slide.report.finished if isinstance(slide, Slide) else before.finished
            )
            self._snapshot = Snapshot(
                *(field, state, source, problem, heard_ns, before.overview, finished),
                warning,
                before.analysis,
            )
        analysis = self._analysis()
        if analysis != self._snapshot.analysis:
            self._snapshot = replace(self._snapshot, analysis=analysis)
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


def read_overview(job: Job) -> Overview | None:
    """The slide's small picture from the journal; None where there is none."""
    if not job.journal.exists():
        return None
    with Journal(job.journal) as journal:
        return overview_of(journal)


def _is_news(head: FieldHead, shown: FieldHead | None) -> bool:
    """Whether it is another field; a capture that started anew may count from 0."""
    if shown is None:
        return True
    return (head.seq, head.taken_ns) != (shown.seq, shown.taken_ns)
