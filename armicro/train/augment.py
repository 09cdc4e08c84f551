"""Designed augmentation: one cell as other stains, cameras and labs would show it.

The paper varies hue, saturation, brightness, contrast, flips, shift, blur, sharpening
and noise. Added here, because what counts is a stain never seen: a random mixing of
optical densities (absorbance is what dyes add, so a mixing there is another stain or
another camera), stain-wise gains in the haematoxylin-eosin-DAB basis (Ruifrok and
Johnston 2001), gamma, white balance, JPEG and grey. Geometry (rotation, flips, shift,
scale) is drawn with the tile's cut in ``sample``, so that pixels are interpolated once.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from armicro.cascade.tile import ground_colour
from armicro.field import Pixels

# ---------------------------------------------------------------------------
# Geometry of a tile: turn, zoom, mirror and shift in one interpolation.


def pad_ground(pixels: Pixels, margin_px: int) -> Pixels:
    """Return the crop on its own background: the median of its brighter border half."""
    margins, ground = (margin_px,) * 4, ground_colour(pixels).tolist()
    how = cv2.BORDER_CONSTANT
    return np.asarray(cv2.copyMakeBorder(pixels, *margins, how, value=ground), np.uint8)


def turn_matrix(zoom: float, angle_deg: float, *, flip: bool) -> NDArray[np.float64]:
    """Return the (2, 2) matrix of a zoom, a turn and perhaps a mirror.

    >>> turn_matrix(2.0, 0.0, flip=True).tolist()
    [[-2.0, 0.0], [0.0, 2.0]]
    """
    turn = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return zoom * rotation @ np.diag([-1.0 if flip else 1.0, 1.0])


def warp(
    pixels: Pixels,
    turn: NDArray[np.float64],
    centre_px: tuple[float, float],
    shift_px: NDArray[np.float64],
    tile_px: int,
    border: int,
) -> Pixels:
    """Cut a square tile whose centre shows ``centre_px`` moved by ``shift_px``.

    Strong reductions are averaged first (area filter), as the microscope's field is.
    """
    zoom = float(np.sqrt(abs(np.linalg.det(turn))))
    if zoom < 0.7:
        area = cv2.INTER_AREA
        shrunk = cv2.resize(pixels, None, fx=zoom, fy=zoom, interpolation=area)
        ratio = np.array(shrunk.shape[1::-1]) / np.array(pixels.shape[1::-1])
        centre = (np.array(centre_px) + 0.5) * ratio - 0.5
        pixels, turn = np.asarray(shrunk, np.uint8), turn / zoom
    else:
        centre = np.array(centre_px)
    middle = (tile_px - 1) / 2 + shift_px
    matrix = np.column_stack([turn, middle - turn @ centre])
    size = (tile_px, tile_px)
    tile = cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border
    )
    return np.asarray(tile, np.uint8)


# ---------------------------------------------------------------------------
# Stains, cameras and laboratories.

Unit = NDArray[np.float32]
"""(h, w, 3) RGB, 0-1."""

Steps = tuple[tuple[float, Callable[[Unit, Generator], Unit]], ...]
"""Chance and change, in turn."""

HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
"""Rows: optical density of haematoxylin, eosin and DAB in R, G, B."""


def vary_hsv(image: Unit, rng: Generator) -> Unit:
    """Turn the hue, stretch saturation and value."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-35, 35)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.6), 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.8, 1.15), 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32)


def vary_contrast(image: Unit, rng: Generator) -> Unit:
    """Stretch about the mean, add brightness, bend by a gamma."""
    mean = image.mean(dtype=np.float32)
    image = (image - mean) * np.float32(rng.uniform(0.65, 1.4)) + mean
    image = np.clip(image + np.float32(rng.uniform(-0.12, 0.12)), 0, 1)
    bent: Unit = np.power(image, np.float32(rng.uniform(0.7, 1.45)))
    return bent


def vary_channels(image: Unit, rng: Generator) -> Unit:
    """Give each channel its own gain and offset: another white balance."""
    gain = rng.uniform(0.75, 1.15, 3).astype(np.float32)
    offset = rng.uniform(-0.06, 0.06, 3).astype(np.float32)
    return np.asarray(np.clip(image * gain + offset, 0, 1), np.float32)


def mix_density(image: Unit, rng: Generator) -> Unit:
    """Mix the three channels' optical densities: other dyes, another sensor."""
    density = -np.log(np.maximum(image, 1 / 255))
    mixing = np.eye(3) + rng.normal(0, 0.2, (3, 3))
    mixed = density @ mixing.T.astype(np.float32)
    return np.asarray(np.exp(-np.clip(mixed, 0, 6)), np.float32)


def vary_stain(image: Unit, rng: Generator) -> Unit:
    """Give each stain more or less dye, in the HED basis."""
    density = -np.log(np.maximum(image, 1 / 255))
    stains = density @ np.linalg.inv(HED)
    gain = rng.uniform(0.65, 1.4, 3).astype(np.float32)
    shift = rng.normal(0, 0.03, 3).astype(np.float32)
    mixed = (stains * gain + shift) @ HED
    return np.asarray(np.exp(-np.clip(mixed, 0, 6)), np.float32)


def swap_channels(image: Unit, rng: Generator) -> Unit:
    """Shuffle the channels: shape and darkness stay, the colour means nothing."""
    return np.ascontiguousarray(image[..., rng.permutation(3)])


def drop_colour(image: Unit, rng: Generator) -> Unit:
    """Fade towards grey."""
    grey = image.mean(axis=2, keepdims=True)
    share = np.float32(rng.uniform(0.5, 1.0))
    return np.asarray(image + (grey - image) * share, np.float32)


def blur(image: Unit, rng: Generator) -> Unit:
    """Defocus by a Gaussian, or downsample and enlarge as a coarser camera does."""
    if rng.random() < 0.5:
        height, width = image.shape[:2]
        share = rng.uniform(0.4, 0.8)
        small = (max(8, int(width * share)), max(8, int(height * share)))
        shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(shrunk, (width, height)), np.float32)
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.8))
    return np.asarray(soft, np.float32)


def sharpen(image: Unit, rng: Generator) -> Unit:
    """Unsharp mask, as cameras and scanners apply."""
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 2.0))
    amount = np.float32(rng.uniform(0.3, 1.5))
    return np.clip(image + (image - soft) * amount, 0, 1).astype(np.float32)


def add_noise(image: Unit, rng: Generator) -> Unit:
    """Add sensor noise."""
    noise = rng.standard_normal(image.shape, np.float32)
    return np.clip(image + noise * np.float32(rng.uniform(0.005, 0.04)), 0, 1)


def add_jpeg(image: Unit, rng: Generator) -> Unit:
    """Pass through a JPEG file."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
    _, data = cv2.imencode(".jpg", to_uint8(image), quality)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)
    return np.asarray(decoded / np.float32(255), np.float32)


PAPER: Steps = ((0.6, vary_hsv), (0.6, vary_contrast), (0.5, vary_channels))
STAIN: Steps = ((0.5, mix_density), (0.5, vary_stain))
FADE: Steps = ((0.15, swap_channels), (0.35, drop_colour))
"""Often enough that form and darkness must do without colour."""
TEXTURE: Steps = ((0.3, blur), (0.2, sharpen), (0.25, add_noise), (0.3, add_jpeg))


def augment(tile: Pixels, rng: Generator) -> Pixels:
    """Return the tile as another laboratory might show it.

    Args:
        tile: (h, w, 3) uint8 RGB.
        rng: consumed in a fixed order, so a seed names a picture.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    image = tile.astype(np.float32) / np.float32(255)
    colour = STAIN + FADE + PAPER
    order = rng.permutation(len(colour))
    for share, step in (*(colour[index] for index in order), *TEXTURE):
        if rng.random() < share:
            image = step(image, rng)
    return to_uint8(image)


def to_uint8(image: Unit) -> Pixels:
    """Return 0-255 of 0-1."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
