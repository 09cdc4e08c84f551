import numpy as np
import pytest

from armicro.overlay.view import (
    Cut,
    Viewport,
    cut_for,
    cut_out,
    panned_px,
    refitted,
    zoomed,
)
from tests.overlay.scene import pixels_of


@pytest.mark.parametrize("size_px", [(400, 300), (800, 600), (250, 187), (77, 58)])
def test_a_cut_shows_the_same_place_at_every_size(size_px: tuple[int, int]) -> None:
    pixels = pixels_of(400, 300)
    shown = cut_out(pixels, Cut((0, 0, 400, 300), size_px))
    assert shown.shape == (size_px[1], size_px[0], 3)
    row, column = size_px[1] // 2, size_px[0] // 2
    assert shown[row, column].tolist() == pytest.approx([128, 128, 128], abs=4)
    assert shown[row, -1, 0] > 250
    assert shown[-1, column, 1] > 250


def test_a_cut_never_shares_memory_with_its_source() -> None:
    pixels = pixels_of(40, 30)
    shown = cut_out(pixels, Cut((5, 5, 25, 25), (20, 20)))
    assert not np.shares_memory(shown, pixels)
    assert np.array_equal(shown, pixels[5:25, 5:25])


def test_shrinking_averages_instead_of_dropping_pixels() -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[::2] = 200
    shown = cut_out(pixels, Cut((0, 0, 400, 400), (90, 90)))
    assert shown.mean() == pytest.approx(100, abs=3)
    assert shown.std() < 12


def test_nothing_is_cut_where_nothing_is_in_sight() -> None:
    assert cut_for((500, 0, 600, 50), (400, 300), 1.0) is None


WHOLE = Viewport((2448.0, 2048.0), (1000.0, 700.0))


def test_the_whole_field_fits_with_its_aspect() -> None:
    assert WHOLE.scale == pytest.approx(700 / 2048)
    assert WHOLE.visible_xyxy_px == (0.0, 0.0, 2448.0, 2048.0)
    left, top = WHOLE.to_screen(0, 0)
    right, bottom = WHOLE.to_screen(2448, 2048)
    assert (top, bottom) == pytest.approx((0, 700))
    assert left == pytest.approx(1000 - right)


def test_zoom_keeps_what_lies_under_the_pointer() -> None:
    near = zoomed(zoomed(WHOLE, 3.0), 1.5, (600.0, 200.0))
    before = zoomed(WHOLE, 3.0).to_field(600.0, 200.0)
    assert near.to_field(600.0, 200.0) == pytest.approx(before)
    assert near.to_screen(*before) == pytest.approx((600.0, 200.0))


def test_zoom_has_ends() -> None:
    assert zoomed(WHOLE, 0.1).zoom == 1.0
    assert zoomed(WHOLE, 1e9).scale == pytest.approx(6.0)


def test_the_look_never_leaves_the_field() -> None:
    far = panned_px(zoomed(WHOLE, 4.0), (1e6, -1e6))
    x0, y0, x1, _ = far.visible_xyxy_px
    assert (x1, y0) == pytest.approx((2448.0, 0.0))
    assert x0 > 0


def test_a_new_window_size_keeps_the_look() -> None:
    near = panned_px(zoomed(WHOLE, 4.0), (300.0, 100.0))
    wide = refitted(near, WHOLE.field_px, (1400.0, 900.0))
    assert wide.to_field(700, 450) == pytest.approx(near.to_field(500, 350))
