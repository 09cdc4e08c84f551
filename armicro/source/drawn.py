"""Draws the slide that an emulated camera or simulated microscope looks at."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec

from armicro.field import Pixels
from armicro.rig import Camera
from armicro.source.phantom import UM_PER_PX, lesions_that_fit, paint_field

DRAWN = "drawn"
"""In place of a path: draw one."""
_LESIONS = 40


@contextlib.contextmanager
def drawn(camera: Camera) -> Iterator[Camera]:
    """Draw the picture where the camera asks for it, and name its file in the camera.

    The file is there until the block ends.
    """
    if camera.emulated_image != DRAWN:
        yield camera
        return
    with tempfile.TemporaryDirectory(prefix="armicro-drawn-") as folder:
        path = Path(folder) / "drawn.bmp"
        cv2.imwrite(str(path), cv2.cvtColor(paint_slide(camera), cv2.COLOR_RGB2BGR))
        yield msgspec.structs.replace(camera, emulated_image=str(path))


def paint_slide(camera: Camera) -> Pixels:
    """A drawn slide at the camera's scale, twice as wide and high as its field."""
    side_px = 2 * max(camera.width_px, camera.height_px)
    drawn_px = max(1, round(side_px * camera.um_per_px / UM_PER_PX))
    pixels, _ = paint_field(
        seed=1,
        width_px=side_px,
        height_px=side_px,
        um_per_px=camera.um_per_px,
        lesions=min(_LESIONS, lesions_that_fit(drawn_px, drawn_px)),
    )
    return pixels
