"""Pictures as a camera sends them, made RGB."""

import cv2
import numpy as np

from armicro.field import Pixels

_COPY = -1
# Best first: raw Bayer is a third of the bytes on the cable. GenICam names a Bayer
# pattern by its first row from the first pixel, and so do OpenCV's four-letter names.
CONVERSIONS = {
    "BayerRG8": cv2.COLOR_BayerRGGB2RGB,
    "BayerGR8": cv2.COLOR_BayerGRBG2RGB,
    "BayerGB8": cv2.COLOR_BayerGBRG2RGB,
    "BayerBG8": cv2.COLOR_BayerBGGR2RGB,
    "RGB8": _COPY,
    "RGB8Packed": _COPY,
    "BGR8": cv2.COLOR_BGR2RGB,
    "BGR8Packed": cv2.COLOR_BGR2RGB,
    "Mono8": cv2.COLOR_GRAY2RGB,
}


def to_rgb(raw: Pixels, pixel_format: str) -> Pixels:
    """Convert a camera's picture to RGB.

    Args:
        raw: (height, width) or (height, width, 3), as the camera sent it.
        pixel_format: its GenICam name, one of those that ``basler`` asks for.

    Returns:
        (height, width, 3) RGB, a copy.
    """
    code = CONVERSIONS[pixel_format]
    return (
        raw.copy() if code == _COPY else np.asarray(cv2.cvtColor(raw, code), np.uint8)
    )


def apply_gains(pixels: Pixels, gains: tuple[float, float, float]) -> Pixels:
    """Multiply red, green and blue by gains, as a camera's white balance does."""
    levels = np.arange(256)[:, None] * np.asarray(gains)[None, :]
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(pixels, table), np.uint8)
