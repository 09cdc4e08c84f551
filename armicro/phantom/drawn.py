"""Drawn slides and fields: the way in to the procedural phantom."""

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.phantom.glass import noise_glass
from armicro.phantom.layout import BLOCK_PX, REACH_PX, TONES, StampLayout, Stamps
from armicro.phantom.library import KINDS, Library, library_of
from armicro.phantom.optics import Scanner
from armicro.phantom.specification import (
    LESION_CLASSES,
    NORMAL_CLASSES,
    UM_PER_PX,
    PhantomSpec,
    ScannerOptics,
)
from armicro.phantom.truth import Truth, slide_file, write_truth
from armicro.pyramid import Sheet, write_pyramid

# ---------------------------------------------------------------------------
# Any part of a phantom: glass times the light of each sprite, then the optics.


class PhantomCanvas:
    """Draws any rectangle of one phantom; equal rectangles get equal pixels."""

    def __init__(self, spec: PhantomSpec, library: Library) -> None:
        """Lay the slide out; sprites are drawn when they are first needed."""
        self.layout = StampLayout(spec)
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


# ---------------------------------------------------------------------------
# The way in.

BYTES_PER_PX = 0.25
"""More than a phantom's JPEG pyramid has been seen to take."""

FIRST_CELL = KINDS.index(NORMAL_CLASSES[0])


def write_phantom(
    path: Path, spec: PhantomSpec, *, progress: Callable[[int], None] | None = None
) -> Truth:
    """Write a drawn slide and its truth beside it.

    Args:
        path: The TIFF to write; ``.truth.csv`` and ``.truth.geojson`` go beside it.
        spec: What to draw; equal specifications give equal bytes.
        progress: Called with the number of pixels just finished.

    Raises:
        SourceError: the file cannot be written there.
    """
    canvas = PhantomCanvas(spec, Library(spec.seed, spec.stain))
    sheet = Sheet(
        width_px=spec.width_px,
        height_px=spec.height_px,
        description=(
            "armicro phantom: drawn, not a real specimen. "
            f"seed={spec.seed} lesions={spec.lesions} stain={spec.stain}"
        ),
        quality=spec.quality,
        paper_rgb=canvas.glass_rgb,
        um_per_px=UM_PER_PX,
    )
    room_bytes = math.ceil(spec.width_px * spec.height_px * BYTES_PER_PX)
    with slide_file(path, room_bytes) as file:
        write_pyramid(file, sheet, canvas.draw, progress)
        truth = truth_of(spec, canvas)
        write_truth(truth, path)
    return truth


def paint_field(  # noqa: PLR0913 (all by keyword, most with a default)
    *,
    seed: int,
    width_px: int,
    height_px: int,
    um_per_px: float = UM_PER_PX,
    lesions: int = 1,
    stain: str = "classic",
    optics: ScannerOptics = ScannerOptics(),  # noqa: B008 (frozen)
    library_seed: int | None = None,
) -> tuple[Pixels, Truth]:
    """Paint one field with known cells, for tests and for training.

    Args:
        seed: Decides where everything lies.
        width_px: Width of the result.
        height_px: Height of the result.
        um_per_px: Scale of the result; drawn at 0.243 and resampled.
        lesions: Exactly so many lesion cells lie in the field.
        stain: One of ``STAINS``.
        optics: Defocus and fall-off of light.
        library_seed: Decides the look of the cells; ``seed`` when None. Fields of one
            library seed are painted faster, because its sprites are kept.

    Returns:
        (height_px, width_px, 3) uint8 RGB, and the truth in µm from the field's corner.

    Raises:
        SourceError: something asked for cannot be drawn.
    """
    if not 0.05 <= um_per_px <= 5:
        raise SourceError(
            f"a field at {um_per_px} µm/px: expected 0.05 to 5; choose another scale"
        )
    scale = um_per_px / UM_PER_PX
    spec = PhantomSpec(
        width_px=max(1, round(width_px * scale)),
        height_px=max(1, round(height_px * scale)),
        seed=seed,
        lesions=lesions,
        stain=stain,
        optics=optics,
    )
    library = library_of(seed if library_seed is None else library_seed, stain)
    canvas = PhantomCanvas(spec, library)
    pixels = canvas.draw(0, 0, spec.width_px, spec.height_px)
    if (spec.width_px, spec.height_px) != (width_px, height_px):
        way = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        pixels = np.asarray(
            cv2.resize(pixels, (width_px, height_px), interpolation=way), np.uint8
        )
    return pixels, truth_of(spec, canvas)


def truth_of(spec: PhantomSpec, canvas: PhantomCanvas) -> Truth:
    """Every epithelial cell whose nucleus lies on the slide."""
    parts = []
    across, down = canvas.layout.blocks()
    for by in range(down):
        for bx in range(across):
            stamps = canvas.layout.stamps(bx, by)
            x, y = stamps["x_px"], stamps["y_px"]
            on_slide = (x < spec.width_px) & (y < spec.height_px)
            parts.append(stamps[(stamps["kind"] >= FIRST_CELL) & on_slide])
    cells = np.concatenate(parts)
    return Truth(
        x_um=cells["x_px"] * UM_PER_PX,
        y_um=cells["y_px"] * UM_PER_PX,
        class_index=(cells["kind"] - FIRST_CELL).astype(np.uint8),
        classes=KINDS[FIRST_CELL:],
        lesion_classes=frozenset(LESION_CLASSES),
    )
