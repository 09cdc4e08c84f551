"""The path of the stage over a region."""

import numpy as np
import pytest

from armicro.rig import Scan
from armicro.source.scan import count_fields, scan_path

REGION, FIELD = (10, 20, 1000, 700), (300, 200)


@pytest.mark.parametrize("path", ["serpentine", "raster", "random"])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 0.9])
def test_path_covers_the_region_and_stays_inside(path: str, overlap: float) -> None:
    scan = Scan(path=path, overlap=overlap)  # type: ignore[arg-type]
    corners = scan_path(REGION, FIELD, scan)
    assert len(corners) == count_fields(REGION[2:], FIELD, overlap=overlap)
    assert len(np.unique(corners, axis=0)) == len(corners)
    seen = np.zeros((700, 1000), bool)
    for x, y in corners - REGION[:2]:
        assert 0 <= x <= 700
        assert 0 <= y <= 500
        seen[y : y + 200, x : x + 300] = True
    assert seen.all()


def test_serpentine_moves_one_step_at_a_time() -> None:
    corners = scan_path(REGION, FIELD, Scan(path="serpentine"))
    steps = np.abs(np.diff(corners, axis=0))
    assert (steps.min(axis=1) == 0).all()
    assert steps.max() <= 270


def test_raster_starts_every_row_at_the_left() -> None:
    corners = scan_path(REGION, FIELD, Scan(path="raster"))
    back = np.diff(corners[:, 0]) < 0
    assert (corners[1:][back][:, 0] == 10).all()


def test_random_path_is_the_seed_s_own() -> None:
    first, again, other = (
        scan_path(REGION, FIELD, Scan(path="random", seed=seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_region_of_one_field_has_one_field() -> None:
    np.testing.assert_array_equal(
        scan_path((5, 6, 300, 200), FIELD, Scan(path="random")), [[5, 6]]
    )


@pytest.mark.parametrize("overlap", [0.15, 0.5])
def test_hand_shares_what_it_should_and_stays_inside(overlap: float) -> None:
    scan = Scan(path="freehand", overlap=overlap, fields=200, seed=4)
    corners = scan_path(REGION, FIELD, scan)
    assert len(corners) == 200
    away = corners - REGION[:2]
    assert (away >= 0).all()
    assert (away <= (700, 500)).all()
    step = np.abs(np.diff(corners, axis=0))
    shared = np.maximum(0, 1 - step / FIELD).prod(axis=1)
    # A pixel of rounding, and less of a step at the edge of the region.
    assert shared.min() > overlap - 0.01
    assert (shared < 0.92).mean() > 0.8


def test_hand_goes_another_way_with_another_seed() -> None:
    first, again, other = (
        scan_path(REGION, FIELD, Scan(path="freehand", seed=seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
