import numpy as np
import pytest

from armicro.cascade.locate import LEAST_CANDIDATES, MOST_CANDIDATES, order
from armicro.report import Finding, Observation
from armicro.slide.track import FindingSet, top

NO_CROP = np.empty((0, 0, 3), np.uint8)


def observation(
    x: float,
    y: float,
    hr: float,
    *,
    lr: float = 0.9,
    seq: int = 0,
    focus: float | None = None,
) -> Observation:
    return Observation(
        Finding(x, y, 62.2, 62.2, lr, hr, seq),
        np.full(2048, hr, np.float32),
        np.full((256, 256, 3), int(hr * 255), np.uint8),
        focus=focus,
    )


def crowd(count: int, seed: int) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [
        observation(
            float(x), float(y), float(p), lr=float(q), seq=int(rng.integers(0, 40))
        )
        for x, y, p, q in rng.uniform((0, 0, 0, 0.5), (900, 900, 1, 1), (count, 4))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_neither_order_nor_repetition_changes_what_is_found(seed: int) -> None:
    seen = crowd(400, seed)
    rng = np.random.default_rng(seed)
    one, other = FindingSet(merge_um=15), FindingSet(merge_um=15)
    one.update(seen)
    for index in [*rng.permutation(400), *rng.integers(0, 400, 300)]:
        other.update([seen[index]])
    expected = [s.finding for s in one.merged()]
    assert [s.finding for s in other.merged()] == expected
    assert [s.finding for s in top(other.merged(), 30)] == (
        [s.finding for s in top(one.merged(), 30)]
    )


def test_only_news_is_returned_and_news_alone_gives_the_same_set() -> None:
    seen = crowd(300, 7)
    whole, journal = FindingSet(merge_um=15), FindingSet(merge_um=15)
    news = [new for each in seen for new in whole.update([each])]
    assert len(news) < len(seen)
    journal.update(reversed(news))
    assert [s.finding for s in journal.merged()] == [s.finding for s in whole.merged()]


def test_cell_watched_for_an_hour_stays_one_finding_its_best_view() -> None:
    findings = FindingSet(merge_um=15)
    rng = np.random.default_rng(3)
    for seq, probability in enumerate(rng.uniform(0, 0.9, 5000)):
        findings.update([observation(100.0, 100.0, float(probability), seq=seq)])
    findings.update([observation(101.0, 100.5, 0.95, seq=77)])
    (only,) = findings.merged()
    assert only.finding.hr_probability == 0.95


def test_below_one_half_findings_of_a_slide_are_bounded_by_hr_probability() -> None:
    findings = FindingSet(merge_um=15, most=10)
    seen = [observation(40.0 * i, 0, i / 100, lr=1 - i / 100) for i in range(40)]
    findings.update(seen)
    kept = [one.finding.hr_probability for one in findings.merged()]
    assert kept == [i / 100 for i in range(39, 29, -1)]
    # What is suspicious stays, whatever its number.
    findings.update(observation(40.0 * i, 99, 0.5, lr=0.5) for i in range(25))
    assert [one.finding.hr_probability for one in findings.merged()] == [0.5] * 25


def spread(count: int, seed: int, *, most_hr: float = 0.499) -> list[Observation]:
    """So many cells, each apart from the others, none of them a lesion."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(count)
    return [
        observation(
            20.0 * (place % 100),
            20.0 * (place // 100),
            float(hr),
            lr=0.99,
            seq=int(place) % 50,
            focus=None if sharp > 0.3 else 0.55,
        )
        for place, hr, sharp in zip(
            places.tolist(),
            rng.uniform(0, most_hr, count),
            rng.uniform(0, 1, count),
            strict=True,
        )
    ]


@pytest.mark.parametrize("at", [0, 4_999, 10_000])
def test_one_lesion_among_ten_thousand_candidates_survives(at: int) -> None:
    # LR is surer of every other cell than of this one.
    lesion = observation(5000.0, 5000.0, 0.51, lr=0.501)
    seen = spread(10_000, 1)
    seen.insert(at, lesion)
    findings = FindingSet(merge_um=18)
    findings.update(seen)
    merged = findings.merged()
    assert merged[0].finding == lesion.finding
    assert LEAST_CANDIDATES <= len(merged) <= MOST_CANDIDATES


@pytest.mark.parametrize("seed", range(4))
def test_across_the_limit_order_and_repetition_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = spread(1_500, seed, most_hr=0.502)
    # The same cells again: sharper or less, more or less suspicious.
    again = [
        observation(
            one.finding.x_um + 1,
            one.finding.y_um + 1,
            float(rng.uniform(0, 0.502)),
            seq=99,
            focus=float(rng.choice([0.55, 0.9])),
        )
        for one in cells
    ]
    seen = [*cells, *again]
    plain = FindingSet(merge_um=18, most=20)
    plain.update(seen)
    expected = [one.finding for one in plain.merged()]
    news: list[Observation] = []
    for _ in range(4):
        shuffled = FindingSet(merge_um=18, most=20)
        for index in [*rng.permutation(3000), *rng.integers(0, 3000, 500)]:
            news += shuffled.update([seen[index]])
            if index % 97 == 0:
                shuffled.merged()
        assert [one.finding for one in shuffled.merged()] == expected
    # A journal keeps news alone, and gives them back in another order.
    read = FindingSet(merge_um=18, most=20)
    read.update(sorted(news, key=by_order))
    assert [one.finding for one in read.merged()] == expected
    unbounded = FindingSet(merge_um=18, most=100_000)
    unbounded.update(seen)
    sure = [f.finding for f in unbounded.merged() if f.finding.hr_probability >= 0.5]
    assert set(sure) <= set(expected)


def test_where_cells_are_crowded_the_least_number_stays() -> None:
    rng = np.random.default_rng(2)
    findings = FindingSet(merge_um=18)
    findings.update(
        observation(float(x), float(y), float(hr))
        for x, y, hr in rng.uniform((0, 0, 0), (2000, 2000, 0.5), (40_000, 3))
    )
    assert len(findings.merged()) >= LEAST_CANDIDATES


def test_memory_of_a_large_slide_is_bounded() -> None:
    findings = FindingSet(merge_um=18, most=20)
    findings.update(spread(5_000, 3))
    assert len(findings._best) <= 2 * 8 * 20


def test_top_list_drops_a_lower_one_within_200_um() -> None:
    seen = [observation(0, 0, 0.9), observation(0, 199, 0.8), observation(0, 201, 0.7)]
    kept = [s.finding.hr_probability for s in top(sorted(seen, key=by_order), 30)]
    assert kept == [0.9, 0.7]


def by_order(seen: Observation) -> tuple[float, ...]:
    return order(seen.finding)


def test_kept_finding_does_not_keep_its_batch_alive() -> None:
    batch = np.zeros((100, 2048), np.float32)
    findings = FindingSet(merge_um=15)
    findings.update([Observation(observation(1, 1, 0.5).finding, batch[7], NO_CROP)])
    (only,) = findings.merged()
    assert only.features.base is None


def test_unchanged_slide_is_not_merged_again() -> None:
    findings = FindingSet(merge_um=15)
    findings.update(crowd(50, 1))
    first = findings._merge
    findings.merged()
    findings._merge = lambda: ()  # type: ignore[method-assign]
    assert len(findings.merged()) > 10
    findings._merge = first  # type: ignore[method-assign]
    findings.update([observation(5000.0, 1.0, 1.0)])
    assert findings.merged()[0].finding.x_um == 5000.0


def test_best_view_of_a_cell_is_a_sharp_one() -> None:
    blurred = observation(100.0, 100.0, 0.9, focus=0.55)
    # Near, and beyond the bin that the blurred one is in.
    sharp = [observation(x, 100.0, 0.4, seq=1, focus=0.8) for x in (101.0, 112.0)]
    for seen in sharp:
        for order_of in ([blurred, seen], [seen, blurred]):
            findings = FindingSet(merge_um=15)
            findings.update(order_of)
            (only,) = findings.merged()
            assert only.finding.hr_probability == 0.4
    findings = FindingSet(merge_um=15)
    findings.update([blurred, observation(140.0, 100.0, 0.4, focus=0.8)])
    assert len(findings.merged()) == 2


def looks(seed: int, other: int = 0, share: float = 0.0) -> np.ndarray:
    """Features of a cell, with a share of another's."""
    own, its = (np.random.default_rng(s).random(2048) > 0.8 for s in (seed, other))
    return np.asarray(own + share * its, np.float32)


@pytest.mark.parametrize(
    ("error_um", "seq", "look", "cells"),
    [
        (8.0, 1, looks(1, 2, 0.1), 1),  # uncertain, another field, looks alike
        (8.0, 1, looks(2), 2),  # looks otherwise
        (8.0, 0, looks(1, 2, 0.1), 2),  # one field sees two cells as two
        (0.1, 1, looks(1, 2, 0.1), 2),  # places are sure
    ],
)
def test_where_places_are_uncertain_a_cell_is_told_by_its_looks(
    error_um: float, seq: int, look: np.ndarray, cells: int
) -> None:
    one = Observation(Finding(0, 0, 62, 62, 0.9, 0.9, 0), looks(1), NO_CROP, error_um)
    other = Observation(Finding(24, 0, 62, 62, 0.9, 0.8, seq), look, NO_CROP, error_um)
    for order_of in ([one, other], [other, one]):
        findings = FindingSet(merge_um=15)
        findings.update(order_of)
        assert len(findings.merged()) == cells
        assert findings.merged()[0].finding.hr_probability == 0.9
