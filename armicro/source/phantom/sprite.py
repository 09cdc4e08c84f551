"""A sprite: the light that one cell lets through, with its nucleus at the centre."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.source.phantom.noise import Floats
from armicro.source.phantom.stain import Dye


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One drawn object."""

    light: NDArray[np.uint8]
    """(height, width, 3): share of light let through, 255 is all of it; even sides."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Coordinates of a square sprite's pixels, origin at its centre."""

    x: Floats
    y: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.x.shape[0], self.x.shape[1]


def plane(half_px: float) -> Plane:
    """The plane of a sprite that reaches ``half_px`` from its centre."""
    half = int(np.ceil(half_px))
    axis = np.arange(-half, half, dtype=np.float32) + np.float32(0.5)
    x, y = np.meshgrid(axis, axis)
    return Plane(x, y)


def dyed(thickness: Floats, dye: Dye) -> Floats:
    """Optical density (height, width, 3) of a dye at each thickness."""
    # Plane by plane: broadcasting over the short last axis is ten times slower.
    planes = [thickness * np.float32(density) for density in dye]
    return np.asarray(cv2.merge(planes), dtype=np.float32)


def sprite_of(density: Floats, blur_px: float) -> Sprite:
    """Turn optical density (height, width, 3) into light, trimmed about the centre."""
    light = 255 * np.asarray(cv2.exp(np.float32(-np.log(10)) * density))
    if blur_px > 0:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur_px))
    whole = np.asarray(cv2.convertScaleAbs(np.minimum(light, 255)), np.uint8)
    return Sprite(trimmed(whole))


def trimmed(light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut clear margins off, the same on opposite sides."""
    dark = np.minimum(np.minimum(light[..., 0], light[..., 1]), light[..., 2]) < 254
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    if rows.size == 0:
        return np.full((2, 2, 3), 255, np.uint8)
    half_y, half_x = light.shape[0] // 2, light.shape[1] // 2
    reach_y = max(half_y - int(rows[0]), int(rows[-1]) + 1 - half_y)
    reach_x = max(half_x - int(columns[0]), int(columns[-1]) + 1 - half_x)
    cut = light[
        half_y - reach_y : half_y + reach_y, half_x - reach_x : half_x + reach_x
    ]
    return np.ascontiguousarray(cut)
