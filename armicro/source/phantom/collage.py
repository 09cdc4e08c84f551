"""Where the pieces of a constructed slide go: anywhere free, without overlap."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.source.phantom.piece import Piece

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
