"""Finds of the cascade on annotated material: hard samples, and parts of slides.

Fields go through the LR network as in a session, so that what HR learns from and what
constructed slides hold is what a slide will hold: lesions that were found, and normal
cells that were mistaken for them. Crops have no surround to search and come as they
are. Every round shows the material in another stain, the same one for all pictures of a
group, as a laboratory would.
"""

import csv
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from armicro.cascade.screen import Choice, Screen
from armicro.cascade.tile import Prepared, view_of
from armicro.engine import Array, Engine
from armicro.engine.manifest import Manifest, View
from armicro.errors import EngineError
from armicro.field import Field, Pixels, Place
from armicro.file import csv_text, write_whole
from armicro.train.augment import augment
from armicro.train.data import AnnotatedField, Crop, Dataset
from armicro.train.networks import Head
from armicro.train.sample import Sample, TilePlan, cut_tile, list_samples
from armicro.verdict import HR_UM_PER_PX

Look = Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""HR tiles (n, 256, 256, 3) to probability (n,) and features (n, 2048)."""

HELD_UM = 20.0
"""A find whose centre has a lesion nearer than this (in x and y) is a lesion: it lies
in the part of the tile that the HR network looks at."""
CELL_MM2 = 0.001
"""Area of a squamous cell of 36 µm: of a spot that is a single cell."""
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
    cell_mm2: NDArray[np.float64]
    """(n,) cell area of its spot."""


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
    networks: Candidates, pictures: Sequence[AnnotatedField], *, rounds: int, seed: int
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
        prepared = screen.prepare(field)
        cell_mm2 = cell_area_mm2(prepared)
        for one in screen.analyse(prepared).observations:
            centre = one.finding.x_um, one.finding.y_um
            gap = np.abs(lesions - centre).max(axis=1).min(initial=np.inf)
            if gap < HELD_UM or gap > CLEAR_UM:
                lesion = bool(gap < HELD_UM)
                rows.append((one.crop, lesion, group, spot, number, centre, cell_mm2))
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
            rows.append((tile, sample.lesion, group, *place, CELL_MM2))
    return _finds_of(rows)


def cell_area_mm2(prepared: Prepared) -> float:
    """Return how much of a field is cell, in mm²."""
    width_um, height_um = prepared.field.size_um
    share = prepared.cells.share if prepared.cells else 0.0
    return share * width_um * height_um / 1e6


AS_IT_LIES: tuple[View, ...] = ()
TURNS: tuple[tuple[View, ...], ...] = tuple(
    (*mirror, *side, *quarter)
    for mirror in (AS_IT_LIES, ("mirrored",))
    for side in (AS_IT_LIES, ("upside_down",))
    for quarter in (AS_IT_LIES, ("turned",))
)
"""The eight ways in which a square lies."""


def look_at(
    finds: Finds, look: Look, ways: Sequence[tuple[View, ...]] = (AS_IT_LIES,)
) -> Pool:
    """Look at finds through the HR network, in one or several ways that a tile lies.

    Each way is on spots of its own, as if a field had been seen so often: slides as
    large as a specimen's are laid out of them, but there are no more cells.

    Raises:
        EngineError: the engine failed.
    """
    starts = range(0, len(finds.tiles), _BATCH)
    bar = tqdm(list(product(ways, starts)), desc="look", mininterval=10)
    parts = [
        look(reduce(view_of, way, finds.tiles[first : first + _BATCH]))
        for way, first in bar
    ]
    labels = {
        one.name: np.concatenate([getattr(finds, one.name)] * len(ways))
        for one in fields(Labels)
    }
    spots = int(finds.spot.max(initial=-1)) + 1
    labels["spot"] += np.repeat(np.arange(len(ways)) * spots, len(finds.tiles))
    return Pool(
        **labels,
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
    stain = np.random.default_rng((seed, zlib.crc32(group.encode())))
    return augment(pixels, stain) if turn else pixels


_Row = tuple[Pixels, bool, str, int, int, tuple[float, float], float]


def _centre_um(sample: Sample) -> tuple[float, float]:
    """Return where a sample lies in its field; of a crop it does not matter."""
    if isinstance(sample.picture, Crop) or sample.point_px is None:
        return (0.0, 0.0)
    x_px, y_px = sample.point_px
    return (x_px * sample.picture.um_per_px, y_px * sample.picture.um_per_px)


def _finds_of(rows: Sequence[_Row]) -> Finds:
    tiles = [row[0] for row in rows]
    return Finds(
        lesion=np.array([row[1] for row in rows], np.bool_),
        group=np.array([row[2] for row in rows], np.str_),
        spot=np.array([row[3] for row in rows], np.int64),
        picture=np.array([row[4] for row in rows], np.int64),
        xy_um=np.array([row[5] for row in rows], np.float64).reshape(-1, 2),
        cell_mm2=np.array([row[6] for row in rows], np.float64),
        tiles=np.stack(tiles) if tiles else np.zeros((0, 256, 256, 3), np.uint8),
    )


# ---------------------------------------------------------------------------
# What LR takes for lesions in the training fields, as samples for HR.
#
# An annotated normal cell is mostly an easy one. What HR must tell apart are the places
# that LR hands over: lesions, seldom centred, and whatever looked like one. So LR is
# trained first and searches the training fields; HR's last stage draws from what it
# found, hard ones more often (the paper's hard-sample mining, a large share for HR).

FOUND = "found"
"""Their source: beside those of annotated cells."""
SEEN_UM = 14.0
"""A lesion so near a find stays in the part of the tile that HR looks at, also when the
tile is shifted and enlarged."""
COLUMNS = ("source", "image", "x_px", "y_px", "lesion")


def samples_of(finds: Finds, pictures: Sequence[AnnotatedField]) -> list[Sample]:
    """Return finds in ``pictures``; lesions at the rim of HR's view are left out."""
    samples = []
    for lesion, number, xy_um in zip(
        finds.lesion, finds.picture, finds.xy_um, strict=True
    ):
        picture = pictures[number]
        place = xy_um / picture.um_per_px
        gaps = np.abs(picture.points_px[picture.lesion] - place).max(axis=1)
        near = gaps.min(initial=np.inf) * picture.um_per_px < SEEN_UM
        if lesion and not near:
            continue
        x_px, y_px = place.tolist()
        samples.append(_sample(picture, x_px, y_px, lesion=bool(lesion)))
    return samples


def write_found(path: Path, samples: Sequence[Sample]) -> None:
    """Write the samples, so that a resumed training draws the same ones."""
    rows = (
        (
            one.picture.source,
            one.picture.name,
            *(f"{at:.1f}" for at in one.point_px or (0.0, 0.0)),
            int(one.lesion),
        )
        for one in samples
    )
    write_whole(path, csv_text(COLUMNS, rows).encode())


def read_found(path: Path, pictures: Sequence[AnnotatedField]) -> list[Sample]:
    """Read the samples of a search, those of sources that are not read left out.

    Raises:
        EngineError: there is none, or it is of other fields.
    """
    by_name = {(one.source, one.name): one for one in pictures}
    sources = {source for source, _ in by_name}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                _sample(
                    by_name[row["source"], row["image"]],
                    float(row["x_px"]),
                    float(row["y_px"]),
                    lesion=row["lesion"] == "1",
                )
                for row in csv.DictReader(stream)
                if row["source"] in sources
            ]
    except OSError as error:
        raise EngineError(
            f"{path}: no search of the training fields ({error.strerror}); run armicro "
            "train lr first"
        ) from error
    except (KeyError, ValueError) as error:
        raise EngineError(
            f"{path}: is not of these sources ({error}); run armicro train lr again "
            "with the same --data and --sources"
        ) from error


def _sample(
    picture: AnnotatedField, x_px: float, y_px: float, *, lesion: bool
) -> Sample:
    return Sample(FOUND, FOUND, lesion, picture.name, picture, (x_px, y_px))


# ---------------------------------------------------------------------------
# Hard-sample mining for HR: its head learns from what the LR network hands over.
#
# An annotated normal cell is mostly an easy one; what HR must tell apart are the places
# that LR took for lesions, seldom centred. Training draws them among the cells
# (``found``); at its end the head alone is fitted again on features of such finds in
# the training fields, which now weigh more than annotated cells of every source. The
# backbone rests, and each tile is looked at once.


@dataclass(frozen=True, slots=True)
class MineSettings:
    """How the head is fitted again."""

    share: float = 0.8
    """Of finds in a batch; the rest are annotated cells."""
    weights: Mapping[str, float] | None = None
    """Of the annotated cells' sources; None: the same for each."""
    steps: int = 400
    batch: int = 64
    rate: float = 5e-4
    smoothing: float = 0.05
    noise: float = 0.1
    """Relative, on every feature."""
    seed: int = 20216


def fit_head(head: Head, finds: Pool, cells: Pool, settings: MineSettings) -> None:
    """Fit a trained head again, in place."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    chances = even_chances(finds, None), even_chances(cells, settings.weights)
    hard = round(settings.batch * settings.share)
    counts = hard, settings.batch - hard
    optimiser = torch.optim.AdamW(head.parameters(), settings.rate, weight_decay=0.02)
    smooth = settings.smoothing
    head.train()
    for _ in range(settings.steps):
        drawn = [
            draw(pool, chance, count, rng)
            for pool, chance, count in zip((finds, cells), chances, counts, strict=True)
        ]
        # A smaller backbone's features are followed by zeros.
        features = np.concatenate([one for one, _ in drawn])[:, : head.features]
        features = features * rng.normal(1, settings.noise, features.shape)
        wanted = torch.from_numpy(np.concatenate([two for _, two in drawn]))
        shown = torch.from_numpy(features.astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(
            head(shown[:, :, None, None])[:, 0, 0],
            wanted * (1 - smooth) + smooth / 2,
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    head.eval()


def draw(
    pool: Pool, chance: NDArray[np.float64], count: int, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features (count, n) and labels (count,) of drawn finds."""
    rows = rng.choice(len(chance), count, p=chance)
    return pool.features[rows], pool.lesion[rows].astype(np.float32)


def even_chances(
    pool: Pool, weights: Mapping[str, float] | None
) -> NDArray[np.float64]:
    """Return chances (n,): lesions a half, and of each half a source by its weight."""
    sources = np.array([name.split("/")[0] for name in pool.group])
    chance = np.zeros(len(sources))
    for source in np.unique(sources):
        weight = 1.0 if weights is None else weights.get(str(source), 0.1)
        for lesion in (False, True):
            members = (sources == source) & (pool.lesion == lesion)
            chance[members] = weight / max(1, int(members.sum()))
    for lesion in (False, True):
        half = pool.lesion == lesion
        if half.any():
            chance[half] /= chance[half].sum()
    return np.asarray(chance / chance.sum(), np.float64)
