"""Where the lesion cells lie: exactly as many as asked, alone or in small clusters."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from armicro.source.phantom.plan import LESION_CLASSES
from armicro.source.phantom.specification import LESION_ROOM_PX, PhantomSpec

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
