"""Charts put known numbers at known places."""

import re

from armicro.session.drawing import histogram, score_strip


def test_histogram_counts_every_value_once() -> None:
    drawn = histogram([0.0, 0.01, 0.5, 0.999, 1.0, 1.0], label="p")
    titles = re.findall(r"<title>(.*?)</title>", drawn)
    assert titles == ["0.00–0.05: 2", "0.50–0.55: 1", "0.95–1.00: 3"]
    assert re.findall(r'class="(bar-\w+)"', drawn) == [
        "bar-low",
        "bar-high",
        "bar-high",
    ]


def test_one_among_thousands_is_still_drawn() -> None:
    drawn = histogram([0.1] * 5000 + [0.9], label="p")
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" rx', drawn)]
    assert min(heights) >= 1.5


def test_no_values_make_an_empty_chart() -> None:
    assert "<rect" not in histogram([], label="p")


def test_labels_are_escaped() -> None:
    assert "<i>" not in histogram([0.5], label="<i>")
    assert "<i>" not in score_strip({"<i>": (0.1, 0.2)}, 0.15)


def test_score_strip_draws_two_dots_a_row_and_the_mean() -> None:
    drawn = score_strip({"10": (0.0, 1.0), "20": (0.5, 0.5)}, 0.5)
    x = [float(v) for v in re.findall(r'cx="([\d.]+)"', drawn)]
    assert x == [64.0, 448.0, 256.0, 256.0]
    assert 'class="mean" x1="256"' in drawn
