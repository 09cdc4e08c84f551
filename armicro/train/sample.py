"""Tiles for training: which sample comes next, and how its tile is cut.

Sampling is balanced twice, as in the paper: first over sources (groups), then over the
categories of a source, so neither a large source nor a common class drowns the others.
A sample that the network got wrong may be drawn more often (its ``difficulty``). Every
draw follows from (seed, step), so a resumed run sees the very tiles that an unbroken
one sees.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.table import NORMAL_CLASS
from armicro.train.augment import augment, pad_ground, turn_matrix, warp
from armicro.train.data import AnnotatedField, Crop, Dataset

LR_UM_PER_PX = 0.486

AREA_CATEGORY = "area"
"""A place far from every lesion: mucus, blood, folds, cells without a label."""
AREA_SHARE = 0.25
"""Of such places among a source's normal samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One thing that a tile can be cut around."""

    source: str
    category: str
    lesion: bool
    group: str
    picture: AnnotatedField | Crop
    point_px: tuple[float, float] | None = None
    """Centre in the picture; None: the middle of a crop, or anywhere lesion-free."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How tiles are cut in a stage of training."""

    tile_px: int
    um_per_px: float
    shift_um: float
    """Largest shift of the point from the tile's centre, each axis."""
    augmented: bool = True
    """Turn, scale and colour the tile."""
    coloured: bool = True
    by_cell: bool = True
    """The tile's label is its sample's; else a lesion anywhere in it counts."""
    mosaic: float = 0.0
    """Share of a field's tiles that are put together from four smaller ones."""


def list_samples(dataset: Dataset, *, areas: bool = True) -> tuple[Sample, ...]:
    """Return every point and crop of a dataset, and an area for each field."""
    samples = []
    for field in dataset.fields:
        for point, name in zip(field.points_px, field.classes, strict=True):
            place, lesion = (float(point[0]), float(point[1])), name != NORMAL_CLASS
            samples.append(Sample(field.source, name, lesion, field.name, field, place))
        if areas:
            area = Sample(field.source, AREA_CATEGORY, False, field.name, field)
            samples.append(area)
    samples += [
        Sample(crop.source, crop.category, crop.lesion, crop.group, crop)
        for crop in dataset.crops
    ]
    return tuple(samples)


def groups_of(sample: Sample) -> tuple[str, ...]:
    """Return what can be left out with a sample: its laboratory, its slide group."""
    picture = sample.picture
    if isinstance(picture, AnnotatedField):
        return sample.source, picture.group
    return (sample.source,)


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most so many of the samples, evenly spread over them."""
    size = min(len(samples), most)
    rows = np.linspace(0, len(samples) - 1, size).round().astype(int)
    return [samples[row] for row in rows]


def even_part(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return about ``count`` samples, each source a like share, evenly spread."""
    sources = sorted({sample.source for sample in samples})
    chosen = []
    for source in sources:
        own = [sample for sample in samples if sample.source == source]
        chosen += spread(own, max(1, count // len(sources)))
    return chosen


class BalancedSampler:
    """Draws samples: half lesions, then by source, then by category."""

    def __init__(
        self, samples: Sequence[Sample], *, source_weights: Mapping[str, float]
    ) -> None:
        self.samples = tuple(samples)
        self.difficulty: NDArray[np.float64] = np.ones(len(samples))
        """Relative weight of each sample inside its category; set by mining."""
        self._source_weights = dict(source_weights)

    @cached_property
    def _tables(self) -> dict[bool, list[tuple[float, NDArray[np.int64]]]]:
        """For lesions and for normals: the weight and the members of each stratum."""
        strata: dict[tuple[bool, str, str], list[int]] = {}
        for index, sample in enumerate(self.samples):
            key = (sample.lesion, sample.source, sample.category)
            strata.setdefault(key, []).append(index)
        tables: dict[bool, list[tuple[float, NDArray[np.int64]]]] = {}
        for key, members in strata.items():
            weight = self._stratum_weight(key, strata)
            tables.setdefault(key[0], []).append((weight, np.array(members)))
        return tables

    def _stratum_weight(
        self, key: tuple[bool, str, str], keys: Collection[tuple[bool, str, str]]
    ) -> float:
        lesion, source, category = key
        weight = self._source_weights.get(source, 0.1)
        if category == AREA_CATEGORY:
            return weight * AREA_SHARE
        has_area = (lesion, source, AREA_CATEGORY) in keys
        siblings = sum(other[:2] == (lesion, source) for other in keys) - has_area
        return weight * (1 - AREA_SHARE * has_area) / siblings

    def draw(
        self,
        count: int,
        rng: Generator,
        *,
        without: Sequence[str] = (),
        lesion_share: float = 0.5,
    ) -> NDArray[np.int64]:
        """Return ``count`` indices of samples, none of the sources ``without``.

        Raises:
            SourceError: there are no lesions, or no normal cells.
        """
        drawn = []
        for _ in range(count):
            wanted = bool(rng.random() < lesion_share)
            strata = self._tables.get(wanted, [])
            if not strata:
                raise SourceError(
                    f"the training split shows no {'lesion' if wanted else 'normal'} "
                    "cell; give --data and --sources that show both"
                )
            weights = np.array(
                [
                    0.0 if self.samples[members[0]].source in without else weight
                    for weight, members in strata
                ]
            )
            members = strata[rng.choice(len(strata), p=weights / weights.sum())][1]
            chance = self.difficulty[members]
            drawn.append(rng.choice(members, p=chance / chance.sum()))
        return np.array(drawn, np.int64)


def cut_tile(sample: Sample, plan: TilePlan, rng: Generator) -> Pixels:
    """Return one training tile (tile_px, tile_px, 3) of a sample."""
    return cut_tile_with_lesions(sample, plan, rng)[0]


def cut_tile_with_lesions(
    sample: Sample, plan: TilePlan, rng: Generator
) -> tuple[Pixels, NDArray[np.float64]]:
    """Return a training tile and (n, 2) places of lesions in its pixels.

    Rotation, flip, scale and shift are drawn and applied in one interpolation. Places
    may lie outside the tile.
    """
    if isinstance(sample.picture, AnnotatedField):
        tile, lesions = _cut_field(sample, sample.picture, plan, rng)
    else:
        tile, lesions = _cut_crop(sample.picture, plan, rng)
    coloured = plan.augmented and plan.coloured
    return (augment(tile, rng) if coloured else tile), lesions


def _cut_field(
    sample: Sample, field: AnnotatedField, plan: TilePlan, rng: Generator
) -> tuple[Pixels, NDArray[np.float64]]:
    point = sample.point_px or find_lesion_free(field, plan, rng)
    zoom = field.um_per_px / plan.um_per_px
    border = int(rng.choice([cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE]))
    if not plan.by_cell:  # A mirrored lesion would be one without a label.
        border = cv2.BORDER_REPLICATE
    if plan.augmented:
        zoom *= float(np.exp(rng.uniform(np.log(0.75), np.log(1.33))))
    shift = rng.uniform(-plan.shift_um, plan.shift_um, 2) / plan.um_per_px
    angle = rng.uniform(0, 360) if plan.augmented else 0.0
    flip = plan.augmented and rng.random() < 0.5
    turn = turn_matrix(zoom, angle, flip=flip)
    middle = (plan.tile_px - 1) / 2 + shift
    lesions = (field.points_px[field.lesion] - point) @ turn.T + middle
    return warp(field.pixels, turn, point, shift, plan.tile_px, border), lesions


def _cut_crop(
    crop: Crop, plan: TilePlan, rng: Generator
) -> tuple[Pixels, NDArray[np.float64]]:
    """Place a single cell on a surround that tells nothing of its source.

    Half the time its edge pixels run on, else it lies on a flat ground of its brighter
    border, or is mirrored; the choice knows neither class nor source.
    """
    low, high = crop.um_per_px_range
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if not plan.augmented:
        scale = float(np.sqrt(low * high))
    zoom = scale / plan.um_per_px
    angle = float(rng.integers(4)) * 90 if plan.augmented else 0.0
    if plan.augmented and rng.random() < 0.3:
        angle += rng.uniform(-20, 20)
    flip = plan.augmented and rng.random() < 0.5
    height, width = crop.pixels.shape[:2]
    centre = ((width - 1) / 2, (height - 1) / 2)
    shift = rng.uniform(-plan.shift_um, plan.shift_um, 2) / plan.um_per_px
    turn = turn_matrix(zoom, angle, flip=flip)
    # A mirrored lesion would be one without a label where every lesion counts.
    chances = (0.5, 0.3, 0.2) if plan.by_cell else (0.6, 0.4, 0.0)
    mode = rng.choice(3, p=chances) if plan.augmented else 0
    pixels = crop.pixels
    if mode == 1:
        margin = max(height, width) // 2
        pixels = pad_ground(pixels, margin)
        centre = (centre[0] + margin, centre[1] + margin)
    border = cv2.BORDER_REFLECT_101 if mode == 2 else cv2.BORDER_REPLICATE
    places = np.full((int(crop.lesion), 2), (plan.tile_px - 1) / 2) + shift
    return warp(pixels, turn, centre, shift, plan.tile_px, border), places


def find_lesion_free(
    field: AnnotatedField, plan: TilePlan, rng: Generator
) -> tuple[float, float]:
    """Return a place whose tile holds no lesion, by up to 20 draws.

    After 20 draws the place farthest from a lesion wins.
    """
    height, width = field.pixels.shape[:2]
    reach = plan.tile_px * plan.um_per_px / field.um_per_px * 0.6 + 8 / field.um_per_px
    lesions = field.points_px[field.lesion]
    best, best_gap = (width / 2, height / 2), -1.0
    for _ in range(20):
        place = rng.uniform((0, 0), (width, height))
        away = np.abs(lesions - place).max(axis=1).min() if len(lesions) else np.inf
        if away >= reach:
            return float(place[0]), float(place[1])
        if away > best_gap:
            best, best_gap = (float(place[0]), float(place[1])), float(away)
    return best


# ---------------------------------------------------------------------------
# Batches for training: tiles with the places of the lesions in them, and their labels.
#
# A small tile shows one cell and little of others, so its label is the tile's. Larger
# ones show neighbours, so a tile is a lesion tile when a lesion lies in it, and a
# lesion at the rim, which may be seen or not, takes the tile out of the loss. Some are
# mosaics: four smaller tiles of different samples side by side, which puts lesions of
# every source among normal cells of every source. With mosaics, crops of cells come in
# them alone.

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
    if plan.augmented and plan.coloured:
        tile = augment(tile, rng)
    return tile, np.concatenate(places)
