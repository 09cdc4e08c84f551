"""Boxes stay on their cells in every painted frame: measured on the pixels."""

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.overlay.snapshot import LiveField
from tests.overlay.scene import Slot, field_at, finding_at, place_at, slide_with
from tests.overlay.test_window import Stage, snapshot_with, stage

__all__ = ["stage"]

CELLS_UM = ((40.0, 45.0), (88.0, 30.0), (61.0, 90.0))
UM_PER_PX, SIZE_PX = 0.25, (400, 300)
BOX_UM = 10.0, 8.0


def view_of(x_um: float, y_um: float) -> Pixels:
    """A field with a magenta disc at every cell, exact to parts of a pixel."""
    pixels = np.full((SIZE_PX[1], SIZE_PX[0], 3), 235, np.uint8)
    for cell_um in CELLS_UM:
        x, y = (
            (um - corner) / UM_PER_PX - 0.5
            for um, corner in zip(cell_um, (x_um, y_um), strict=True)
        )
        spot = round(x * 16), round(y * 16)
        cv2.circle(pixels, spot, 6 * 16, (200, 0, 200), -1, cv2.LINE_AA, shift=4)
    return pixels


def moving_field(seq: int) -> LiveField:
    """A stage that hurries in a curve, 4 µm and more a frame."""
    x_um = 4.13 * seq - 6.0
    y_um = 9.0 * float(np.sin(seq / 3)) + 12.0
    field = field_at(
        place_at(x_um, y_um), seq=seq, slot=Slot(view_of(x_um, y_um)), size_px=SIZE_PX
    )
    return replace(field, taken_ns=field.taken_ns + seq * 33_000_000)


def middles_on_screen(shown: Pixels) -> list[tuple[float, float]]:
    """Middles of the discs that stand whole on the screen, from their pixels."""
    red, green, blue = (shown[..., i].astype(int) for i in range(3))
    magenta = ((red > green + 90) & (blue > green + 90)).astype(np.uint8)
    found = cv2.connectedComponentsWithStats(magenta)
    return [
        (float(x), float(y))
        for (x, y), (left, top, width, height, _) in zip(
            found[3][1:], found[2][1:], strict=True
        )
        if min(left, top) > 60 and left + width < 630 and top + height < 560
    ]


def middle_of_lit(
    lit: NDArray[np.bool_], near: tuple[float, float], half_px: tuple[float, float]
) -> tuple[float, float]:
    """Middle of the brackets around a spot, without the label beside them."""
    ys, xs = np.nonzero(lit)
    inside = (np.abs(xs - near[0]) < half_px[0] + 4) & (
        np.abs(ys - near[1]) < half_px[1] + 4
    )
    xs, ys = xs[inside], ys[inside]
    return (xs.min() + xs.max()) / 2, (ys.min() + ys.max()) / 2


def test_in_every_frame_of_a_pan_boxes_stand_around_their_cells(
    stage: Stage,
) -> None:
    findings = tuple(finding_at(x, y) for x, y in CELLS_UM)
    # What is known is of long ago, and nothing newer comes during the pan.
    slide = slide_with(findings)
    distances = []
    for seq in range(12):
        stage.play(snapshot_with(moving_field(seq), slide=slide), after_ms=33)
        shown = stage.pixels()
        stage.window.KEYS[ord("B")](stage.window)
        stage.window.tick()
        bare = stage.pixels()
        stage.window.KEYS[ord("B")](stage.window)
        lit = np.abs(shown.astype(int) - bare).max(axis=2) > 60
        scale = stage.window.canvas.view.scale / UM_PER_PX
        half_px = BOX_UM[0] / 2 * scale, BOX_UM[1] / 2 * scale
        for cell in middles_on_screen(bare):
            box = middle_of_lit(lit, cell, half_px)
            distances.append(np.hypot(box[0] - cell[0], box[1] - cell[1]) / scale)
    assert len(distances) >= 15
    assert max(distances) == pytest.approx(0.0, abs=0.35)  # µm; a screen pixel is 0.15
