"""Slides whose pixels encode their own coordinates, so that a place can be checked."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from armicro.field import Pixels

SlideMaker = Callable[..., Path]


def draw_coordinates(width: int, height: int) -> Pixels:
    """Red is x modulo 256, green y modulo 256, blue the 256-blocks of both."""
    y, x = np.mgrid[:height, :width]
    blue = (x >> 8) * 16 + (y >> 8)
    return np.stack((x & 255, y & 255, blue & 255), axis=-1).astype(np.uint8)


@pytest.fixture
def write_slide(tmp_path: Path) -> SlideMaker:
    """Write a tiled pyramid; the scale defaults to 0.25 µm/px."""

    def write(
        pixels: Pixels,
        *,
        um_per_px: float | tuple[float, float] | None = 0.25,
        levels: int = 1,
        name: str = "slide.tif",
        compression: str | None = None,
    ) -> Path:
        path = tmp_path / name
        with tifffile.TiffWriter(path) as tiff:
            for level in range(levels):
                factor = 2**level
                height, width = (v // factor for v in pixels.shape[:2])
                level_pixels = cv2.resize(
                    pixels[: height * factor, : width * factor],
                    (width, height),
                    interpolation=cv2.INTER_AREA,
                )
                pair = np.broadcast_to(um_per_px or 1.0, 2)
                tiff.write(
                    level_pixels,
                    tile=(128, 128),
                    photometric="rgb",
                    compression=compression,
                    subfiletype=int(level > 0),
                    metadata=None,
                    resolution=(1e4 / pair[0] / factor, 1e4 / pair[1] / factor),
                    resolutionunit="CENTIMETER" if um_per_px else "NONE",
                )
        return path

    return write


@pytest.fixture
def coordinate_pixels() -> Callable[[int, int], Pixels]:
    """Draw (height, width, 3) pixels that encode their own x and y."""
    return draw_coordinates
