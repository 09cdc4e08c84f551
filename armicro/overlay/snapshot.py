"""What the window is given: the newest field, the slide's state, the link's health."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from armicro.field import Overview, Pixels, Place, Sight
from armicro.overlay.picture import Cut
from armicro.report import FieldReport, Finding, Revisit, SlideScore
from armicro.verdict import AnalysisState


@dataclass(frozen=True, slots=True, eq=False)
class LiveField:
    """One field, whose pixels are fetched only at the size that is painted."""

    seq: int
    taken_ns: int
    """Monotonic clock at the end of exposure."""
    um_per_px: float
    width_px: int
    height_px: int
    render: Callable[[Cut], Pixels | None]
    """Cuts and resizes straight from the source (``picture.cut_out``); None when the
    pixels have been overwritten meanwhile."""
    place: Place | None = None
    fault: str = ""
    """Why the pixels cannot be trusted; empty when they can."""
    sight: Sight | None = None
    """Focus and motion of the field; None where nobody has judged them."""
    voided: str = ""
    """Why the scale is not to be trusted; empty when it is."""

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height in micrometres."""
        return self.width_px * self.um_per_px, self.height_px * self.um_per_px


@dataclass(frozen=True, slots=True, eq=False)
class SlideState:
    """What is known of the slide."""

    name: str
    heard_ns: int
    """Monotonic clock when this state arrived; old means that infer is silent."""
    score: SlideScore
    findings: tuple[Finding, ...] = ()
    """In slide coordinates, most suspicious first."""
    last: FieldReport | None = None
    fields_dropped: int = 0
    inference_ms: float = 0.0
    problem: str = ""
    """Why no boxes may be drawn at all; empty when they may."""
    seen: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 5), "f4"))
    """(fields, 5): x, y, width, height in µm, and 1 where the field could be read;
    rows are only ever added at the end."""
    revisits: tuple[Revisit, ...] = ()
    """What should be looked at again, the most pressing first."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything that there is to show at one moment."""

    field: LiveField | None = None
    slide: SlideState | None = None
    source: str = ""
    """What the fields come from, for the heading."""
    problem: str = ""
    """Of the source: "camera unplugged - reconnecting"; empty when all is well."""
    heard_ns: int = 0
    """Monotonic clock when capture was last heard of; 0: not yet."""
    overview: Overview | None = None
    finished: bool = False
    """The path is done: silence is no fault from here on."""
    warning: str = ""
    """What the operator should see to, though boxes may be drawn."""
    analysis: AnalysisState = ""
    """That infer is started, or started again, where its supervisor says so."""
