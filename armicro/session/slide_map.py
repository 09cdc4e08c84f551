"""The coverage map: the slide, what was seen of it, and where the findings lie.

Where nobody looked the slide is veiled; where fields were analysed it is clear; what
could not be read is hatched; what the operator was shown and the cascade never analysed
is veiled and marked. The picture is drawn in units of about one screen pixel.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from armicro.report import Area, FieldReport, Finding
from armicro.session.record import OverviewCard, Session
from armicro.slide.coverage import Coverage, area_of
from armicro.verdict import SUSPICIOUS, probability_text

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
