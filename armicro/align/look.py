"""What registration sees of a field: its texture at 1 µm/px, free of light and stain.

The logarithm turns light and exposure into sums, a band-pass takes them away, and the
division by the local contrast lets a pale cell count like a dark one, so that one black
nucleus cannot outvote the rest. Empty glass and plain noise stay near 0: a floor of
contrast sees to it, which lies above the noise of each place. Since the scale is fixed,
a change of objective needs nothing else.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from armicro.field import Pixels

Plane = NDArray[np.float32]

FINE_UM_PER_PX = 1.0
COARSE_UM_PER_PX = 2.0
_SHRINK = 4
"""Slow parts (local mean, local contrast) are computed at this fraction of the size."""
_CHECK = 8
"""Noise is sampled once in so many pixels a side."""
_HIGH_PASS_UM = 8.0
_CONTRAST_UM = 24.0
"""Standard deviations of the local mean and of the neighbourhood of the contrast."""
_LEAST_CONTRAST = 0.006
"""Of the logarithm of light: below this empty glass would be blown up."""
_ABOVE_NOISE = 4.0
"""Noise, divided by so many of its standard deviations, is no block's texture
(``agree``); what is textured then is as much picture as noise, and agrees."""
_LIMIT = 4.0
_LOG = np.log(np.arange(256, dtype=np.float32) + 8.0)


@dataclass(frozen=True, eq=False)
class Look:
    """The texture of a field; what is derived from it is made once, when asked for."""

    fine: Plane
    """(height, width) at 1 µm/px, about -4 to 4, near 0 on empty glass."""

    @cached_property
    def coarse(self) -> Plane:
        """The same at 2 µm/px."""
        return _resized(self.fine, 0.5, cv2.INTER_AREA)

    @cached_property
    def fine_slopes(self) -> tuple[Plane, Plane]:
        """Derivatives of ``fine`` along x and y."""
        return _slopes(self.fine)

    @cached_property
    def coarse_slopes(self) -> tuple[Plane, Plane]:
        """Derivatives of ``coarse`` along x and y."""
        return _slopes(self.coarse)

    def masked(self, clean: Plane) -> "Look":
        """The same without what is 0 in ``clean``; as it is where sizes differ."""
        return Look(self.fine * clean) if clean.shape == self.fine.shape else self

    @cached_property
    def energy_sum(self) -> NDArray[np.float64]:
        """Integral image of the square of ``coarse``."""
        square = self.coarse * self.coarse
        return np.asarray(cv2.integral(square, sdepth=cv2.CV_64F))

    @cached_property
    def _spectra(self) -> dict[tuple[int, int], NDArray[np.complex64]]:
        return {}

    def spectrum(self, shape: tuple[int, int]) -> NDArray[np.complex64]:
        """Fourier transform of ``coarse`` padded with zeros to ``shape``."""
        if shape not in self._spectra:
            self._spectra[shape] = np.asarray(fft.rfft2(self.coarse, shape))
        return self._spectra[shape]


def reduce_light(pixels: Pixels, um_per_px: float) -> Plane:
    """Logarithm of a field's light at 1 µm/px, less up to 3 µm right and below.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
        um_per_px: scale of the pixels.
    """
    halvings, scale = _reduction(um_per_px)
    for _ in range(halvings):
        # Halving is the one area filter that is fast; the rest is done on few pixels.
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        even = pixels[: 2 * height, : 2 * width]
        pixels = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    return _reduced(cv2.LUT(grey, _LOG), scale)


def _reduction(um_per_px: float) -> tuple[int, float]:
    """By how many halvings, and what scale then, pixels come to 1 µm."""
    halvings, scale = 0, um_per_px / FINE_UM_PER_PX
    while scale <= 0.55:
        halvings, scale = halvings + 1, 2 * scale
    return halvings, scale


def _reduced(light: object, scale: float) -> Plane:
    how = cv2.INTER_AREA if scale < 0.95 else cv2.INTER_LINEAR
    light = _resized(light, scale, how)
    # A whole number of the small pixels, or what is computed there would be stretched.
    height, width = (max(_SHRINK, side // _SHRINK * _SHRINK) for side in light.shape)
    return np.ascontiguousarray(light[:height, :width], np.float32)


def band_pass(light: Plane) -> Plane:
    """Texture: what varies over 1 to some 8 µm."""
    smooth = cv2.GaussianBlur(light, (0, 0), 1.0)
    slow = cv2.GaussianBlur(_small(smooth), (0, 0), _HIGH_PASS_UM / _SHRINK)
    return _plane(cv2.subtract(smooth, _large(slow)))


def noise_power(light: Plane, um_per_px: float) -> Plane:
    """Mean square of the noise in the texture of ``light``, at a quarter of its size.

    Noise is told by the finest checks (Immerkaer 1996,
    doi:10.1006/cviu.1996.0060), which no objective lets through from the slide.

    Args:
        light: (height, width), of ``reduce_light``.
        um_per_px: scale of the pixels that it was made of.
    """
    gain = _noise_gain(round(_reduction(um_per_px)[1], 3))
    power = cv2.GaussianBlur(_checks(light), (0, 0), _CONTRAST_UM / _CHECK)
    height, width = (side // _SHRINK for side in light.shape)
    return _plane(cv2.resize(power, (width, height))) * np.float32(gain)


def _checks(light: Plane) -> Plane:
    """Square of one check of 2 by 2 pixels in each square of 8 by 8."""
    rows = light[::_CHECK] - light[1::_CHECK]
    checks = rows[:, ::_CHECK] - rows[:, 1::_CHECK]
    return checks * checks


@lru_cache(maxsize=8)
def _noise_gain(scale: float) -> float:
    """Power of white noise in the texture by that of its checks, once it is resized."""
    rng = np.random.default_rng(0)
    light = _reduced(rng.standard_normal((1024, 1024), np.float32), scale)
    return float(np.mean(band_pass(light) ** 2) / np.mean(_checks(light)))


def normalise(texture: Plane, noise: Plane) -> Look:
    """Divide texture by its local contrast.

    Args:
        texture: (height, width), of ``band_pass``.
        noise: of ``noise_power``.
    """
    power = cv2.GaussianBlur(
        _small(cv2.multiply(texture, texture)), (0, 0), _CONTRAST_UM / _SHRINK
    )
    contrast = np.sqrt(power)
    least = max(_LEAST_CONTRAST, 1.5 * float(np.quantile(contrast[::4, ::4], 0.05)))
    # Noise must not pass for texture.
    floor = np.maximum(_ABOVE_NOISE * np.sqrt(noise), least)
    gain = _large(1.0 / np.maximum(contrast, floor))
    fine = _plane(cv2.multiply(texture, gain))
    return Look(np.clip(fine, -_LIMIT, _LIMIT, out=fine))


def look_at(pixels: Pixels, um_per_px: float) -> Look:
    """Return what registration sees of a field."""
    light = reduce_light(pixels, um_per_px)
    return normalise(band_pass(light), noise_power(light, um_per_px))


def _small(plane: object) -> Plane:
    return _resized(plane, 1 / _SHRINK, cv2.INTER_AREA)


def _large(small: object) -> Plane:
    return _resized(small, _SHRINK, cv2.INTER_LINEAR)


def _resized(plane: object, scale: float, how: int) -> Plane:
    return _plane(
        cv2.resize(_plane(plane), None, fx=scale, fy=scale, interpolation=how)
    )


_SLOPE = np.array([[1.0, -8.0, 0.0, 8.0, -1.0]], np.float32) / 12
"""A plain difference reads fine texture too flat, and shifts would come out too long:
by 0.08 px a step, which a scan adds up."""


def _slopes(plane: Plane) -> tuple[Plane, Plane]:
    return (
        _plane(cv2.filter2D(plane, -1, _SLOPE)),
        _plane(cv2.filter2D(plane, -1, _SLOPE.T)),
    )


def _plane(array: object) -> Plane:
    return np.asarray(array, np.float32)
