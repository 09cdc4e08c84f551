"""A pretended eyepiece path: the display through a beam splitter onto the camera.

Its truth is known at every pixel, so a procedure can be tried, and its error told,
without an instrument. The display's light is added to what the slide sends.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.display import Points
from armicro.field import Pixels

_BLOCK_PX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPath:
    """How the display lies before the camera."""

    camera_wh_px: tuple[int, int] = (2448, 2048)
    display_wh_px: tuple[int, int] = (1920, 1080)
    rotation_deg: float = 0.0
    scale: float = 0.7
    """Display pixels a camera pixel, in the middle."""
    shift_px: tuple[float, float] = (0.0, 0.0)
    """Of the display's middle, in display pixels."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Perspective: share by which the scale changes from the middle to an edge."""
    distortion: tuple[float, float] = (0.0, 0.0)
    """Radial terms of r², r⁴ over half the field's diagonal; positive: pincushion."""
    axis_px: tuple[float, float] = (0.0, 0.0)
    """Where the optical axis lies off the field's middle, in camera pixels."""
    mirrored: bool = True
    brightness: float = 200.0
    """Level that a white display adds, 0-255."""
    blur_px: float = 1.0
    noise: float = 1.5
    """Standard deviation of the camera's noise, in levels."""

    def to_display(self, camera_xy: Points) -> Points:
        """The truth: which display pixel lies behind each camera pixel.

        Args:
            camera_xy: (..., 2).
        """
        wide, high = self.camera_wh_px
        half = math.hypot(wide - 1, high - 1) / 2
        middle = np.array([(wide - 1) / 2, (high - 1) / 2])
        axis = middle + np.asarray(self.axis_px)
        off = np.asarray(camera_xy, np.float64) - axis
        r2 = (off**2).sum(axis=-1, keepdims=True) / half**2
        k1, k2 = self.distortion
        x, y = np.moveaxis(off * (1 + k1 * r2 + k2 * r2**2) + axis - middle, -1, 0)
        depth = 1 + self.tilt[0] * x / (wide / 2) + self.tilt[1] * y / (high / 2)
        if self.mirrored:
            x = -x
        turn = math.radians(self.rotation_deg)
        display = np.stack(
            (
                math.cos(turn) * x - math.sin(turn) * y,
                math.sin(turn) * x + math.cos(turn) * y,
            ),
            axis=-1,
        )
        centre = [(side - 1) / 2 for side in self.display_wh_px]
        shifted = np.asarray(centre) + np.asarray(self.shift_px)
        return np.asarray(display * self.scale / depth[..., None] + shifted)

    def show(
        self, display: Pixels | None, *, slide: Pixels | None = None, seed: int = 0
    ) -> Pixels:
        """What the camera takes of a display, and of the slide behind it.

        Args:
            display: (height, width, 3) of the display's size; None: it is dark.
            slide: (height, width, 3) of the camera's size; None: no light from below.
            seed: of the noise.
        """
        wide, high = self.camera_wh_px
        light = np.zeros((high, wide, 3), np.float32)
        if slide is not None:
            light += slide
        if display is not None:
            seen = cv2.remap(display, *self._maps(), cv2.INTER_LINEAR)
            light += cv2.GaussianBlur(seen, (0, 0), self.blur_px) * np.float32(
                self.brightness / 255
            )
        rng = np.random.default_rng(seed)
        light += rng.standard_normal(light.shape, dtype=np.float32) * self.noise
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)

    def _maps(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Display's x and y of every camera pixel, straight between blocks' middles.

        Between them the truth bends by less than a thousandth of a pixel.
        """
        wide, high = self.camera_wh_px
        axes = [
            np.arange(-1, side // _BLOCK_PX + 2) * _BLOCK_PX + (_BLOCK_PX - 1) / 2
            for side in (wide, high)
        ]
        nodes = self.to_display(np.stack(np.meshgrid(*axes), axis=-1))
        map_x, map_y = (
            cv2.resize(
                nodes[..., axis].astype(np.float32), None, fx=_BLOCK_PX, fy=_BLOCK_PX
            )[_BLOCK_PX:, _BLOCK_PX:][:high, :wide]
            for axis in (0, 1)
        )
        return np.asarray(map_x, np.float32), np.asarray(map_y, np.float32)


def draw_path(
    seed: int, *, camera_wh_px: tuple[int, int] = (2448, 2048)
) -> SimulatedPath:
    """Draw a path as a mounted instrument may have it: turned 1-5°, tilted, bent.

    The display's image may be larger or smaller than the field, and off its middle.
    """
    rng = np.random.default_rng(seed)
    wide = camera_wh_px[0]
    return SimulatedPath(
        camera_wh_px=camera_wh_px,
        rotation_deg=float(rng.uniform(1, 5) * rng.choice((-1, 1))),
        scale=float(rng.uniform(1500, 1950) / wide),
        shift_px=(float(rng.uniform(-80, 80)), float(rng.uniform(-50, 50))),
        tilt=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.03, 0.03))),
        distortion=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.005, 0.005))),
        axis_px=(float(rng.normal(0, 0.01) * wide), float(rng.normal(0, 0.01) * wide)),
        mirrored=bool(rng.integers(2)),
        brightness=float(rng.uniform(60, 220)),
        blur_px=float(rng.uniform(0.7, 2.0)),
    )
