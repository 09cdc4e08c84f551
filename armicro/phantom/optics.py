"""What the scanner does: focus that drifts, light that falls off in the corners."""

import cv2
import numpy as np

from armicro.field import Pixels
from armicro.phantom.noise import Floats, value_noise
from armicro.phantom.specification import ScannerOptics

FIELD_PX = 2048
"""Side of one field of the pretended scanner; the fall-off repeats with it."""

FOCUS_STEP_PX = 64
FOCUS_PERIOD_PX = 3000


class Scanner:
    """Blurs and shades drawn pixels as a function of their place alone."""

    def __init__(self, optics: ScannerOptics, seed: int) -> None:
        """Prepare the shading of one scanner field."""
        self._optics = optics
        self._seed = seed
        self.halo_px = int(np.ceil(3 * optics.defocus_px))
        """Pixels needed beyond each side of what is photographed."""
        self._shade = _shade(optics.vignetting) if optics.vignetting else None

    def photograph(self, picture: Pixels, x_px: int, y_px: int) -> Pixels:
        """Photograph a drawn picture, cutting its halo off.

        Args:
            picture: (height + 2 halo, width + 2 halo, 3) RGB.
            x_px: Slide place of the result's left side.
            y_px: Slide place of its top.

        Returns:
            (height, width, 3) RGB.
        """
        if self.halo_px:
            picture = self._defocused(picture, x_px, y_px)
        if self._shade is not None:
            rows = (y_px + np.arange(picture.shape[0])) % FIELD_PX
            columns = (x_px + np.arange(picture.shape[1])) % FIELD_PX
            shade = self._shade[rows][:, columns]
            cv2.multiply(picture, np.repeat(shade, 3, axis=2), picture, 1 / 255)
        return picture

    def _defocused(self, picture: Pixels, x_px: int, y_px: int) -> Pixels:
        """Mix the sharp and the blurred picture by how far focus is off there."""
        halo = self.halo_px
        inner = (slice(halo, -halo), slice(halo, -halo))
        side = 2 * halo + 1
        blurred = cv2.GaussianBlur(picture, (side, side), self._optics.defocus_px)
        sharp = np.ascontiguousarray(picture[inner])
        soft = np.ascontiguousarray(blurred[inner])
        height, width = sharp.shape[:2]
        off = self._focus_error(x_px, y_px, width, height)
        return np.asarray(cv2.blendLinear(soft, sharp, off, 1 - off), dtype=np.uint8)

    def _focus_error(self, x_px: int, y_px: int, width: int, height: int) -> Floats:
        """Share 0-1 of the largest defocus at each pixel (bilinear between nodes)."""
        x0, y0 = x_px // FOCUS_STEP_PX, y_px // FOCUS_STEP_PX
        columns = np.arange(x0, (x_px + width) // FOCUS_STEP_PX + 2)
        rows = np.arange(y0, (y_px + height) // FOCUS_STEP_PX + 2)
        nodes = value_noise(
            self._seed + 11,
            np.asarray(columns[None] * FOCUS_STEP_PX, np.float64),
            np.asarray(rows[:, None] * FOCUS_STEP_PX, np.float64),
            FOCUS_PERIOD_PX,
        )
        nodes = np.clip(1.6 * nodes - 0.3, 0, 1).astype(np.float32)
        u = (x_px + np.arange(width, dtype=np.float32)) / FOCUS_STEP_PX - x0
        v = (y_px + np.arange(height, dtype=np.float32)) / FOCUS_STEP_PX - y0
        map_x, map_y = np.meshgrid(u.astype(np.float32), v.astype(np.float32))
        return np.asarray(cv2.remap(nodes, map_x, map_y, cv2.INTER_LINEAR))


def _shade(vignetting: float) -> Pixels:
    """(FIELD_PX, FIELD_PX, 1) share of light, 255 in the middle."""
    axis = (np.arange(FIELD_PX) + 0.5) / FIELD_PX * 2 - 1
    squared = (axis[None] ** 2 + axis[:, None] ** 2) / 2
    return np.rint(255 * (1 - vignetting * squared)).astype(np.uint8)[..., None]
