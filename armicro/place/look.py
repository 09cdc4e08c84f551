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
from armicro.picture import DARK, dark_from_border

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
_MOST_GAIN = 5.0
_LEAST_WEIGHT = 0.02
_LIMIT = 4.0
_LOG = np.log(np.arange(256, dtype=np.float32) + 8.0)


@dataclass(frozen=True, eq=False)
class Texture:
    """The texture of a field; what is derived from it is made once, when asked for."""

    fine: Plane
    """(height, width) at 1 µm/px, about -4 to 4, near 0 on empty glass."""
    clean: Plane | None = None
    """0 where nothing is known of the slide (and ``fine`` is 0), 1 elsewhere."""

    @cached_property
    def coarse(self) -> Plane:
        """The same at 2 µm/px."""
        return _resized(self.fine, 0.5, cv2.INTER_AREA)

    @cached_property
    def coarse_clean(self) -> Plane | None:
        """0 where a part of ``clean`` is 0, at 2 µm/px."""
        if self.clean is None:
            return None
        return _plane(_resized(self.clean, 0.5, cv2.INTER_AREA) == 1.0)

    @cached_property
    def fine_slopes(self) -> tuple[Plane, Plane]:
        """Derivatives of ``fine`` along x and y; 0 where something unknown is near."""
        return _slopes(self.fine, self.clean)

    @cached_property
    def coarse_slopes(self) -> tuple[Plane, Plane]:
        """The same of ``coarse``."""
        return _slopes(self.coarse, self.coarse_clean)

    def masked(self, clean: Plane) -> "Texture":
        """The same without what is 0 in ``clean``; as it is where sizes differ."""
        if clean.shape != self.fine.shape:
            return self
        known = clean if self.clean is None else self.clean * clean
        return Texture(self.fine * clean, known)

    def without_dirt(self, clean: Plane) -> "Texture":
        """The same without what is 0 in ``clean``, in the contrast around it too."""
        if clean.shape != self.fine.shape:
            return self
        rest = self.masked(clean)
        share = _contrast(self.fine) / np.maximum(
            _contrast(rest.fine, rest.clean), 1 / _MOST_GAIN
        )
        gain = _large(np.clip(share, 1.0, _MOST_GAIN))
        return Texture(np.clip(rest.fine * gain, -_LIMIT, _LIMIT), rest.clean)

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


def lit_part(light: Plane) -> Plane | None:
    """0 where a dark part reaches in from the border (an eyepiece's mask), else 1.

    Its rim stays where it is while the slide moves, and would be what fields agree in.

    Args:
        light: (height, width), of ``reduce_light``.

    Returns:
        None where no dark part touches the border.
    """
    small = _small(light)
    glass = float(np.exp(np.quantile(small[::2, ::2], 0.95))) - 8.0
    outside = dark_from_border(small < np.log(DARK * glass + 8.0))
    if outside is None:
        return None
    size = light.shape[1], light.shape[0]
    lit = 1 - outside.astype(np.uint8)
    return _plane(cv2.resize(lit, size, interpolation=cv2.INTER_NEAREST))


def band_pass(light: Plane, clean: Plane | None = None) -> Plane:
    """Texture: what varies over 1 to some 8 µm.

    Args:
        light: (height, width), of ``reduce_light``.
        clean: the same size, 0 where the light is not that of the slide: it casts no
            shadow around itself then.
    """
    smooth = _plane(cv2.GaussianBlur(light, (0, 0), 1.0))
    slow = _mean_around(smooth, _HIGH_PASS_UM, clean)
    return _plane(cv2.subtract(smooth, _large(slow)))


def _mean_around(plane: Plane, um: float, clean: Plane | None) -> Plane:
    """Mean with Gaussian weights, of what is clean, at a quarter of the size."""
    if clean is None:
        return _plane(cv2.GaussianBlur(_small(plane), (0, 0), um / _SHRINK))
    total = cv2.GaussianBlur(_small(plane * clean), (0, 0), um / _SHRINK)
    weight = cv2.GaussianBlur(_small(clean), (0, 0), um / _SHRINK)
    return _plane(total / np.maximum(weight, _LEAST_WEIGHT))


def _contrast(texture: Plane, clean: Plane | None = None) -> Plane:
    power = _plane(cv2.multiply(texture, texture))
    return np.sqrt(_mean_around(power, _CONTRAST_UM, clean))


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


def normalise(texture: Plane, noise: Plane, clean: Plane | None = None) -> Texture:
    """Divide texture by its local contrast.

    Args:
        texture: (height, width), of ``band_pass``.
        noise: of ``noise_power``.
        clean: 0 where the texture is not the slide's.
    """
    contrast = _contrast(texture, clean)
    least = max(_LEAST_CONTRAST, 1.5 * float(np.quantile(contrast[::4, ::4], 0.05)))
    # Noise must not pass for texture.
    floor = np.maximum(_ABOVE_NOISE * np.sqrt(noise), least)
    gain = _large(1.0 / np.maximum(contrast, floor))
    fine = _plane(cv2.multiply(texture, gain))
    look = Texture(np.clip(fine, -_LIMIT, _LIMIT, out=fine))
    return look if clean is None else look.masked(clean)


def look_at(pixels: Pixels, um_per_px: float) -> Texture:
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


def _slopes(plane: Plane, clean: Plane | None) -> tuple[Plane, Plane]:
    slopes = (
        _plane(cv2.filter2D(plane, -1, _SLOPE)),
        _plane(cv2.filter2D(plane, -1, _SLOPE.T)),
    )
    if clean is None:
        return slopes
    reach = np.ones((_SLOPE.size, _SLOPE.size), np.uint8)
    inside = _plane(cv2.erode(clean, reach))
    return slopes[0] * inside, slopes[1] * inside


def _plane(array: object) -> Plane:
    return np.asarray(array, np.float32)
