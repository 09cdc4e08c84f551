import itertools

import numpy as np
import pytest

from armicro.cascade.locate import fuse_mean, fuse_release, keep_apart, order, scores_of
from armicro.report import Finding


def finding(hr: float, lr: float = 0.9, x: float = 0.0, y: float = 0.0) -> Finding:
    return Finding(x, y, 62.0, 62.0, lr, hr, 0)


def test_order_falls_to_values_and_never_to_arrival() -> None:
    findings = [finding(0.9), finding(0.9, lr=0.95), finding(0.9, x=1.0), finding(0.2)]
    expected = sorted(findings, key=order)
    assert expected[0].lr_probability == 0.95
    for shuffled in itertools.permutations(findings):
        assert sorted(shuffled, key=order) == expected


@pytest.mark.parametrize("apart_um", [1.0, 7.5, 40.0])
def test_kept_points_lie_apart_and_the_others_near_a_better_one(
    apart_um: float,
) -> None:
    points = [tuple(p) for p in np.random.default_rng(2).uniform(-50, 50, (200, 2))]
    kept = keep_apart(points, apart_um=apart_um)
    for a, b in itertools.combinations(kept, 2):
        assert np.hypot(*np.subtract(points[a], points[b])) >= apart_um
    for index in set(range(200)) - set(kept):
        distances = [
            np.hypot(*np.subtract(points[index], points[k])) for k in kept if k < index
        ]
        assert min(distances) < apart_um


def test_count_ends_the_list_early() -> None:
    assert keep_apart([(0, 0), (9, 0), (18, 0)], apart_um=5, count=2) == [0, 1]


FUSION_CASES = [
    # six scores, the mean, the release's answer
    ([0.2, 0.4, 0.6, 0.8, 0.9, 0.7], 0.6, 0.6),
    ([0.1, 0.1, 0.6, 0.8, 0.9, 0.7], 0.5333333, 0.8),
    ([0.1, 0.1, 0.12, 0.12, 0.2, 0.2], 0.14, 0.1),
]


@pytest.mark.parametrize(("row", "mean", "release"), FUSION_CASES)
def test_fusion_by_mean_and_by_the_release(
    row: list[float], mean: float, release: float
) -> None:
    scores = scores_of(row, [10, 20, 30])
    assert list(scores) == ["10", "20", "30"]
    assert fuse_mean(scores) == pytest.approx(mean, abs=1e-6)
    assert fuse_release(scores) == pytest.approx(release, abs=1e-6)
