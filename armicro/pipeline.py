"""The whole of infer without processes or sockets: a field in, what is known out.

Tests and batch runs call ``Pipeline.step(field)``, and ``flush`` at the end. The infer
process calls its parts, so that fields are prepared, analysed and written at the same
time, and ``keep`` again with what the journal kept of a session that it resumes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from armicro.cascade.choice import Choice
from armicro.cascade.cut import Prepared
from armicro.cascade.screen import Screen
from armicro.cascade.tile import find_cells, pack_cells
from armicro.engine.registry import NetworkSet
from armicro.field import Field, Pixels
from armicro.report import (
    Account,
    Area,
    FieldReport,
    FieldState,
    Finding,
    Observation,
    Revisit,
    SlideScore,
)
from armicro.slide.coverage import Coverage, Ground
from armicro.slide.focus import with_focus
from armicro.slide.increment import Increment
from armicro.slide.revisit import find_revisits
from armicro.slide.score import score_slide
from armicro.slide.track import FindingSet, top
from armicro.verdict import HR_UM_PER_PX, why_withheld

SEEN: frozenset[FieldState] = frozenset({"analysed", "blank"})


class Pipeline:
    """The cascade and the slide that it fills."""

    def __init__(
        self, networks: NetworkSet, choice: Choice, *, live: bool = False
    ) -> None:
        """Take the networks.

        Args:
            networks: an opened set.
            choice: the rig's ``[cascade]``.
            live: what its ``mode = "auto"`` goes by.

        Raises:
            EngineError: the networks cannot do what is chosen.
        """
        self.screen = Screen(networks, choice)
        self._networks = networks
        self._choice = choice
        self._findings = FindingSet(merge_um=choice.merge_um)
        self._coverage = Coverage()
        lr = networks.manifest.lr
        self._increment = (
            Increment(self.screen, self._coverage, tile_um=lr.tile_px * lr.um_per_px)
            if is_incremental(choice, live=live)
            else None
        )
        self._states: dict[int, FieldState] = {}
        self._unplaced: dict[int, int] = {}
        """Fields shown without a place, by the life of capture that tells it."""
        self._scored: tuple[Finding, ...] | None = None
        self._score: tuple[float, dict[str, tuple[float, float]]] = (0.0, {})

    def step(self, field: Field) -> tuple[FieldReport, SlideScore]:
        """Run one field through the cascade and into the slide.

        Raises:
            EngineError: the engine failed.
        """
        account, _ = self.look(self.screen.prepare(with_focus(field)))
        return account.report, self.score()

    def look(self, prepared: Prepared) -> tuple[Account, Account | None]:
        """Take a prepared field into the slide.

        Returns:
            Its report with the observations that are news; and, in incremental mode,
            the same of the field before, whose report has grown by what left the view.

        Raises:
            EngineError: the engine failed.
        """
        if self._increment is None:
            return self._kept(self.screen.analyse(prepared)), None
        late = self._increment.leave(prepared)
        # Kept first: what it saw need not be looked for in the new field.
        late = late and self._kept(late)
        return self._kept(self._increment.look(prepared)), late

    def flush(self) -> Account | None:
        """Look at what still waits, at the session's end; None where nothing does.

        Raises:
            EngineError: the engine failed.
        """
        late = self._increment.leave(None) if self._increment else None
        return late and self._kept(late)

    def read(self, fields: Iterable[Field]) -> Iterator[Account]:
        """Run fields and the end; yield each account as ``look`` and ``flush`` do.

        Raises:
            EngineError: the engine failed.
        """
        for field in fields:
            account, late = self.look(self.screen.prepare(with_focus(field)))
            if late is not None:
                yield late
            yield account
        rest = self.flush()
        if rest is not None:
            yield rest

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
        self._coverage.take(report)
        return self._findings.update(observations)

    def pass_by(self, ground: Ground, unplaced: Mapping[int, int]) -> None:
        """Take what was shown; what of it is never analysed counts as passed.

        Args:
            ground: where fields were shown.
            unplaced: fields shown without a place, by the life of capture that tells.
        """
        self._coverage.pass_by(ground)
        for life, count in unplaced.items():
            self._unplaced[life] = max(count, self._unplaced.get(life, 0))

    def seen_boxes(self, report: FieldReport) -> tuple[Area, ...]:
        """Areas of a kept field, which must have a place, that were seen so far."""
        return self._coverage.seen_boxes(report)

    def revisits(self) -> tuple[Revisit, ...]:
        """What should be looked at again, the most pressing first."""
        in_work = self._increment.in_work if self._increment else None
        return find_revisits(self._coverage, self.findings(), in_work=in_work)

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
        share, cell_um2 = self._coverage.seen_cells()
        # A slide of which hardly a cell was looked at has no score, not a low one.
        withheld = why_withheld(cell_um2)
        if not withheld:
            score, scores = self._fused(merged)
        return SlideScore(
            score=score,
            scores=scores,
            coverage=share,
            fields=len(states),
            fields_unreadable=states.count("unreadable"),
            findings=len(merged),
            megapixels=self._coverage.seen_um2 / HR_UM_PER_PX**2 / 1e6,
            withheld=withheld,
            fields_unplaced=max(states.count("no_place"), sum(self._unplaced.values())),
        )

    def _kept(self, account: Account) -> Account:
        return Account(account.report, self.keep(*account))

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


def is_incremental(choice: Choice, *, live: bool) -> bool:
    """Whether the rig's choice means the incremental cascade.

    >>> is_incremental(Choice(), live=True), is_incremental(Choice(), live=False)
    (True, False)
    """
    if choice.lr_mode == "whole":
        return False
    return live if choice.mode == "auto" else choice.mode == "incremental"
