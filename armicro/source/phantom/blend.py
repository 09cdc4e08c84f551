"""How a real piece goes into glass: what of it is kept, and how its border fades.

Small objects that the border cuts are left out whole; large ones fade along a ragged
line. What is kept inside stays as it was photographed.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.source.phantom.glass import Rgb
from armicro.source.phantom.noise import Floats, smooth_noise

COARSE = 4
OBJECT_DENSITY = 0.045
"""Optical density above the field's glass from which on something is an object."""
CUT_OBJECT_PX = 70_000
"""Objects up to this area are left out when the border cuts them: about two cells."""
FADE_PX = 56
KEEP_PX = 38
"""Radius round a wanted nucleus that is kept whole."""


def kept_share(
    picture: Pixels,
    glass_rgb: Rgb,
    lesions_xy: NDArray[np.float64],
    cells_xy: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Share of each pixel of a piece that is shown; the rest is glass.

    Args:
        picture: (height, width, 3) RGB with the slide's glass.
        glass_rgb: The slide's glass.
        lesions_xy: (lesions, 2) nuclei that must be kept whole, in pixels of the piece.
        cells_xy: (cells, 2) nuclei whose cells may fade but are not left out.
        rng: Draws the ragged border.

    Returns:
        (height, width) 0-255; 0 on the border, 255 round every lesion nucleus.
    """
    height, width = picture.shape[:2]
    size = (max(2, width // COARSE), max(2, height // COARSE))
    small = np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    kept = np.concatenate([lesions_xy, cells_xy]) / COARSE
    share = _ragged_border(size[1], size[0], rng)
    share *= 1 - _cut_objects(small, glass_rgb, kept.tolist())
    if len(lesions_xy):
        keep = np.zeros((size[1], size[0]), np.float32)
        for x, y in (lesions_xy / COARSE).tolist():
            cv2.circle(keep, (round(x), round(y)), KEEP_PX // COARSE, 1.0, -1)
        soft = np.asarray(cv2.GaussianBlur(keep, (0, 0), 5 / COARSE), dtype=np.float32)
        share = np.maximum(share, np.clip(1.6 * soft, 0, 1))
    share *= _edge(size[1], size[0])
    bytes_ = np.rint(255 * share).astype(np.uint8)
    grown = cv2.resize(bytes_, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, dtype=np.uint8)


def _edge(height: int, width: int) -> Floats:
    """0 on the border itself and 1 a few pixels further in (coarse pixels)."""
    y = np.minimum(np.arange(height), np.arange(height)[::-1])
    x = np.minimum(np.arange(width), np.arange(width)[::-1])
    distance = np.minimum(y[:, None], x[None]).astype(np.float32)
    return np.clip(distance / 3, 0, 1)


def _ragged_border(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Fade towards a rounded, ragged outline, as a clump of cells has one.

    Sizes here are coarse pixels, ``COARSE`` of the slide's.
    """
    half_x, half_y = width / 2, height / 2
    # Small pieces become round, whole fields keep most of their sides.
    round_px = min(0.8 * min(half_x, half_y), 330 / COARSE)
    x = np.maximum(np.abs(np.arange(width) + 0.5 - half_x) - half_x + round_px, 0)
    y = np.maximum(np.abs(np.arange(height) + 0.5 - half_y) - half_y + round_px, 0)
    depth = round_px - np.hypot(x[None], y[:, None]).astype(np.float32)
    wild = min(1.0, min(half_x, half_y) * COARSE / 300)
    depth -= np.float32((16 + 34 * wild) / COARSE)
    for grain_px, swing_px in ((160, 30 * wild + 4), (60, 11), (24, 6)):
        noise = smooth_noise(rng, (height, width), grain_px / COARSE)
        depth += np.float32(swing_px / COARSE) * noise
    ramp = np.clip(depth * COARSE / FADE_PX + 0.2, 0, 1)
    # Smooth at both ends, so that neither shows as a line.
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)


def _cut_objects(
    small: Pixels, glass_rgb: Rgb, spots: Sequence[Sequence[float]]
) -> Floats:
    """Soft mask 0-1 of the small objects that the border cuts, in coarse pixels."""
    height, width = small.shape[:2]
    light = np.maximum(small, 1).astype(np.float32) / np.asarray(glass_rgb, np.float32)
    objects = (-np.log10(light).max(axis=2) > OBJECT_DENSITY).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(objects)
    area_px = stats[:, cv2.CC_STAT_AREA] * COARSE**2
    cut = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        cut[side] = True
    cut &= area_px <= CUT_OBJECT_PX
    for x, y in spots:
        cut[labels[min(int(y), height - 1), min(int(x), width - 1)]] = False
    cut[0] = False
    mask = cv2.dilate(cut[labels].astype(np.float32), np.ones((7, 7), np.uint8))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), dtype=np.float32)
