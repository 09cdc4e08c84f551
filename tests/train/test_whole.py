from pathlib import Path

import numpy as np

from armicro.field import Pixels
from armicro.train.data import read_dataset
from armicro.train.locate import gate_differences

STRIDE_PX, TILE_PX = 384, 512


def windows(pixels: Pixels, reach: int) -> np.ndarray:
    """A gate that sees ``reach`` pixels beyond its window, where there are any."""
    height, width = pixels.shape[1:3]
    rows = (height - TILE_PX) // STRIDE_PX + 1
    columns = (width - TILE_PX) // STRIDE_PX + 1
    found = np.zeros((1, rows, columns), np.float32)
    for row, column in np.ndindex(rows, columns):
        y, x = row * STRIDE_PX, column * STRIDE_PX
        part = pixels[
            0,
            max(0, y - reach) : y + TILE_PX + reach,
            max(0, x - reach) : x + TILE_PX + reach,
        ]
        found[0, row, column] = (part.astype(np.float64) < 100).mean()
    return found


def test_a_gate_that_sees_its_window_alone_says_the_same(lab_folder: Path) -> None:
    fields = read_dataset(lab_folder).fields[:2]
    assert gate_differences(lambda p: windows(p, 0), fields).max() == 0


def test_a_gate_that_sees_more_is_caught(lab_folder: Path) -> None:
    field = read_dataset(lab_folder).fields[0]
    # Six times the scale: the field is several windows wide.
    object.__setattr__(field, "um_per_px", field.um_per_px * 6)
    gaps = gate_differences(lambda p: windows(p, 40), [field])
    assert len(gaps) > 1
    assert gaps.max() > 0
