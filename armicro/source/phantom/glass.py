"""Clear glass without end: one tile of texture, repeated seamlessly."""

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.source.phantom.noise import Floats

GLASS_PX = 1024
PATCH_PX = 128
PATCHES_ON_TILE = 700

Rgb = tuple[int, int, int]


class Glass:
    """A window of any place and size on the repeated tile."""

    def __init__(self, tile: Pixels) -> None:
        """Repeat ``tile``, (GLASS_PX, GLASS_PX, 3) RGB."""
        self._tile = tile

    def window(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        """(height_px, width_px, 3) RGB, the caller's to write on."""
        picture = np.empty((height_px, width_px, 3), np.uint8)
        y = 0
        while y < height_px:
            row = (y_px + y) % GLASS_PX
            rows = min(GLASS_PX - row, height_px - y)
            x = 0
            while x < width_px:
                column = (x_px + x) % GLASS_PX
                columns = min(GLASS_PX - column, width_px - x)
                picture[y : y + rows, x : x + columns] = self._tile[
                    row : row + rows, column : column + columns
                ]
                x += columns
            y += rows
        return picture


def noise_glass(rgb: Rgb, rng: np.random.Generator) -> Glass:
    """Glass of one colour with the noise of a camera."""
    noise = rng.normal(0, 1.1, (GLASS_PX, GLASS_PX, 1)).astype(np.float32)
    noise = noise + rng.normal(0, 0.5, (GLASS_PX, GLASS_PX, 3)).astype(np.float32)
    return Glass(_tile_of(rgb, noise))


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
    texture = np.zeros((GLASS_PX, GLASS_PX, 3), np.float32)
    weight = np.zeros((GLASS_PX, GLASS_PX, 1), np.float32)
    # Places at random: on a grid the eye finds the repeats.
    for y, x in rng.integers(0, GLASS_PX, (PATCHES_ON_TILE, 2)):
        patch = patches[int(rng.integers(len(patches)))]
        turned = np.rot90(patch, int(rng.integers(4)))
        where = np.ix_(
            (y + np.arange(PATCH_PX)) % GLASS_PX, (x + np.arange(PATCH_PX)) % GLASS_PX
        )
        texture[where] += window * turned
        weight[where] += window**2
    # Dividing by the root of the squares keeps the grain as strong as it was.
    return Glass(
        _tile_of(
            rgb, np.asarray(texture / np.sqrt(np.maximum(weight, 0.05)), np.float32)
        )
    )


def _tile_of(rgb: Rgb, texture: NDArray[np.float32]) -> Pixels:
    glass = np.asarray(rgb, np.float32) + texture
    return np.asarray(cv2.convertScaleAbs(np.clip(glass, 0, 255)), dtype=np.uint8)
