"""From a field to an optical display: what is painted lands on the cells themselves.

Boxes are drawn in the field's pixels as on a monitor, and all that is drawn goes
through one homography, mirrored or turned as the display is: so letters, too, read as
they would in the camera's picture. A lens's radial terms move each box as a whole.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.display import to_display
from armicro.overlay.layout import Box
from armicro.overlay.picture import XyXy
from armicro.overlay.setting import Optics

Matrix = NDArray[np.float64]
"""(3, 3): point ~ matrix @ (x, y, 1)."""


def fitted(field_px: tuple[float, float], screen_px: tuple[float, float]) -> Matrix:
    """The field as large as the screen allows, where nothing was measured.

    >>> fitted((200, 100), (100, 100)).tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.5, 25.0], [0.0, 0.0, 1.0]]
    """
    scale = min(screen_px[0] / field_px[0], screen_px[1] / field_px[1])
    left, top = ((screen_px[i] - scale * field_px[i]) / 2 for i in (0, 1))
    return np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]], np.float64)


def between_edges(optics: Optics) -> Matrix:
    """The homography for coordinates that count from the outer edge of a pixel."""
    to_centres, to_edges = np.eye(3), np.eye(3)
    to_centres[:2, 2], to_edges[:2, 2] = -0.5, 0.5
    return np.asarray(to_edges @ np.asarray(optics.homography) @ to_centres)


def local_scale(matrix: Matrix, spot: tuple[float, float]) -> float:
    """Display pixels per pixel of the field near a spot; always positive.

    >>> local_scale(np.diag([-2.0, 2.0, 1.0]), (5, 5))
    2.0
    """
    x, y, w = matrix @ (*spot, 1.0)
    jacobian = (matrix[:2, :2] - np.outer((x / w, y / w), matrix[2, :2])) / w
    return math.sqrt(abs(float(np.linalg.det(jacobian))))


def bent(
    boxes: Sequence[Box], optics: Optics, field_px: tuple[int, int]
) -> tuple[Box, ...]:
    """Move boxes as the lens moves what they stand on."""
    if not optics.distortion or not boxes:
        return tuple(boxes)
    corners = np.array([box.box_xyxy_px for box in boxes])
    middles = (corners[:, :2] + corners[:, 2:]) / 2 - 0.5
    straight = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    moves = to_display(middles, straight, optics.distortion, field_px) - middles
    return tuple(
        replace(
            box,
            box_xyxy_px=_moved(box.box_xyxy_px, by),
            label_xyxy_px=_moved(box.label_xyxy_px, by),
        )
        for box, by in zip(boxes, moves.tolist(), strict=True)
    )


def _moved(box: XyXy, by: Sequence[float]) -> XyXy:
    return box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1]
