"""Geometry of a tile: turn, zoom, mirror and shift in one interpolation."""

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels


def pad_ground(pixels: Pixels, margin_px: int) -> Pixels:
    """Return the crop on its own background: the median of its brighter border half."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    light = rim.sum(axis=1)
    ground = np.median(rim[light >= np.median(light)], axis=0)
    margins = (margin_px,) * 4
    return np.asarray(
        cv2.copyMakeBorder(
            pixels, *margins, cv2.BORDER_CONSTANT, value=[float(v) for v in ground]
        ),
        np.uint8,
    )


def turn_matrix(zoom: float, angle_deg: float, *, flip: bool) -> NDArray[np.float64]:
    """Return the (2, 2) matrix of a zoom, a turn and perhaps a mirror.

    >>> turn_matrix(2.0, 0.0, flip=True).tolist()
    [[-2.0, 0.0], [0.0, 2.0]]
    """
    turn = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return zoom * rotation @ np.diag([-1.0 if flip else 1.0, 1.0])


def warp(
    pixels: Pixels,
    turn: NDArray[np.float64],
    centre_px: tuple[float, float],
    shift_px: NDArray[np.float64],
    tile_px: int,
    border: int,
) -> Pixels:
    """Cut a square tile whose centre shows ``centre_px`` moved by ``shift_px``.

    Strong reductions are averaged first (area filter), as the microscope's field is.
    """
    zoom = float(np.sqrt(abs(np.linalg.det(turn))))
    if zoom < 0.7:
        shrunk = cv2.resize(
            pixels, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA
        )
        ratio = np.array(shrunk.shape[1::-1]) / np.array(pixels.shape[1::-1])
        centre = (np.array(centre_px) + 0.5) * ratio - 0.5
        pixels, turn = np.asarray(shrunk, np.uint8), turn / zoom
    else:
        centre = np.array(centre_px)
    middle = (tile_px - 1) / 2 + shift_px
    matrix = np.column_stack([turn, middle - turn @ centre])
    return np.asarray(
        cv2.warpAffine(
            pixels,
            matrix,
            (tile_px, tile_px),
            flags=cv2.INTER_LINEAR,
            borderMode=border,
        ),
        np.uint8,
    )
