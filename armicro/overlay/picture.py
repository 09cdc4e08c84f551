"""Which pixels of a field are painted, and how large: pure, on arrays.

Only the part of the field that the window shows is touched, and it is brought to device
pixels in one pass, so a tick costs about the same at every zoom and on every screen.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from armicro.field import Pixels

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
