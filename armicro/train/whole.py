"""Does the LR network say of a whole field what it says of its tiles?

A convolution pads a tile's border with zeros where a whole field has neighbours, so the
two can differ. The largest difference of the gate goes into the manifest: the cascade
refuses ``lr_mode = "whole"`` where it is too large.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from armicro.cascade.tile import find_cells, pad, whole_size
from armicro.field import Pixels
from armicro.train.data import AnnotatedField
from armicro.train.sample import LR_UM_PER_PX

Gate = Callable[[Pixels], NDArray[np.float32]]
"""Pixels (n, h, w, 3) to the gate's probability (n, rows, columns)."""
TILE_PX, STRIDE_PX = 512, 384


def gate_differences(
    gate: Gate, fields: Sequence[AnnotatedField]
) -> NDArray[np.float64]:
    """Return how far each window of the fields lies from its own tile."""
    gaps: list[float] = []
    for field in tqdm(fields, desc="whole fields", mininterval=10):
        zoom = field.um_per_px / LR_UM_PER_PX
        small = cv2.resize(
            field.pixels, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA
        )
        height, width = (
            whole_size(n, tile_px=TILE_PX, stride_px=STRIDE_PX) for n in small.shape[:2]
        )
        ground = find_cells(field.pixels, field.um_per_px).background
        image = pad(np.asarray(small, np.uint8), (height, width), ground)
        whole = gate(image[None])[0]
        for row, column in np.ndindex(*whole.shape):
            y, x = row * STRIDE_PX, column * STRIDE_PX
            tile = np.ascontiguousarray(image[y : y + TILE_PX, x : x + TILE_PX])
            gaps.append(
                abs(float(gate(tile[None])[0, 0, 0]) - float(whole[row, column]))
            )
    return np.array(gaps)
