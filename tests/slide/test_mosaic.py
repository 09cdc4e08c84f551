"""Which pixels of which field the slide is made of."""

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from armicro.field import Field, Place, Sight
from armicro.mosaic import MosaicField, Spot, Tile, lay, spots_under, view_of
from armicro.pyramid import TILE_PX
from tests.slide.world import UM_PER_PX, colours_at, field_at

TILE_UM = TILE_PX * UM_PER_PX


def viewed(field: Field, um_per_px: float = UM_PER_PX) -> MosaicField:
    view = view_of(field, um_per_px)
    assert view is not None
    return view


def stitched(fields: list[Field]) -> dict[Spot, Tile]:
    tiles: dict[Spot, Tile] = {}
    for field in fields:
        view = viewed(field)
        for spot in spots_under(view):
            tile = lay(view, spot, tiles.get(spot))
            if tile is not None:
                tiles[spot] = tile
    return tiles


def error_of(tile: Tile, spot: Spot) -> float:
    """Largest difference to the true slide where something was seen."""
    true = colours_at(spot[0] * TILE_UM, spot[1] * TILE_UM, (TILE_PX, TILE_PX))
    wrong = np.abs(tile.pixels.astype(int) - true).max(axis=2)
    return float(wrong[tile.rank > 0].max())


@pytest.mark.parametrize("corner_um", [(0.0, 0.0), (-31.25, 12.5), (7.06, -3.19)])
def test_a_field_comes_to_lie_at_its_place_between_pixels_too(
    corner_um: tuple[float, float],
) -> None:
    tiles = stitched([field_at(*corner_um)])
    seen_px = sum(int((tile.rank > 0).sum()) for tile in tiles.values())
    assert seen_px == pytest.approx(640 * 512, rel=0.004)
    for spot, tile in tiles.items():
        assert error_of(tile, spot) <= 3


def test_a_field_of_another_scale_comes_to_lie_at_its_place() -> None:
    fine = colours_at(0.0, 0.0, (1280, 1024))
    coarse = replace(
        field_at(0.0, 0.0),
        pixels=np.asarray(
            cv2.resize(fine, (640, 512), interpolation=cv2.INTER_AREA), np.uint8
        ),
        um_per_px=2 * UM_PER_PX,
    )
    for field, grid_um in ((coarse, UM_PER_PX), (field_at(0.0, 0.0), 2 * UM_PER_PX)):
        tile = lay(viewed(field, grid_um), (0, 0), None)
        assert tile is not None
        size_px = [round(TILE_UM * grid_um / UM_PER_PX / UM_PER_PX)] * 2
        true = cv2.resize(
            colours_at(0.0, 0.0, (size_px[0], size_px[1])),
            (TILE_PX, TILE_PX),
            interpolation=cv2.INTER_AREA,
        )
        inner = tile.rank >= tile.rank.max() // 2048 * 2048 + 8
        assert inner.any()
        wrong = np.abs(tile.pixels.astype(int) - true).max(axis=2)
        assert wrong[inner].max() <= 8


def test_the_seam_runs_half_way_between_the_edges_of_two_fields() -> None:
    left = field_at(0.0, 0.0, light=1.0)
    right = field_at(80.0, 0.0, light=0.5)
    tile = stitched([left, right])[0, 0]
    true = colours_at(0.0, 0.0, (TILE_PX, TILE_PX)).astype(float)
    light = (tile.pixels / true).mean(axis=2)[256]
    # They share the pixels from 320 to 640: the middle is 480.
    assert light[:470] == pytest.approx(1.0, abs=0.03)
    assert light[490:] == pytest.approx(0.5, abs=0.03)
    assert np.abs(np.diff(light)).max() < 0.12


def test_order_and_repetition_decide_nothing_that_can_be_seen() -> None:
    fields = [field_at(x, y, light=1 - y / 400) for x in (0, 60) for y in (0, 50)]
    expected = stitched(fields)
    for again in (fields[::-1], fields * 2, [fields[i] for i in (2, 0, 3, 1)]):
        tiles = stitched(again)
        assert tiles.keys() == expected.keys()
        for spot, tile in tiles.items():
            wrong = np.abs(tile.pixels.astype(int) - expected[spot].pixels)
            # Where three fields meet, mixing is not quite associative.
            assert np.quantile(wrong, 0.999) <= 4


def blurred(field: Field, focus: float) -> Field:
    pixels = np.asarray(cv2.GaussianBlur(field.pixels, (0, 0), 6), np.uint8)
    return replace(field, pixels=pixels, sight=Sight(focus=focus))


def test_a_sharper_view_replaces_and_a_blurred_one_never_does() -> None:
    sharp = field_at(0.0, 0.0, sight=Sight(focus=0.9))
    dull = blurred(sharp, 0.3)
    for fields in ([sharp, dull], [dull, sharp]):
        tile = stitched(fields)[0, 0]
        assert error_of(tile, (0, 0)) <= 2


def test_a_blurred_view_is_better_than_none() -> None:
    assert stitched([blurred(field_at(0.0, 0.0), 0.1)])


@pytest.mark.parametrize(
    ("sight", "replaces"),
    [
        (Sight(focus=0.8, smear_um=0.0), True),
        (Sight(focus=0.8, smear_um=2.0), False),
        (Sight(focus=None), False),
        (None, True),
    ],
)
def test_smear_and_doubt_count_against_a_view(
    sight: Sight | None, replaces: bool
) -> None:
    first = viewed(field_at(0.0, 0.0, sight=Sight(focus=0.5)))
    tile = lay(first, (0, 0), None)
    second = viewed(field_at(0.0, 0.0, sight=sight))
    assert (lay(second, (0, 0), tile) is not None) == replaces


@pytest.mark.parametrize(
    "field",
    [
        replace(field_at(0, 0), place=None),
        replace(field_at(0, 0), fault="unreadable: tile"),
        replace(field_at(0, 0), voided="certificate expired"),
        replace(field_at(0, 0), place=Place(0, 0, 6.0, "stage_encoder")),
        replace(field_at(0, 0), place=Place(0, 0, float("nan"), "stage_encoder")),
        replace(field_at(0, 0), place=Place(9e9, 0, 0.1, "image_registration")),
        replace(field_at(0, 0), place=Place(0, float("nan"), 0.1, "slide_file")),
        field_at(0, 0, sight=Sight(smear_um=20.0)),
    ],
)
def test_a_field_that_would_spoil_the_slide_is_left_out(field: Field) -> None:
    assert view_of(field, UM_PER_PX) is None


def test_a_view_that_brings_next_to_nothing_costs_no_work() -> None:
    tile = lay(viewed(field_at(0.0, 0.0)), (0, 0), None)
    nearly = viewed(field_at(1.0, 0.0))
    assert tile is not None
    # Its own new pixels lie outside this tile.
    assert lay(nearly, (0, 0), tile) is None
