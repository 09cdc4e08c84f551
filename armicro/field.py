"""A field of view: pixels, scale, time and place on the slide.

Slide coordinates are micrometres, x right, y down, origin at the slide file's (0, 0),
or at the first field when there is no slide file. ``Field`` is what every source gives
and every consumer takes; it is frozen, and its pixels are not written after it is made.
Where the pixels go their own way, through the ring or into a file, ``FieldHead`` is
what crosses beside them, as it is. Both are told in one place, ``_Told``: what is added
there is in fields, on the wire, in recordings and in the window.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from armicro.rule import (
    CameraSeq,
    ExtentUm,
    PlaceUm,
    Share,
    SidePx,
    Text,
    TimeNs,
    UmPerPx,
)

Pixels = NDArray[np.uint8]
"""(height, width, 3) RGB."""

WIDEST_UM = 1e6
"""Of a field: what is wider than a metre is no slide."""

PlaceOrigin = Literal[
    "slide_file",
    "stage_encoder",
    "image_registration",
    "own_ground",
    "turned_camera",
    "map_apart",
]
"""``own_ground``: a photograph of which nobody knows where it lies to the others. Its
place keeps it apart from them, and distances between two such mean nothing.
``turned_camera``: by its picture, on a map that began when the camera was turned. It
lies apart from the map before, and distances between the two mean nothing either.
``map_apart``: the same, where nothing tied what was seen to the map before."""


class Place(msgspec.Struct, frozen=True):
    """Where the top left corner of a field lies on the slide, and how surely."""

    x_um: PlaceUm
    y_um: PlaceUm
    standard_error_um: ExtentUm
    origin: PlaceOrigin


class Sight(msgspec.Struct, frozen=True):
    """How well a field can be judged; measured at camera rate, before the cascade."""

    focus: Share | None = None
    """Sharpness, 0-1, independent of content and stain; None: nothing to judge by."""
    velocity_xy_um_per_s: tuple[PlaceUm, PlaceUm] | None = None
    """How the field's place moved since the field before; None: not known."""
    smear_um: ExtentUm = 0.0
    """Way of the stage during the exposure."""


class _Told(msgspec.Struct, frozen=True):
    """All that is told of a field beside its pixels and their size."""

    um_per_px: UmPerPx
    seq: CameraSeq
    """Counts up from 0; in a replay it is the index in the scan path."""
    taken_ns: TimeNs
    """Monotonic clock at the end of exposure."""
    place: Place | None = None
    """None where nobody knows: then nothing may be drawn."""
    fault: Text = ""
    """Why the pixels cannot be trusted ("unreadable: ..."); empty when they can."""
    sight: Sight | None = None
    """None where nobody has judged it: then it counts as still and in focus."""
    voided: Text = ""
    """Why the scale is not to be trusted (expired certificate, another camera...):
    shown, but nothing is looked for; empty when it is."""


class Field(_Told, frozen=True, kw_only=True, eq=False):
    """One field of view.

    >>> Field(0.5, seq=3, taken_ns=9, pixels=np.zeros((4, 6, 3), np.uint8)).size_um
    (3.0, 2.0)
    """

    pixels: Pixels

    @property
    def head(self) -> "FieldHead":
        """What crosses ring, wire and recording beside the pixels."""
        told = msgspec.structs.asdict(self)
        height_px, width_px = told.pop("pixels").shape[:2]
        return FieldHead(**told, width_px=width_px, height_px=height_px)

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height of the field in micrometres."""
        return self.head.size_um


class FieldHead(_Told, frozen=True, kw_only=True):
    """A field whose pixels lie elsewhere: in a ring, a frame, a file."""

    width_px: SidePx
    height_px: SidePx

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height of the field in micrometres."""
        return self.width_px * self.um_per_px, self.height_px * self.um_per_px

    def with_pixels(self, pixels: Pixels) -> Field:
        """The field again, of (height, width, 3) RGB of the size that the head says."""
        told = {name: getattr(self, name) for name in _Told.__struct_fields__}
        return Field(**told, pixels=pixels)

    def broken(self) -> str:
        """What bounds cannot say; empty when all fits together."""
        widest_um = max(self.size_um)
        return "" if widest_um <= WIDEST_UM else f"the field is {widest_um:g} µm wide"


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A small picture of the whole region that a source will show."""

    pixels: Pixels
    um_per_px: float
    x_um: float
    y_um: float
    """Slide coordinates of its top left corner."""
