"""Clear glass without end: one tile of texture, repeated seamlessly."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.source.phantom.noise import Floats

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
