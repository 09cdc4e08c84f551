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

Surface = NDArray[np.float64]
"""(6, 3) coefficients of a field's glass, see ``surface_of``."""

COARSE = 16
GLASS_DENSITY = 0.03
"""Up to this optical density against the brightest a place counts as glass."""
LARGEST_GAIN = 1.25
REIN = 0.02
"""How strongly a fitted glass is held level."""
FILM_WEIGHT = 0.12
"""Weight of a place darker than the fitted glass; one brighter has the rest of 1."""
ENOUGH_FOR_CURVE = 0.30
ENOUGH_FOR_SLOPE = 0.10
"""Shares of glass in a field that a curved, or a sloping, surface is fitted to."""


def glass_rgb_of(thumbnail: Pixels) -> Triple:
    """Colour of a field's clear glass: its brightest places, in the median."""
    flat = thumbnail.reshape(-1, 3)
    darkest = flat.min(axis=1)
    # A crowded field has little glass: take no more than it surely has.
    bright = flat[darkest >= np.percentile(darkest, 96)]
    return np.asarray(np.median(bright, axis=0), dtype=np.float64)


def stain_of(thumbnail: Pixels) -> Triple:
    """How a field is stained, for comparison: median density of what is not glass.

    Args:
        thumbnail: (height, width, 3) RGB of the field, several times smaller.
    """
    density = _density(thumbnail.astype(np.float64), glass_rgb_of(thumbnail))
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


def surface_of(thumbnail: Pixels) -> Surface:
    """Fit a field's glass: of second or first degree, or one colour with little glass.

    Returns:
        (6, 3) coefficients of 1, x, y, x², xy, y² for each colour; x and y run from -1
        to 1 over the field.
    """
    own_rgb = glass_rgb_of(thumbnail)
    small = thumbnail.astype(np.float64)
    clear = _density(small, own_rgb).max(axis=2) < GLASS_DENSITY
    share = float(clear.mean())
    surface = np.zeros((6, 3))
    surface[0] = own_rgb
    terms = 6 if share > ENOUGH_FOR_CURVE else 3 if share > ENOUGH_FOR_SLOPE else 0
    if terms:
        basis = _basis((-1, -1, 1, 1), small.shape[:2])[clear][:, :terms]
        surface[:terms] = _upper_fit(basis, small[clear])
    return surface


def _upper_fit(
    basis: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares that lean to the bright side, where film lies on part of the glass.

    Asymmetric weights as in the baselines of spectra (Eilers and Boelens 2005).
    """
    weight = np.ones(len(values))
    fit = np.zeros((basis.shape[1], values.shape[1]))
    # Slopes need evidence, or glass in one corner tilts the whole field.
    rein = np.diag(np.where(np.arange(basis.shape[1]) == 0, 0.0, REIN))
    for _ in range(5):
        weighted = basis * (weight / weight.sum())[:, None]
        normal = basis.T @ weighted + rein
        fit = np.asarray(np.linalg.solve(normal, weighted.T @ values), np.float64)
        above = (values - basis @ fit).mean(axis=1) > 0
        weight = np.where(above, 1 - FILM_WEIGHT, FILM_WEIGHT)
    return fit


def balanced(
    picture: Pixels,
    surface: Surface,
    place: tuple[float, float, float, float],
    *,
    glass_rgb: Rgb,
) -> Pixels:
    """Give part of a field the slide's glass: divide by its own, uneven as it is.

    Args:
        picture: (height, width, 3) RGB.
        surface: The field's glass.
        place: Left, top, right and bottom of the picture in the field, -1 to 1.
        glass_rgb: The slide's glass; no gain exceeds ``LARGEST_GAIN``.
    """
    height, width = picture.shape[:2]
    nodes = (max(2, height // COARSE), max(2, width // COARSE))
    own = np.clip(_basis(place, nodes) @ surface, 1, 255)
    gain = np.asarray(glass_rgb, float) / own
    gain = np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN).astype(np.float32)
    grown = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(picture, grown, dtype=cv2.CV_8U), dtype=np.uint8)


def _basis(
    place: tuple[float, float, float, float], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """(rows, columns, 6): 1, x, y, x², xy, y² at the centres of a grid's cells."""
    rows, columns = shape[0], shape[1]
    left, top, right, bottom = place
    u = left + (right - left) * (np.arange(columns) + 0.5) / columns
    v = top + (bottom - top) * (np.arange(rows) + 0.5) / rows
    x, y = np.meshgrid(u, v)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


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


def _density(picture: NDArray[np.float64], own_rgb: Triple) -> NDArray[np.float64]:
    density = -np.log10(np.maximum(picture, 1) / np.maximum(own_rgb, 1))
    return np.asarray(density, dtype=np.float64)
