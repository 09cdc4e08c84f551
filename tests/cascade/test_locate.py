import numpy as np
import pytest

from armicro.cascade.locate import (
    CANDIDATE_RULES,
    find_crowd,
    find_peaks,
    find_regions,
)


def heat_with(*peaks: tuple[int, int, float]) -> np.ndarray:
    heat = np.full((16, 16), 0.01, np.float32)
    for row, column, height in peaks:
        heat[row, column] = height
    return heat


def test_every_cell_of_a_cluster_is_a_candidate_of_its_own() -> None:
    heat = heat_with((5, 5, 0.9), (5, 7, 0.8), (7, 6, 0.85))
    heat[5, 6] = heat[6, 5:8] = 0.7
    assert len(find_peaks(heat, threshold=0.5)) == 3
    assert len(find_regions(heat, threshold=0.5)) == 1


def test_peaks_come_highest_first_at_the_centre_of_their_cell() -> None:
    peaks = find_peaks(heat_with((2, 3, 0.6), (10, 12, 0.9)), threshold=0.5)
    assert np.allclose(peaks, [(12.5, 10.5, 0.9), (3.5, 2.5, 0.6)])


def test_peak_between_two_cells_is_placed_between_them() -> None:
    heat = heat_with((4, 4, 0.8))
    heat[4, 5] = 0.79
    ((x, y, _),) = find_peaks(heat, threshold=0.5)
    assert x == pytest.approx(5.0, abs=0.02)
    assert y == pytest.approx(4.5, abs=0.02)


def test_plateau_is_one_candidate() -> None:
    heat = heat_with()
    heat[3:5, 3:5] = 0.9
    assert len(find_peaks(heat, threshold=0.5)) == 1


def test_nothing_above_the_threshold_is_no_candidate() -> None:
    assert len(find_peaks(heat_with((3, 3, 0.4)), threshold=0.5)) == 0


def test_crowd_rule_adds_high_cells_that_are_no_maximum() -> None:
    heat = heat_with((5, 5, 0.9), (5, 6, 0.7), (5, 7, 0.8), (9, 9, 0.45))
    peaks = find_peaks(heat, threshold=0.4)
    crowd = find_crowd(heat, threshold=0.4)
    assert (len(peaks), len(crowd)) == (3, 4)
    assert {tuple(one) for one in peaks} < {tuple(one) for one in crowd}
    assert (np.diff(crowd[:, 2]) <= 0).all()


def test_release_rule_takes_the_peak_of_each_region_over_its_share() -> None:
    heat = heat_with((2, 2, 1.0), (2, 3, 0.8), (10, 10, 0.71), (14, 1, 0.69))
    peaks = find_regions(heat, threshold=0.0)
    assert [tuple(p) for p in peaks[:, :2]] == [(2.5, 2.5), (10.5, 10.5)]


@pytest.mark.parametrize("rule", CANDIDATE_RULES)
def test_rules_do_not_write_into_the_map(rule: str) -> None:
    heat = heat_with((2, 2, 0.9), (9, 9, 0.8))
    before = heat.copy()
    CANDIDATE_RULES[rule](heat, threshold=0.5)
    assert (heat == before).all()
