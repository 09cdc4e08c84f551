"""``report.html``: a session on one page that opens anywhere, offline.

All that is shown passes through the escaping of the template: slide names, reasons and
events come from files and messages of others.
"""

import base64
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import jinja2

import armicro
from armicro.report import Finding
from armicro.session.drawing import (
    draw_map,
    environment,
    histogram,
    score_strip,
)
from armicro.session.record import Facts, Session, legs_of
from armicro.slide.decision import Decision
from armicro.slide.track import decode_crop, encode_crop
from armicro.verdict import (
    FIELD_STATES,
    PICTURES_APART,
    SUSPICIOUS,
    percent_text,
    said_text,
)

CROP_BYTES = 80_000
"""A larger crop is compressed again, so that the page stays small enough to mail."""
SMALL_QUALITY = 80
LAST_EVENTS = 200
COMMON_REASONS = 6


@dataclass(frozen=True, slots=True)
class _Card:
    """A finding of the gallery as it is shown."""

    rank: int
    finding: Finding
    picture: str
    """Data URI; empty where the journal holds none."""
    suspicious: bool
    said: Decision | None


def render_page(session: Session) -> str:
    """Return the report as one HTML document without outside references."""
    findings = session.findings
    return _template().render(
        session=session,
        slide=session.slide,
        score=session.score,
        so_far=bool(session.why_so_far),
        notices=_notices(session),
        map=draw_map(session),
        strip=score_strip(session.score.scores, session.score.score),
        cards=_cards(session),
        suspicious=sum(f.hr_probability >= SUSPICIOUS for f in findings),
        hr_histogram=histogram([f.hr_probability for f in findings], label="HR"),
        lr_histogram=histogram([f.lr_probability for f in findings], label="LR"),
        states=[(name, session.count(state)) for state, name in FIELD_STATES.items()],
        reasons=_reasons(session),
        totals=_totals(session),
        legs=legs_of(session.stations),
        events=_events(session),
        events_hidden=max(0, len(session.events) - LAST_EVENTS),
        settings=_flatten(session.settings),
        engine=_flatten(session.engine),
        rig=_flatten(session.rig),
        report_version=armicro.__version__,
    )


def _notices(session: Session) -> list[str]:
    """What a reader must know before the score."""
    notices = []
    if not session.finished:
        notices.append(
            "Session not finished: the run was stopped or crashed before its end. "
            "Everything below is what had been kept until then."
        )
    if session.fields_missing:
        notices.append(
            f"{session.fields_missing} of {session.slide.fields_planned} planned "
            "fields were not read."
        )
    if session.reports and session.why_so_far:
        notices.append(
            f"{session.coverage_text}; {session.why_so_far}. Cells elsewhere may "
            "change the score."
        )
    notices += _place_notices(session)
    unreadable = session.count("unreadable")
    if unreadable:
        notices.append(
            f"{unreadable} field{'s' if unreadable > 1 else ''} could not be read "
            "(hatched on the map); look at that area yourself."
        )
    reasons = {r.reason for r in session.reports if r.state == "bad_scale"}
    if reasons:
        notices.append(f"Fields were not analysed: {'; '.join(sorted(reasons))}.")
    certificate = session.rig.get("certificate")
    if isinstance(certificate, dict) and certificate.get("uncalibrated"):
        notices.append(
            "The scale was not measured: sizes, places and probabilities rest on "
            "arithmetic from the rig file."
        )
    return notices


def _place_notices(session: Session) -> list[str]:
    """How its fields lie to each other, and what was shown and is in no analysis."""
    notices = []
    if session.pictures_apart:
        notices.append(f"{len(session.reports)} pictures. {PICTURES_APART}")
    for begun in session.maps_apart:
        said = said_text(begun)
        notices.append(f"{said[0].upper()}{said[1:]}. Cells on both count twice.")
    passed_mm2 = sum(w * h for _, _, w, h in session.passed.boxes()) / 1e6
    if passed_mm2:
        notices.append(
            f"{passed_mm2:.2g} mm² was passed, not analysed (marked on the map): the "
            "operator was shown it, the networks were not; go back there."
        )
    if session.score.fields_unplaced:
        notices.append(
            f"{session.score.fields_unplaced} fields were shown whose place is not "
            "known: they are in no coverage and on no map."
        )
    return notices


def _cards(session: Session) -> list[_Card]:
    return [
        _Card(
            rank,
            finding,
            _picture(jpeg),
            finding.hr_probability >= SUSPICIOUS,
            session.decided.of(finding),
        )
        for rank, (finding, jpeg) in enumerate(
            zip(session.top, session.crops, strict=True), start=1
        )
    ]


def _picture(jpeg: bytes) -> str:
    if len(jpeg) > CROP_BYTES:
        jpeg = encode_crop(decode_crop(jpeg), quality=SMALL_QUALITY)
    if not jpeg:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _reasons(session: Session) -> list[tuple[str, int]]:
    """The most common reasons for which fields were not analysed."""
    found = Counter(
        report.reason
        for report in session.reports
        if report.reason and report.state != "analysed"
    )
    return found.most_common(COMMON_REASONS)


def _totals(session: Session) -> dict[str, int]:
    reports = session.reports
    return {
        "LR tiles": sum(report.lr_tiles for report in reports),
        "LR tiles above the gate": sum(report.lr_positive for report in reports),
        "HR tiles": sum(report.hr_tiles for report in reports),
        "Detections in fields": sum(len(report.findings) for report in reports),
        "Findings (one a cell)": len(session.findings),
    }


def _events(session: Session) -> list[tuple[str, str, str]]:
    """The last events, each with its time since the first field or event."""
    starts = [event.time_ns for event in session.events[:1]]
    starts += [ns for _, passed in session.stations[:1] for ns in passed.values()]
    start_ns = min(starts, default=0)
    shown = session.events[-LAST_EVENTS:]
    # A clock that went backwards (the machine was restarted) tells nothing.
    return [
        (
            _duration((event.time_ns - start_ns) / 1e9)
            if event.time_ns >= start_ns
            else "–",
            event.kind,
            event.text,
        )
        for event in shown
    ]


def _flatten(facts: Facts, prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as rows, ``network.set`` and the like."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows += _flatten(value, f"{name}.")
        elif value is None or value == "":
            rows.append((name, "–"))
        elif isinstance(value, bool):
            rows.append((name, "yes" if value else "no"))
        else:
            rows.append((name, str(value)))
    return rows


def _duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> [_duration(s) for s in (0.04, 9.5, 192, 7320)]
    ['40 ms', '9.5 s', '3 min 12 s', '2 h 2 min']
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _moment(text: str) -> str:
    """Return an ISO date and time as people write it; anything else as it is.

    >>> _moment("2026-03-01T09:05:00+00:00")
    '1 Mar 2026, 09:05 UTC'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%b %Y, %H:%M %Z}".rstrip()


def _count(number: float) -> str:
    """Group thousands with a narrow no-break space, as in print."""
    return f"{number:,.0f}".replace(",", "\u202f")


@cache
def _template() -> jinja2.Template:
    filters = {"count": _count, "duration": _duration, "moment": _moment}
    environment().filters |= filters | {"per_cent": percent_text}
    return environment().get_template("page.html.j2")
