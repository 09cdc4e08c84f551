"""A picture with what was measured drawn in, to be looked at before it is believed."""

import cv2
import numpy as np

from armicro.calibrate.reading import Reading
from armicro.field import Pixels

TICK_RGB = (0, 220, 60)
OFF_RGB = (255, 40, 40)
OFF_SHARE = 0.03
INK_RGB = (255, 255, 255)
PLATE_RGB = (20, 20, 20)


def draw_reading(pixels: Pixels, reading: Reading) -> Pixels:
    """Every tick used as a line over its length, and the result in words.

    Red are those that lie more than 3 RMS and 3 % of a division off their place.

    Args:
        pixels: (height, width, 3) RGB; stays as it is.
        reading: of these pixels.
    """
    picture = np.ascontiguousarray(pixels).copy()
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    size = max(picture.shape[:2]) / 1200
    width = max(1, round(2 * size))
    limit = max(3 * reading.residual_um, OFF_SHARE * reading.division_um)
    for ends, residual in zip(reading.marks_xy_px, reading.residuals_um, strict=True):
        colour = OFF_RGB if abs(residual) > limit else TICK_RGB
        # Sixteenths of a pixel, so that the line lies where the tick was found.
        start, end = np.rint(ends * 16).astype(int).tolist()
        cv2.line(picture, start, end, colour, width, cv2.LINE_AA, 4)
    words = (
        f"{reading.um_per_px:.5f} +- {reading.standard_error:.5f} um/px, "
        f"{reading.divisions} x {reading.division_um:g} um, "
        f"{round(reading.rotation_deg, 2) % 180:.2f} deg"
    )
    _write(picture, words, size)
    return np.asarray(picture, np.uint8)


def _write(picture: Pixels, words: str, size: float) -> None:
    scale, thick = 0.75 * size, max(1, round(1.6 * size))
    (width, height), base = cv2.getTextSize(
        words, cv2.FONT_HERSHEY_SIMPLEX, scale, thick
    )
    pad = round(10 * size)
    far = (width + 2 * pad, height + base + 2 * pad)
    cv2.rectangle(picture, (0, 0), far, PLATE_RGB, -1)
    cv2.putText(
        picture, words, (pad, pad + height), cv2.FONT_HERSHEY_SIMPLEX, scale, INK_RGB,
        thick, cv2.LINE_AA,
    )  # fmt: skip
