"""A slide without an end whose colour at any place is known."""

from collections.abc import Iterator

import numpy as np

from armicro.field import Field, Pixels, Place, Sight

UM_PER_PX = 0.25


def colours_at(x_um: float, y_um: float, size_px: tuple[int, int]) -> Pixels:
    """(height, width, 3): waves of 8 to 40 µm; the corner lies at (x, y)."""
    width_px, height_px = size_px
    x = x_um + (np.arange(width_px) + 0.5) * UM_PER_PX
    y = y_um + (np.arange(height_px)[:, None] + 0.5) * UM_PER_PX
    waves = (
        np.sin(x / 1.7) * np.cos(y / 2.3),
        np.sin((x + y) / 3.1),
        np.cos((x - 2 * y) / 6.0) + 0 * x,
    )
    planes = np.stack([np.broadcast_to(w, (height_px, width_px)) for w in waves], 2)
    return np.asarray(np.round(140 + 90 * planes), np.uint8)


def field_at(
    x_um: float,
    y_um: float,
    *,
    seq: int = 0,
    size_px: tuple[int, int] = (640, 512),
    sight: Sight | None = None,
    light: float = 1.0,
) -> Field:
    """A field of the endless slide."""
    pixels = np.asarray(colours_at(x_um, y_um, size_px) * light, np.uint8)
    place = Place(x_um, y_um, 0.3, "image_registration")
    return Field(UM_PER_PX, seq, seq, place, sight=sight, pixels=pixels)


def walk(
    columns: int, rows: int, *, overlap: float = 0.2, size_px: tuple[int, int]
) -> Iterator[Field]:
    """A serpentine of fields that lie between the pixels of any grid."""
    steps = [side * UM_PER_PX * (1 - overlap) for side in size_px]
    for row in range(rows):
        across = range(columns) if row % 2 == 0 else reversed(range(columns))
        for column in across:
            jitter = 0.037 * (column % 5), 0.041 * (row % 5)
            yield field_at(
                column * steps[0] + jitter[0],
                row * steps[1] + jitter[1],
                seq=row * columns + column,
                size_px=size_px,
            )
