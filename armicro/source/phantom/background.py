"""The clear glass of a real field: its colour, unevenness and texture."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.source.phantom.glass import PATCH_PX, Rgb
from armicro.source.phantom.noise import Floats

Triple = NDArray[np.float64]
"""(3,) red, green, blue."""

COARSE = 16
GLASS_DENSITY = 0.03
"""Up to this optical density against the brightest a place counts as glass."""
LARGEST_GAIN = 1.25
ENOUGH_FOR_CURVE = 0.30
ENOUGH_FOR_SLOPE = 0.10
"""Shares of glass in a field that a curved, or a sloping, surface is fitted to."""


def glass_rgb_of(picture: Pixels) -> Triple:
    """Colour of the clear glass of a field: its brightest tenth, in the median."""
    return _brightest(_small(picture))


def stain_of(thumbnail: Pixels) -> Triple:
    """How a field is stained, for comparison: median density of what is not glass.

    Args:
        thumbnail: (height, width, 3) RGB of the field, some sixteen times smaller.
    """
    density = _density(thumbnail.astype(np.float64), _brightest(thumbnail))
    objects = density[density.max(axis=2) > 2 * GLASS_DENSITY]
    if len(objects) == 0:
        return np.zeros(3)
    return np.asarray(np.median(objects, axis=0), dtype=np.float64)


def hue_distances(stains: Sequence[Triple], anchor: int) -> NDArray[np.float64]:
    """How unlike the anchor each field is stained: (fields,) 0 for the anchor.

    Densities are compared by their direction, that is by hue and not by depth of stain.
    """
    matrix = np.stack(stains) + 1e-6
    hue = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(np.linalg.norm(hue - hue[anchor], axis=1), dtype=np.float64)


def balanced(picture: Pixels, glass_rgb: Rgb) -> Pixels:
    """Give a field the slide's glass: divide by its own, uneven as it is.

    The glass is a surface of first or second degree fitted to the field's clear places,
    or one colour where there are few. The gain never exceeds ``LARGEST_GAIN``.
    """
    height, width = picture.shape[:2]
    small = _small(picture).astype(np.float64)
    own_rgb = glass_rgb_of(picture)
    clear = _density(small, own_rgb).max(axis=2) < GLASS_DENSITY
    share = float(clear.mean())
    rows, columns = small.shape[:2]
    y, x = np.meshgrid(
        np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
    )
    terms = [np.ones_like(x)]
    if share > ENOUGH_FOR_SLOPE:
        terms += [x, y]
    if share > ENOUGH_FOR_CURVE:
        terms += [x * x, x * y, y * y]
    basis = np.stack(terms, axis=-1)
    surface = np.broadcast_to(own_rgb, small.shape)
    if share > ENOUGH_FOR_SLOPE:
        fit, *_ = np.linalg.lstsq(basis[clear], small[clear], rcond=None)
        surface = basis @ fit
    gain = np.asarray(glass_rgb, float) / np.maximum(surface, 1)
    gain = np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN).astype(np.float32)
    grown = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(picture, grown, dtype=cv2.CV_8U), dtype=np.uint8)


def texture_patches(picture: Pixels, own_rgb: Triple) -> list[Floats]:
    """What a field's clear glass differs from its mean by: at most four patches.

    Returns:
        float32 (PATCH_PX, PATCH_PX, 3) each; none where the field has no clear glass.
    """
    height, width = picture.shape[:2]
    whole = picture.astype(np.float32)
    rest = whole - np.asarray(cv2.blur(whole, (33, 33)), dtype=np.float32)
    found: list[tuple[float, Floats]] = []
    for y in range(0, height - PATCH_PX + 1, PATCH_PX):
        for x in range(0, width - PATCH_PX + 1, PATCH_PX):
            window = (slice(y, y + PATCH_PX), slice(x, x + PATCH_PX))
            patch = rest[window]
            # Dust shows as a few strong pixels, glass has none.
            if np.abs(patch).max() > 12:
                continue
            if np.abs(whole[window].mean(axis=(0, 1)) - own_rgb).max() < 5:
                found.append((float(patch.std()), patch - patch.mean(axis=(0, 1))))
    found.sort(key=lambda pair: pair[0])
    return [patch.copy() for _, patch in found[:4]]


def _brightest(small: Pixels) -> Triple:
    flat = small.reshape(-1, 3)
    darkest = flat.min(axis=1)
    bright = flat[darkest >= np.percentile(darkest, 90)]
    return np.asarray(np.median(bright, axis=0), dtype=np.float64)


def _small(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    size = (max(1, width // COARSE), max(1, height // COARSE))
    shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, dtype=np.uint8)


def _density(picture: NDArray[np.float64], own_rgb: Triple) -> NDArray[np.float64]:
    density = -np.log10(np.maximum(picture, 1) / np.maximum(own_rgb, 1))
    return np.asarray(density, dtype=np.float64)
