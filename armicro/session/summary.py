"""``slide.json``: a session in one small object."""

from typing import Any

import msgspec

from armicro.session.record import MapCard, Session


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
        fields_unplaced=session.score.fields_unplaced,
        map=session.map,
    )


def encode_summary(summary: Summary) -> bytes:
    """Return the summary as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
