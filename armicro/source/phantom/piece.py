"""What is cut from real fields: whole ones without lesions, and windows round cells.

Pieces of one field never share a pixel, so no cell is used twice. A window is chosen so
that each lesion cell of its field lies either well inside it or well outside.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.source.phantom.material import RealField

INSIDE_PX = 52
"""A cell that a window is cut for lies at least so far from its sides."""
OUTSIDE_PX = 40
"""A lesion cell left out lies at least so far beyond them."""
LESION_WINDOWS_PX = ((480, 400, 320, 256, 200), (150, 108))
"""Sides to try: the small ones only where the large ones do not give enough."""
NORMAL_WINDOWS_PX = (640, 512, 400, 300)
TRIES = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a resampled field."""

    field: int
    """Index of the field in the material."""
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    lesions: int
    whole: bool


Size = tuple[int, int]


class Cutter:
    """Cuts pieces out of fields, remembering what is gone."""

    def __init__(
        self,
        fields: Sequence[RealField],
        sizes: Sequence[Size],
        rng: np.random.Generator,
    ) -> None:
        """Take fields, the best first, and their (width, height) at 0.243 µm/px."""
        self._fields, self._sizes, self._rng = fields, sizes, rng
        self._gone: list[list[Piece]] = [[] for _ in fields]
        self._lesion_xy = [field.xy_px[field.lesion] for field in fields]

    def lesion_pieces(self, count: int, *, largest_px: float) -> list[Piece]:
        """Windows that hold exactly ``count`` lesion cells between them.

        No window is wider than ``largest_px``, but for the smallest there is.

        Raises:
            SourceError: the fields do not have so many that can be cut out.
        """
        pieces: list[Piece] = []
        wanted = count
        cells = self._shuffled(lesion=True)
        for sides, (field, spot) in itertools.product(LESION_WINDOWS_PX, cells):
            if not wanted:
                break
            fitting = [side for side in sides if side <= largest_px] or sides[-1:]
            piece = self._window(field, spot, fitting, wanted)
            if piece is not None:
                self._gone[field].append(piece)
                pieces.append(piece)
                wanted -= piece.lesions
        if wanted:
            raise SourceError(
                f"{count} lesion cells: expected at most {count - wanted}, all that "
                "can be cut from the fields of this stain; ask for fewer, or give "
                "more fields"
            )
        return pieces

    def whole_pieces(self) -> list[Piece]:
        """Every field that holds no lesion cell."""
        return [
            Piece(index, 0, 0, width, height, lesions=0, whole=True)
            for index, (width, height) in enumerate(self._sizes)
            if not len(self._lesion_xy[index])
        ]

    def normal_pieces(self) -> Iterator[Piece]:
        """Windows round normal cells of the other fields, as long as there are any."""
        for field, spot in self._shuffled(lesion=False):
            if not len(self._lesion_xy[field]):
                continue
            piece = self._window(field, spot, NORMAL_WINDOWS_PX, 0)
            if piece is not None:
                self._gone[field].append(piece)
                yield piece

    def _shuffled(self, *, lesion: bool) -> list[tuple[int, NDArray[np.float64]]]:
        """Cells by and by from fields ever further down, in random order."""
        cells = [
            (index, spot)
            for index, field in enumerate(self._fields)
            for spot in field.xy_px[field.lesion == lesion]
        ]
        # Neighbouring fields mix, so that no field is used up before the next begins.
        rank = [index + self._rng.uniform(0, 6) for index, _ in cells]
        return [cells[i] for i in np.argsort(rank).tolist()]

    def _window(
        self, field: int, spot: NDArray[np.float64], sides: Sequence[int], most: int
    ) -> Piece | None:
        """The largest allowed window round a cell, or None."""
        for side in sides:
            for _ in range(TRIES):
                # Near the middle, where the ragged border does not reach it.
                play = 0.24 * max(side - 2 * INSIDE_PX, 0)
                shift = self._rng.uniform(-play, play, 2) - side / 2
                x, y = np.rint(spot + shift).astype(int).tolist()
                lesions = self._lesions_in(field, x, y, side)
                if lesions is None or lesions > most or (most and not lesions):
                    continue
                piece = Piece(field, x, y, side, side, lesions, whole=False)
                if self._is_free(piece):
                    return piece
        return None

    def _lesions_in(self, field: int, x: int, y: int, side: int) -> int | None:
        """How many lesion cells lie inside; None when one lies across the border."""
        spots = self._lesion_xy[field] - [x, y]
        inside = ((spots >= INSIDE_PX) & (spots <= side - INSIDE_PX)).all(axis=1)
        near = ((spots > -OUTSIDE_PX) & (spots < side + OUTSIDE_PX)).all(axis=1)
        return None if bool((near & ~inside).any()) else int(inside.sum())

    def _is_free(self, piece: Piece) -> bool:
        width, height = self._sizes[piece.field]
        fits = piece.x_px >= 0 and piece.y_px >= 0
        fits &= piece.x_px + piece.width_px <= width
        fits &= piece.y_px + piece.height_px <= height
        return fits and not any(_overlap(piece, g) for g in self._gone[piece.field])


def _overlap(a: Piece, b: Piece) -> bool:
    return (
        a.x_px < b.x_px + b.width_px
        and b.x_px < a.x_px + a.width_px
        and a.y_px < b.y_px + b.height_px
        and b.y_px < a.y_px + a.height_px
    )
