import numpy as np
import pytest
from scipy.stats import binomtest

from armicro.metrics import (
    LEAST_GROUPS,
    OF_CELLS,
    Basis,
    Judged,
    area_bounds,
    auc,
    by_category,
    calibration,
    calibration_error,
    curve,
    interval,
    judge,
    judge_figure,
    partial_auc,
    rate_bounds,
    resample_groups,
    sensitivity,
    share_bounds,
    specificity,
    wider,
)


def judged(count: int = 400, groups: int = 40, seed: int = 0) -> Judged:
    rng = np.random.default_rng(seed)
    lesion = rng.random(count) < 0.4
    score = np.clip(rng.normal(0.35 + 0.3 * lesion, 0.2), 0, 1)
    return Judged(
        score,
        lesion,
        rng.integers(0, groups, count).astype(str),
        np.where(lesion, "HSIL", "NILM"),
    )


def pairs_auc(score: np.ndarray, lesion: np.ndarray) -> float:
    gaps = score[lesion][:, None] - score[~lesion][None]
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_auc_is_the_share_of_pairs_in_order(digits: int) -> None:
    rows = judged()
    score = rows.score.round(digits)
    assert auc(score, rows.lesion) == pytest.approx(pairs_auc(score, rows.lesion))


def test_figures_without_a_class_are_not_numbers() -> None:
    score = np.array([0.2, 0.8])
    nothing, all_of_them = np.zeros(2, bool), np.ones(2, bool)
    assert np.isnan(auc(score, nothing))
    assert np.isnan(sensitivity(score, nothing))
    assert np.isnan(specificity(score, all_of_them))
    assert (
        judge(Judged(score, nothing, np.array(["a", "b"]), np.array(["", ""])))["auc"]
        is None
    )


def test_half_counts_as_called() -> None:
    score, lesion = np.array([0.5, 0.5]), np.array([True, False])
    assert sensitivity(score, lesion) == 1.0
    assert specificity(score, lesion) == 0.0


def test_a_resample_holds_whole_groups() -> None:
    group = np.array(["a", "a", "b", "c", "c", "c"])
    for seed in range(20):
        rows = resample_groups(group, np.random.default_rng(seed))
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]


def test_intervals_of_few_groups_are_wider_than_of_many() -> None:
    rng = np.random.default_rng(0)
    effect = rng.normal(0, 0.2, 8)
    place = rng.integers(0, 8, 400)
    values = effect[place]

    def mean(rows: np.ndarray) -> float:
        return float(values[rows].mean())

    by_group = interval(mean, place.astype(str), resamples=300)
    by_row = interval(mean, np.arange(400).astype(str), resamples=300)
    assert by_group[1] - by_group[0] > 2 * (by_row[1] - by_row[0])


def test_judge_gives_each_figure_with_its_interval() -> None:
    table = judge(judged())
    for name in ("auc", "sensitivity", "specificity"):
        low, value, high = (table[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert low is not None
        assert value is not None
        assert high is not None
        assert low < value < high
    assert (table["n_positive"] or 0) + (table["n_negative"] or 0) == 400


def test_the_curve_runs_to_the_corner() -> None:
    false_rate, true_rate, precision = curve(judged())
    assert false_rate[-1] == 1.0
    assert true_rate[-1] == 1.0
    assert precision[-1] == pytest.approx(judged().lesion.mean())
    area = float(np.trapezoid(np.append(0, true_rate), np.append(0, false_rate)))
    assert area == pytest.approx(auc(judged().score, judged().lesion), abs=1e-9)


def test_calibrated_scores_have_a_small_error() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    lesion = rng.random(20_000) < score
    names = np.zeros(20_000).astype(str)
    good = calibration_error(calibration(Judged(score, lesion, names, names)))
    bad = calibration_error(calibration(Judged(score**4, lesion, names, names)))
    assert good < 0.02 < bad


def test_each_class_has_its_row() -> None:
    table = by_category(judged())
    assert set(table) == {"HSIL", "NILM"}
    assert table["HSIL"]["mean_score"] > table["NILM"]["mean_score"]


def test_a_source_of_lesions_alone_has_a_sensitivity_and_no_more() -> None:
    score, group = np.tile([0.9, 0.2, 0.7, 0.6], 5), np.repeat(list("abcdefghij"), 2)
    figures = judge(Judged(score, np.ones(20, bool), group, group))
    assert figures["sensitivity"] == 0.75
    assert figures["sensitivity_low"] < 0.55
    assert figures["auc"] is figures["specificity"] is figures["auc_low"] is None


@pytest.mark.parametrize(
    ("right", "count"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 7), (99, 100), (500, 1000)]
)
def test_the_interval_of_a_share_is_wilsons(right: int, count: int) -> None:
    wanted = binomtest(right, count).proportion_ci(method="wilson")
    assert share_bounds(right / count, count) == pytest.approx(tuple(wanted), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 0.9, 1.0])
def test_the_interval_of_an_auc_holds_it_has_a_width_and_narrows(value: float) -> None:
    few, many = area_bounds(value, 5, 5), area_bounds(value, 50, 50)
    for low, high in (few, many):
        assert 0 <= low <= value <= high <= 1
        assert high - low > 0.02
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    assert area_bounds(1 - value, 5, 5) == pytest.approx((1 - few[1], 1 - few[0]))


def test_the_interval_of_an_auc_covers_the_true_one() -> None:
    rng = np.random.default_rng(3)
    lesion = np.arange(40) % 2 == 0
    # Two normals 2 apart in units of their width: AUC 0.921.
    held = 0
    for _ in range(400):
        low, high = area_bounds(auc(rng.normal(2 * lesion, 1), lesion), 20, 20)
        held += low <= 0.9214 <= high
    assert 0.93 <= held / 400 <= 1


def test_no_event_in_ten_things_may_still_be_one_in_three() -> None:
    assert rate_bounds(0.0, 10) == pytest.approx((0, 0.369), abs=1e-3)
    assert rate_bounds(1.0, 1) == pytest.approx((0.0253, 5.572), abs=1e-3)


ALONE = [f"slide{n}" for n in range(60)]
FEW = ["a", "b", "c", "d"] * 15
SIX = ["a", "b", "c", "d", "e", "f"] * 10


@pytest.mark.parametrize(
    ("right", "group", "low", "high"),
    [
        pytest.param("", [], None, None, id="nothing at all"),
        pytest.param("+", ["a"], None, None, id="1 of 1"),
        pytest.param("-", ["a"], None, None, id="0 of 1"),
        pytest.param("++++", ALONE[:4], None, None, id="4 of 4, each its own slide"),
        pytest.param("+++++", ALONE[:5], 0.5655, 1.0, id="5 of 5, each its own slide"),
        pytest.param("-----", ALONE[:5], 0.0, 0.4345, id="0 of 5, each its own slide"),
        pytest.param("+" * 60, ["a"] * 60, None, None, id="60 of 60 in one field"),
        pytest.param("+" * 60, FEW, None, None, id="60 of 60 in four fields"),
        pytest.param("+" * 60, SIX, 0.6097, 1.0, id="60 of 60 in six fields"),
        pytest.param("+" * 60, ALONE, 0.9398, 1.0, id="60 of 60, each its own slide"),
    ],
)
def test_a_share_of_few_things_has_a_true_interval_or_none(
    right: str, group: list[str], low: float | None, high: float | None
) -> None:
    score = np.array([0.9 if one == "+" else 0.1 for one in right])
    rows = np.array(group, dtype=np.str_)
    figures = judge(Judged(score, np.ones(len(score), bool), rows, rows))
    assert (figures["sensitivity_low"], figures["sensitivity_high"]) == (low, high)
    unsaid = low is None and bool(right)
    assert ("sensitivity_interval" in figures) == unsaid
    if unsaid:
        assert f"needs {LEAST_GROUPS}" in figures["sensitivity_interval"]


@pytest.mark.parametrize(
    ("positive", "negative"), [(1, 1), (4, 40), (40, 4), (5, 5), (20, 20)]
)
def test_classes_that_part_wholly_are_not_certain(positive: int, negative: int) -> None:
    lesion = np.arange(positive + negative) < positive
    rows = np.arange(len(lesion)).astype(str)
    whole = Judged(np.where(lesion, 0.9, 0.1), lesion, rows, rows)
    known = min(positive, negative) >= LEAST_GROUPS
    for name in ("auc", "specificity_at_full_sensitivity"):
        figures = judge_figure(name, whole)
        assert figures[name] == 1.0
        if known:
            assert figures[f"{name}_low"] < 1 - 1 / len(lesion)
            assert figures[f"{name}_high"] == 1.0
        else:
            assert figures[f"{name}_low"] is figures[f"{name}_high"] is None
            assert f"{min(positive, negative)} groups" in figures[f"{name}_interval"]


def test_the_wider_bound_of_the_two_holds() -> None:
    basis = Basis((10,), (10,))
    own = share_bounds(0.5, 10)
    assert wider((0.4, 0.95), 0.5, basis, share_bounds) == (own[0], 0.95)
    assert wider((0.1, 0.6), 0.5, basis, share_bounds) == (0.1, own[1])


@pytest.mark.parametrize("digits", [1, 6])
def test_the_part_of_the_area_is_that_of_scikit_learn(digits: int) -> None:
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    rng = np.random.default_rng(4)
    lesion = rng.random(400) < 0.3
    drawn = np.clip(rng.normal(0.4 + 0.3 * lesion, 0.2), 0, 1)
    score = np.round(drawn, digits).astype(np.float64)
    expected = roc_auc_score(lesion, score, max_fpr=0.05)
    assert partial_auc(score, lesion) == pytest.approx(expected, abs=1e-9)


def test_false_calls_are_told_for_each_hundred_normals() -> None:
    rng = np.random.default_rng(4)
    judged = judged_of(np.r_[np.full(10, 0.7), np.full(190, 0.1), rng.random(50)], 200)
    table = judge(judged, OF_CELLS)
    assert table["false_per_100_normals"] == 5.0
    assert table["false_per_100_normals_low"] < 3.0
    assert 8.0 < table["false_per_100_normals_high"] < 12.0


def judged_of(score: np.ndarray, normals: int) -> Judged:
    place = np.arange(len(score))
    names = np.char.add("f", (place % 40).astype(str))
    return Judged(score, place >= normals, names, names)
