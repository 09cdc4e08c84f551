"""Small drawings for the report: numbers in, SVG out, nothing else.

Colours come from the page's style sheet through class names, so that screen and print
may differ. All text that enters is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from armicro.verdict import SUSPICIOUS, probability_text

BINS = 20


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a chart's data lie inside its picture, in SVG units."""

    width: float = 460.0
    height: float = 170.0
    left: float = 40.0
    right: float = 12.0
    top: float = 14.0
    bottom: float = 34.0

    def x(self, share: float) -> float:
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        return (
            self.height - self.bottom - share * (self.height - self.top - self.bottom)
        )


def histogram(shares: Sequence[float], *, label: str) -> Markup:
    """Draw how many values fall into each of 20 bins of 0-1."""
    frame = _Frame()
    counts, edges = np.histogram(np.clip(shares, 0.0, 1.0), BINS, (0.0, 1.0))
    highest = _round_up(int(counts.max()))
    body = [_grid(frame, highest), _axis(frame, label)]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if not count:
            continue
        x0, x1 = frame.x(float(low)) + 0.8, frame.x(float(high)) - 0.8
        # A single finding among thousands must still be seen.
        y = min(frame.y(int(count) / highest), frame.y(0) - 1.5)
        tone = "bar-high" if low >= SUSPICIOUS - 1e-9 else "bar-low"
        body.append(
            Markup(
                '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1.2">'
                "<title>{}–{}: {}</title></rect>"
            ).format(
                tone, _n(x0), _n(y), _n(x1 - x0), _n(frame.y(0) - y),
                f"{low:.2f}", f"{high:.2f}", count,
            )
        )  # fmt: skip
    return _svg(frame, Markup().join(body), f"Histogram: {label}")


def score_strip(
    scores: Mapping[str, tuple[float, float]], mean: float | None
) -> Markup:
    """Draw the two RNN scores of each top list on one axis, and their mean if any."""
    frame = _Frame(height=48.0 + 34.0 * len(scores), left=64.0)
    rows = max(len(scores), 1)
    body = [_axis(frame, "RNN output")]
    if mean is not None:
        line = Markup('<line class="mean" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>')
        x = _n(frame.x(min(max(mean, 0.0), 1.0)))
        body.append(line.format(x, _n(frame.top - 6), _n(frame.y(0))))
    for row, (count, pair) in enumerate(scores.items()):
        y = frame.y(1 - (row + 0.5) / rows)
        body.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text class="row" x="{}" y="{}">top {}</text>'
            ).format(
                _n(frame.x(0)), _n(frame.x(1)), _n(y), _n(y),
                _n(frame.left - 10), _n(y + 4), escape(count),
            )
        )  # fmt: skip
        body.extend(
            Markup(
                '<circle class="dot" cx="{}" cy="{}" r="5"><title>{}</title></circle>'
            ).format(
                _n(frame.x(min(max(value, 0.0), 1.0))), _n(y), probability_text(value)
            )
            for value in pair
        )
    return _svg(frame, Markup().join(body), "The six slide scores")


def _grid(frame: _Frame, highest: int) -> Markup:
    lines = []
    for share in (0.5, 1.0):
        y = _n(frame.y(share))
        text = f"{highest * share:g}"
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text class="row" x="{}" y="{}">{}</text>'
            ).format(
                _n(frame.x(0)), _n(frame.x(1)), y, y,
                _n(frame.left - 7), _n(frame.y(share) + 4), text,
            )
        )  # fmt: skip
    return Markup().join(lines)


def _axis(frame: _Frame, label: str) -> Markup:
    y = frame.y(0)
    ticks = [
        Markup(
            '<line class="axis" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
            '<text class="tick" x="{0}" y="{3}">{4}</text>'
        ).format(_n(frame.x(at)), _n(y), _n(y + 4), _n(y + 16), f"{at:g}")
        for at in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    line = Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
        _n(frame.x(0)), _n(frame.x(1)), _n(y), _n(y)
    )
    name = Markup('<text class="tick name" x="{}" y="{}">{}</text>').format(
        _n(frame.x(0.5)), _n(frame.height - 3), label
    )
    return Markup().join([line, *ticks, name])


def _svg(frame: _Frame, body: Markup, title: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_n(frame.width), _n(frame.height), title, body)


def _round_up(count: int) -> int:
    """Return the next even number of the kind 2, 4, 6, 8, 10, 20, 40...

    >>> [_round_up(n) for n in (0, 3, 11, 64, 901)]
    [2, 4, 20, 80, 1000]
    """
    step = 1
    while True:
        for lead in (2, 4, 6, 8, 10):
            if lead * step >= count:
                return lead * step
        step *= 10


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
