"""The numbers that decide what is shown; a rig may set them."""

from dataclasses import dataclass

from armicro.errors import RigError
from armicro.verdict import (
    ENOUGH_COVERAGE,
    LEAST_FOCUS,
    MOST_SMEAR_UM,
    PLACE_ERROR_UM,
    SCALES_UM_PER_PX,
    SUSPICIOUS,
)


@dataclass(frozen=True, slots=True)
class Optics:
    """A certificate's Display: how camera pixels lie on the display's."""

    homography: tuple[tuple[float, float, float], ...]
    """3x3: display pixel ~ homography @ (undistorted camera pixel, 1); whole numbers
    are centres of pixels."""
    distortion: tuple[float, ...] = ()
    """Terms of r², r⁴...; r is 1 in the field's corners."""
    size_px: tuple[int, int] = (0, 0)
    """Of the display."""


@dataclass(frozen=True, slots=True)
class Setting:
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
    optics: Optics | None = None
    """Of that display; None: the field fills it."""
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
