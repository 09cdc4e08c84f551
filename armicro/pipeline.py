"""The whole of infer without processes or sockets: a field in, what is known out.

Tests and batch runs call ``Pipeline.step(field)``. The infer process calls its parts,
so that fields are prepared, analysed and written at the same time, and ``keep`` again
with what the journal kept of a session that it resumes.
"""

from collections.abc import Sequence

from armicro.cascade.choice import Choice
from armicro.cascade.screen import Screen
from armicro.cascade.tile import find_cells, pack_cells
from armicro.engine.registry import NetworkSet
from armicro.field import Field, Pixels
from armicro.report import FieldReport, FieldState, Finding, Observation, SlideScore
from armicro.slide.coverage import Coverage
from armicro.slide.score import score_slide
from armicro.slide.track import FindingSet, top

COUNTED_UM_PER_PX = 0.243
"""Scale in which the analysed area is counted in megapixels (DESIGN.md)."""

SEEN: frozenset[FieldState] = frozenset({"analysed", "blank"})


class Pipeline:
    """The cascade and the slide that it fills."""

    def __init__(self, networks: NetworkSet, choice: Choice) -> None:
        self.screen = Screen(networks, choice)
        self._networks = networks
        self._choice = choice
        self._findings = FindingSet(merge_um=choice.merge_um)
        self._coverage = Coverage()
        self._states: dict[int, FieldState] = {}
        self._scored: tuple[Finding, ...] | None = None
        self._score: tuple[float, dict[str, tuple[float, float]]] = (0.0, {})

    def step(self, field: Field) -> tuple[FieldReport, SlideScore]:
        """Run one field through the cascade and into the slide.

        Raises:
            EngineError: the engine failed.
        """
        report, observations = self.screen.analyse(self.screen.prepare(field))
        self.keep(report, observations)
        return report, self.score()

    def survey(
        self, overview: Pixels, um_per_px: float, corner_xy_um: tuple[float, float]
    ) -> None:
        """Learn from a small picture of the slide where its cells are."""
        cells = pack_cells(find_cells(overview, um_per_px), pool=1)
        self._coverage.know_cells(cells, *corner_xy_um)

    def keep(
        self, report: FieldReport, observations: Sequence[Observation]
    ) -> list[Observation]:
        """Take a field's report into the slide; return the observations that are news.

        An observation is news when no better one of the same cell was there before:
        only news need be written down.
        """
        self._states[report.seq] = report.state
        size_um = report.width_um, report.height_um
        if report.place is not None and report.state == "unreadable":
            self._coverage.miss(report.place, size_um)
        elif report.place is not None and report.cells is not None:
            self._coverage.see(report.place, size_um, report.cells)
        return self._findings.update(observations)

    def findings(self) -> tuple[Finding, ...]:
        """Every finding of the slide, one a cell, most suspicious first."""
        return tuple(seen.finding for seen in self._findings.merged())

    def score(self) -> SlideScore:
        """The slide's running state.

        Raises:
            EngineError: the engine failed.
        """
        merged = self._findings.merged()
        states = tuple(self._states.values())
        score: float | None = None
        scores: dict[str, tuple[float, float]] = {}
        # A slide without a cell that was looked at has no score, not a low one.
        if "analysed" in states:
            score, scores = self._fused(merged)
        return SlideScore(
            score=score,
            scores=scores,
            coverage=self._coverage.share,
            fields=len(states),
            fields_unreadable=states.count("unreadable"),
            findings=len(merged),
            megapixels=self._coverage.seen_um2 / COUNTED_UM_PER_PX**2 / 1e6,
        )

    def _fused(
        self, merged: Sequence[Observation]
    ) -> tuple[float, dict[str, tuple[float, float]]]:
        tops = self._networks.manifest.rnn.top
        best = top(merged, max(tops))
        key = tuple(seen.finding for seen in best)
        # The networks run again only when the top list has changed.
        if key != self._scored:
            self._score = score_slide(
                self._networks.rnn, best, tops=tops, fusion=self._choice.fusion
            )
            self._scored = key
        return self._score
