"""What the window is given: the newest field, the slide's state, the link's health."""

from collections.abc import Callable
from dataclasses import dataclass

from armicro.field import FieldHead, Overview, Pixels
from armicro.overlay.view import Cut
from armicro.report import SlideReport
from armicro.verdict import AnalysisState


class LiveField(FieldHead, frozen=True, kw_only=True, eq=False):
    """One field, whose pixels are fetched only at the size that is painted."""

    render: Callable[[Cut], Pixels | None]
    """Cuts and resizes straight from the source (``picture.cut_out``); None when the
    pixels have been overwritten meanwhile."""


class SlideState(SlideReport, frozen=True, kw_only=True, eq=False):
    """What is known of the slide."""

    heard_ns: int
    """Monotonic clock when this state arrived; old means that infer is silent."""


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
