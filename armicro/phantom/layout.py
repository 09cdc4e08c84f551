"""Where everything lies: stamps by block, from the seed and the block's place alone.

The plane is cut into blocks of 1024 px. A block's stamps come from a random generator
of (seed, block), its crowding from noise that is a function of place, so any part of a
slide can be drawn without the rest. Only lesion cells are placed over the whole slide.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.phantom.library import KINDS, SPRITES_OF
from armicro.phantom.noise import value_noise
from armicro.phantom.specification import (
    LESION_CLASSES,
    LESION_ROOM_PX,
    NORMAL_CLASSES,
    PhantomSpec,
)

# ---------------------------------------------------------------------------
# Where the lesion cells lie: exactly as many as asked, alone or in small clusters.

Spot = tuple[float, float]
Crowding = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

MARGIN_PX = 60
CLASS_SHARES = (0.36, 0.38, 0.26)
CLUSTER_SHARE = 0.35
LONELY_SHARE = 0.1
"""How readily a lesion cell lies where no other cells are."""


class _Room:
    """The spots taken so far, found by their neighbourhood."""

    def __init__(self) -> None:
        self._taken: dict[tuple[int, int], list[Spot]] = {}

    def is_free(self, x: float, y: float) -> bool:
        cx, cy = int(x // LESION_ROOM_PX), int(y // LESION_ROOM_PX)
        return all(
            (x - u) ** 2 + (y - v) ** 2 >= LESION_ROOM_PX**2
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for u, v in self._taken.get((cx + dx, cy + dy), ())
        )

    def take(self, x: float, y: float) -> None:
        key = (int(x // LESION_ROOM_PX), int(y // LESION_ROOM_PX))
        self._taken.setdefault(key, []).append((x, y))


def place_lesions(
    spec: PhantomSpec, crowding: Crowding
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Choose places and classes of a slide's lesion cells.

    Args:
        spec: Size, seed, number.
        crowding: Share 0-1 of cells at each place; lesions keep to cellular parts.

    Returns:
        (lesions, 2) centres in pixels and (lesions,) index into ``LESION_CLASSES``.
    """
    rng = np.random.default_rng([spec.seed, 1])
    room = _Room()
    spots: list[Spot] = []
    classes: list[int] = []
    size = np.array([spec.width_px, spec.height_px], float)
    margin = np.minimum(MARGIN_PX, size / 4)
    proposals = _proposals(spec, crowding, rng)
    while len(spots) < spec.lesions:
        spot, kind = next(proposals)
        x, y = spot.tolist()
        inside = bool(((spot >= margin) & (spot <= size - margin)).all())
        if inside and room.is_free(x, y):
            room.take(x, y)
            spots.append((x, y))
            classes.append(kind)
    return np.array(spots, float).reshape(-1, 2), np.array(classes, np.int64)


def _proposals(
    spec: PhantomSpec, crowding: Crowding, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Places worth trying, for ever; a cluster's cells follow each other."""
    size = np.array([spec.width_px, spec.height_px], float)
    tries = 0
    while True:
        tries += 1
        spot = rng.uniform(0, 1, 2) * size
        share = LONELY_SHARE + float(crowding(spot[:1], spot[1:])[0])
        # After many tries any place is good enough: the number is what was asked for.
        if rng.random() > share and tries < 50 * spec.lesions:
            continue
        kind = int(rng.choice(len(LESION_CLASSES), p=CLASS_SHARES))
        yield spot, kind
        if rng.random() < CLUSTER_SHARE:
            for _ in range(int(rng.integers(1, 6))):
                angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(1.02, 1.6)
                way = np.array([np.cos(angle), np.sin(angle)])
                spot = spot + LESION_ROOM_PX * apart * way
                yield spot, kind


# ---------------------------------------------------------------------------
# Everything else.

BLOCK_PX = 1024
REACH_PX = 300
"""No sprite reaches further than this from its centre."""
TONES = 9
TURNS = 8

STAMP = np.dtype(
    [
        ("kind", "u1"),
        ("number", "u2"),
        ("x_px", "i4"),
        ("y_px", "i4"),
        ("turn", "u1"),
        ("tone", "u1"),
    ]
)
Stamps = NDArray[np.void]
"""(stamps,) of ``STAMP``: kind and number of the sprite, centre, turn, tone."""

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many stamps of a kind lie in a wholly crowded block, and in an empty one."""

    kind: str
    crowded: float
    empty: float
    bunch: float = 1.0
    """Mean number that lie together."""
    spread_px: float = 0.0


LITTER_CROWDS = (
    Crowd("film", 3.0, 0.3),
    Crowd("strand", 1.6, 0.25),
    Crowd("dust", 2.2, 0.9),
    Crowd("debris", 14, 3.5),
    Crowd("neutrophil", 30, 1.2, bunch=5, spread_px=75),
    Crowd("lymphocyte", 5, 0.4, bunch=2, spread_px=60),
    Crowd("erythrocyte", 9, 0.4, bunch=12, spread_px=65),
)
SHEETS_PER_BLOCK = 4.6
CELLS_PER_SHEET = 6.5


class StampLayout:
    """All stamps of one phantom."""

    def __init__(self, spec: PhantomSpec) -> None:
        """Place the lesion cells; the rest is placed block by block when asked for."""
        self._spec = spec
        self._lesions = _by_block(_lesion_stamps(spec))
        self._kept: OrderedDict[Key, Stamps] = OrderedDict()

    def stamps(self, bx: int, by: int) -> Stamps:
        """Stamps whose centres lie in block (bx, by), in drawing order."""
        if (bx, by) in self._kept:
            self._kept.move_to_end((bx, by))
            return self._kept[bx, by]
        stamps = self._place(bx, by)
        self._kept[bx, by] = stamps
        if len(self._kept) > 1024:
            self._kept.popitem(last=False)
        return stamps

    def blocks(self) -> tuple[int, int]:
        """Number of blocks across and down that the slide touches."""
        return (
            -(-self._spec.width_px // BLOCK_PX),
            -(-self._spec.height_px // BLOCK_PX),
        )

    def _place(self, bx: int, by: int) -> Stamps:
        rng = np.random.default_rng([self._spec.seed, 2, bx + 2**20, by + 2**20])
        parts = self._litter(bx, by, rng)
        cells = self._sheets(bx, by, rng)
        lesions = self._lesions.get((bx, by), np.zeros(0, STAMP))
        cells = cells[~self._crowds_a_lesion(cells, bx, by, 75)]
        above = np.concatenate(parts)
        # Leucocytes lie on the cells, but a nucleus to be found stays to be seen.
        above = above[~(self._crowds_a_lesion(above, bx, by, 42) & (above["kind"] > 2))]
        return np.concatenate(
            [above[above["kind"] <= 2], cells, lesions, above[above["kind"] > 2]]
        )

    def _crowds_a_lesion(
        self, stamps: Stamps, bx: int, by: int, room_px: int
    ) -> NDArray[np.bool_]:
        near = [
            self._lesions[bx + dx, by + dy]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if (bx + dx, by + dy) in self._lesions
        ]
        if not near:
            return np.zeros(stamps.size, bool)
        lesions = np.concatenate(near)
        dx = stamps["x_px"][:, None] - lesions["x_px"][None]
        dy = stamps["y_px"][:, None] - lesions["y_px"][None]
        close: NDArray[np.bool_] = (dx**2 + dy**2 < room_px**2).any(axis=1)
        return close

    def _litter(self, bx: int, by: int, rng: np.random.Generator) -> list[Stamps]:
        corner = np.array([bx * BLOCK_PX, by * BLOCK_PX], float)
        centre = corner + BLOCK_PX / 2
        density = float(crowding(self._spec, centre[:1], centre[1:])[0])
        # Inflammation and bleeding come and go on their own, over wider distances:
        # far apart in the noise's plane means unrelated.
        apart = 1e6 * np.arange(len(LITTER_CROWDS))
        moods = value_noise(self._spec.seed + 4, centre[:1] + apart, centre[1:], 5200)
        parts = []
        for crowd, mood in zip(LITTER_CROWDS, moods.tolist(), strict=True):
            mean = crowd.empty
            mean += (crowd.crowded - crowd.empty) * density * 2.2 * mood**1.5
            parts.append(_bunches(crowd, mean, corner, rng))
        return parts

    def _sheets(self, bx: int, by: int, rng: np.random.Generator) -> Stamps:
        """Epithelial cells in loose sheets, each sheet mostly of one class."""
        count = int(rng.poisson(SHEETS_PER_BLOCK))
        middle = rng.uniform(0, BLOCK_PX, (count, 2))
        sizes = 1 + rng.poisson(CELLS_PER_SHEET - 1, count)
        leaning = rng.choice(len(NORMAL_CLASSES), count, p=[0.46, 0.44, 0.10])
        spread = (56 * np.sqrt(sizes)).repeat(sizes)[:, None]
        spots = middle.repeat(sizes, axis=0) + rng.normal(0, 1, (sizes.sum(), 2)) * (
            spread * np.array([1.15, 0.85])
        )
        mixed = rng.choice(len(NORMAL_CLASSES), sizes.sum(), p=[0.48, 0.44, 0.08])
        classes = np.where(rng.random(sizes.sum()) < 0.72, leaning.repeat(sizes), mixed)
        spots += [bx * BLOCK_PX, by * BLOCK_PX]
        keep = rng.random(len(spots)) < crowding(self._spec, spots[:, 0], spots[:, 1])
        inside = (np.floor(spots / BLOCK_PX) == [bx, by]).all(axis=1)
        first = KINDS.index(NORMAL_CLASSES[0])
        kept = keep & inside
        return _stamped(first + classes[kept], spots[kept], rng, upright=False)


def crowding(
    spec: PhantomSpec, x_px: NDArray[np.float64], y_px: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share 0-1 of the fullest crowding: streaks, gaps, bare edges of the slide."""
    # Streaks run along the smear, so the noise is stretched sideways.
    wide = value_noise(spec.seed + 1, x_px / 1.8, y_px, 2600)
    fine = value_noise(spec.seed + 2, x_px / 1.4, y_px, 620)
    density = np.clip((0.62 * wide + 0.38 * fine - 0.27) * 2.5, 0, 1)
    margin = min(2500.0, 0.06 * min(spec.width_px, spec.height_px))
    if margin < 120:
        return np.maximum(density, 0.35).astype(np.float64)
    edge = np.minimum(
        np.minimum(x_px, spec.width_px - x_px), np.minimum(y_px, spec.height_px - y_px)
    )
    edge = edge + 0.9 * margin * (value_noise(spec.seed + 3, x_px, y_px, 900) - 0.6)
    return np.asarray(density * np.clip(edge / margin, 0, 1), dtype=np.float64)


def _stamped(
    kinds: NDArray[np.int64],
    spots: NDArray[np.float64],
    rng: np.random.Generator,
    upright: bool,
) -> Stamps:
    stamps = np.zeros(len(kinds), STAMP)
    stamps["kind"] = kinds
    counts = np.array([SPRITES_OF[kind] for kind in KINDS])[kinds]
    stamps["number"] = (rng.random(len(kinds)) * counts).astype(np.int64)
    stamps["x_px"] = np.floor(spots[:, 0])
    stamps["y_px"] = np.floor(spots[:, 1])
    # Turns 0-3 mirror only, so that what runs along the smear still does.
    stamps["turn"] = rng.integers(0, TURNS // 2 if upright else TURNS, len(kinds))
    stamps["tone"] = rng.integers(0, TONES, len(kinds))
    return stamps


def _bunches(
    crowd: Crowd, mean: float, corner: NDArray[np.float64], rng: np.random.Generator
) -> Stamps:
    """Litter of one kind in the block at ``corner``: ``mean`` of them on average."""
    bunches = int(rng.poisson(mean / crowd.bunch))
    sizes = 1 + rng.poisson(crowd.bunch - 1, bunches)
    middle = rng.uniform(0, BLOCK_PX, (bunches, 2)).repeat(sizes, axis=0)
    middle += rng.normal(0, 1, middle.shape) * crowd.spread_px
    # A bunch is cut at its block's border rather than followed into the next.
    middle = middle[((middle >= 0) & (middle < BLOCK_PX)).all(axis=1)]
    kinds = np.full(len(middle), KINDS.index(crowd.kind))
    upright = crowd.kind in {"film", "strand"}
    return _stamped(kinds, middle + corner, rng, upright)


def _by_block(stamps: Stamps) -> dict[Key, Stamps]:
    keys = np.stack([stamps["x_px"] // BLOCK_PX, stamps["y_px"] // BLOCK_PX], axis=1)
    grouped: dict[Key, list[int]] = {}
    for index, (bx, by) in enumerate(keys.tolist()):
        grouped.setdefault((bx, by), []).append(index)
    return {key: stamps[rows] for key, rows in grouped.items()}


def _lesion_stamps(spec: PhantomSpec) -> Stamps:
    spots, classes = place_lesions(spec, functools.partial(crowding, spec))
    first = KINDS.index(LESION_CLASSES[0])
    rng = np.random.default_rng([spec.seed, 4])
    return _stamped(first + classes, spots, rng, upright=False)
