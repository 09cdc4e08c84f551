"""What a microscope does to a picture: motion, blur, defocus, vignetting, noise.

Each field draws its chances from (seed, seq) alone, so a field looks the same whether
or not the others were read. Light passes the steps in nature's order: blur of stage and
lens, loss at the corners, then the sensor's noise. Rotation belongs to the reading of
the pixels, since it needs those beyond the field's edge.
"""

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.rig import Camera, Scan

_EXPOSURE_US = 5000.0
"""Where the rig names none: usual for a colour camera on a bright-field stand."""
_MEDIUM_INDEX = 1.52
"""Refractive index of the mounting medium, in which the focus error is measured."""
_NUMERICAL_APERTURE = 0.5
"""Where the rig's objective does not say ("UPLXAPO 20x/0.8" does)."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What chance does to one field."""

    dropped: bool
    focus_um: float
    noise_seed: int


def draw_chance(scan: Scan, seq: int) -> Chance:
    """Draw a field's chances from the scan's seed and the field's number."""
    rng = np.random.default_rng((abs(scan.seed), int(scan.seed < 0), seq))
    return Chance(
        dropped=bool(rng.random() < scan.dropped),
        focus_um=float(rng.normal(0.0, 1.0)) * scan.defocus_um,
        noise_seed=int(rng.integers(2**32)),
    )


def numerical_aperture(objective: str) -> float:
    """Numerical aperture that an objective's name ends in.

    >>> numerical_aperture("UPLXAPO 20x/0.8")
    0.8
    """
    found = re.search(r"/\s*([01]?\.\d+)", objective)
    return float(found[1]) if found else _NUMERICAL_APERTURE


def blur_sigma_um(scan: Scan, focus_um: float, *, aperture: float) -> float:
    """Standard deviation of the lens blur and the focus error together.

    A point out of focus by z becomes a disc of radius z·tan(asin(NA/n)), whose
    standard deviation along each axis is half its radius.
    """
    radius_um = abs(focus_um) * math.tan(math.asin(aperture / _MEDIUM_INDEX))
    return math.hypot(scan.blur_um, radius_um / 2)


def motion_kernel(dx_px: float, dy_px: float) -> NDArray[np.float32]:
    """Line that a point draws while the stage moves, centred, of sum 1.

    Returns:
        (odd, odd) weights.
    """
    reach = max(1, math.ceil(max(abs(dx_px), abs(dy_px)) / 2))
    samples = 8 * reach + 1
    along = (np.arange(samples) + 0.5) / samples - 0.5
    x, y = along * dx_px + reach, along * dy_px + reach
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2), np.float32)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    # Each sample is shared by the four pixels around it.
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = np.abs(1 - column - (x - left)) * np.abs(1 - row - (y - top))
        np.add.at(kernel, (top + row, left + column), weight.astype(np.float32))
    kernel = kernel[:-1, :-1]
    return np.asarray(kernel / kernel.sum(), np.float32)


class Degrader:
    """Applies the rig's imperfections to fields."""

    def __init__(self, camera: Camera, scan: Scan, *, um_per_px: float) -> None:
        """Take the imperfections of ``scan``, at the scale of the fields."""
        self._scan = scan
        self._um_per_px = um_per_px
        exposure_us = camera.exposure_us or min(
            _EXPOSURE_US, 1e6 / camera.frames_per_second
        )
        self._smear_px = abs(scan.stage_um_per_s) * exposure_us * 1e-6 / um_per_px
        self._light: NDArray[np.float32] | None = None

    def apply(
        self,
        pixels: Pixels,
        chance: Chance,
        *,
        direction: tuple[float, float],
        aperture: float = _NUMERICAL_APERTURE,
    ) -> Pixels:
        """Make a perfect field look as the camera would have seen it.

        Args:
            pixels: (height, width, 3) RGB.
            chance: of this field.
            direction: unit vector of the stage's motion; (0, 0) when it stands.
            aperture: numerical aperture, which turns focus error into blur.
        """
        sigma_um = blur_sigma_um(self._scan, chance.focus_um, aperture=aperture)
        sigma_px = sigma_um / self._um_per_px
        if self._smear_px > 0 and any(direction):
            dx, dy = (self._smear_px * part for part in direction)
            pixels = cv2.filter2D(pixels, -1, motion_kernel(dx, dy))  # type: ignore[assignment]
        if sigma_px > 0:
            pixels = cv2.GaussianBlur(pixels, (0, 0), sigma_px)  # type: ignore[assignment]
        if not self._scan.vignetting and not self._scan.noise:
            return pixels
        light = pixels.astype(np.float32)
        if self._scan.vignetting:
            light *= self._falloff(pixels.shape[:2])
        if self._scan.noise:
            rng = np.random.default_rng(chance.noise_seed)
            noise = rng.standard_normal(light.shape, dtype=np.float32)
            light += noise * (255 * self._scan.noise)
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)

    def _falloff(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Share of light that reaches each pixel: 1 in the middle, least at corners."""
        if self._light is None or self._light.shape[:2] != shape:
            y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
            radius2 = (x[None, :] ** 2 + y[:, None] ** 2) / 2
            light = 1 - self._scan.vignetting * radius2
            self._light = light[..., None].astype(np.float32)
        return self._light
