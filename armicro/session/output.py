"""Writing the session folder, each file whole or not at all, never through a link."""

import math
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from armicro.console import json_text
from armicro.errors import DiskError
from armicro.file import csv_text, make_own_folder, write_whole
from armicro.report import Finding
from armicro.session.page import render_page
from armicro.session.record import MapCard, Session, read_session
from armicro.slide.decision import UNDECIDED, Decided, Decision
from armicro.slide.journal import Journal
from armicro.verdict import SUSPICIOUS, probability_digits, probability_text

# ---------------------------------------------------------------------------
# ``findings.csv`` and ``latency.csv``: a session's tables, as text.

FINDING_COLUMNS = (
    "rank",
    "x_um",
    "y_um",
    "width_um",
    "height_um",
    "lr_probability",
    "hr_probability",
    "field_seq",
    "verdict",
    "category",
)


def findings_csv(findings: Iterable[Finding], decided: Decided = UNDECIDED) -> str:
    """Return the findings, most suspicious first, ranked from 1.

    Lengths are rounded to nanometres, probabilities down to millionths. ``verdict`` and
    ``category`` are what a reader said last, and empty where nobody did.
    """
    return csv_text(
        FINDING_COLUMNS,
        (
            (
                rank,
                *(f"{um:.3f}" for um in (f.x_um, f.y_um, f.width_um, f.height_um)),
                *(
                    f"0.{probability_digits(share, 6)}"
                    for share in (f.lr_probability, f.hr_probability)
                ),
                f.field_seq,
                *((one.verdict, one.category) if (one := decided.of(f)) else ("", "")),
            )
            for rank, f in enumerate(findings, start=1)
        ),
    )


DECISION_COLUMNS = (
    "number",
    "at",
    "reader",
    "verdict",
    "category",
    "x_um",
    "y_um",
    "hr_probability",
    "note",
    "undoes",
)


def decisions_csv(said: Iterable[Decision]) -> str:
    """Return every decision in its order, those taken back too.

    No ``hr_probability``: a reader marked the cell, the machine had not found it.
    """
    return csv_text(
        DECISION_COLUMNS,
        (
            (
                one.number,
                one.at,
                one.reader,
                one.verdict,
                one.category,
                f"{one.x_um:.3f}",
                f"{one.y_um:.3f}",
                ""
                if one.hr_probability is None
                else f"0.{probability_digits(one.hr_probability, 6)}",
                one.note,
                one.undoes or "",
            )
            for one in said
        ),
    )


def latency_csv(stations: Sequence[tuple[int, dict[str, int]]]) -> str:
    """Return a row a field with the monotonic clock in ns at each station.

    A station that a field did not pass stays empty.

    >>> print(latency_csv([(0, {"taken": 5, "inferred": 9}), (1, {"taken": 7})]))
    seq,taken_ns,inferred_ns
    0,5,9
    1,7,
    <BLANKLINE>
    """
    names = list(dict.fromkeys(name for _, passed in stations for name in passed))
    header = ("seq", *(f"{name.removesuffix('_ns')}_ns" for name in names))
    rows = ((seq, *(passed.get(n, "") for n in names)) for seq, passed in stations)
    return csv_text(header, rows)


# ---------------------------------------------------------------------------
# ``findings.geojson``: findings as annotations that QuPath imports onto the slide.

_CLASSES = {
    True: {"name": "Suspicious", "color": [164, 19, 60]},
    False: {"name": "Candidate", "color": [226, 149, 38]},
}
_DECIDED = {
    "accept": [164, 19, 60],
    "reject": [120, 130, 140],
    "unsure": [226, 149, 38],
}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "armicro/findings")


def findings_geojson(
    findings: Iterable[Finding],
    *,
    slide: str,
    pixel_xy_um: tuple[float, float],
    corner_xy_um: tuple[float, float] = (0.0, 0.0),
    size_px: tuple[int, int] | None = None,
    decided: Decided = UNDECIDED,
) -> bytes:
    """Return the findings as a GeoJSON FeatureCollection (QuPath 0.4 and later).

    Args:
        findings: most suspicious first.
        slide: its name; with a finding's place it makes the object's identity, so that
            importing twice leaves one object.
        pixel_xy_um: scale of the slide file's pixels.
        corner_xy_um: where the picture that QuPath shows begins on the slide: it cuts
            a slide to the part that was scanned (``openslide.bounds-x``).
        size_px: width and height of that picture; a box ends at its edge, and a finding
            beside it is left out.
        decided: what readers said: it gives a finding its class, and a cell that the
            machine had not found an object of its own.
    """

    def ring(finding: Finding) -> list[list[float]]:
        return _ring(finding, pixel_xy_um, corner_xy_um, size_px)

    features = [
        _feature(rank, finding, slide, corners, decided.of(finding))
        for rank, finding in enumerate(findings, start=1)
        if (corners := ring(finding))
    ]
    features += [
        _marked(one, slide, corners)
        for one in decided.missed()
        if (corners := ring(one.mark))
    ]
    return msgspec.json.encode({"type": "FeatureCollection", "features": features})


def _feature(
    rank: int,
    finding: Finding,
    slide: str,
    ring: list[list[float]],
    said: Decision | None,
) -> dict[str, Any]:
    return _annotation(
        f"{slide}|{finding.field_seq}|{finding.x_um!r}|{finding.y_um!r}",
        ring,
        name=f"#{rank}  {probability_text(finding.hr_probability)}",
        classification=_class_of(said)
        if said
        else _CLASSES[finding.hr_probability >= SUSPICIOUS],
        measurements={
            "Rank": rank,
            "HR probability": finding.hr_probability,
            "LR probability": finding.lr_probability,
            "Field": finding.field_seq,
        },
    )


def _marked(one: Decision, slide: str, ring: list[list[float]]) -> dict[str, Any]:
    """A cell that a reader marked."""
    return _annotation(
        f"{slide}|{one.reader}|{one.x_um!r}|{one.y_um!r}",
        ring,
        name=f"marked by {one.reader}",
        classification=_class_of(one),
    )


def _annotation(
    identity: str,
    ring: list[list[float]],
    *,
    name: str,
    classification: dict[str, Any],
    **more: object,
) -> dict[str, Any]:
    """A box as QuPath imports it; one identity is one object, however often."""
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "name": name,
            "classification": classification,
            "isLocked": True,
            **more,
        },
    }


def _class_of(said: Decision) -> dict[str, Any]:
    name = said.label
    return {"name": name[0].upper() + name[1:], "color": _DECIDED[said.verdict]}


def _ring(
    finding: Finding,
    pixel_xy_um: tuple[float, float],
    corner_xy_um: tuple[float, float],
    size_px: tuple[int, int] | None,
) -> list[list[float]]:
    """Corners of the box in pixels, clockwise on the screen and closed; or none."""
    ends = []
    for axis, (at_um, long_um) in enumerate(
        ((finding.x_um, finding.width_um), (finding.y_um, finding.height_um))
    ):
        most = size_px[axis] if size_px else math.inf
        least = 0.0 if size_px else -math.inf
        near, far = (
            (at_um - corner_xy_um[axis] + side * long_um / 2) / pixel_xy_um[axis]
            for side in (-1, 1)
        )
        if far <= least or near >= most:
            return []
        ends.append([round(min(max(v, least), most), 2) for v in (near, far)])
    (left, right), (top, bottom) = ends
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


# ---------------------------------------------------------------------------
# ``slide.json``: a session in one small object.


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of ``slide.json``."""

    slide: str
    score: float | None
    scores: dict[str, tuple[float, float]]
    coverage: float
    """Share of the cell area analysed, 0-1."""
    coverage_text: str
    """The same in the words of window, terminal and report."""
    fields: int
    fields_unreadable: int
    fields_dropped: int
    findings: int
    megapixels: float
    """Analysed area in pixels of 0.243 µm."""
    wall_s: float | None
    """None when the session was not finished."""
    inference_s: float
    finished: bool
    engine: dict[str, Any]
    rig: dict[str, Any]
    version: str
    slide_sha256: str = ""
    """Of the slide's content (of a large one: of samples); left out for a camera."""
    score_withheld: str = ""
    """Why there is no score; left out where there is one."""
    decisions: int = 0
    """Cells on which a reader's decision stands; left out where none does."""
    fields_unplaced: int = 0
    """Fields whose place was not known, in no coverage; left out where none was."""
    map: MapCard | None = None
    """The slide stitched from the fields; left out where none was kept."""


def summarise(session: Session) -> Summary:
    """Put a session into its summary."""
    return Summary(
        slide=session.slide.name,
        slide_sha256=session.slide.sha256,
        score=session.score.score,
        scores=session.score.scores,
        coverage=session.score.coverage,
        coverage_text=session.coverage_text,
        fields=len(session.reports),
        fields_unreadable=session.count("unreadable"),
        fields_dropped=session.fields_dropped,
        findings=len(session.findings),
        megapixels=session.score.megapixels,
        wall_s=session.wall_s,
        inference_s=session.inference_s,
        finished=session.finished,
        engine=session.engine,
        rig=session.rig,
        version=session.version,
        score_withheld=session.score.withheld,
        decisions=len(session.decided.decisions),
        fields_unplaced=session.score.fields_unplaced,
        map=session.map,
    )


# ---------------------------------------------------------------------------
# The folder.

JOURNAL = "session.sqlite"
"""The journal's name in a session folder."""
_CROP_NAME = re.compile(r"\d{2,3}_\d{4}\.jpg")


def write_outputs(folder: Path, journal: Journal) -> Session:
    """Write every file of the session folder from the journal.

    May be called at any time, also while the run goes on; files of an earlier call are
    replaced.

    Args:
        folder: exists already, since the journal lies there.
        journal: open; it is only read.

    Returns:
        The session that was written.

    Raises:
        DiskError: a file cannot be written; the journal still holds what is kept.
        SourceError: the journal is damaged.
    """
    session = read_session(journal)
    try:
        _write_crops(folder / "top", session)
        _write_files(folder, session)
    except OSError as error:
        raise DiskError(
            f"{error.filename or folder}: {error.strerror or error}; check free space "
            f"and write permission, then write it with `armicro report {folder}`"
        ) from error
    return session


def _write_files(folder: Path, session: Session) -> None:
    slide, kept = session.slide, session.map
    # A camera has no file of its own: its fields' pixels are the nearest thing.
    pixel_um = slide.pixel_um or slide.um_per_px or 1.0
    pixel_xy_um = slide.pixel_xy_um or (pixel_um, pixel_um)
    corner_xy_um, size_px = (0.0, 0.0), None
    if kept is not None:
        pixel_xy_um = kept.um_per_px, kept.um_per_px
        corner_xy_um = kept.x_um, kept.y_um
        size_px = kept.width_px, kept.height_px
    elif slide.shown_xywh_px is not None:
        x, y, *wh_px = slide.shown_xywh_px
        corner_xy_um = x * pixel_xy_um[0], y * pixel_xy_um[1]
        size_px = wh_px[0], wh_px[1]
    files = {
        "findings.csv": findings_csv(session.findings, session.decided).encode(),
        "decisions.csv": decisions_csv(session.said).encode(),
        "findings.geojson": findings_geojson(
            session.findings,
            slide=slide.name,
            pixel_xy_um=pixel_xy_um,
            corner_xy_um=corner_xy_um,
            size_px=size_px,
            decided=session.decided,
        ),
        "latency.csv": latency_csv(session.stations).encode(),
        "report.html": render_page(session).encode(),
        # Last: what reads a folder by it finds the others there.
        "slide.json": json_text(summarise(session)).encode(),
    }
    for name, content in files.items():
        write_whole(folder / name, content)


def _write_crops(folder: Path, session: Session) -> None:
    make_own_folder(folder)
    names = set()
    for rank, (finding, jpeg) in enumerate(
        zip(session.top, session.crops, strict=True), start=1
    ):
        name = f"{rank:02d}_{probability_digits(finding.hr_probability, 4)}.jpg"
        names.add(name)
        write_whole(folder / name, jpeg)
    for path in folder.iterdir():
        if _CROP_NAME.fullmatch(path.name) and path.name not in names:
            path.unlink()
