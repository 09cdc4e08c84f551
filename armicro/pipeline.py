"""The whole of infer without processes or sockets: a field in, what is known out.

Fields come in by ``Pipeline.step``, in the infer process, in batch runs and in tests,
with ``flush`` at the end. ``pass_by`` takes what was shown and not analysed, ``keep``
what a journal kept of a session that is resumed. All else asks what is known.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from armicro.cascade.locate import FUSIONS, scores_of
from armicro.cascade.screen import Choice, Screen
from armicro.cascade.tile import Prepared, find_cells, pack_cells
from armicro.engine.registry import NetworkSet
from armicro.field import Field, Overview
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
from armicro.slide.track import FindingSet, at_size, score_slide, top
from armicro.verdict import FEWEST_JUDGED, HR_UM_PER_PX, strange_text, why_withheld

SEEN: frozenset[FieldState] = frozenset({"analysed", "blank"})


class Step(NamedTuple):
    """What a field has brought."""

    account: Account
    """Its report with the observations that are news."""
    late: Account | None
    """In incremental mode the same of the field before, whose report has grown by what
    left the view; None where nothing had waited."""
    score: SlideScore


class Pipeline:
    """The cascade and the slide that it fills."""

    def __init__(
        self,
        networks: NetworkSet,
        choice: Choice,
        *,
        live: bool = False,
        overview: Overview | None = None,
    ) -> None:
        """Take the networks.

        Args:
            networks: an opened set.
            choice: the rig's ``[cascade]``.
            live: what its ``mode = "auto"`` goes by.
            overview: small picture of the slide, which tells where its cells are.

        Raises:
            EngineError: the networks cannot do what is chosen.
        """
        self._screen = Screen(networks, choice)
        self._networks = networks
        self._choice = choice
        self._findings = FindingSet(merge_um=choice.merge_um)
        self._coverage = Coverage()
        if overview is not None:
            cells = pack_cells(find_cells(overview.pixels, overview.um_per_px), pool=1)
            self._coverage.know_cells(cells, overview.x_um, overview.y_um)
        lr = networks.manifest.lr
        self._increment = (
            Increment(self._screen, self._coverage, tile_um=lr.tile_px * lr.um_per_px)
            if is_incremental(choice, live=live)
            else None
        )
        self._states: dict[int, FieldState] = {}
        self._unplaced: dict[int, int] = {}
        """Fields shown without a place, by the life of capture that tells it."""
        self._scored: tuple[Finding, ...] | None = None
        self._strange, self._score = "", list[float]()
        """Of the top list: why it has no score, or what the six networks say."""

    def prepare(self, field: Field) -> Prepared:
        """Make a field ready for ``step``; any thread may, while another one steps.

        Args:
            field: with its focus, which is measured where it was taken.
        """
        return self._screen.prepare(field)

    def step(self, field: Field | Prepared) -> Step:
        """Take a field through the cascade and into the slide.

        Raises:
            EngineError: the engine failed.
        """
        if isinstance(field, Field):
            field = self.prepare(with_focus(field))
        late = self._increment.leave(field) if self._increment else None
        # Kept first: what it saw need not be looked for in the new field.
        late = late and self._kept(late)
        look = self._increment.look if self._increment else self._screen.analyse
        return Step(self._kept(look(field)), late, self.score())

    def flush(self) -> Account | None:
        """Look at what still waits, at the session's end; None where nothing does.

        Raises:
            EngineError: the engine failed.
        """
        late = self._increment.leave(None) if self._increment else None
        return late and self._kept(late)

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

    def top(self, count: int) -> tuple[Finding, ...]:
        """The top list: the most suspicious that lie apart."""
        return tuple(seen.finding for seen in top(self._findings.merged(), count))

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
            self._judge_top(merged)
            withheld = self._strange
        if not withheld:
            table = self._networks.manifest.rnn
            scores = scores_of(at_size(self._score, cell_um2, table), table.top)
            score = FUSIONS[self._choice.fusion](scores)
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

    def _judge_top(self, merged: Sequence[Observation]) -> None:
        best = top(merged, max(self._networks.manifest.rnn.top))
        key = tuple(seen.finding for seen in best)
        # The networks run again only when the top list has changed.
        if key != self._scored:
            self._strange = self._why_strange(best)
            if not self._strange:
                self._score = score_slide(self._networks.rnn, best)
            self._scored = key

    def _why_strange(self, best: Sequence[Observation]) -> str:
        familiar = self._networks.familiar
        if familiar is None or len(best) < FEWEST_JUDGED:
            return ""
        distance = familiar.distance(np.stack([seen.features for seen in best]))
        return strange_text(distance, familiar.farthest)


def is_incremental(choice: Choice, *, live: bool) -> bool:
    """Whether the rig's choice means the incremental cascade.

    >>> is_incremental(Choice(), live=True), is_incremental(Choice(), live=False)
    (True, False)
    """
    if choice.lr_mode == "whole":
        return False
    return live if choice.mode == "auto" else choice.mode == "incremental"
