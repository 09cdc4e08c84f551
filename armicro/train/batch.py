"""Batches for training: tiles with the places of the lesions in them, and their labels.

A small tile shows one cell and little of others, so its label is the tile's. Larger
ones show neighbours, so a tile is a lesion tile when a lesion lies in it, and a lesion
at the rim, which may be seen or not, takes the tile out of the loss. Some are mosaics:
four smaller tiles of different samples side by side, which puts lesions of every source
among normal cells of every source. With mosaics, crops of cells come in them alone.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.train.data import Crop
from armicro.train.sample import (
    BalancedSampler,
    TilePlan,
    colour_tile,
    cut_tile_with_lesions,
)

Places = NDArray[np.float64]
"""(n, 2) x and y in pixels of a tile."""
RIM_PX = 10.0
QUARTER_SHIFT_UM = 14.0
MOSAIC_LESION_SHARE = 0.16
"""Share of lesions among the samples of mosaics: half of the mosaics have one."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tiles that a step learns from."""

    tiles: Pixels
    """(n, h, w, 3)"""
    lesion: NDArray[np.float32]
    """(n,) 0 or 1."""
    weight: NDArray[np.float32]
    """(n,) 0 where nobody can say."""
    drawn: NDArray[np.int64]
    """(n,) sample of each tile; -1 for a mosaic."""
    places: tuple[Places, ...]
    """Lesions of each tile."""


def draw_batch(
    sampler: BalancedSampler,
    plan: TilePlan,
    count: int,
    rng: Generator,
    *,
    without: tuple[str, ...] = (),
) -> Batch:
    """Return ``count`` tiles with their labels."""
    drawn = sampler.draw(count, rng, without=without)
    tiles, places, labels = [], [], []
    for place, number in enumerate(drawn.tolist()):
        sample = sampler.samples[number]
        alone = isinstance(sample.picture, Crop)
        if plan.mosaic and (alone or rng.random() < plan.mosaic):
            tile, lesions = cut_mosaic(sampler, plan, rng)
            drawn[place] = -1
        else:
            tile, lesions = cut_tile_with_lesions(sample, plan, rng)
        tiles.append(tile)
        places.append(lesions)
        known = (sample.lesion, True)
        labels.append(known if plan.by_cell else label(lesions, plan.tile_px))
    lesion, sure = np.array(labels, np.float32).T
    return Batch(np.stack(tiles), lesion, sure, drawn, tuple(places))


def label(lesions_px: Places, tile_px: int) -> tuple[bool, bool]:
    """Say whether a tile holds a lesion, and whether that can be said.

    >>> label(np.array([[4.0, 60.0]]), 128), label(np.zeros((0, 2)), 128)
    ((False, False), (False, True))
    """
    inside = within(lesions_px, tile_px, -RIM_PX)
    deep = within(lesions_px, tile_px, RIM_PX)
    return bool(deep.any()), bool(deep.any() or not inside.any())


def within(places_px: Places, tile_px: int, rim_px: float) -> NDArray[np.bool_]:
    """Return which places lie at least ``rim_px`` inside a tile."""
    inside = (places_px >= rim_px) & (places_px < tile_px - rim_px)
    return np.asarray(inside.all(axis=1), np.bool_)


def cut_mosaic(
    sampler: BalancedSampler, plan: TilePlan, rng: Generator
) -> tuple[Pixels, Places]:
    """Return four tiles of half the side as one, coloured alike, and its lesions."""
    side = plan.tile_px // 2
    part = replace(plan, tile_px=side, shift_um=QUARTER_SHIFT_UM, coloured=False)
    tile = np.empty((2 * side, 2 * side, 3), np.uint8)
    places = []
    numbers = sampler.draw(4, rng, lesion_share=MOSAIC_LESION_SHARE)
    for quarter, number in enumerate(numbers.tolist()):
        x, y = side * (quarter % 2), side * (quarter // 2)
        pixels, lesions = cut_tile_with_lesions(sampler.samples[number], part, rng)
        tile[y : y + side, x : x + side] = pixels
        places.append(lesions[within(lesions, side, 0.0)] + (x, y))
    coloured = plan.augmented and plan.coloured
    if coloured:
        tile = colour_tile(tile, plan, rng)
    return tile, np.concatenate(places)
