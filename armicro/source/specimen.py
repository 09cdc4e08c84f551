"""What a technician puts under a simulated objective: micrometer, empty glass, cells.

The pictures are larger than a field, so that a simulated stage can move over them, and
drawn at the *true* scale of the simulated instrument, which is not the one that the rig
names: so there is something to measure.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.display import draw_pattern
from armicro.calibrate.guide import Specimen
from armicro.calibrate.simulated_path import SimulatedPath
from armicro.field import Pixels
from armicro.phantom import paint_field

GLASS_RGB = (238, 236, 228)
"""Of a lamp that is a little warm."""
DIVISION_UM, LINE_UM = 10.0, 2.0
LENGTHS_UM = {10: 160.0, 5: 120.0, 1: 80.0}
"""Length of a tick, by the largest of these that divides its number."""
RULER_UM, TURNED_DEG = 1000.0, 3.0
INK = 0.85
"""Share of the light that a line takes."""
DISPLAY_WH_PX = (1920, 1080)
"""Of a simulated eyepiece display."""
DIM = 0.15
"""Of the lamp, while the display is measured."""
CORNERS = 0.85
"""Light in the corners over that in the middle, where the stage need not move."""
BLUR_UM = 0.25
"""Of the optics, as a standard deviation: 20x/0.75 in green light."""


def draw_specimen(
    specimen: Specimen, size_wh_px: tuple[int, int], um_per_px: float
) -> Pixels:
    """Draw what lies on the stage.

    Args:
        specimen: what; ``pattern`` is the display's, seen through a bent path.
        size_wh_px: of the picture; its middle is the slide's.
        um_per_px: true scale.

    Returns:
        (height, width, 3) RGB.
    """
    if specimen == "cells":
        width, height = size_wh_px
        pixels, _ = paint_field(
            seed=1, width_px=width, height_px=height, um_per_px=um_per_px
        )
        return np.rint(pixels * (np.array(GLASS_RGB) / 255)).astype(np.uint8)
    light = _lamp(size_wh_px)[..., None] * np.array(GLASS_RGB, np.float32)
    if specimen == "pattern":
        path = SimulatedPath(
            camera_wh_px=size_wh_px,
            display_wh_px=DISPLAY_WH_PX,
            rotation_deg=2.5,
            scale=1700 / size_wh_px[0],
            tilt=(0.02, -0.01),
            distortion=(0.02, 0.0),
        )
        return path.show(
            draw_pattern(*DISPLAY_WH_PX), slide=(light * DIM).astype(np.uint8)
        )
    if specimen == "micrometer":
        lines = _ruler(size_wh_px, um_per_px)
        blurred = cv2.GaussianBlur(lines, (0, 0), BLUR_UM / um_per_px)
        light *= (1.0 - INK * np.asarray(blurred))[..., None]
    return np.rint(light).astype(np.uint8)


def _lamp(size_wh_px: tuple[int, int]) -> NDArray[np.float32]:
    width, height = size_wh_px
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    return np.asarray(1.0 - (1.0 - CORNERS) * (x**2 + y**2) / 2, np.float32)


def _ruler(size_wh_px: tuple[int, int], um_per_px: float) -> NDArray[np.float32]:
    """Share of each pixel that ticks cover, exact to a pixel's width across a line."""
    width, height = size_wh_px
    x, y = np.meshgrid(
        (np.arange(width, dtype=np.float32) + 0.5 - width / 2) * um_per_px,
        (np.arange(height, dtype=np.float32) + 0.5 - height / 2) * um_per_px,
    )
    angle = math.radians(TURNED_DEG)
    along = math.cos(angle) * x + math.sin(angle) * y
    # Ticks reach up from their line, which lies a little below the middle.
    across = math.cos(angle) * y - math.sin(angle) * x - LENGTHS_UM[1] / 2
    number = np.rint(along / DIVISION_UM).astype(np.float32)
    length = np.full(along.shape, LENGTHS_UM[1], np.float32)
    length[number % 5 == 0] = LENGTHS_UM[5]
    length[number % 10 == 0] = LENGTHS_UM[10]
    half = np.full(along.shape, LINE_UM / 2, np.float32)
    beside = np.abs(along - number * DIVISION_UM).astype(np.float32)
    wide = _covered(beside, half, um_per_px)
    middle = np.asarray(length / 2, np.float32)
    above = np.abs(across + middle).astype(np.float32)
    high = _covered(above, middle, um_per_px)
    inside = np.abs(along) <= RULER_UM / 2 + LINE_UM
    return np.asarray(wide * high * inside, np.float32)


def _covered(
    distance_um: NDArray[np.float32], half_um: NDArray[np.float32], pixel_um: float
) -> NDArray[np.float32]:
    share = np.clip((half_um - distance_um) / pixel_um + 0.5, 0.0, 1.0)
    return np.asarray(share, np.float32)
