"""Clear glass without end: one tile of texture, repeated seamlessly."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.phantom.noise import Floats, smooth_noise

NOISE_PX = 512
TEXTURE_PX = 768
"""Sides of the repeated tile: where nothing but noise repeats it may be small."""
PATCH_PX = 128
PATCHES_ON_TILE = 400

Rgb = tuple[int, int, int]


class Glass:
    """A window of any place and size on the repeated tile."""

    def __init__(self, tile: Pixels) -> None:
        """Repeat ``tile``, (side, side, 3) RGB."""
        self._tile = tile

    def window(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        """(height_px, width_px, 3) RGB, the caller's to write on."""
        side = self._tile.shape[0]
        picture = np.empty((height_px, width_px, 3), np.uint8)
        for y, row, rows in _runs(y_px, height_px, side):
            for x, column, columns in _runs(x_px, width_px, side):
                picture[y : y + rows, x : x + columns] = self._tile[
                    row : row + rows, column : column + columns
                ]
        return picture


def _runs(start: int, length: int, side: int) -> Iterator[tuple[int, int, int]]:
    """Cut a stretch at the tile's repeats: offset in it, offset in the tile, length."""
    offset = 0
    while offset < length:
        place = (start + offset) % side
        run = min(side - place, length - offset)
        yield offset, place, run
        offset += run


def noise_glass(rgb: Rgb, rng: np.random.Generator) -> Glass:
    """Glass of one colour with the noise of a camera."""
    grey = 1.1 * rng.standard_normal((NOISE_PX, NOISE_PX, 1), dtype=np.float32)
    colour = 0.5 * rng.standard_normal((NOISE_PX, NOISE_PX, 3), dtype=np.float32)
    return Glass(_tile_of(rgb, grey + colour))


def patch_glass(rgb: Rgb, patches: list[Floats], rng: np.random.Generator) -> Glass:
    """Glass of one colour with the texture of real glass.

    Args:
        rgb: The colour.
        patches: What real glass differs from its mean by, each (PATCH_PX, PATCH_PX, 3);
            without any, a camera's noise is drawn.
        rng: Chooses and turns the patches.
    """
    if not patches:
        return noise_glass(rgb, rng)
    wave = np.hanning(PATCH_PX + 2)[1:-1].astype(np.float32)
    window = (wave[:, None] * wave)[..., None]
    # Patches run over the right and lower side and are folded back in.
    reach = TEXTURE_PX + PATCH_PX
    texture = np.zeros((reach, reach, 3), np.float32)
    weight = np.zeros((reach, reach, 1), np.float32)
    # Places at random: on a grid the eye finds the repeats.
    for y, x in rng.integers(0, TEXTURE_PX, (PATCHES_ON_TILE, 2)).tolist():
        patch = patches[int(rng.integers(len(patches)))]
        where = (slice(y, y + PATCH_PX), slice(x, x + PATCH_PX))
        texture[where] += window * np.rot90(patch, int(rng.integers(4)))
        weight[where] += window**2
    # Dividing by the root of the squares keeps the grain as strong as it was.
    even = _folded(texture) / np.sqrt(np.maximum(_folded(weight), 0.05))
    return Glass(_tile_of(rgb, np.asarray(even, np.float32)))


def _folded(picture: Floats) -> Floats:
    picture[:PATCH_PX] += picture[TEXTURE_PX:]
    picture[:, :PATCH_PX] += picture[:, TEXTURE_PX:]
    return picture[:TEXTURE_PX, :TEXTURE_PX]


def _tile_of(rgb: Rgb, texture: NDArray[np.float32]) -> Pixels:
    glass = np.asarray(rgb, np.float32) + texture
    return np.asarray(cv2.convertScaleAbs(np.clip(glass, 0, 255)), dtype=np.uint8)


# ---------------------------------------------------------------------------
# The clear glass of a real field: its colour, unevenness and texture.

Triple = NDArray[np.float64]
"""(3,) red, green, blue."""

Surface = NDArray[np.float64]
"""(6, 3) coefficients of a field's glass, see ``surface_of``."""

_COARSE_LIGHT = 16
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
    nodes = (max(2, height // _COARSE_LIGHT), max(2, width // _COARSE_LIGHT))
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


# ---------------------------------------------------------------------------
# How a real piece goes into glass: what of it is kept, and how its border fades.
#
# Small objects that the border cuts are left out whole; large ones fade along a ragged
# line. What is kept inside stays as it was photographed.

_COARSE_PIECE = 4
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
    size = (max(2, width // _COARSE_PIECE), max(2, height // _COARSE_PIECE))
    small = np.asarray(
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    kept = np.concatenate([lesions_xy, cells_xy]) / _COARSE_PIECE
    share = _ragged_border(size[1], size[0], rng)
    share *= 1 - _cut_objects(small, glass_rgb, kept.tolist())
    if len(lesions_xy):
        keep = np.zeros((size[1], size[0]), np.float32)
        for x, y in (lesions_xy / _COARSE_PIECE).tolist():
            cv2.circle(keep, (round(x), round(y)), KEEP_PX // _COARSE_PIECE, 1.0, -1)
        soft = np.asarray(
            cv2.GaussianBlur(keep, (0, 0), 5 / _COARSE_PIECE), dtype=np.float32
        )
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
    round_px = min(0.8 * min(half_x, half_y), 330 / _COARSE_PIECE)
    x = np.maximum(np.abs(np.arange(width) + 0.5 - half_x) - half_x + round_px, 0)
    y = np.maximum(np.abs(np.arange(height) + 0.5 - half_y) - half_y + round_px, 0)
    depth = round_px - np.hypot(x[None], y[:, None]).astype(np.float32)
    wild = min(1.0, min(half_x, half_y) * _COARSE_PIECE / 300)
    depth -= np.float32((16 + 34 * wild) / _COARSE_PIECE)
    for grain_px, swing_px in ((160, 30 * wild + 4), (60, 11), (24, 6)):
        noise = smooth_noise(rng, (height, width), grain_px / _COARSE_PIECE)
        depth += np.float32(swing_px / _COARSE_PIECE) * noise
    ramp = np.clip(depth * _COARSE_PIECE / FADE_PX + 0.2, 0, 1)
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
    area_px = stats[:, cv2.CC_STAT_AREA] * _COARSE_PIECE**2
    cut = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        cut[side] = True
    cut &= area_px <= CUT_OBJECT_PX
    for x, y in spots:
        cut[labels[min(int(y), height - 1), min(int(x), width - 1)]] = False
    cut[0] = False
    mask = cv2.dilate(cut[labels].astype(np.float32), np.ones((7, 7), np.uint8))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), dtype=np.float32)
