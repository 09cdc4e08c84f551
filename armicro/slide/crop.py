"""A crop as it is kept and shown: an RGB picture of a cell, in and out of JPEG."""

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.picture import check_header

MOST_PX = 1 << 20
"""Of a crop, which has 256 × 256."""
JPEG_QUALITY = 95
"""Chroma is not subsampled either: the stain is what the eye judges."""


def encode_crop(crop: NDArray[np.uint8], *, quality: int = JPEG_QUALITY) -> bytes:
    """Return the JPEG of an RGB crop (height, width, 3) with full chroma."""
    flags = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), flags)
    return jpeg.tobytes()


def check_crop(jpeg: bytes) -> None:
    """Refuse by its header what is no JPEG of a crop's size; empty means none kept.

    Raises:
        SourceError: it is not.
    """
    if jpeg:
        check_header(jpeg, "crop", kind="JPEG", most_px=MOST_PX)


def decode_crop(jpeg: bytes) -> NDArray[np.uint8]:
    """Return a JPEG as RGB (height, width, 3).

    Raises:
        ValueError: the bytes are no picture.
        SourceError: they are another kind of picture, or one far larger than a crop.
    """
    check_crop(jpeg)
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("not a JPEG picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
