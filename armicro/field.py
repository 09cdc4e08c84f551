"""A field of view: pixels, scale, time and place on the slide.

Slide coordinates are micrometres, x right, y down, origin at the slide file's (0, 0),
or at the first field when there is no slide file. ``Field`` is what every source gives
and every consumer takes; it is frozen, and its pixels are not written after it is made.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(height, width, 3) RGB."""

PlaceOrigin = Literal["slide_file", "stage_encoder", "image_registration", "own_ground"]
"""``own_ground``: a photograph of which nobody knows where it lies to the others. Its
place keeps it apart from them, and distances between two such mean nothing."""


class Place(msgspec.Struct, frozen=True):
    """Where the top left corner of a field lies on the slide, and how surely."""

    x_um: float
    y_um: float
    standard_error_um: float
    origin: PlaceOrigin


class Sight(msgspec.Struct, frozen=True):
    """How well a field can be judged; measured at camera rate, before the cascade."""

    focus: float | None = None
    """Sharpness, 0-1, independent of content and stain; None: nothing to judge by."""
    velocity_xy_um_per_s: tuple[float, float] | None = None
    """How the field's place moved since the field before; None: not known."""
    smear_um: float = 0.0
    """Way of the stage during the exposure."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of view."""

    pixels: Pixels
    um_per_px: float
    seq: int
    """Counts up from 0; in a replay it is the index in the scan path."""
    taken_ns: int
    """Monotonic clock at the end of exposure."""
    place: Place | None = None
    """None where nobody knows: then nothing may be drawn."""
    fault: str = ""
    """Why the pixels cannot be trusted ("unreadable: ..."); empty when they can."""
    sight: Sight | None = None
    """None where nobody has judged it: then it counts as still and in focus."""
    voided: str = ""
    """Why the scale is not to be trusted (expired certificate, another camera...):
    shown, but nothing is looked for; empty when it is."""

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height of the field in micrometres."""
        height_px, width_px = self.pixels.shape[:2]
        return width_px * self.um_per_px, height_px * self.um_per_px


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A small picture of the whole region that a source will show."""

    pixels: Pixels
    um_per_px: float
    x_um: float
    y_um: float
    """Slide coordinates of its top left corner."""
