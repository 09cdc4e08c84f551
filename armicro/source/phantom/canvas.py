"""Any part of a phantom: glass times the light of each sprite, then the optics."""

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.source.phantom.glass import noise_glass
from armicro.source.phantom.layout import BLOCK_PX, REACH_PX, TONES, Layout, Stamps
from armicro.source.phantom.library import Library
from armicro.source.phantom.optics import Scanner
from armicro.source.phantom.specification import PhantomSpec


class Canvas:
    """Draws any rectangle of one phantom; equal rectangles get equal pixels."""

    def __init__(self, spec: PhantomSpec, library: Library) -> None:
        """Lay the slide out; sprites are drawn when they are first needed."""
        self.layout = Layout(spec)
        self._library = library
        self.glass_rgb = library.stain.glass_rgb
        self._tones = _tone_tables()
        rng = np.random.default_rng([spec.seed, 3])
        self._glass = noise_glass(self.glass_rgb, rng)
        self._scanner = Scanner(spec.optics, spec.seed)

    def draw(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        """Draw a rectangle of the slide.

        Returns:
            (height_px, width_px, 3) uint8 RGB.
        """
        halo = self._scanner.halo_px
        left, top = x_px - halo, y_px - halo
        size = (width_px + 2 * halo, height_px + 2 * halo)
        picture = self._glass.window(left, top, *size)
        for stamps in self._near(left, top, *size):
            for stamp in stamps.tolist():
                self._stamp(picture, stamp, left, top)
        return self._scanner.photograph(picture, x_px, y_px)

    def _near(self, x: int, y: int, width: int, height: int) -> list[Stamps]:
        """Stamps that may touch a rectangle, block after block in reading order."""
        found = []
        for by in range(
            (y - REACH_PX) // BLOCK_PX, (y + height + REACH_PX) // BLOCK_PX + 1
        ):
            for bx in range(
                (x - REACH_PX) // BLOCK_PX, (x + width + REACH_PX) // BLOCK_PX + 1
            ):
                stamps = self.layout.stamps(bx, by)
                u, v = stamps["x_px"], stamps["y_px"]
                found.append(
                    stamps[
                        (u > x - REACH_PX)
                        & (u < x + width + REACH_PX)
                        & (v > y - REACH_PX)
                        & (v < y + height + REACH_PX)
                    ]
                )
        return found

    def _stamp(
        self,
        picture: Pixels,
        stamp: tuple[int, int, int, int, int, int],
        left: int,
        top: int,
    ) -> None:
        kind, number, x, y, turn, tone = stamp
        light = self._library.sprite(kind, number).light
        height, width = light.shape[:2]
        if turn & 4:
            height, width = width, height
        x0, y0 = x - left - width // 2, y - top - height // 2
        u0, u1 = max(x0, 0), min(x0 + width, picture.shape[1])
        v0, v1 = max(y0, 0), min(y0 + height, picture.shape[0])
        if u1 <= u0 or v1 <= v0:
            return
        part = _turned(light, turn, (v0 - y0, v1 - y0), (u0 - x0, u1 - x0))
        if tone:
            part = np.asarray(cv2.LUT(part, self._tones[tone]))
        under = picture[v0:v1, u0:u1]
        cv2.multiply(under, part, dst=under, scale=1 / 255)


def _turned(
    light: Pixels, turn: int, rows: tuple[int, int], columns: tuple[int, int]
) -> Pixels:
    """A window of the turned sprite, turning no more than the window.

    Bit 2 of ``turn`` transposes, then bit 0 mirrors left-right and bit 1 up-down.
    """
    height, width = light.shape[:2]
    if turn & 4:
        height, width = width, height
    if turn & 2:
        rows = (height - rows[1], height - rows[0])
    if turn & 1:
        columns = (width - columns[1], width - columns[0])
    if turn & 4:
        rows, columns = columns, rows
    part = light[slice(*rows), slice(*columns)]
    if turn & 4:
        part = np.asarray(cv2.transpose(part))
    if turn & 3:
        # OpenCV's codes: 1 left-right, 0 up-down, -1 both.
        part = np.asarray(cv2.flip(part, (1, 0, -1)[(turn & 3) - 1]))
    return part


def _tone_tables() -> NDArray[np.uint8]:
    """(TONES, 256) tables that make a sprite thinner or thicker; the first does not.

    A thickness of g times lets light^g through.
    """
    thickness = np.linspace(0.72, 1.28, TONES)
    thickness[0] = 1
    light = np.arange(256) / 255
    return np.rint(255 * light[None] ** thickness[:, None]).astype(np.uint8)
