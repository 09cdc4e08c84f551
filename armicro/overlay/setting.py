"""The numbers that decide what is shown; a rig may set them."""

from dataclasses import dataclass

from armicro.errors import RigError


@dataclass(frozen=True, slots=True)
class Setting:
    """Limits of what may be drawn and of what may be said.

    Raises:
        RigError: limits that contradict each other.
    """

    least_probability: float = 0.5
    """Findings below this get no box."""
    fade_from_um: float = 2.0
    """Boxes are drawn at full strength up to this standard error of the place."""
    largest_place_error_um: float = 10.0
    """Beyond this no box is drawn: it could stand on the wrong cell."""
    scale_limits_um_per_px: tuple[float, float] = (0.1, 0.6)
    """Cheng et al. 2021: the scales that the cascade was made for."""
    least_coverage: float = 0.8
    """Below this share of the cell area a score is only "so far"."""
    suspicious_score: float = 0.5
    """From here on a score is shown as suspicious, at any coverage."""
    stale_after_ms: float = 2000.0
    """Infer silent for longer: boxes turn grey and dashed."""
    silent_after_ms: float = 1000.0
    """Capture silent for longer: the picture is called old."""
    most_boxes: int = 60
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
