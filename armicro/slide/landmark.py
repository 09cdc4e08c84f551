"""Landmarks: small patches by which a place is known again among thousands.

Cells lie upright in every field and at one scale, so a patch needs neither rotation
nor size: it is the low frequencies of 48 µm around a spot that stands out.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.align.look import COARSE_UM_PER_PX, Look

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


def find_landmarks(look: Look) -> Landmarks:
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
