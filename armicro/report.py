"""What is known after a field: findings, the field's report, the slide's score.

These cross the wire and fill the journal, so they are frozen msgspec structs; arrays
that stay in the process (features, crops) travel beside them in ``Observation``.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from armicro.field import Place, Sight
from armicro.rule import (
    FURTHEST_UM,
    Count,
    DurationMs,
    ExtentUm,
    PlaceUm,
    Seq,
    Share,
    SidePx,
    SizeUm,
    Text,
    TimeNs,
)

MOST_FINDINGS = 16_384
"""Told of at once: 2.3 MB; with all that a slide has besides they stay below 4 MB."""
MOST_SEEN = 50_000
"""Places of fields that the display is told of: 1 MB."""
SEEN_BYTES = 20
MOST_GROUND_BYTES = 67_000
"""Of shown ground told at once: 128 chunks of about 1 mm."""

FieldState = Literal[
    "analysed",
    "blank",
    "unreadable",
    "bad_scale",
    "no_place",
    "moving",
    "out_of_focus",
]
"""What became of a field; only the first two count as seen."""

Area = tuple[PlaceUm, PlaceUm, PlaceUm, PlaceUm]
"""Left, top, width and height in slide coordinates, µm."""


class Finding(msgspec.Struct, frozen=True):
    """One suspected lesion cell in slide coordinates."""

    x_um: PlaceUm
    y_um: PlaceUm
    """The centre."""
    width_um: SizeUm
    height_um: SizeUm
    lr_probability: Share
    hr_probability: Share
    field_seq: Count


Findings = Annotated[tuple[Finding, ...], Meta(max_length=MOST_FINDINGS)]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A finding with what the slide score and the gallery need of it."""

    finding: Finding
    features: NDArray[np.float32]
    """(2048,), the HR network's global max pool."""
    crop: NDArray[np.uint8]
    """(256, 256, 3) RGB, the HR tile at 0.243 µm/px."""
    place_error_um: float = 0.0
    """Standard error of its field's place."""
    focus: float | None = None
    """Of its field, as in ``Sight``."""


class CellBits(msgspec.Struct, frozen=True):
    """Where a field holds cells, packed: a bit a square of ``pitch_um``."""

    rows: SidePx
    columns: SidePx
    pitch_um: SizeUm
    bits: bytes
    """Row by row, the first square in the highest bit."""

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        squares = self.rows * self.columns
        fits = len(self.bits) == math.ceil(squares / 8)
        return "" if fits else f"bits has {len(self.bits)} bytes for {squares} squares"


class FieldReport(msgspec.Struct, frozen=True):
    """What the cascade says of one field."""

    seq: Count
    state: FieldState
    reason: Text = ""
    """Why there are no boxes, in words for the operator; empty when analysed."""
    place: Place | None = None
    width_um: ExtentUm = 0.0
    height_um: ExtentUm = 0.0
    cell_share: Share = 0.0
    """Share of the field's area that holds cells, 0-1."""
    cells: CellBits | None = None
    lr_tiles: Count = 0
    lr_positive: Count = 0
    hr_tiles: Count = 0
    inference_ns: Count = 0
    """Filled by the process, which has a clock; 0 in the pure pipeline."""
    findings: Findings = ()
    sight: Sight | None = None
    areas_xywh_um: Annotated[tuple[Area, ...], Meta(max_length=4_096)] | None = None
    """What the LR network looked at, and empty glass between; None: the whole field.
    Fewer in incremental mode, which leaves out what was analysed before."""

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        return self.cells.broken() if self.cells else ""


class Account(NamedTuple):
    """A field's report with the observations that belong to it."""

    report: FieldReport
    observations: list[Observation]


class Shown(msgspec.Struct, frozen=True):
    """What the operator was shown, whether the cascade was given it or not."""

    life: TimeNs
    """Clock at the start of the capture that tells it: a later one counts anew."""
    number: TimeNs
    """Of this telling, unique."""
    unplaced: Seq = 0
    """Fields shown in that life whose place is not known."""
    ground: Annotated[bytes, Meta(max_length=MOST_GROUND_BYTES)] = b""
    """Where the others lay: ``Ground.pack``."""


RevisitReason = Literal[
    "passed", "skipped", "out_of_focus", "moving", "edge", "unreadable", "passing"
]


class Revisit(msgspec.Struct, frozen=True):
    """A part of the slide that the operator should see again, and why."""

    x_um: PlaceUm
    y_um: PlaceUm
    """Its top left corner."""
    width_um: ExtentUm
    height_um: ExtentUm
    reason: RevisitReason
    """``passed``: shown and never analysed; ``passing``: a suspicious cell that was
    seen only while the stage moved."""


class SlideScore(msgspec.Struct, frozen=True):
    """The running state of the slide; a function of the set of reports seen."""

    score: Share | None = None
    """Mean of the six RNNs, 0-1; None while ``withheld``."""
    scores: Annotated[dict[str, tuple[Share, Share]], Meta(max_length=16)] = {}
    """The two RNNs over the top 10, 20 and 30: {"10": (a, b), "20": ..., "30": ...}."""
    coverage: Share = 0.0
    """Share of the slide's cell area analysed, 0-1."""
    fields: Count = 0
    fields_unreadable: Count = 0
    findings: Count = 0
    megapixels: Annotated[float, Meta(ge=0, le=1e15)] = 0.0
    """Analysed area in pixels of 0.243 µm."""
    withheld: Text = ""
    """Why there is no score, in words."""
    fields_unplaced: Count = 0
    """Fields whose place is not known: they are in no coverage."""


class SlideReport(msgspec.Struct, frozen=True):
    """The slide's whole state as the operator needs it."""

    name: Text
    score: SlideScore
    last: FieldReport | None = None
    """The newest field's report."""
    findings: Findings = ()
    """Every finding that may be drawn, in slide coordinates, most suspicious first."""
    fields_dropped: Count = 0
    inference_ms: DurationMs = 0.0
    """Median over the last fields."""
    problem: Text = ""
    """Why no boxes may be drawn at all; empty when they may."""
    seen: Annotated[bytes, Meta(max_length=MOST_SEEN * SEEN_BYTES)] = b""
    """Where fields were seen: rows of five little-endian float32, x, y, width and
    height in µm, and 1 where the field could be read, else 0; rows are only ever added
    at the end."""
    finished: bool = False
    """The path is done: silence is no fault from here on."""
    revisits: Annotated[tuple[Revisit, ...], Meta(max_length=1_024)] = ()
    """What should be looked at again, the most pressing first."""

    def seen_rows(self) -> NDArray[np.float32]:
        """``seen`` as (fields, 5)."""
        return np.frombuffer(self.seen, "<f4").reshape(-1, 5)

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        if len(self.seen) % SEEN_BYTES:
            return f"seen has {len(self.seen)} bytes, a row has {SEEN_BYTES}"
        if not np.abs(self.seen_rows()).max(initial=0.0) <= FURTHEST_UM:
            return "seen lies nowhere"
        return self.last.broken() if self.last else ""
