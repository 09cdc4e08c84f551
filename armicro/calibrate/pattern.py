"""What the display shows to be measured: a board whose every corner knows its name.

Two ChArUco boards, told apart by the names of their markers: one to solve with, and one
half a square beside it, whose corners lie where the first has none, to verify with.
Names make a partly hidden, turned or dim board as good as a whole one. A beam splitter
mirrors, and mirrored markers cannot be read, so a picture is read both ways.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import CalibrationError
from armicro.field import Pixels

Points = NDArray[np.float64]
"""(n, 2) x and y."""

SQUARES = 16
"""Along the longer side of the display."""
_MARKER_CELLS = 7
_MARKER_SHARE = 0.72
_VERIFY_FROM_ID = 128
"""Half of the squares hold a marker."""
_ENOUGH = 0.6
"""Share of a board's corners after which no other way of reading it is tried."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Corners that were found, in both pictures."""

    camera_xy: Points
    """In camera pixels; whole numbers are centres of pixels."""
    display_xy: Points
    mirrored: bool = False
    """The camera sees the display mirrored."""


def draw_pattern(width_px: int, height_px: int, *, verify: bool = False) -> Pixels:
    """Draw what the display is to show, pixel for pixel.

    Args:
        width_px: of the display.
        height_px: of the display.
        verify: the second board, that takes no part in the fit.

    Returns:
        (height, width, 3).

    Raises:
        CalibrationError: the display is too small for a board.
    """
    board, corner_px, square_px = _board(width_px, height_px, verify=verify)
    columns, rows = board.getChessboardSize()
    size = columns * square_px, rows * square_px
    picture = np.full((height_px, width_px), 255, np.uint8)
    x, y = corner_px
    picture[y : y + size[1], x : x + size[0]] = board.generateImage(size)
    return np.repeat(picture[..., None], 3, axis=2)


def find_pattern(
    picture: Pixels, display_wh_px: tuple[int, int], *, verify: bool = False
) -> Seen:
    """Find a board's corners in the camera's picture.

    Args:
        picture: (height, width, 3) RGB.
        display_wh_px: width and height of the display.
        verify: look for the second board.

    Returns:
        No points where there is no such board in the picture.
    """
    board, corner_px, square_px = _board(*display_wh_px, verify=verify)
    detector = cv2.aruco.CharucoDetector(board)
    columns, rows = board.getChessboardSize()
    best = Seen(np.empty((0, 2)), np.empty((0, 2)))
    for grey, mirrored in _readings(picture):
        # Typed as if it always found something.
        answer: tuple[Any, ...] = detector.detectBoard(grey)
        found, names = answer[:2]
        if names is None or len(names) <= len(best.camera_xy):
            continue
        camera = np.asarray(found, np.float64).reshape(-1, 2)
        if mirrored:
            camera[:, 0] = picture.shape[1] - 1 - camera[:, 0]
        row, column = np.divmod(names.ravel(), columns - 1)
        inner = np.stack((column + 1, row + 1), axis=1) * square_px
        # Corners lie between pixels, whose centres are whole numbers.
        best = Seen(camera, inner + np.asarray(corner_px) - 0.5, mirrored)
        if len(names) >= _ENOUGH * (columns - 1) * (rows - 1):
            break
    return best


def _readings(picture: Pixels) -> Iterator[tuple[Pixels, bool]]:
    """The picture as it is, then with what is dim made plain; straight and mirrored."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    for plain, mirrored in product((False, True), (False, True)):
        shown = grey
        if plain:
            even = cv2.createCLAHE(8.0, (8, 8)).apply(grey)
            shown = np.asarray(cv2.GaussianBlur(even, (0, 0), 1.5), np.uint8)
        yield (np.ascontiguousarray(shown[:, ::-1]) if mirrored else shown), mirrored


def _board(
    width_px: int, height_px: int, *, verify: bool
) -> tuple[cv2.aruco.CharucoBoard, tuple[int, int], int]:
    """The board, its top left corner on the display, and the side of a square."""
    square_px = max(width_px, height_px) // SQUARES // 2 * 2
    marker_px = round(square_px * _MARKER_SHARE / _MARKER_CELLS) * _MARKER_CELLS
    columns, rows = (side // max(1, square_px) for side in (width_px, height_px))
    if marker_px < 2 * _MARKER_CELLS or min(columns, rows) < 4:
        raise CalibrationError(
            f"display of {width_px}x{height_px} px: too small for a pattern of "
            f"{SQUARES} squares; expected at least 512x256"
        )
    first, shift = 0, 0
    if verify:
        columns, rows, first, shift = columns - 1, rows - 1, _VERIFY_FROM_ID, 1
    names = np.arange(first, first + columns * rows // 2)
    words = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250)
    board = cv2.aruco.CharucoBoard(
        (columns, rows), float(square_px), float(marker_px), words, names
    )
    spare = (
        (width_px - (columns + shift) * square_px) // 2,
        (height_px - (rows + shift) * square_px) // 2,
    )
    corner = spare[0] + shift * square_px // 2, spare[1] + shift * square_px // 2
    return board, corner, square_px
