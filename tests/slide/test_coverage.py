import numpy as np
import pytest

from armicro.cascade.tile import CellMask, pack_cells
from armicro.field import Place
from armicro.report import CellBits
from armicro.slide.coverage import Coverage


def cells(rows: int, columns: int, *, pitch_um: float = 16.0) -> CellBits:
    mask = np.ones((rows, columns), np.bool_)
    return pack_cells(CellMask(mask, pitch_um, (240, 240, 240)), pool=1)


def at(x_um: float, y_um: float) -> Place:
    return Place(x_um, y_um, 0.1, "slide_file")


SIZE = (320.0, 160.0)
FIELD = cells(10, 20)


def test_nothing_seen_is_no_coverage() -> None:
    assert Coverage().share == 0.0


def test_share_is_the_seen_part_of_the_cell_area_of_the_overview() -> None:
    coverage = Coverage()
    coverage.know_cells(cells(40, 40), 0.0, 0.0)
    coverage.see(at(0, 0), SIZE, FIELD)
    assert coverage.share == pytest.approx(10 * 20 / 1600)
    coverage.see(at(320, 0), SIZE, FIELD)
    assert coverage.share == pytest.approx(2 * 10 * 20 / 1600)


@pytest.mark.parametrize("pitch_um", [5.0, 16.0, 27.0])
def test_overview_of_any_pitch_has_no_holes(pitch_um: float) -> None:
    count = round(640 / pitch_um)
    coverage = Coverage()
    coverage.know_cells(cells(count, count, pitch_um=pitch_um), 0.0, 0.0)
    coverage.see(at(-10, -10), (700.0, 700.0), cells(1, 1, pitch_um=700.0))
    assert coverage.share == 1.0


def test_unreadable_field_counts_as_cells_that_nobody_saw() -> None:
    coverage = Coverage()
    coverage.see(at(0, 0), SIZE, FIELD)
    coverage.miss(at(320, 0), SIZE)
    assert coverage.share == pytest.approx(0.5)


def test_order_and_repetition_change_nothing() -> None:
    rng = np.random.default_rng(5)
    places = [at(*rng.uniform(-2000, 3000, 2)) for _ in range(40)]
    one, other = Coverage(), Coverage()
    for place in places:
        one.see(place, SIZE, FIELD)
    for index in [*rng.permutation(40), *range(40)]:
        other.see(places[index], SIZE, FIELD)
    assert other.seen_um2 == one.seen_um2
    assert other.share == one.share


def test_seen_area_is_that_of_the_field_wherever_it_lies() -> None:
    rng = np.random.default_rng(6)
    areas = []
    for _ in range(200):
        coverage = Coverage()
        coverage.see(at(*rng.uniform(-5000, 5000, 2)), (612.0, 512.0), cells(32, 39))
        areas.append(coverage.seen_um2)
    assert np.mean(areas) == pytest.approx(612 * 512, rel=0.01)


def test_cells_on_glass_only_count_where_they_are() -> None:
    mask = np.zeros((10, 20), np.bool_)
    mask[4, 7] = True
    sparse = pack_cells(CellMask(mask, 16.0, (240, 240, 240)), pool=1)
    coverage = Coverage()
    coverage.see(at(0, 0), SIZE, sparse)
    coverage.miss(at(320, 0), (16.0, 16.0))
    assert coverage.share == pytest.approx(0.5)
