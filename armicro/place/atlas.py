"""The map that registration goes by: keyframes that never move, found by place or look.

A keyframe's picture lies in a store outside; in memory are the few used last, and of
every keyframe its place and its landmarks: some ten megabytes for each thousand. A
store on disk lets capture find its map again.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from armicro.database import Database, Schema
from armicro.errors import SourceError
from armicro.picture import check_header
from armicro.place.look import COARSE_UM_PER_PX, Plane, Texture
from armicro.place.turn import NO_DOUBT, Doubt
from armicro.rule import ExtentUm, PlaceUm

# ---------------------------------------------------------------------------
# Landmarks: small patches by which a place is known again among thousands.
#
# Cells lie upright in every field and at one scale, so a patch needs neither rotation
# nor size: it is the low frequencies of 48 µm around a spot that stands out.


WORDS = 40
"""Length of a descriptor."""
_MOST = 64
_APART_PX = 5
_PATCH_PX = 12
_STEP_PX = 2
"""A patch is sampled at every second coarse pixel: 48 µm in all."""
_LEAST = 0.35
_EDGE_PX = 8

_ROW, _COLUMN = np.mgrid[:_PATCH_PX, :_PATCH_PX]
_SPEED = (_ROW + _COLUMN + 0.01 * _ROW).ravel()
_ORDER = np.argsort(_SPEED, kind="stable")[1 : WORDS + 1]
"""Cosines from slow to fast, without the mean."""


class Landmarks(NamedTuple):
    """Landmarks of one field."""

    xy_um: NDArray[np.float32]
    """(n, 2) in the field."""
    words: NDArray[np.float32]
    """(n, WORDS), each of length 1."""


def find_landmarks(look: Texture) -> Landmarks:
    """Find the spots that stand out most in a field, and describe them."""
    spots = cv2.GaussianBlur(look.coarse, (0, 0), 2.0)
    response = np.abs(spots)
    side = 2 * _APART_PX + 1
    highest = cv2.dilate(response, np.ones((side, side), np.uint8))
    response[:_EDGE_PX] = response[-_EDGE_PX:] = 0
    response[:, :_EDGE_PX] = response[:, -_EDGE_PX:] = 0
    rows, columns = np.nonzero((response >= highest) & (response > _LEAST))
    best = np.argsort(-response[rows, columns], kind="stable")[:_MOST]
    rows, columns = rows[best], columns[best]
    words = np.empty((len(rows), WORDS), np.float32)
    small = cv2.GaussianBlur(look.coarse, (0, 0), 1.0)
    reach = _PATCH_PX * _STEP_PX // 2
    wide = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        patch = wide[row : row + 2 * reach, column : column + 2 * reach]
        patch = np.ascontiguousarray(patch[::_STEP_PX, ::_STEP_PX])
        words[i] = cv2.dct(patch).ravel()[_ORDER]
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-6)
    xy_um = (np.stack((columns, rows), axis=1) + 0.5) * COARSE_UM_PER_PX
    return Landmarks(xy_um.astype(np.float32), words)


# ---------------------------------------------------------------------------
# The map.


_LOOKS = 12
"""Pictures kept at hand, about 6 MB each with what is derived from them."""
_BIN_UM = 12.0
_ALIKE = 0.75
"""Cosine from which two landmarks may be one."""
_LEAST_VOTES = 3.0
_VOTES = 12_000
"""More are not counted: where cells are all alike, the likest have to do."""
_AT_ONCE = 1 << 16
"""Landmarks compared at once: 17 MB, where those of a whole slide take 300."""


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A field whose place is fixed for good."""

    x_um: float
    y_um: float
    standard_error_xy_um: tuple[float, float]
    size_um: tuple[float, float]
    landmarks: Landmarks
    doubt: Doubt = NO_DOUBT


BesideOrigin = Literal["turned_camera", "map_apart"]
"""Of ``field.PlaceOrigin``, those of a map that began beside another."""


class Begun(NamedTuple):
    """A map that began beside those before it, on the same plane."""

    from_um: float
    """It lies right of here, up to where the next one begins."""
    why: BesideOrigin


class KeyframeStore(Protocol):
    """Where keyframes and their pictures are kept; numbered from 0 in order."""

    def begin(self, begun: Begun) -> None:
        """Keep that another map begins."""

    def maps(self) -> list[Begun]:
        """Return the maps that began beside the first, in order."""

    def add(self, keyframe: Keyframe, look: Texture) -> None:
        """Keep one more."""

    def look(self, number: int) -> Texture:
        """Return a keyframe's picture."""

    def keyframes(self) -> Iterator[Keyframe]:
        """Yield all that are kept, in order."""


class MemoryStore:
    """Keyframes in memory, for tests and short runs."""

    def __init__(self) -> None:
        self._kept: list[tuple[Keyframe, NDArray[np.float16], Plane | None]] = []
        self._maps: list[Begun] = []

    def begin(self, begun: Begun) -> None:
        """Keep that another map begins."""
        self._maps.append(begun)

    def maps(self) -> list[Begun]:
        """Return the maps that began beside the first, in order."""
        return self._maps.copy()

    def add(self, keyframe: Keyframe, look: Texture) -> None:
        """Keep one more."""
        self._kept.append((keyframe, look.fine.astype(np.float16), look.clean))

    def look(self, number: int) -> Texture:
        """Return a keyframe's picture."""
        _, fine, clean = self._kept[number]
        return Texture(fine.astype(np.float32), clean)

    def keyframes(self) -> Iterator[Keyframe]:
        """Yield all that are kept, in order."""
        return (keyframe for keyframe, *_ in self._kept)


class Anchor(NamedTuple):
    """A picture whose place is known, to register against."""

    x_um: float
    y_um: float
    standard_error_xy_um: tuple[float, float]
    look: Texture
    doubt: Doubt = NO_DOUBT


class Atlas:
    """All keyframes of a slide."""

    def __init__(self, store: KeyframeStore) -> None:
        """Take what the store has kept."""
        self._store = store
        self._looks: OrderedDict[int, Texture] = OrderedDict()
        self._boxes = _Rows(6)
        """x, y, width, height, standard errors."""
        self._words = _Rows(WORDS, np.float32)
        self._spots = _Rows(2)
        """Place of each landmark on the slide."""
        self._doubts: list[Doubt] = []
        for keyframe in store.keyframes():
            self._take(keyframe)
        self.maps = store.maps()
        """Those that began beside the first, in order."""
        self._known = len(self)
        """Keyframes of an earlier run: of another camera, perhaps."""
        self._clean: Plane | None = None

    def __len__(self) -> int:
        return len(self._boxes.rows)

    @property
    def right_um(self) -> float:
        """The right end of all that is known."""
        boxes = self._boxes.rows
        return float((boxes[:, 0] + boxes[:, 2]).max(initial=0.0))

    @property
    def left_um(self) -> float:
        """The left end of all that is known; at most 0, where a map begins."""
        return float(self._boxes.rows[:, 0].min(initial=0.0))

    def begin(self, begun: Begun) -> None:
        """Say that another map begins beside those that are known."""
        self._store.begin(begun)
        self.maps.append(begun)

    def add(self, keyframe: Keyframe, look: Texture) -> None:
        """Fix a field for good."""
        self._store.add(keyframe, look)
        self._hold(len(self), look)
        self._take(keyframe)

    def mask(self, clean: Plane) -> None:
        """Leave out what is 0 in ``clean`` of the keyframes that this run adds."""
        self._clean = clean
        self._looks.clear()

    def _take(self, keyframe: Keyframe) -> None:
        corner = keyframe.x_um, keyframe.y_um
        box = (*corner, *keyframe.size_um, *keyframe.standard_error_xy_um)
        self._boxes.extend(np.array([box]))
        self._doubts.append(keyframe.doubt)
        self._words.extend(keyframe.landmarks.words)
        self._spots.extend(keyframe.landmarks.xy_um + np.array(corner))

    def near(
        self,
        xy_um: tuple[float, float],
        size_um: tuple[float, float],
        *,
        count: int,
        least_overlap: float,
    ) -> list[Anchor]:
        """The keyframes that share most with a field at a place, most first."""
        shared = self._shared(xy_um, size_um)
        best = np.argsort(-shared, kind="stable")[:count]
        return [self._anchor(int(i)) for i in best if shared[i] >= least_overlap]

    def around(
        self,
        xy_um: tuple[float, float],
        size_um: tuple[float, float],
        *,
        count: int,
        least: float = 0.8,
    ) -> list[Anchor]:
        """The nearest keyframes less than a field away from a field.

        Args:
            xy_um: corner of the field.
            size_um: its width and height.
            count: at most so many.
            least: less far away in fields, corner to corner, are left out.
        """
        away = np.abs(self._boxes.rows[:, :2] - xy_um) / size_um
        far = away.max(axis=1, initial=0.0)
        order = np.argsort(np.hypot(*away.T), kind="stable")
        beside = [int(i) for i in order if least < far[i] < 2.0]
        return [self._anchor(i) for i in beside[:count]]

    def keyframes(self) -> Iterator[tuple[Keyframe, Texture]]:
        """Yield every keyframe and its picture, in order."""
        for number, keyframe in enumerate(self._store.keyframes()):
            yield keyframe, self._look(number)

    def _anchor(self, number: int) -> Anchor:
        x_um, y_um, _, _, *error_um = (float(v) for v in self._boxes.rows[number])
        error_xy_um = error_um[0], error_um[1]
        look, doubt = self._look(number), self._doubts[number]
        return Anchor(x_um, y_um, error_xy_um, look, doubt)

    def most_shared(
        self, xy_um: tuple[float, float], size_um: tuple[float, float]
    ) -> float:
        """Largest share of a field at a place that one keyframe shows; 0-1."""
        return float(self._shared(xy_um, size_um).max(initial=0.0))

    def _shared(
        self, xy_um: tuple[float, float], size_um: tuple[float, float]
    ) -> NDArray[np.float64]:
        boxes = self._boxes.rows
        shared = np.ones(len(boxes))
        for axis in (0, 1):
            first = np.maximum(boxes[:, axis], xy_um[axis])
            last = np.minimum(
                boxes[:, axis] + boxes[:, axis + 2], xy_um[axis] + size_um[axis]
            )
            shared *= np.maximum(last - first, 0.0) / size_um[axis]
        return shared

    def recognise(
        self, landmarks: Landmarks, *, count: int
    ) -> list[tuple[float, float]]:
        """Places on the slide (of the field's corner) that landmarks vote for."""
        words = self._words.rows
        if not len(words) or not len(landmarks.words):
            return []
        corners_um, weights = [], []
        for first in range(0, len(words), _AT_ONCE):
            alike = words[first : first + _AT_ONCE] @ landmarks.words.T
            # Twice as fast as np.nonzero on two axes.
            pairs = np.flatnonzero(alike > _ALIKE)
            known, seen = np.divmod(pairs, alike.shape[1])
            corners_um.append(self._spots.rows[first + known] - landmarks.xy_um[seen])
            weights.append((alike.ravel()[pairs] - _ALIKE) / (1 - _ALIKE))
        corner_um, weight = np.concatenate(corners_um), np.concatenate(weights)
        if len(weight) > _VOTES:
            strongest = np.argpartition(weight, -_VOTES)[-_VOTES:]
            corner_um, weight = corner_um[strongest], weight[strongest]
        return _vote(corner_um, weight, count)

    def _look(self, number: int) -> Texture:
        if number not in self._looks:
            look = self._store.look(number)
            if self._clean is not None and number >= self._known:
                look = look.without_dirt(self._clean)
            self._hold(number, look)
        self._looks.move_to_end(number)
        return self._looks[number]

    def _hold(self, number: int, look: Texture) -> None:
        self._looks[number] = look
        if len(self._looks) > _LOOKS:
            self._looks.popitem(last=False)


class _Rows:
    """Rows that grow at the end without being copied each time."""

    def __init__(self, columns: int, kind: type[np.floating] = np.float64) -> None:
        self._room = np.empty((64, columns), kind)
        self._count = 0

    @property
    def rows(self) -> NDArray[Any]:
        return self._room[: self._count]

    def extend(self, rows: NDArray[np.floating]) -> None:
        needed = self._count + len(rows)
        if needed > len(self._room):
            size = max(needed, 2 * len(self._room)), self._room.shape[1]
            larger = np.empty(size, self._room.dtype)
            larger[: self._count] = self.rows
            self._room = larger
        self._room[self._count : needed] = rows
        self._count = needed


def _vote(
    corner_um: NDArray[np.floating], weight: NDArray[np.floating], count: int
) -> list[tuple[float, float]]:
    """The most voted places, each the mean of the votes around its fullest bin."""
    if not len(corner_um):
        return []
    bins = np.floor(corner_um / _BIN_UM).astype(np.int64)
    key = bins[:, 0] * (1 << 32) + bins[:, 1]
    _, inverse = np.unique(key, return_inverse=True)
    votes = np.bincount(inverse, weight)
    found: list[tuple[float, float]] = []
    for best in np.argsort(-votes, kind="stable")[: 3 * count]:
        middle = (bins[inverse == best][0] + 0.5) * _BIN_UM
        near = np.abs(corner_um - middle).max(axis=1) < _BIN_UM
        total = float(weight[near].sum())
        place = np.average(corner_um[near], axis=0, weights=weight[near] + 1e-9)
        x, y = float(place[0]), float(place[1])
        if total < _LEAST_VOTES:
            continue
        if all(max(abs(x - px), abs(y - py)) > _BIN_UM for px, py in found):
            found.append((x, y))
    return found[:count]


# ---------------------------------------------------------------------------
# Keyframes on disk: one SQLite file, each keyframe a transaction.
#
# What was added survives every crash of the process. A picture is kept as JPEG, whose
# errors are far below those of a camera; a keyframe takes some 100 kB.


_COLUMNS_2 = (
    "clean BLOB",
    "turn_error_deg REAL NOT NULL DEFAULT 0",
    "about_x_um REAL NOT NULL DEFAULT 0",
    "about_y_um REAL NOT NULL DEFAULT 0",
)
"""Since version 2: where a keyframe knows nothing, and its doubt."""
_MAPS = "CREATE TABLE maps (from_um REAL NOT NULL, why TEXT NOT NULL);"
_MAP = Schema(
    noun="map",
    # Maps carry none: their version tells them from other programs' files.
    application_id=0,
    version=2,
    tables=f"""
CREATE TABLE keyframes (
    number INTEGER PRIMARY KEY, x_um REAL NOT NULL, y_um REAL NOT NULL,
    standard_error_um REAL NOT NULL, width_um REAL NOT NULL, height_um REAL NOT NULL,
    spots BLOB NOT NULL, words BLOB NOT NULL, picture BLOB NOT NULL,
    {", ".join(_COLUMNS_2)});
{_MAPS}
""",
    upgrades={
        1: "".join(f"ALTER TABLE keyframes ADD COLUMN {c};" for c in _COLUMNS_2) + _MAPS
    },
    refused="move it away, and the slide is mapped anew",
    damaged="move it away, and the slide is mapped anew",
)
_MOST_MAPS = 1000
MOST_PX = 1 << 22
"""Of a keyframe's picture, which is a field made small."""
_QUALITY = 95
_SCALE = 31.0
"""Grey levels a unit of texture, which lies between -4 and 4."""


_Row = tuple[
    PlaceUm,
    PlaceUm,
    ExtentUm,
    ExtentUm,
    ExtentUm,
    bytes,
    bytes,
    ExtentUm,
    PlaceUm,
    PlaceUm,
]


class MapFile(Database):
    """A ``KeyframeStore`` in a file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            SourceError: here and from every method, when it cannot be used.
        """
        super().__init__(path, _MAP)

    def add(self, keyframe: Keyframe, look: Texture) -> None:
        """Keep one more."""
        levels = np.clip(np.rint(look.fine * _SCALE + 128), 0, 255).astype(np.uint8)
        _, picture = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        clean = None
        if look.clean is not None:
            _, clean = cv2.imencode(".png", look.clean.astype(np.uint8))
        row = (
            keyframe.x_um,
            keyframe.y_um,
            # Along which axis is not kept: the larger is right for both.
            max(keyframe.standard_error_xy_um),
            *keyframe.size_um,
            keyframe.landmarks.xy_um.astype(np.float32).tobytes(),
            keyframe.landmarks.words.astype(np.float16).tobytes(),
            picture.tobytes(),
            None if clean is None else clean.tobytes(),
            keyframe.doubt.error_deg,
            *keyframe.doubt.about_um,
        )
        with self._writes():
            # Numbers count from 0, as the keyframes in memory do.
            self._database.execute(
                "INSERT INTO keyframes VALUES "
                "((SELECT count(*) FROM keyframes),?,?,?,?,?,?,?,?,?,?,?,?)",
                row,
            )

    def begin(self, begun: Begun) -> None:
        """Keep that another map begins."""
        with self._writes():
            self._database.execute("INSERT INTO maps VALUES (?,?)", begun)

    def maps(self) -> list[Begun]:
        """Return the maps that began beside the first, in order."""
        with self._told():
            rows = self._database.execute(
                "SELECT from_um, why FROM maps LIMIT ?", (_MOST_MAPS,)
            )
            return [msgspec.convert(row, Begun) for row in rows.fetchall()]

    def look(self, number: int) -> Texture:
        """Return a keyframe's picture."""
        with self._told():
            row = self._database.execute(
                "SELECT picture, clean FROM keyframes WHERE number = ?", (number,)
            ).fetchone()
        levels = None if row is None else _grey_of(row[0], "JPEG")
        clean = None if row is None or row[1] is None else _grey_of(row[1], "PNG")
        fits = clean is None or (levels is not None and clean.shape == levels.shape)
        if levels is None or not fits:
            raise SourceError(
                f"{self._path}: keyframe {number} is missing or damaged; {_MAP.damaged}"
            )
        fine = (levels.astype(np.float32) - 128) / np.float32(_SCALE)
        if clean is None:
            return Texture(fine)
        known = (clean > 0).astype(np.float32)
        # JPEG blurs its edge.
        return Texture(fine * known, known)

    def keyframes(self) -> Iterator[Keyframe]:
        """Yield all that are kept, in order."""
        with self._told():
            rows = self._database.execute(
                "SELECT x_um, y_um, standard_error_um, width_um, height_um, spots, "
                "words, turn_error_deg, about_x_um, about_y_um "
                "FROM keyframes ORDER BY number"
            )
            for row in rows:
                x_um, y_um, error_um, width_um, height_um, spots, words, *left = (
                    msgspec.convert(row, _Row)
                )
                landmarks = Landmarks(
                    np.frombuffer(spots, np.float32).reshape(-1, 2),
                    np.frombuffer(words, np.float16)
                    .reshape(-1, WORDS)
                    .astype(np.float32),
                )
                if not np.isfinite(landmarks.xy_um).all():
                    raise ValueError("landmarks that lie nowhere")
                size_um = width_um, height_um
                doubt = Doubt(left[0], (left[1], left[2]))
                error_xy_um = error_um, error_um
                yield Keyframe(x_um, y_um, error_xy_um, size_um, landmarks, doubt)


def _grey_of(encoded: bytes, kind: str) -> NDArray[np.uint8] | None:
    check_header(encoded, "keyframe", kind=kind, most_px=MOST_PX)
    levels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if levels is None else np.asarray(levels, np.uint8)
