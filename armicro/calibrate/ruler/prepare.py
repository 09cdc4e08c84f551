"""Uneven light, colour and the dark surround of an eyepiece taken out of a picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
ROUND = 0.05
"""An eyepiece's rim lies within this share of its radius of a circle."""


DARK = 16
"""Of 255."""
PLAIN_CONTRAST = (0.01, 0.05)
"""From the least to the most by which something differs from the background."""
SPECKS = 0.01
"""Share of an empty picture that differs nevertheless: dust."""


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """A picture as local contrast."""

    contrast: Floats
    """(height, width); 0 background, -0.5 half as bright, 0 where nothing is seen."""
    seen: Floats
    """(height, width); 1 inside the field of view, 0 in an eyepiece's dark surround."""


def flatten(pixels: NDArray[np.uint8]) -> Flat:
    """Local contrast of a picture, whatever the colour and slope of its light.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
    """
    grey = pixels.astype(np.float32)
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    seen = _field_of_view(grey)
    sigma = max(grey.shape) / 16
    weight = np.maximum(_soften(seen, sigma), 1e-3)
    around = _soften(grey * seen, sigma) / weight
    floor = 0.05 * float(np.percentile(grey, 99)) + 1.0
    contrast = np.clip((grey - around) / (around + floor), -1.5, 3.0) * seen
    return Flat(contrast.astype(np.float32), seen)


def is_dark(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture has no light, not even in bright lines on dark."""
    return float(np.percentile(pixels[::3, ::3], 99.9)) < DARK


def is_empty(flat: Flat) -> bool:
    """Whether a picture holds nothing but noise and a few specks."""
    soft = cv2.GaussianBlur(flat.contrast, (0, 0), 2.0)
    usual = float(np.median(np.abs(soft)))
    # Six standard deviations; stripes and cells, which are no noise, pass the most.
    plain = float(np.clip(9 * usual, *PLAIN_CONTRAST))
    return float(np.mean(np.abs(soft) > plain)) < SPECKS


def turn(
    flat: Flat,
    degrees: float,
    *,
    about: NDArray[np.float64] | None = None,
    margin_px: float = 0.0,
) -> tuple[Flat, NDArray[np.float64]]:
    """Rotate a picture about its centre so that what ran at ``degrees`` runs along x.

    Args:
        flat: a picture.
        degrees: clockwise on the screen.
        about: (n, 2) points of the picture; only the columns from the first to the
            last of them are made, which saves most of the work for few lines.
        margin_px: columns made left and right of these.

    Returns:
        The turned picture, large enough to hold all, 0 outside; and the 2x3 matrix
        from old to new pixels.
    """
    height, width = flat.contrast.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width = int(np.ceil(height * sin + width * cos)) + 2
    new_height = int(np.ceil(height * cos + width * sin)) + 2
    matrix[0, 2] += (new_width - width) / 2
    matrix[1, 2] += (new_height - height) / 2
    if about is not None:
        x = about @ matrix[0, :2] + matrix[0, 2]
        first = int(np.clip(x.min() - margin_px, 0, new_width - 2))
        last = int(np.clip(x.max() + margin_px, first + 1, new_width - 1))
        new_width = last + 1 - first
        matrix[0, 2] -= first
    size = (new_width, new_height)
    turned = cv2.warpAffine(flat.contrast, matrix, size, flags=cv2.INTER_CUBIC)
    seen = cv2.warpAffine(flat.seen, matrix, size, flags=cv2.INTER_LINEAR)
    flat = Flat(np.asarray(turned, np.float32), np.asarray(seen, np.float32))
    return flat, np.asarray(matrix, np.float64)


def _soften(picture: Floats, sigma: float) -> Floats:
    """A wide Gaussian, made small first: the background has no detail."""
    step = max(1, int(sigma / 4))
    height, width = picture.shape
    small = cv2.resize(
        picture, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    full = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32)


def _field_of_view(grey: Floats) -> Floats:
    """1 inside; 0 where a dark surround with a round rim touches three corners."""
    height, width = grey.shape
    step = max(1, max(height, width) // 256)
    size = (width // step, height // step)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2.0)
    dark = (small < 0.35 * np.percentile(small, 90)).astype(np.uint8)
    corners = dark[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.sum() < 3 or not 0.05 < dark.mean() < 0.85:
        return np.ones_like(grey)
    _, labels = cv2.connectedComponents(dark)
    outer = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]][corners > 0])
    inside = (~np.isin(labels, outer)).astype(np.uint8)
    if not _is_round(inside):
        return np.ones_like(grey)
    # The rim itself is blurred, and is a line like any other: keep off it.
    kept = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=4)
    full = cv2.resize(
        kept.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return (full > 0.5).astype(np.float32)


def _is_round(inside: NDArray[np.uint8]) -> bool:
    """Whether a mask ends in an arc: an eyepiece's rim, no bright ruler on dark."""
    height, width = inside.shape
    hull = cv2.convexHull(cv2.findNonZero(inside))
    filled = cv2.fillConvexPoly(np.zeros_like(inside), hull, 1)
    outline = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    rim = outline[0][:, 0].astype(np.float64)
    x, y = rim.T
    # Where the picture cuts it off, it is straight.
    rim = rim[(x > 1) & (y > 1) & (x < width - 2) & (y < height - 2)]
    if len(rim) < 16:
        return False
    system = np.column_stack([rim, np.ones(len(rim))])
    a, b, c = np.linalg.lstsq(system, (rim**2).sum(axis=1), rcond=None)[0]
    radius = float(np.sqrt(max(c + (a * a + b * b) / 4, 0.0)))
    off = np.abs(np.hypot(*(rim - (a / 2, b / 2)).T) - radius)
    return bool(np.quantile(off, 0.9) < ROUND * radius < ROUND * max(height, width))
