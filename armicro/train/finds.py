"""Finds of the cascade on annotated material: hard samples, and parts of slides.

Fields go through the LR network as in a session, so that what HR learns from and what
constructed slides hold is what a slide will hold: lesions that were found, and normal
cells that were mistaken for them. Crops have no surround to search and come as they
are. Every round shows the material in another stain, the same one for all pictures of a
group, as a laboratory would.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from tqdm import tqdm

from armicro.cascade.choice import Choice
from armicro.cascade.screen import Screen
from armicro.engine import Array, Engine
from armicro.engine.manifest import Manifest
from armicro.field import Field, Pixels, Place
from armicro.train.augment import augment
from armicro.train.data import AnnotatedField, Crop, Dataset
from armicro.train.sample import Sample, TilePlan, cut_tile, list_samples
from armicro.verdict import HR_UM_PER_PX

Look = Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""HR tiles (n, 256, 256, 3) to probability (n,) and features (n, 2048)."""

HELD_UM = 20.0
"""A find whose centre has a lesion nearer than this (in x and y) is a lesion: it lies
in the part of the tile that the HR network looks at."""
CLEAR_UM = 31.0
"""One without any lesion nearer than this is none; those between are left out."""
_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What finds are and where they lie."""

    lesion: NDArray[np.bool_]
    group: NDArray[np.str_]
    """(n,) laboratory and round: a slide keeps to one."""
    spot: NDArray[np.int64]
    """(n,) the field or crop of a find, in the stain of its round."""
    picture: NDArray[np.int64]
    """(n,) the field or crop, whatever its stain."""
    xy_um: NDArray[np.float64]
    """(n, 2) place in its spot."""


@dataclass(frozen=True, slots=True, eq=False)
class Finds(Labels):
    """HR tiles with what is in them."""

    tiles: Pixels
    """(n, 256, 256, 3)"""


@dataclass(frozen=True, slots=True, eq=False)
class Pool(Labels):
    """Finds as the HR network sees them."""

    features: NDArray[np.float32]
    """(n, 2048)"""
    probability: NDArray[np.float32]

    def groups(self) -> list[str]:
        """Return the groups that have both lesions and normals."""
        names = np.unique(self.group)
        return [
            str(name)
            for name in names
            if len(set(self.lesion[self.group == name].tolist())) == 2
        ]

    def part(self, kept: NDArray[np.bool_]) -> "Pool":
        """Return some of the finds."""
        return Pool(*(getattr(self, one.name)[kept] for one in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The LR network with an HR network that says nothing: where HR would look."""

    manifest: Manifest
    lr: Engine

    @property
    def hr(self) -> Engine:
        """The network that says nothing."""
        return _Silent()


class _Silent:
    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(inputs["tiles"])
        return {
            "probability": np.zeros(count, np.float32),
            "features": np.zeros((count, 0), np.float32),
        }

    def close(self) -> None:
        pass


def find_in_fields(
    networks: Candidates,
    pictures: Sequence[AnnotatedField],
    *,
    rounds: int,
    seed: int,
) -> Finds:
    """Search fields as they are and in ``rounds`` other stains.

    Where the network finds nothing of a class, as after a trial of few steps, the
    fields' annotated cells stand in.

    Raises:
        EngineError: the engine failed.
    """
    # One a place: neighbours of it would be the same sample again.
    screen = Screen(networks, Choice(candidates="peaks"))
    rows: list[_Row] = []
    shown = [(picture, turn) for turn in range(rounds + 1) for picture in pictures]
    for spot, (picture, turn) in enumerate(tqdm(shown, desc="finds", mininterval=10)):
        number = spot % len(pictures)
        group = f"{picture.source}/{picture.group}/{turn}"
        field = Field(
            picture.um_per_px,
            seq=0,
            taken_ns=0,
            place=Place(0.0, 0.0, 0.0, "slide_file"),
            pixels=recolour(picture.pixels, group, turn, seed),
        )
        lesions = picture.points_px[picture.lesion] * picture.um_per_px
        for one in screen.analyse(screen.prepare(field)).observations:
            centre = one.finding.x_um, one.finding.y_um
            gap = np.abs(lesions - centre).max(axis=1).min(initial=np.inf)
            if gap < HELD_UM or gap > CLEAR_UM:
                lesion = bool(gap < HELD_UM)
                rows.append((one.crop, lesion, group, spot, number, centre))
    if len({row[1] for row in rows}) < 2:
        annotated = list_samples(Dataset(tuple(pictures), ()), areas=False)
        return cut_samples(annotated, rounds=rounds, seed=seed, pictures=pictures)
    return _finds_of(rows)


def cut_samples(
    samples: Sequence[Sample],
    *,
    rounds: int,
    seed: int,
    pictures: Sequence[AnnotatedField | Crop] = (),
) -> Finds:
    """Cut tiles round annotated cells, in as many stains as fields are shown in.

    Pictures are counted as in ``pictures``, or as they come.
    """
    plan = TilePlan(256, HR_UM_PER_PX, 6.0, coloured=False)
    order = pictures or [sample.picture for sample in samples]
    numbers = {id(picture): number for number, picture in enumerate(order)}
    rows: list[_Row] = []
    for turn in range(rounds + 1):
        for number, sample in enumerate(samples):
            group = f"{sample.source}/{turn}"
            tile = cut_tile(sample, plan, np.random.default_rng((seed, turn, number)))
            tile = recolour(tile, group, turn, seed)
            place = len(rows), numbers[id(sample.picture)], _centre_um(sample)
            rows.append((tile, sample.lesion, group, *place))
    return _finds_of(rows)


def look_at(finds: Finds, look: Look) -> Pool:
    """Look at finds through the HR network.

    Raises:
        EngineError: the engine failed.
    """
    parts = [
        look(finds.tiles[first : first + _BATCH])
        for first in tqdm(
            range(0, len(finds.tiles), _BATCH), desc="look", mininterval=10
        )
    ]
    return Pool(
        **{one.name: getattr(finds, one.name) for one in fields(Labels)},
        features=np.concatenate([features for _, features in parts]),
        probability=np.concatenate([probability for probability, _ in parts]),
    )


def join(pools: Sequence[Pool]) -> Pool:
    """Return several pools as one; their spots and pictures stay apart."""
    columns = {
        one.name: np.concatenate([getattr(pool, one.name) for pool in pools])
        for one in fields(Pool)
    }
    for name in ("spot", "picture"):
        numbers = [getattr(pool, name) for pool in pools]
        sizes = [int(one.max(initial=-1)) + 1 for one in numbers]
        firsts = np.cumsum([0, *sizes[:-1]])
        shifted = [one + first for one, first in zip(numbers, firsts, strict=True)]
        columns[name] = np.concatenate(shifted)
    return Pool(**columns)


def recolour(pixels: Pixels, group: str, turn: int, seed: int) -> Pixels:
    """Show a picture in its group's stain of a round; the first is its own."""
    return augment(pixels, _stain_of(group, seed)) if turn else pixels


_Row = tuple[Pixels, bool, str, int, int, tuple[float, float]]


def _centre_um(sample: Sample) -> tuple[float, float]:
    """Return where a sample lies in its field; of a crop it does not matter."""
    if isinstance(sample.picture, Crop) or sample.point_px is None:
        return (0.0, 0.0)
    x_px, y_px = sample.point_px
    return (x_px * sample.picture.um_per_px, y_px * sample.picture.um_per_px)


def _stain_of(group: str, seed: int) -> Generator:
    return np.random.default_rng((seed, zlib.crc32(group.encode())))


def _finds_of(rows: Sequence[_Row]) -> Finds:
    tiles = [row[0] for row in rows]
    return Finds(
        lesion=np.array([row[1] for row in rows], np.bool_),
        group=np.array([row[2] for row in rows], np.str_),
        spot=np.array([row[3] for row in rows], np.int64),
        picture=np.array([row[4] for row in rows], np.int64),
        xy_um=np.array([row[5] for row in rows], np.float64).reshape(-1, 2),
        tiles=np.stack(tiles) if tiles else np.zeros((0, 256, 256, 3), np.uint8),
    )
