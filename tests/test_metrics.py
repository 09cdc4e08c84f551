import numpy as np
import pytest

from armicro.metrics import (
    Judged,
    auc,
    by_category,
    calibration,
    calibration_error,
    curve,
    interval,
    judge,
    resample_groups,
    sensitivity,
    specificity,
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
    score, group = np.array([0.9, 0.2, 0.7, 0.6]), np.array(list("aabb"))
    figures = judge(Judged(score, np.ones(4, bool), group, group))
    assert figures["sensitivity"] == 0.75
    assert figures["sensitivity_low"] == 0.5
    assert figures["auc"] is figures["specificity"] is figures["auc_low"] is None
