"""The report's drawings: numbers become places, ``drawing.svg.j2`` makes them SVG."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from armicro.report import Area, FieldReport
from armicro.session.record import Session
from armicro.slide.coverage import Coverage, area_of
from armicro.verdict import SUSPICIOUS, probability_text


@cache
def environment() -> jinja2.Environment:
    """Return where the templates of the report live: all that they show is escaped."""
    folder = files("armicro.session")
    made = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FunctionLoader(lambda n: folder.joinpath(n).read_text("utf-8")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "share": probability_text,
        "short": lambda value: f"{value:.1f}".removesuffix(".0"),
        "tenths": lambda value: f"{value:.1f}",
    }
    made.globals["suspicious"] = SUSPICIOUS
    return made


def _draw(macro: str, *given: object) -> Markup:
    drawing: Any = environment().get_template("drawing.svg.j2").module
    return Markup(getattr(drawing, macro)(*given))


# ---------------------------------------------------------------------------
# Small drawings.

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
    frame, bars = _Frame(), []
    counts, edges = np.histogram(np.clip(shares, 0.0, 1.0), BINS, (0.0, 1.0))
    highest = _round_up(int(counts.max()))
    for count, low, high in zip(
        counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
    ):
        # A single finding among thousands must still be seen.
        y = min(frame.y(count / highest), frame.y(0) - 1.5)
        bar = {
            "tone": "bar-high" if low >= SUSPICIOUS - 1e-9 else "bar-low",
            "x": frame.x(low) + 0.8,
            "y": y,
            "width": frame.x(high) - frame.x(low) - 1.6,
            "height": frame.y(0) - y,
            "title": f"{low:.2f}–{high:.2f}: {count}",
        }
        bars += [bar] if count else []
    return _draw("histogram", frame, bars, highest, label)


def score_strip(
    scores: Mapping[str, tuple[float, float]], mean: float | None
) -> Markup:
    """Draw the two RNN scores of each top list on one axis, and their mean if any."""
    frame = _Frame(height=48.0 + 34.0 * len(scores), left=64.0)

    def x(score: float) -> float:
        return frame.x(min(max(score, 0.0), 1.0))

    rows = [
        (
            frame.y(1 - (number + 0.5) / len(scores)),
            count,
            [(x(score), probability_text(score)) for score in pair],
        )
        for number, (count, pair) in enumerate(scores.items())
    ]
    return _draw("score_strip", frame, None if mean is None else x(mean), rows)


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

    @property
    def width(self) -> float:
        return self.width_um * self.px_per_um

    @property
    def height(self) -> float:
        return self.height_um * self.px_per_um

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
    overview = session.overview
    picture = overview.bgr() if overview is not None else None
    view = _view_of(session, picture)
    if view is None:
        return None
    reports, drawn = session.reports, None
    outlined = session.slide.fields_planned and len(reports) <= OUTLINES
    paths = {
        "seen": _seen(view, reports),
        "passed": "".join(view.box(area) for area in session.passed.boxes()),
        "blank": _path(view, reports, ("blank",)),
        "hatched": _path(view, reports, _HATCHED),
        "outline": _path(view, reports, _CLEAR) if outlined else None,
    }
    if overview is not None and picture is not None:
        px = overview.um_per_px * view.px_per_um
        drawn = {
            "href": _data_uri(picture),
            "x": view.x(overview.x_um),
            "y": view.y(overview.y_um),
            "width": picture.shape[1] * px,
            "height": picture.shape[0] * px,
        }
    ranked = set(session.top)
    small = [one for one in reversed(session.findings) if one not in ranked]
    numbered = list(enumerate(session.top, start=1))
    long_um = _nice_length(view.width_um / 5)
    bar = {
        "length": long_um * view.px_per_um,
        "text": f"{long_um / 1000:g} mm" if long_um >= 1000 else f"{long_um:g} µm",
    }
    return _draw("slide_map", view, paths, drawn, small, numbered, bar)


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


def _nice_length(longest_um: float) -> float:
    """Return the longest of 1, 2, 5 × 10ⁿ that fits.

    >>> [_nice_length(um) for um in (49.0, 1100.0, 2600.0)]
    [20.0, 1000.0, 2000.0]
    """
    step = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(lead * step for lead in (1, 2, 5) if lead * step <= longest_um))
