"""What a journal tells of its session, read once and frozen.

A crashed session lacks what is written at its end, an old one what was not yet thought
of: whatever is absent stays at its default, and ``finished`` says whether the run came
to its end.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from armicro.cascade.locate import TOP_COUNT
from armicro.cascade.screen import MergeUm
from armicro.cascade.tile import find_cells, pack_cells
from armicro.errors import SourceError
from armicro.field import Overview, PlaceOrigin
from armicro.picture import check_header
from armicro.report import FieldReport, Finding, SlideScore
from armicro.rule import PictureUmPerPx, PlaceUm
from armicro.slide.coverage import Coverage, Ground
from armicro.slide.decision import SAID, Decided, Decision, standing
from armicro.slide.journal import Event, Journal
from armicro.slide.track import FindingSet, top
from armicro.verdict import (
    ENOUGH_COVERAGE,
    MERGE_UM,
    NEW_MAPS,
    StateName,
    coverage_text,
    new_map_state,
    score_text,
    why_so_far,
)

Facts = dict[str, Any]

MOST_OVERVIEW_PX = 1 << 24
"""Of the small picture of a slide: its longest side has some 2,000."""
Level = Annotated[int, Meta(ge=0, le=255)]
SlidePx = Annotated[int, Meta(ge=0, le=2**31)]


class SlideCard(msgspec.Struct, frozen=True):
    """What was read; kept under ``slide``."""

    name: str = ""
    file: str = ""
    """The file's name without its folder: a path tells too much of a patient."""
    sha256: str = ""
    """Of its content, as ``slide_sha256`` makes it; empty for a camera."""
    pixel_um: PictureUmPerPx | None = None
    """PictureUmPerPx of the slide file's own pixels; None for a camera."""
    shown_xywh_px: tuple[SlidePx, SlidePx, SlidePx, SlidePx] | None = None
    """What viewers show of the slide file: they cut it to what was scanned."""
    pixel_xy_um: tuple[PictureUmPerPx, PictureUmPerPx] | None = None
    """``pixel_um`` along x and along y."""
    um_per_px: PictureUmPerPx | None = None
    """PictureUmPerPx of the fields."""
    width_px: SlidePx | None = None
    height_px: SlidePx | None = None
    """Size of the fields."""
    fields_planned: SlidePx | None = None


_PNG = b"\x89PNG\r\n\x1a\n"


class OverviewCard(msgspec.Struct, frozen=True):
    """A small picture of the slide; kept under ``overview``."""

    png: bytes
    um_per_px: PictureUmPerPx
    x_um: PlaceUm = 0.0
    y_um: PlaceUm = 0.0
    """Slide coordinates of its top left corner."""

    def __post_init__(self) -> None:
        """Refuse what claims to be far larger than an overview, before it is decoded.

        Raises:
            SourceError: it does.
        """
        if self.png.startswith(_PNG):
            check_header(self.png, "overview", kind="PNG", most_px=MOST_OVERVIEW_PX)

    def bgr(self) -> NDArray[np.uint8] | None:
        """(height, width, 3); None when it is no picture: then it is done without."""
        if not self.png.startswith(_PNG):
            return None
        levels = cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_COLOR)
        return None if levels is None else np.asarray(levels, np.uint8)


class MapCard(msgspec.Struct, frozen=True):
    """The slide stitched from the fields; kept under ``map``."""

    file: str
    um_per_px: PictureUmPerPx
    x_um: PlaceUm
    y_um: PlaceUm
    """Slide coordinates of its top left corner."""
    width_px: SlidePx
    height_px: SlidePx
    background_rgb: tuple[Level, Level, Level]
    """The colour of what was not seen: that of the glass."""


Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=2**40)]


class _Spent(msgspec.Struct, frozen=True):
    """What a session that has not ended has taken; kept under ``spent``."""

    inference_s: Seconds | None = None
    fields_dropped: Count = 0


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A run over one slide."""

    slide: SlideCard = field(default_factory=SlideCard)
    score: SlideScore = field(default_factory=SlideScore)
    engine: Facts = field(default_factory=dict)
    """``set``, ``hash``, ``backend``, ``precision`` and what else the run knew."""
    rig: Facts = field(default_factory=dict)
    """``name``, ``sha256``, ``objective``, ``certificate``."""
    settings: Facts = field(default_factory=dict)
    version: str = ""
    """Of the armicro that ran, which may not be the one that reads."""
    started: str = ""
    """Date and time of the first start, in words; the journal itself has no clock."""
    overview: OverviewCard | None = None
    map: MapCard | None = None
    wall_s: float | None = None
    inference_s: float = 0.0
    fields_dropped: int = 0
    reports: tuple[FieldReport, ...] = ()
    """By ``seq``."""
    stations: tuple[tuple[int, dict[str, int]], ...] = ()
    """``seq`` and the ns at each station."""
    events: tuple[Event, ...] = ()
    findings: tuple[Finding, ...] = ()
    """One a cell, most suspicious first."""
    top: tuple[Finding, ...] = ()
    """The top list: at most 30, none near a higher one."""
    crops: tuple[bytes, ...] = ()
    """The JPEG of each in ``top``."""
    said: tuple[Decision, ...] = ()
    """Every decision of a reader, in their order."""
    decided: Decided = field(default_factory=Decided)
    """Those that stand."""
    passed: Ground = field(default_factory=Ground)
    """Ground that was shown in live and never analysed."""

    @property
    def finished(self) -> bool:
        """The run came to its end, which writes ``wall_s``, and all of it is kept."""
        return self.wall_s is not None and not self.fields_missing

    @property
    def fields_missing(self) -> int:
        """Planned fields that were not read; 0 where nothing was planned."""
        return max(0, (self.slide.fields_planned or 0) - len(self.reports))

    @property
    def why_so_far(self) -> str:
        """Why the score is no result; empty where it is the slide's."""
        display = self.settings.get("display")
        least = display.get("least_coverage") if isinstance(display, dict) else None
        return why_so_far(
            self.score.coverage,
            extent_known=self.overview is not None,
            finished=self.finished,
            enough=least if isinstance(least, float) else ENOUGH_COVERAGE,
        )

    @property
    def coverage_text(self) -> str:
        """How much was analysed, as window, terminal and report say it."""
        return coverage_text(
            self.score.coverage, extent_known=self.overview is not None
        )

    @property
    def verdict(self) -> str:
        """The score and what it is a score of, in one line."""
        return score_text(
            self.score,
            extent_known=self.overview is not None,
            so_far=bool(self.why_so_far),
        )

    @property
    def decided_text(self) -> str:
        """How many of the suspicious cells a reader decided; empty without any."""
        if not self.decided.decisions:
            return ""
        said = self.decided.on_suspicious(self.findings)
        stand = [one for one in said if one is not None]
        counts = Counter(SAID[one.verdict] for one in stand)
        parts = [f"{count} {name}" for name, count in counts.most_common()]
        if missed := len(self.decided.missed()):
            parts.append(f"{missed} marked that the machine had not found")
        return (
            f"{len(stand)} of {len(said)} suspicious cells decided"
            f"{': ' if parts else ''}{', '.join(parts)}"
        )

    @property
    def pictures_apart(self) -> bool:
        """Whether its fields are photographs, each on a ground of its own."""
        return self._has_place("own_ground")

    @property
    def maps_apart(self) -> list[StateName]:
        """Why its fields lie on several maps, each reason once."""
        begun = {new_map_state(report.place) for report in self.reports}
        return [state for state in NEW_MAPS.values() if state in begun]

    def _has_place(self, origin: PlaceOrigin) -> bool:
        places = (report.place for report in self.reports)
        return any(place is not None and place.origin == origin for place in places)

    def count(self, state: str) -> int:
        """How many fields ended in this state."""
        return sum(report.state == state for report in self.reports)


def read_session(journal: Journal) -> Session:
    """Read a session, merging and ranking its findings.

    Raises:
        SourceError: the journal is damaged, or holds what this version cannot read.
    """
    settings = journal.get("settings", Facts) or {}
    spent = journal.get("spent", _Spent) or _Spent()
    found = FindingSet(merge_um=merge_um_of(settings))
    # One by one: those of a large slide do not fit into memory together.
    found.update(journal.observations(crops=False))
    findings = found.merged()
    best = [seen.finding for seen in top(findings, TOP_COUNT)]
    reports = journal.reports()
    ground, unplaced = journal.shown()
    score = journal.get("score", SlideScore) or SlideScore()
    passed = Ground()
    if ground.chunks:
        # Capture goes on for a while after infer has told the last score.
        coverage = _coverage(reports, ground, overview_of(journal))
        passed = coverage.passed()
        score = msgspec.structs.replace(
            score,
            coverage=coverage.share,
            fields_unplaced=max(score.fields_unplaced, sum(unplaced.values())),
        )
    said = journal.decisions()
    # What was spent so far is kept with every field, the sums only at the end.
    inference_s = journal.get("inference_s", Seconds) or spent.inference_s
    return Session(
        slide=journal.get("slide", SlideCard) or SlideCard(),
        score=score,
        passed=passed,
        said=said,
        decided=Decided(standing(said)),
        engine=journal.get("engine", Facts) or {},
        rig=journal.get("rig", Facts) or {},
        settings=settings,
        version=journal.get("version", str) or "",
        started=journal.get("started", str) or "",
        overview=journal.get("overview", OverviewCard),
        map=journal.get("map", MapCard),
        wall_s=journal.get("wall_s", Seconds),
        inference_s=(
            sum(report.inference_ns for report in reports) / 1e9
            if inference_s is None
            else inference_s
        ),
        fields_dropped=journal.get("fields_dropped", Count) or spent.fields_dropped,
        reports=tuple(reports),
        stations=tuple(journal.stations()),
        events=tuple(journal.events()),
        findings=tuple(seen.finding for seen in findings),
        top=tuple(best),
        crops=tuple(journal.crop_jpeg(finding) or b"" for finding in best),
    )


def _coverage(
    reports: Sequence[FieldReport], ground: Ground, overview: Overview | None
) -> Coverage:
    coverage = Coverage()
    if overview is not None:
        cells = pack_cells(find_cells(overview.pixels, overview.um_per_px), pool=1)
        coverage.know_cells(cells, overview.x_um, overview.y_um)
    for report in reports:
        coverage.take(report)
    coverage.pass_by(ground)
    return coverage


def merge_um_of(settings: Facts) -> float:
    """How near findings of a session are one cell, by its settings.

    Raises:
        SourceError: they hold what no rig may say.
    """
    cascade = settings.get("cascade")
    found = (cascade if isinstance(cascade, dict) else settings).get("merge_um")
    if found is None:
        return MERGE_UM
    try:
        return msgspec.convert(found, MergeUm)
    except msgspec.ValidationError as error:
        raise SourceError(
            f"the session's settings: merge_um is not what a rig may say ({error}); "
            "restore its journal from a copy"
        ) from error


def overview_of(journal: Journal) -> Overview | None:
    """The slide's small picture as the journal keeps it; None where there is none."""
    card = journal.get("overview", OverviewCard)
    if card is None:
        return None
    bgr = card.bgr()
    if bgr is None:
        return None
    pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return Overview(pixels, card.um_per_px, card.x_um, card.y_um)


# ---------------------------------------------------------------------------
# How long fields took from station to station.


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of the way, over all fields that went it."""

    start: str
    end: str
    fields: int
    p50_ms: float
    p95_ms: float


def legs_of(stations: Iterable[tuple[int, dict[str, int]]]) -> list[Leg]:
    """Return each stretch between neighbouring stations, then the whole way.

    A field whose clock runs backwards (the machine was restarted between) is left out
    of that stretch.

    >>> legs_of([(0, {"taken": 0, "inferred": 2_000_000})])
    [Leg(start='taken', end='inferred', fields=1, p50_ms=2.0, p95_ms=2.0)]
    """
    legs: dict[tuple[str, str], list[int]] = {}
    whole: dict[tuple[str, str], list[int]] = {}
    for _, passed in stations:
        names = list(passed)
        for pair in pairwise(names):
            legs.setdefault(pair, []).append(passed[pair[1]] - passed[pair[0]])
        if len(names) > 2:
            ends = names[0], names[-1]
            whole.setdefault(ends, []).append(passed[ends[1]] - passed[ends[0]])
    found = []
    for pair, spans in (legs | whole).items():
        forward_ns = [float(ns) for ns in spans if ns >= 0]
        if forward_ns:
            p50, p95 = (np.percentile(forward_ns, [50, 95]) / 1e6).tolist()
            found.append(Leg(*pair, len(forward_ns), p50, p95))
    return found
