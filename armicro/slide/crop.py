"""A crop as it is kept and shown: an RGB picture of a cell, in and out of JPEG."""

import cv2
import numpy as np
from numpy.typing import NDArray

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


def decode_crop(jpeg: bytes) -> NDArray[np.uint8]:
    """Return a JPEG as RGB (height, width, 3).

    Raises:
        ValueError: the bytes are no picture.
    """
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("not a JPEG picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
