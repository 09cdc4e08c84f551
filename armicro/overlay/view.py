"""How the window looks at a field: which pixels, how large, scale bar and colours.

Pure, on arrays and numbers.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from armicro.field import Pixels

# ---------------------------------------------------------------------------
# The colour of suspicion, chosen for Pap stains and for every pair of eyes.
#
# From ivory over yellow to vermilion: lightness falls steadily, so the order survives
# deuteranopia, protanopia and a grey print, and a dark outline lifts each step from
# pink, orange and blue cytoplasm. The number beside a box says the same again.


Rgb = tuple[int, int, int]

STALE: Rgb = (206, 212, 218)
_AT = (0.0, 0.5, 0.75, 0.9, 1.0)
_STEPS = (
    (228, 232, 236),
    (255, 250, 214),
    (255, 214, 10),
    (255, 140, 0),
    (255, 64, 24),
)


_TABLE = np.stack(
    [
        np.interp(np.arange(101) / 100, _AT, channel)
        for channel in zip(*_STEPS, strict=True)
    ],
    axis=1,
)
_SHADES: list[Rgb] = [(round(r), round(g), round(b)) for r, g, b in _TABLE.tolist()]


def suspicion_rgb(probability: float) -> Rgb:
    """The colour of a probability, in steps of 0.01 as it is written.

    >>> suspicion_rgb(0.5), suspicion_rgb(1.0)
    ((255, 250, 214), (255, 64, 24))
    """
    return _SHADES[round(100 * min(1.0, max(0.0, probability)))]


def luminance(rgb: Rgb) -> float:
    """Relative luminance, 0-1 (WCAG 2.1)."""
    linear = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in rgb)
    )
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# ---------------------------------------------------------------------------
# Which pixels of a field are painted, and how large: pure, on arrays.
#
# Only the part of the field that the window shows is touched, and it is brought to
# device pixels in one pass, so a tick costs about the same at every zoom and on every
# screen.


XyXy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of the field and its size on the screen."""

    crop_xyxy_px: tuple[int, int, int, int]
    """Whole pixels of the field."""
    size_px: tuple[int, int]
    """Width and height in device pixels."""


def cut_for(
    visible_xyxy_px: XyXy, field_size_px: tuple[int, int], screen_per_px: float
) -> Cut | None:
    """The cut that covers what is visible; None when the field is out of sight.

    >>> cut_for((-10, 0, 50, 20.5), (40, 30), 2.0)
    Cut(crop_xyxy_px=(0, 0, 40, 21), size_px=(80, 42))
    """
    width_px, height_px = field_size_px
    x0, y0, x1, y1 = visible_xyxy_px
    left, top = max(0, math.floor(x0)), max(0, math.floor(y0))
    right, bottom = min(width_px, math.ceil(x1)), min(height_px, math.ceil(y1))
    if right <= left or bottom <= top:
        return None
    size_px = (
        max(1, round((right - left) * screen_per_px)),
        max(1, round((bottom - top) * screen_per_px)),
    )
    return Cut((left, top, right, bottom), size_px)


def cut_out(pixels: Pixels, cut: Cut) -> Pixels:
    """Take a cut out of a field's pixels: a new (height, width, 3) RGB array.

    Shrinking by two and more averages whole blocks first (exact factors are fast in
    OpenCV, others ten times slower) and interpolates the rest, so that fine chromatin
    does not alias in a small window.
    """
    x0, y0, x1, y1 = cut.crop_xyxy_px
    part = pixels[y0:y1, x0:x1]
    factor = min((x1 - x0) // cut.size_px[0], (y1 - y0) // cut.size_px[1])
    if factor >= 2:
        blocks_px = (x1 - x0) // factor, (y1 - y0) // factor
        # Up to factor - 1 pixels at the right and bottom have no whole block.
        whole = part[: blocks_px[1] * factor, : blocks_px[0] * factor]
        part = _resize(whole, blocks_px, cv2.INTER_AREA)
    if part.shape[1::-1] == cut.size_px:
        return np.array(part, copy=True)
    return _resize(part, cut.size_px, cv2.INTER_LINEAR)


def _resize(pixels: Pixels, size_px: tuple[int, int], interpolation: int) -> Pixels:
    return np.asarray(
        cv2.resize(pixels, size_px, interpolation=interpolation), np.uint8
    )


# ---------------------------------------------------------------------------
# How the window looks at the field: zoom and centre, pure.
#
# The field always keeps its aspect and never leaves the window: along an axis where it
# is smaller than the window it stands in the middle, along one where it is larger no
# border shows.


Point = tuple[float, float]
Size = tuple[float, float]

_LARGEST_SCALE = 6.0
"""Screen pixels per pixel of the field; more shows nothing new."""


@dataclass(frozen=True, slots=True)
class Viewport:
    """A field in a window; screen coordinates are Qt's logical pixels."""

    field_px: Size
    screen_px: Size
    zoom: float = 1.0
    """1: the whole field fits."""
    centre_px: Point = (0.0, 0.0)
    """Where the window looks, as an offset from the field's middle, in its pixels."""

    @property
    def scale(self) -> float:
        """Screen pixels per pixel of the field."""
        return self.zoom * min(
            self.screen_px[0] / self.field_px[0], self.screen_px[1] / self.field_px[1]
        )

    @property
    def origin_px(self) -> Point:
        """The field's pixel in the window's top left corner; may lie outside."""
        x, y = (
            self.field_px[axis] / 2
            + self.centre_px[axis]
            - self.screen_px[axis] / self.scale / 2
            for axis in (0, 1)
        )
        return x, y

    @property
    def visible_xyxy_px(self) -> XyXy:
        """The part of the field that is in sight, within its edges."""
        x0, y0 = self.origin_px
        x1, y1 = (
            x0 + self.screen_px[0] / self.scale,
            y0 + self.screen_px[1] / self.scale,
        )
        return (
            max(0.0, x0),
            max(0.0, y0),
            min(self.field_px[0], x1),
            min(self.field_px[1], y1),
        )

    def to_screen(self, x_px: float, y_px: float) -> Point:
        """A point of the field in the window."""
        x0, y0 = self.origin_px
        return (x_px - x0) * self.scale, (y_px - y0) * self.scale

    def to_field(self, x: float, y: float) -> Point:
        """A point of the window on the field."""
        x0, y0 = self.origin_px
        return x0 + x / self.scale, y0 + y / self.scale


def zoomed(view: Viewport, factor: float, at: Point | None = None) -> Viewport:
    """Zoom so that the point of the field under ``at`` (default: middle) stays there.

    >>> zoomed(Viewport((200, 100), (100, 100)), 2.0).scale
    1.0
    """
    spot = at or (view.screen_px[0] / 2, view.screen_px[1] / 2)
    held = view.to_field(*spot)
    largest = max(1.0, _LARGEST_SCALE * view.zoom / view.scale)
    near = replace(view, zoom=min(largest, max(1.0, view.zoom * factor)))
    now = near.to_field(*spot)
    return panned_px(near, (held[0] - now[0], held[1] - now[1]))


def panned_px(view: Viewport, by_px: Point) -> Viewport:
    """Look elsewhere by so many pixels of the field, as far as it reaches."""
    centre = []
    for axis in (0, 1):
        slack = max(0.0, view.field_px[axis] - view.screen_px[axis] / view.scale) / 2
        centre.append(min(slack, max(-slack, view.centre_px[axis] + by_px[axis])))
    return replace(view, centre_px=(centre[0], centre[1]))


def refitted(view: Viewport, field_px: Size, screen_px: Size) -> Viewport:
    """The same look at another field or in another window size."""
    return panned_px(replace(view, field_px=field_px, screen_px=screen_px), (0.0, 0.0))


# ---------------------------------------------------------------------------
# The scale bar: a round length that fits.


@dataclass(frozen=True, slots=True)
class Ruler:
    """A scale bar."""

    length_um: float
    length_px: float
    text: str


def rule(um_per_px: float, widest_px: float) -> Ruler:
    """The longest bar of 1, 2 or 5 times a power of ten that fits.

    >>> rule(0.5, 150).text, rule(0.004, 150).text, rule(9.0, 150).text
    ('50 µm', '0.5 µm', '1 mm')
    """
    widest_um = um_per_px * widest_px
    decade = 10.0 ** math.floor(math.log10(widest_um))
    fitting = (m * decade for m in (1, 2, 5) if m * decade <= widest_um)
    length_um = max(fitting, default=decade)
    text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    return Ruler(length_um, length_um / um_per_px, text)
