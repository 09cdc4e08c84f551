import numpy as np
import pytest

from armicro.cascade.tile import (
    cut_centred,
    find_cells,
    pack_cells,
    pad,
    resample,
    scale_reason,
    tile_origins,
    whole_size,
)

GLASS = (235, 238, 240)


def glass(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GLASS, np.uint8)


@pytest.mark.parametrize("um_per_px", [0.1, 0.25, 0.6])
def test_scale_inside_the_range_has_no_reason(um_per_px: float) -> None:
    assert scale_reason(um_per_px) == ""


@pytest.mark.parametrize("um_per_px", [0.0999, 0.601, float("nan"), -1.0, 0.0])
def test_scale_outside_the_range_says_what_was_seen(um_per_px: float) -> None:
    assert f"{um_per_px:.3g}" in scale_reason(um_per_px)


@pytest.mark.parametrize("length", [1, 511, 512, 513, 895, 896, 897, 2048, 5000])
def test_tiles_cover_every_pixel_with_a_quarter_overlap(length: int) -> None:
    origins = tile_origins(length, tile_px=512, overlap=0.25)
    assert origins[0] == 0
    if length <= 512:
        assert origins == [0]
        return
    assert origins[-1] == length - 512
    assert max(np.diff(origins)) <= 384


@pytest.mark.parametrize("length", [1, 512, 513, 896, 897, 4000])
def test_whole_size_holds_the_field_and_whole_tiles(length: int) -> None:
    size = whole_size(length, tile_px=512, stride_px=384)
    assert size >= length
    assert (size - 512) % 384 == 0
    assert size - 384 < max(length, 129)


def test_empty_glass_is_blank_even_when_noisy_and_tinted() -> None:
    noise = np.random.default_rng(0).normal(0, 4, (600, 800, 3))
    pixels = np.clip(glass(600, 800) + noise, 0, 255).astype(np.uint8)
    assert find_cells(pixels, 0.25).share == 0.0


def test_one_small_naked_nucleus_is_not_blank() -> None:
    pixels = glass(800, 800)
    rows, columns = np.ogrid[:800, :800]
    pixels[(rows - 400) ** 2 + (columns - 300) ** 2 < 20**2] = (90, 60, 130)
    cells = find_cells(pixels, 0.25)
    assert cells.within(40.0, 60.0, 80.0)
    assert not cells.within(120.0, 60.0, 70.0)
    assert cells.background == GLASS


@pytest.mark.parametrize("level", [0, 12, 40])
@pytest.mark.parametrize("share", [0.0, 0.06])
def test_round_mask_of_an_eyepiece_is_no_cell(level: int, share: float) -> None:
    pixels = np.full((800, 1000, 3), (236, 232, 238), np.uint8)
    y, x = np.mgrid[:800, :1000]
    cells = (x // 100 + y // 100) % 16 == 0 if share else np.zeros_like(x, np.bool_)
    pixels[cells] = (150, 120, 170)
    bare = find_cells(pixels, 0.5)
    away = np.hypot(x - 500, y - 400)
    pixels[away > 480] = level
    seen = find_cells(pixels, 0.5)
    rows, columns = seen.mask.shape
    near = away[4::8, 4::8][:rows, :columns] < 440
    assert seen.background == bare.background
    assert not seen.mask[~near & (away[4::8, 4::8][:rows, :columns] > 480)].any()
    assert (seen.mask == bare.mask)[near].all()


def test_packed_cells_keep_every_cell() -> None:
    pixels = glass(500, 700)
    pixels[200:260, 300:400] = (120, 90, 150)
    cells = find_cells(pixels, 0.25)
    packed = pack_cells(cells, pool=4)
    bits = np.unpackbits(np.frombuffer(packed.bits, np.uint8))
    grid = bits[: packed.rows * packed.columns].reshape(packed.rows, packed.columns)
    for row, column in np.argwhere(cells.mask):
        assert grid[row // 4, column // 4] == 1
    assert packed.pitch_um == pytest.approx(16.0)


def test_area_filter_keeps_the_mean_when_shrinking() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (600, 600, 3), np.uint8)
    small = resample(pixels, from_um_per_px=0.2, to_um_per_px=0.486)
    assert small.shape == (247, 247, 3)
    assert abs(float(small.mean()) - float(pixels.mean())) < 1.0


def test_padding_uses_the_background_and_not_black() -> None:
    padded = pad(np.zeros((10, 20, 3), np.uint8), (30, 40), GLASS)
    assert padded.shape == (30, 40, 3)
    assert tuple(padded[29, 39]) == GLASS
    assert padded[:10, :20].max() == 0


@pytest.mark.parametrize(
    ("centre", "inside"),
    [
        ((50.0, 40.0), True),
        ((0.0, 0.0), True),
        ((99.5, 79.5), True),
        ((500.0, 9.0), False),
    ],
)
def test_cut_around_a_point_has_that_point_in_its_middle(
    centre: tuple[float, float], inside: bool
) -> None:
    rows, columns = np.mgrid[:80, :100]
    pixels = np.dstack([columns, rows, 0 * rows]).astype(np.uint8)
    cut = cut_centred(pixels, centre, 32, GLASS)
    assert cut.shape == (32, 32, 3)
    if inside:
        x, y = min(int(centre[0]), 99), min(int(centre[1]), 79)
        near = np.abs(cut[14:18, 14:18].astype(int) - [x, y, 0]).sum(axis=2)
        assert near.min() <= 1
    else:
        assert (cut == GLASS).all()
