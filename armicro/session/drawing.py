"""The report's drawings: numbers in, SVG out; curves, bars and the coverage map."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup, escape

from armicro.report import Area, FieldReport, Finding
from armicro.session.record import OverviewCard, Session
from armicro.slide.coverage import Coverage, area_of
from armicro.verdict import SUSPICIOUS, probability_text

# ---------------------------------------------------------------------------
# Small drawings for the report: numbers in, SVG out, nothing else.
#
# Colours come from the page's style sheet through class names, so that screen and print
# may differ. All text that enters is escaped.


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


# ---------------------------------------------------------------------------
# The coverage map: the slide, what was seen of it, and where the findings lie.
#
# Where nobody looked the slide is veiled; where fields were analysed it is clear; what
# could not be read is hatched; what the operator was shown and the cascade never
# analysed is veiled and marked. The picture is drawn in units of about one screen
# pixel.


WIDTH_PX = 900.0
HEIGHT_PX = 620.0
PICTURE_PX = 1600
"""Longest side of the overview as it is put into the page."""
OUTLINES = 1500
"""With more fields than this, their outlines would hide the slide; so would those of a
camera's, which overlap."""
_CLEAR = ("analysed", "blank")
_HATCHED = ("unreadable", "bad_scale")


@dataclass(frozen=True, slots=True)
class _View:
    """From slide coordinates to the picture."""

    x_um: float
    y_um: float
    width_um: float
    height_um: float

    @property
    def px_per_um(self) -> float:
        return min(WIDTH_PX / self.width_um, HEIGHT_PX / self.height_um)

    def x(self, x_um: float) -> float:
        return (x_um - self.x_um) * self.px_per_um

    def y(self, y_um: float) -> float:
        return (y_um - self.y_um) * self.px_per_um

    def box(self, area_xywh_um: Area) -> str:
        """Path of an area; all run the same way round, so that unions stay filled."""
        left_um, top_um, *size_um = area_xywh_um
        x, y = self.x(left_um), self.y(top_um)
        width, height = (side * self.px_per_um for side in size_um)
        return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"


def draw_map(session: Session) -> Markup | None:
    """Draw the map; None where no field has a place and there is no overview."""
    picture = session.overview.bgr() if session.overview is not None else None
    view = _view_of(session, picture)
    if view is None:
        return None
    width, height = view.width_um * view.px_per_um, view.height_um * view.px_per_um
    parts = [
        _DEFINITIONS.format(_seen(view, session.reports)),
        _slide(session.overview, picture, view),
        _fields(view, session),
        _dots(view, session.findings, session.top),
        _scale_bar(view, height),
    ]
    # A margin, so that dots at the slide's edge are whole.
    return Markup(
        '<svg class="map" viewBox="-10 -10 {0} {1}" width="{0}" height="{1}" '
        'role="img" aria-label="Coverage map">{2}</svg>'
    ).format(f"{width + 20:.0f}", f"{height + 20:.0f}", Markup().join(parts))


_DEFINITIONS = Markup(
    '<defs><clipPath id="seen"><path d="{}"/></clipPath>'
    '<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="hatch-ground" width="7" height="7"/>'
    '<rect class="hatch-line" width="2.6" height="7"/></pattern></defs>'
)


def _slide(
    overview: OverviewCard | None, picture: np.ndarray | None, view: _View
) -> Markup:
    if overview is None or picture is None:
        return Markup(
            '<rect class="ground" x="0" y="0" width="{}" height="{}"/>'
            '<rect class="clear" clip-path="url(#seen)" x="0" y="0" width="{}" '
            'height="{}"/>'
        ).format(*(f"{s * view.px_per_um:.1f}" for s in 2 * _size(view)))
    height, width = picture.shape[:2]
    image = Markup(
        '<image id="slide" href="{}" x="{}" y="{}" width="{}" height="{}" '
        'preserveAspectRatio="none"/>'
    ).format(
        _data_uri(picture),
        f"{view.x(overview.x_um):.1f}",
        f"{view.y(overview.y_um):.1f}",
        f"{width * overview.um_per_px * view.px_per_um:.1f}",
        f"{height * overview.um_per_px * view.px_per_um:.1f}",
    )
    veil = Markup(
        '<rect class="veil" x="0" y="0" width="{}" height="{}"/>'
        '<g clip-path="url(#seen)"><use href="#slide"/></g>'
    ).format(*(f"{side * view.px_per_um:.1f}" for side in _size(view)))
    return image + veil


def _fields(view: _View, session: Session) -> Markup:
    reports = session.reports
    parts = [
        Markup('<path class="passed" d="{}"/>').format(
            "".join(view.box(area) for area in session.passed.boxes())
        ),
        Markup('<path class="blank" d="{}"/>').format(_path(view, reports, ("blank",))),
        Markup('<path class="hatched" fill="url(#hatch)" d="{}"/>').format(
            _path(view, reports, _HATCHED)
        ),
    ]
    if session.slide.fields_planned and len(reports) <= OUTLINES:
        path = _path(view, reports, _CLEAR)
        parts.append(Markup('<path class="outline" d="{}"/>').format(path))
    return Markup().join(parts)


def _dots(view: _View, findings: Sequence[Finding], top: Sequence[Finding]) -> Markup:
    ranked = set(top)
    small = [
        Markup('<circle class="finding {}" cx="{}" cy="{}" r="2.6"/>').format(
            "high" if finding.hr_probability >= SUSPICIOUS else "low",
            *_at(view, finding),
        )
        for finding in reversed(findings)
        if finding not in ranked
    ]
    numbered = [
        Markup(
            '<a href="#finding-{0}"><circle class="top" cx="{1}" cy="{2}" r="8.5">'
            "<title>Finding {0}: {3}</title></circle>"
            '<text class="number" x="{1}" y="{4}">{0}</text></a>'
        ).format(
            rank,
            *_at(view, finding),
            probability_text(finding.hr_probability),
            f"{view.y(finding.y_um) + 3.6:.1f}",
        )
        for rank, finding in reversed(list(enumerate(top, start=1)))
    ]
    # The most suspicious is drawn last, on top of the others.
    return Markup().join([*small, *numbered])


def _scale_bar(view: _View, height: float) -> Markup:
    length_um = _nice_length(view.width_um / 5)
    text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    length = length_um * view.px_per_um
    return Markup(
        '<g class="scale"><rect class="plate" x="10" y="{}" width="{}" height="26" '
        'rx="4"/><line x1="20" x2="{}" y1="{}" y2="{}"/>'
        '<text x="20" y="{}">{}</text></g>'
    ).format(
        f"{height - 36:.1f}", f"{max(length, 40) + 20:.1f}", f"{20 + length:.1f}",
        f"{height - 16:.1f}", f"{height - 16:.1f}", f"{height - 21:.1f}", text,
    )  # fmt: skip


def _view_of(session: Session, picture: np.ndarray | None) -> _View | None:
    boxes = [
        (p.x_um, p.y_um, p.x_um + report.width_um, p.y_um + report.height_um)
        for report in session.reports
        if (p := report.place) is not None
    ]
    boxes += [(x, y, x + w, y + h) for x, y, w, h in session.passed.boxes()]
    overview = session.overview
    if overview is not None and picture is not None:
        height, width = picture.shape[:2]
        boxes.append(
            (
                overview.x_um,
                overview.y_um,
                overview.x_um + width * overview.um_per_px,
                overview.y_um + height * overview.um_per_px,
            )
        )
    if not boxes:
        return None
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    left, top, right, bottom = (float(v) for v in (*low[:2], *high[2:]))
    return _View(left, top, max(right - left, 1.0), max(bottom - top, 1.0))


def _data_uri(picture: np.ndarray) -> str:
    shrink = PICTURE_PX / max(picture.shape[:2])
    if shrink < 1:
        picture = cv2.resize(
            picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
        )
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 84])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def _path(view: _View, reports: Iterable[FieldReport], states: tuple[str, ...]) -> str:
    return "".join(
        view.box(area_of(report))
        for report in reports
        if report.state in states and report.place is not None
    )


def _seen(view: _View, reports: Sequence[FieldReport]) -> str:
    """Path of what was seen: of a field only a part, where the run was cut short."""
    coverage = Coverage()
    if any(report.areas_xywh_um is not None for report in reports):
        for report in reports:
            coverage.take(report)
    return "".join(
        view.box(area)
        for report in reports
        if report.state in _CLEAR and report.place is not None
        for area in coverage.seen_boxes(report)
    )


def _at(view: _View, finding: Finding) -> tuple[str, str]:
    return f"{view.x(finding.x_um):.1f}", f"{view.y(finding.y_um):.1f}"


def _size(view: _View) -> tuple[float, float]:
    return view.width_um, view.height_um


def _nice_length(longest_um: float) -> float:
    """Return the longest of 1, 2, 5 × 10ⁿ that fits.

    >>> [_nice_length(um) for um in (49.0, 1100.0, 2600.0)]
    [20.0, 1000.0, 2000.0]
    """
    step = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(lead * step for lead in (1, 2, 5) if lead * step <= longest_um))
