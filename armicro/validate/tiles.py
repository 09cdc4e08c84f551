"""HR tiles as the cascade would cut them, for cells whose place is given."""

import cv2
import numpy as np

from armicro.cascade.tile import cut_centred, find_cells, resample
from armicro.field import Pixels
from armicro.verdict import HR_TILE_PX, HR_UM_PER_PX


def tile_of_crop(pixels: Pixels, um_per_px: float) -> Pixels:
    """Return the (256, 256, 3) tile of a single cell's picture.

    It is brought to 0.243 µm/px and laid on its own ground; a larger one loses its rim.
    """
    scaled = resample(pixels, from_um_per_px=um_per_px, to_um_per_px=HR_UM_PER_PX)
    height, width = scaled.shape[:2]
    return cut_centred(
        scaled, (width / 2, height / 2), HR_TILE_PX, ground_colour(scaled)
    )


def ground_colour(pixels: Pixels) -> tuple[int, int, int]:
    """Return the median of the brighter half of a picture's border."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    light = rim.sum(axis=1, dtype=np.int64)
    red, green, blue = np.median(rim[light >= np.median(light)], axis=0)
    return int(red), int(green), int(blue)


def tiles_of_points(
    pixels: Pixels, um_per_px: float, points_px: list[tuple[float, float]]
) -> Pixels:
    """Return (n, 256, 256, 3) centred on points of a field, its glass where it ends."""
    colour = find_cells(pixels, um_per_px).background
    side_px = round(HR_TILE_PX * HR_UM_PER_PX / um_per_px)
    tiles = np.empty((len(points_px), HR_TILE_PX, HR_TILE_PX, 3), np.uint8)
    for tile, point in zip(tiles, points_px, strict=True):
        crop = cut_centred(pixels, point, side_px, colour)
        how = cv2.INTER_AREA if side_px > HR_TILE_PX else cv2.INTER_LINEAR
        tile[:] = cv2.resize(crop, (HR_TILE_PX, HR_TILE_PX), interpolation=how)
    return tiles
