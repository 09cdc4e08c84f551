import numpy as np

from armicro.overlay.known import Trend
from armicro.report import SlideScore
from tests.overlay.scene import SIX


def score_after(fields: int, score: float | None = 0.12) -> SlideScore:
    return SlideScore(score, SIX, 0.5, fields)


def test_a_trend_holds_score_and_band_over_fields() -> None:
    trend = Trend()
    for fields in (1, 2, 2, 5):
        trend.update(score_after(fields))
    assert trend.table.tolist() == [
        [1, 0.12, 0.10, 0.14],
        [2, 0.12, 0.10, 0.14],
        [5, 0.12, 0.10, 0.14],
    ]


def test_a_field_that_brought_no_score_is_no_point() -> None:
    trend = Trend()
    assert not trend.update(score_after(1, None))
    assert trend.table.shape == (0, 4)


def test_a_long_session_takes_bounded_memory_and_keeps_its_span() -> None:
    trend = Trend()
    for fields in range(1, 20_001):
        trend.update(score_after(fields))
    assert len(trend.table) <= 512
    assert trend.table[0, 0] == 1
    assert trend.table[-1, 0] > 19_000
    assert np.all(np.diff(trend.table[:, 0]) > 0)
