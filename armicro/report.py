"""What is known after a field: findings, the field's report, the slide's score.

These cross the wire and fill the journal, so they are frozen msgspec structs; arrays
that stay in the process (features, crops) travel beside them in ``Observation``.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from armicro.field import Place, Sight

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


Area = tuple[float, float, float, float]
"""Left, top, width and height in slide coordinates, µm."""


class Finding(msgspec.Struct, frozen=True):
    """One suspected lesion cell in slide coordinates."""

    x_um: float
    y_um: float
    """The centre."""
    width_um: float
    height_um: float
    lr_probability: float
    hr_probability: float
    field_seq: int


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

    rows: int
    columns: int
    pitch_um: float
    bits: bytes
    """Row by row, the first square in the highest bit."""


class FieldReport(msgspec.Struct, frozen=True):
    """What the cascade says of one field."""

    seq: int
    state: FieldState
    reason: str = ""
    """Why there are no boxes, in words for the operator; empty when analysed."""
    place: Place | None = None
    width_um: float = 0.0
    height_um: float = 0.0
    cell_share: float = 0.0
    """Share of the field's area that holds cells, 0-1."""
    cells: CellBits | None = None
    lr_tiles: int = 0
    lr_positive: int = 0
    hr_tiles: int = 0
    inference_ns: int = 0
    """Filled by the process, which has a clock; 0 in the pure pipeline."""
    findings: tuple[Finding, ...] = ()
    sight: Sight | None = None
    areas_xywh_um: tuple[Area, ...] | None = None
    """What the LR network looked at, and empty glass between; None: the whole field.
    Fewer in incremental mode, which leaves out what was analysed before."""


class Account(NamedTuple):
    """A field's report with the observations that belong to it."""

    report: FieldReport
    observations: list[Observation]


class Shown(msgspec.Struct, frozen=True):
    """What the operator was shown, whether the cascade was given it or not."""

    life: int
    """Clock at the start of the capture that tells it: a later one counts anew."""
    number: int
    """Of this telling, unique."""
    unplaced: int = 0
    """Fields shown in that life whose place is not known."""
    ground: bytes = b""
    """Where the others lay: ``Ground.pack``."""


RevisitReason = Literal[
    "passed", "skipped", "out_of_focus", "moving", "edge", "unreadable", "passing"
]


class Revisit(msgspec.Struct, frozen=True):
    """A part of the slide that the operator should see again, and why."""

    x_um: float
    y_um: float
    """Its top left corner."""
    width_um: float
    height_um: float
    reason: RevisitReason
    """``passed``: shown and never analysed; ``passing``: a suspicious cell that was
    seen only while the stage moved."""


class SlideScore(msgspec.Struct, frozen=True):
    """The running state of the slide; a function of the set of reports seen."""

    score: float | None = None
    """Mean of the six RNNs, 0-1; None while ``withheld``."""
    scores: dict[str, tuple[float, float]] = {}
    """The two RNNs over the top 10, 20 and 30: {"10": (a, b), "20": ..., "30": ...}."""
    coverage: float = 0.0
    """Share of the slide's cell area analysed, 0-1."""
    fields: int = 0
    fields_unreadable: int = 0
    findings: int = 0
    megapixels: float = 0.0
    """Analysed area in pixels of 0.243 µm."""
    withheld: str = ""
    """Why there is no score, in words."""
    fields_unplaced: int = 0
    """Fields whose place is not known: they are in no coverage."""
