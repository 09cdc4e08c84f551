"""What the window is given: the newest field, the slide's state, the link's health."""

from collections.abc import Callable
from dataclasses import dataclass

from armicro.errors import RigError
from armicro.field import FieldHead, Overview, Pixels
from armicro.overlay.view import Cut
from armicro.report import SlideReport
from armicro.verdict import (
    ENOUGH_COVERAGE,
    LEAST_FOCUS,
    MOST_SMEAR_UM,
    PLACE_ERROR_UM,
    SCALES_UM_PER_PX,
    SUSPICIOUS,
    AnalysisState,
)

# ---------------------------------------------------------------------------
# The numbers that decide what is shown; a rig may set them.


@dataclass(frozen=True, slots=True)
class DisplayOptics:
    """A certificate's Display: how camera pixels lie on the display's."""

    homography: tuple[tuple[float, float, float], ...]
    """3x3: display pixel ~ homography @ (undistorted camera pixel, 1); whole numbers
    are centres of pixels."""
    distortion: tuple[float, ...] = ()
    """Terms of r², r⁴...; r is 1 in the field's corners."""
    size_px: tuple[int, int] = (0, 0)
    """Of the display."""


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """Limits of what may be drawn and of what may be said.

    Raises:
        RigError: limits that contradict each other.
    """

    least_probability: float = SUSPICIOUS
    """Findings below this get no box."""
    fade_from_um: float = 2.0
    """Boxes are drawn at full strength up to this expected error."""
    largest_place_error_um: float = PLACE_ERROR_UM
    """Beyond this no box is drawn: it could stand on the wrong cell."""
    scale_limits_um_per_px: tuple[float, float] = SCALES_UM_PER_PX
    least_coverage: float = ENOUGH_COVERAGE
    """Below this share of the cell area a score is only "so far"."""
    suspicious_score: float = SUSPICIOUS
    """From here on a score is shown as suspicious, at any coverage."""
    stale_after_ms: float = 2000.0
    """Infer silent for longer: boxes turn grey and dashed."""
    silent_after_ms: float = 1000.0
    """Capture silent for longer: the picture is called old."""
    most_boxes: int = 60
    least_focus: float = LEAST_FOCUS
    """Below this a field is called out of focus."""
    most_smear_um: float = MOST_SMEAR_UM
    """Above this a field is called moving."""
    optical: bool = False
    """Only boxes, on black, for a display that is mixed into the eyepiece."""
    optics: DisplayOptics | None = None
    """Of that display; None: it was not measured, and shows no box."""
    shown_px: tuple[int, int] | None = None
    """Pixels of a display on which boxes are drawn; None: not known yet."""
    latency_ms: float = 0.0
    """Of an optical display alone, from painting to light."""
    glass_to_glass_ms: float = 0.0
    """From the end of exposure to light on the display, measured; 0: never."""
    blind_after_ms: float = 300.0
    """An optical display shows no boxes by a field that is older."""
    uncalibrated: bool = False
    """The rig wants boxes at a scale that nobody measured; said all the time."""

    def __post_init__(self) -> None:
        low, high = self.scale_limits_um_per_px
        if not 0 < low < high:
            raise RigError(f"scale limits {low}-{high} µm/px; expected 0 < low < high")
        if not 0 <= self.fade_from_um < self.largest_place_error_um:
            raise RigError(
                f"boxes fade from {self.fade_from_um} µm and vanish at "
                f"{self.largest_place_error_um} µm; expected the first to be smaller"
            )


# ---------------------------------------------------------------------------
# The snapshot.


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
