"""Pieces made ready for a slide: resampled, balanced, with what is shown of them."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.phantom.glass import Rgb, Surface, balanced, kept_share
from armicro.phantom.material import INSIDE_PX, Piece, RealField

BYTES_KEPT = 120_000_000
FILES_KEPT = 16
SHOWN = 192
"""From this share (of 255) on a cell counts as shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A piece, ready to be laid on glass."""

    pixels: Pixels
    """(height, width, 3) RGB at 0.243 µm/px, with the slide's glass."""
    share: NDArray[np.uint8]
    """(height, width): 255 where the piece is shown, 0 where glass is."""
    cells: tuple[tuple[float, float, str], ...]
    """x and y (pixels of the piece) and class of each annotated cell shown."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.pixels.nbytes + self.share.nbytes


class Workshop:
    """Makes cutouts; the same piece always gives the same one."""

    def __init__(
        self,
        fields: Sequence[RealField],
        surfaces: Sequence[Surface],
        glass_rgb: Rgb,
        seed: int,
    ) -> None:
        """Take the fields, the glass of each, and the slide's glass."""
        self._fields, self._surfaces = fields, surfaces
        self._glass_rgb, self._seed = glass_rgb, seed
        self._files: OrderedDict[int, Pixels] = OrderedDict()
        self._made: OrderedDict[Piece, Cutout] = OrderedDict()
        self._bytes = 0

    def cutout(self, piece: Piece) -> Cutout:
        """Make a cutout, or take the one made before.

        Raises:
            SourceError: the field's file cannot be read.
        """
        if piece in self._made:
            self._made.move_to_end(piece)
            return self._made[piece]
        made = self._make(piece)
        self._made[piece] = made
        self._bytes += made.nbytes
        while self._bytes > BYTES_KEPT and len(self._made) > 1:
            _, old = self._made.popitem(last=False)
            self._bytes -= old.nbytes
        return made

    def _make(self, piece: Piece) -> Cutout:
        field = self._fields[piece.field]
        pixels = window(self._file(piece.field), piece, field.scale)
        place = _relative(piece, field.size_px())
        pixels = balanced(
            pixels, self._surfaces[piece.field], place, glass_rgb=self._glass_rgb
        )
        xy = field.xy_px - [piece.x_px, piece.y_px]
        size = np.array([piece.width_px, piece.height_px])
        inside = _within(xy, size, 0)
        # A cutout is made for its cells: their bodies are not left out.
        deep = _within(xy, size, INSIDE_PX) & np.bool_(not piece.whole)
        rng = np.random.default_rng(
            [self._seed, 23, piece.field, piece.x_px, piece.y_px]
        )
        share = kept_share(
            pixels,
            self._glass_rgb,
            xy[inside & field.lesion],
            xy[deep],
            rng,
        )
        cells = tuple(
            (float(x), float(y), field.classes[row])
            for row, (x, y) in enumerate(xy)
            if inside[row] and share[int(y), int(x)] >= SHOWN
        )
        return Cutout(pixels, share, cells)

    def _file(self, index: int) -> Pixels:
        if index not in self._files:
            self._files[index] = self._fields[index].read()
            if len(self._files) > FILES_KEPT:
                self._files.popitem(last=False)
        self._files.move_to_end(index)
        return self._files[index]


def _within(
    xy: NDArray[np.float64], size: NDArray[np.int64], margin_px: int
) -> NDArray[np.bool_]:
    """(points,) True where a point lies in a rectangle, so far from its sides."""
    inside = (xy >= margin_px) & (xy < size - margin_px)
    return np.asarray(inside.all(axis=1), dtype=np.bool_)


def window(file: Pixels, piece: Piece, scale: float) -> Pixels:
    """Cut a piece out of a file's pixels and resample it.

    Args:
        file: (height, width, 3) RGB as on disk.
        piece: What to cut, in pixels of 0.243 µm.
        scale: Pixels of 0.243 µm per pixel of the file.

    Returns:
        (piece.height_px, piece.width_px, 3) uint8 RGB.
    """
    if scale < 1:
        height, width = file.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        whole = cv2.resize(file, size, interpolation=cv2.INTER_AREA)
        rows = slice(piece.y_px, piece.y_px + piece.height_px)
        columns = slice(piece.x_px, piece.x_px + piece.width_px)
        return np.ascontiguousarray(whole[rows, columns])
    # Pixel centres lie at halves on both scales.
    matrix = np.array(
        [
            [1 / scale, 0, (piece.x_px + 0.5) / scale - 0.5],
            [0, 1 / scale, (piece.y_px + 0.5) / scale - 0.5],
        ]
    )
    cut = cv2.warpAffine(
        file,
        matrix,
        (piece.width_px, piece.height_px),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cut, dtype=np.uint8)


def _relative(piece: Piece, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a piece, -1 to 1 over its field."""
    width, height = size
    return (
        2 * piece.x_px / width - 1,
        2 * piece.y_px / height - 1,
        2 * (piece.x_px + piece.width_px) / width - 1,
        2 * (piece.y_px + piece.height_px) / height - 1,
    )


# ---------------------------------------------------------------------------
# Where the pieces of a constructed slide go: anywhere free, without overlap.

GRID_PX = 32


@dataclass(frozen=True, slots=True)
class Placed:
    """A piece and its place on the slide."""

    piece: Piece
    x_px: int
    y_px: int


class Collage:
    """The slide's free room, on a grid."""

    def __init__(self, width_px: int, height_px: int, rng: np.random.Generator) -> None:
        """Begin with an empty slide."""
        self._taken: NDArray[np.uint8] = np.zeros(
            (height_px // GRID_PX, width_px // GRID_PX), dtype=np.uint8
        )
        self._rng = rng
        self.placed: list[Placed] = []

    def place(self, piece: Piece) -> bool:
        """Put a piece anywhere that is free; False when nowhere is."""
        rows = -(-piece.height_px // GRID_PX)
        columns = -(-piece.width_px // GRID_PX)
        corner = self._free_corner(rows, columns)
        if corner is None:
            return False
        row, column = corner
        self._taken[row : row + rows, column : column + columns] = 1
        slack_x = columns * GRID_PX - piece.width_px
        slack_y = rows * GRID_PX - piece.height_px
        x = column * GRID_PX + int(self._rng.integers(0, slack_x + 1))
        y = row * GRID_PX + int(self._rng.integers(0, slack_y + 1))
        self.placed.append(Placed(piece, x, y))
        return True

    def fill(self, pieces: Iterable[Piece], *, misses: int) -> None:
        """Place pieces until there are no more, or ``misses`` have found no room."""
        missed = 0
        for piece in pieces:
            missed += not self.place(piece)
            if missed >= misses:
                break

    def _free_corner(self, rows: int, columns: int) -> tuple[int, int] | None:
        height, width = self._taken.shape
        if rows > height or columns > width:
            return None
        total = cv2.integral(self._taken, sdepth=cv2.CV_32S)
        used = (
            total[rows:, columns:]
            - total[:-rows, columns:]
            - total[rows:, :-columns]
            + total[:-rows, :-columns]
        )
        free = np.flatnonzero(used == 0)
        if free.size == 0:
            return None
        chosen = int(free[self._rng.integers(free.size)])
        return chosen // used.shape[1], chosen % used.shape[1]
