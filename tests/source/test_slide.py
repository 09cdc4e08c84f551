"""The slide source on slides whose pixels say where they lie."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.field import Field, Pixels
from armicro.rig import Camera, Rig, Scan
from armicro.source.scan import count_fields
from armicro.source.slide import SlideSource

Draw = Callable[[int, int], Pixels]
Write = Callable[..., Path]
CAMERA = Camera(width_px=300, height_px=200, um_per_px=0.25)
RIG = Rig(camera=CAMERA)


def read_all(
    path: Path,
    rig: Rig = RIG,
    *,
    um_per_px: float | None = None,
    region_px: tuple[int, int, int, int] | None = None,
) -> list[Field]:
    with contextlib.closing(
        SlideSource(path, rig, um_per_px=um_per_px, region_px=region_px)
    ) as source:
        return list(source.fields())


@pytest.mark.parametrize("path", ["serpentine", "raster", "random"])
def test_every_field_shows_what_lies_at_its_place(
    write_slide: Write, coordinate_pixels: Draw, path: str
) -> None:
    pixels = coordinate_pixels(900, 700)
    rig = Rig(camera=CAMERA, scan=Scan(path=path))  # type: ignore[arg-type]
    fields = read_all(write_slide(pixels), rig)
    assert len(fields) == count_fields((900, 700), (300, 200), overlap=0.1) == 16
    for field in fields:
        assert field.place is not None
        x, y = round(field.place.x_um / 0.25), round(field.place.y_um / 0.25)
        assert field.pixels.shape == (200, 300, 3)
        np.testing.assert_array_equal(field.pixels, pixels[y : y + 200, x : x + 300])


def test_slide_without_a_scale_is_refused_and_the_option_named(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(400, 300), um_per_px=None)
    with pytest.raises(SourceError, match="--um-per-px"):
        read_all(path)
    assert read_all(path, um_per_px=0.25)[0].um_per_px == 0.25
