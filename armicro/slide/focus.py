"""How sharp a field is, whatever it shows: the width of its sharpest edges.

An edge that a lens has blurred by a Gaussian of σ has, after a further Gaussian of s, a
gradient in proportion to 1 / √(σ² + s²). The ratio of the gradients after two such
blurs therefore tells σ, whatever the edge's contrast, and so whatever stain, exposure
or number of cells (Zhuo & Sim 2011, Pattern Recognition 44:1852). It is taken over the
steepest pixels of the blocks that hold most, about one in twenty of theirs. What
noise adds to the two is reckoned from the noise between neighbours, and taken off.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.field import Field, Pixels, Sight
from armicro.picture import DARK, dark_from_border

SHARP_FOCUS = 0.7
"""As sharp as a field needs to be: no sharper view of a cell is looked for."""
FINE_UM, COARSE_UM = 0.25, 0.6
"""The two blurs: below and above what a nucleus's edge has in focus."""
EVEN_UM = 1.0
"""Edge width at which focus is one half."""
_BLOCK_PX = 64
_BLOCKS = 24
_STEP_PX = 8
"""Distance of the pixels by which blocks are chosen."""
_STEEPEST = 0.05
"""Share of the blocks' pixels that counts as edge."""
_CHOICE_UM = 0.6
"""Half the side of the box after which the steepest pixels are chosen."""
_LEAST_CONTRAST = 8.0
"""Standard deviation in levels of 255 of a block that holds something."""


def measure_focus(pixels: Pixels, um_per_px: float) -> float | None:
    """Sharpness of a field, 0-1: 1 / (1 + σ²), σ the blur of its edges in µm.

    Args:
        pixels: (height, width, 3) RGB; the green channel is looked at.
        um_per_px: scale at the slide.

    Returns:
        None where there is nothing to judge by.
    """
    sigma_um = edge_sigma_um(pixels[..., 1], um_per_px)
    return None if sigma_um is None else 1.0 / (1.0 + (sigma_um / EVEN_UM) ** 2)


def is_sharp(focus: float | None) -> bool:
    """Whether a field of this focus needs no better view; unjudged ones are trusted."""
    return focus is None or focus >= SHARP_FOCUS


def with_focus(field: Field) -> Field:
    """Return the field with its focus filled in, unless somebody has done so."""
    sight = field.sight or Sight()
    if field.fault or sight.focus is not None:
        return field
    focus = measure_focus(field.pixels, field.um_per_px)
    return replace(field, sight=replace(sight, focus=focus))


def edge_sigma_um(grey: NDArray[np.uint8], um_per_px: float) -> float | None:
    """Blur of the sharpest edges of a picture (height, width) as a Gaussian's σ in µm.

    Returns:
        None where no block has any contrast.
    """
    blocks = _richest_blocks(grey)
    if not blocks:
        return None
    fine, coarse = (
        _gradients(blocks, blur_um / um_per_px) for blur_um in (FINE_UM, COARSE_UM)
    )
    # Chosen after a wider blur: noise that chose its own pixels would stay in them.
    wide = 2 * math.ceil(_CHOICE_UM / um_per_px) + 1
    steepness = cv2.magnitude(*(part.reshape(-1, part.shape[-1]) for part in coarse))
    steepness = cv2.blur(steepness, (wide, wide)).reshape(coarse[0].shape)
    # The bound of the steepest, from every fourth row and column: 16 times cheaper.
    bound = float(np.quantile(steepness[:, ::4, ::4], 1.0 - _STEEPEST))
    edge = np.flatnonzero(steepness >= max(bound, float(np.finfo(np.float32).tiny)))
    steep = coarse.reshape(2, -1)[:, edge].ravel()
    if not steep.size:
        return None
    across, along = _noise_products(blocks, um_per_px)
    pixels = steep.size / 2
    # What is left of the steepest under noise alone is nothing to divide by.
    power = max(float(steep @ steep) - pixels * along, 0.1 * float(steep @ steep))
    ratio = (
        float(fine.reshape(2, -1)[:, edge].ravel() @ steep) - pixels * across
    ) / power
    if ratio <= 1.0:
        # No edge at all is finer than the coarse blur: as blurred as can be told.
        return float("inf")
    squared = (COARSE_UM**2 - ratio**2 * FINE_UM**2) / (ratio**2 - 1.0)
    return float(np.sqrt(max(squared, 0.0)))


def _richest_blocks(grey: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The blocks with most contrast, the rest of the field unread."""
    side = _BLOCK_PX // _STEP_PX
    rows, columns = (n // _BLOCK_PX for n in grey.shape)
    first = _STEP_PX // 2
    probes = np.asarray(grey[first::_STEP_PX, first::_STEP_PX], np.float32)
    probes = probes[: rows * side, : columns * side]
    if not probes.size:
        return []
    dark = dark_from_border(probes < DARK * np.quantile(probes, 0.95))
    # Smoothed, so that the same blocks are chosen in focus and out of it.
    probes = np.asarray(cv2.blur(probes, (3, 3)), np.float32)
    contrast = probes.reshape(rows, side, columns, side).std(axis=(1, 3))
    if dark is not None:
        # The rim of an eyepiece's mask is no edge of the slide.
        contrast[dark.reshape(rows, side, columns, side).any(axis=(1, 3))] = 0.0
    order = np.argsort(-contrast, axis=None, kind="stable")[:_BLOCKS]
    return [
        np.asarray(
            grey[
                row * _BLOCK_PX : (row + 1) * _BLOCK_PX,
                column * _BLOCK_PX : (column + 1) * _BLOCK_PX,
            ],
            np.float32,
        )
        for row, column in (divmod(int(at), columns) for at in order)
        if contrast[row, column] >= _LEAST_CONTRAST
    ]


def _gradients(
    blocks: Sequence[NDArray[np.float32]], sigma_px: float
) -> NDArray[np.float32]:
    """Gradients (2, blocks, height, width) after a blur, each block's rim left out."""
    side = 2 * math.ceil(3.0 * sigma_px) + 1
    rim, inner = 2, _BLOCK_PX - 4
    found = np.empty((2, len(blocks), inner, inner), np.float32)
    # Written in place: to stack them afterwards would copy all twice.
    for block, across, down in zip(blocks, found[0], found[1], strict=True):
        soft = cv2.GaussianBlur(block, (side, side), sigma_px)
        left = soft[rim:-rim, rim - 1 : -1 - rim]
        right = soft[rim:-rim, rim + 1 : 1 - rim]
        up, low = soft[rim - 1 : -1 - rim, rim:-rim], soft[rim + 1 : 1 - rim, rim:-rim]
        np.subtract(right, left, out=across)
        np.subtract(low, up, out=down)
    return found


def _noise_products(
    blocks: list[NDArray[np.float32]], um_per_px: float
) -> tuple[float, float]:
    """What noise adds, a pixel, to fine times coarse gradient and to coarse squared."""
    # Differences of second order see no slope; their median sees no edge (Immerkaer
    # 1996, Computer Vision and Image Understanding 64:300).
    second = np.stack([block[::8] for block in blocks])
    second = second[..., 2:] - 2 * second[..., 1:-1] + second[..., :-2]
    spread = 1.483 * float(np.median(np.abs(second)))
    fine, coarse = _noise_gains(um_per_px)
    return spread**2 / 6 * fine, spread**2 / 6 * coarse


@lru_cache(maxsize=16)
def _noise_gains(um_per_px: float) -> tuple[float, float]:
    """Those products for noise of one level, from the gradients of a single pixel."""
    pixel = np.zeros((_BLOCK_PX, _BLOCK_PX), np.float32)
    pixel[_BLOCK_PX // 2, _BLOCK_PX // 2] = 1.0
    fine, coarse = (_gradients([pixel], um / um_per_px) for um in (FINE_UM, COARSE_UM))
    return float(np.sum(fine * coarse)), float(np.sum(coarse**2))
