"""Findings over fields: the same cell in many fields is one finding, its best view.

Order must not matter, and a cell watched for an hour must not fill the memory. So the
slide is divided into bins, each of which remembers its best observation only (a
maximum: associative, commutative, idempotent), and what is shown is worked out from the
bins' winners in an order that depends on their values alone.

The best view of a cell is a sharp one, and of those the most suspicious. Where places
are uncertain the same cell may lie in two places; then it is told by its looks.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit

from armicro.cascade.locate import (
    LEAST_CANDIDATES,
    MOST_CANDIDATES,
    TOP_APART_UM,
    TOP_COUNT,
    Point,
    finite_logit,
    keep_apart,
    kept_of,
    order,
)
from armicro.engine import Engine, Features
from armicro.engine.manifest import RnnTable
from armicro.picture import check_header
from armicro.report import Observation
from armicro.slide.focus import is_sharp
from armicro.verdict import SUSPICIOUS

# ---------------------------------------------------------------------------
# A crop as it is kept and shown: an RGB picture of a cell, in and out of JPEG.

MOST_PX = 1 << 20
"""Of a crop, which has 256 × 256."""
JPEG_QUALITY = 95
"""Chroma is not subsampled either: the stain is what the eye judges."""


def encode_crop(crop: NDArray[np.uint8], *, quality: int = JPEG_QUALITY) -> bytes:
    """Return the JPEG of an RGB crop (height, width, 3) with full chroma."""
    flags = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), flags)
    return jpeg.tobytes()


def check_crop(jpeg: bytes) -> None:
    """Refuse by its header what is no JPEG of a crop's size; empty means none kept.

    Raises:
        SourceError: it is not.
    """
    if jpeg:
        check_header(jpeg, "crop", kind="JPEG", most_px=MOST_PX)


def decode_crop(jpeg: bytes) -> NDArray[np.uint8]:
    """Return a JPEG as RGB (height, width, 3).

    Raises:
        ValueError: the bytes are no picture.
        SourceError: they are another kind of picture, or one far larger than a crop.
    """
    check_crop(jpeg)
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("not a JPEG picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


# ---------------------------------------------------------------------------
# Findings.

_BINS_MERGED = 16
"""Merging leaves one of at most so many bins: those that a disc of it touches."""
_BINS_A_CELL = _BINS_MERGED * LEAST_CANDIDATES // MOST_CANDIDATES
"""Bins held for each finding kept, so that at least the least number stays."""

SAME_LOOK = 0.95
"""Cosine of two feature vectors above which two views show one cell. With the shipped
set, views of a cell 3-9 µm off centre have a median of 0.96-0.97, of two cells 25-45 µm
apart the 95th percentile is 0.92-0.94 (bench_focus.py --looks)."""
_SURE_UM = 1.0
"""Place errors below this need no looks."""

_NO_CROP = np.empty((0, 0, 3), np.uint8)

Key = tuple[float, ...]
_Bin = tuple[int, int]


class FindingSet:
    """All findings of a slide.

    Memory is bounded: besides what reached ``SUSPICIOUS``, so many bins are held as the
    best of ``most`` findings need, by view. A bin's best view only ever gets better,
    and so does the last one held: what falls out would not come in again, whatever the
    order, and is forgotten but for this, that a sharp view was there.
    """

    def __init__(self, *, merge_um: float, most: int = MOST_CANDIDATES) -> None:
        self._merge_um = merge_um
        self._most = most
        # The diagonal of a bin is merge_um: what shares a bin is one cell.
        self._bin_um = merge_um / math.sqrt(2.0)
        self._best: dict[_Bin, tuple[Key, Observation]] = {}
        """With the key by which views are compared, made once."""
        self._seen_sharp: set[_Bin] = set()
        """Bins that fell out with a sharp view."""
        self._room = 2 * _BINS_A_CELL * most
        self._merged: tuple[Observation, ...] | None = None

    def update(self, observations: Iterable[Observation]) -> list[Observation]:
        """Take observations; return those that are now the best of their bin."""
        return [seen for seen in observations if self._take(seen)]

    def merged(self) -> list[Observation]:
        """One observation a cell, most suspicious first; crops are left out."""
        # Asked several times a field, and a slide has tens of thousands of bins.
        if self._merged is None:
            self._merged = self._merge()
        return list(self._merged)

    def _merge(self) -> tuple[Observation, ...]:
        held = (self._best[place][1] for place in self._worth_holding())
        strongest = sorted(held, key=lambda seen: order(seen.finding))
        strongest = _not_outshone(strongest, self._merge_um)
        kept = keep_apart(_centres(strongest), apart_um=self._merge_um)
        cells = _one_a_look([strongest[i] for i in kept], self._merge_um)
        shares = (seen.finding.hr_probability for seen in cells)
        return tuple(cells[: kept_of(shares, self._most)])

    def _take(self, seen: Observation) -> bool:
        finding = seen.finding
        place = (
            math.floor(finding.x_um / self._bin_um),
            math.floor(finding.y_um / self._bin_um),
        )
        best, key = self._best.get(place), _by_view(seen)
        if best is not None and best[0] <= key:
            return False
        if place in self._seen_sharp and not is_sharp(seen.focus):
            return False
        # A copy: a row of the network's answer would keep all of that answer alive.
        kept = replace(seen, features=seen.features.copy(), crop=_NO_CROP)
        self._best[place] = key, kept
        self._merged = None
        if len(self._best) > self._room:
            self._forget()
        return True

    def _worth_holding(self) -> set[_Bin]:
        """Bins by the best of which nothing that may count is lost."""
        worth = {
            place
            for place, (_, seen) in self._best.items()
            if seen.finding.hr_probability >= SUSPICIOUS
        }
        keys = ((key, place) for place, (key, _) in self._best.items())
        most = _BINS_A_CELL * self._most
        if len(self._best) <= most:
            return set(self._best)
        return worth | {p for _, p in heapq.nsmallest(most, keys, key=itemgetter(0))}

    def _forget(self) -> None:
        worth = self._worth_holding()
        self._seen_sharp |= {
            place
            for place, (_, seen) in self._best.items()
            if place not in worth and is_sharp(seen.focus)
        }
        self._best = {place: self._best[place] for place in worth}
        # Again when it has grown by as much: never at each observation.
        self._room = len(worth) + _BINS_A_CELL * self._most


def top(
    observations: Sequence[Observation], count: int, *, apart_um: float = TOP_APART_UM
) -> list[Observation]:
    """The top list: most suspicious first, none within ``apart_um`` of a higher one."""
    kept = keep_apart(_centres(observations), apart_um=apart_um, count=count)
    return [observations[i] for i in kept]


def _by_view(seen: Observation) -> Key:
    return (not is_sharp(seen.focus), *order(seen.finding))


def _centres(observations: Sequence[Observation]) -> list[Point]:
    return [(seen.finding.x_um, seen.finding.y_um) for seen in observations]


def _not_outshone(
    observations: list[Observation], apart_um: float
) -> list[Observation]:
    """Leave out what is less than sharp where a sharp view of the cell is known."""
    sharp = [seen for seen in observations if is_sharp(seen.focus)]
    if not sharp or len(sharp) == len(observations):
        return observations
    nearest_um, _ = cKDTree(_centres(sharp)).query(_centres(observations))
    return [
        seen
        for seen, um in zip(observations, nearest_um.tolist(), strict=True)
        if is_sharp(seen.focus) or um >= apart_um
    ]


def _one_a_look(observations: list[Observation], apart_um: float) -> list[Observation]:
    """Of views of one cell whose places differ by their errors, keep the first."""
    unsure = [seen for seen in observations if seen.place_error_um > _SURE_UM]
    if not unsure:
        return observations
    tree = cKDTree(_centres(observations))
    dropped: set[int] = set()
    most_um = max(seen.place_error_um for seen in unsure)
    for index, seen in enumerate(observations):
        reach_um = apart_um + 2.0 * math.hypot(seen.place_error_um, most_um)
        if index in dropped:
            continue
        near = tree.query_ball_point(_centres([seen])[0], reach_um)
        dropped |= {
            i for i in near if i > index and _same_cell(seen, observations[i], apart_um)
        }
    return [seen for i, seen in enumerate(observations) if i not in dropped]


def _same_cell(one: Observation, other: Observation, apart_um: float) -> bool:
    """Whether two views, of different fields, show one cell as far as can be told."""
    a, b = one.finding, other.finding
    error_um = math.hypot(one.place_error_um, other.place_error_um)
    if a.field_seq == b.field_seq or error_um <= _SURE_UM:
        return False
    if math.hypot(a.x_um - b.x_um, a.y_um - b.y_um) >= apart_um + 2.0 * error_um:
        return False
    norms = float(np.linalg.norm(one.features) * np.linalg.norm(other.features))
    return norms > 0 and float(one.features @ other.features) >= SAME_LOOK * norms


# ---------------------------------------------------------------------------
# The slide's score: six recurrent networks over the features of the top findings.


def top_features(top: Sequence[Observation]) -> Features:
    """Features of the top list, (1, 30, 2048), zero rows where there are fewer."""
    features = np.zeros((1, TOP_COUNT, 2048), np.float32)
    for row, seen in enumerate(top[:TOP_COUNT]):
        features[0, row] = seen.features
    return features


def score_slide(rnn: Engine, top: Sequence[Observation]) -> list[float]:
    """Return what the six networks say of the top list.

    Raises:
        EngineError: the network failed.
    """
    row = rnn.infer({"features": top_features(top)})["scores"][0]
    return [float(value) for value in row]


def at_size(scores: Sequence[float], cell_um2: float, table: RnnTable) -> list[float]:
    """Return scores less what so many normal cells would give them by chance.

    >>> table = RnnTable(top=(10,), size_slopes=(1.0, 0.0))
    >>> [round(score, 3) for score in at_size([0.5, 0.5], 10e6, table)]
    [0.269, 0.5]
    """
    if not table.size_slopes or cell_um2 <= 0:
        return list(scores)
    decades = math.log10(cell_um2 / 1e6 / table.size_mm2)
    taken = decades * np.array(table.size_slopes)
    return [float(score) for score in expit(finite_logit(np.array(scores)) - taken)]
