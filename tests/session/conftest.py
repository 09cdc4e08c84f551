"""A small session whose every number is known."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.field import Place
from armicro.report import FieldReport, FieldState, Finding, Observation, SlideScore
from armicro.session.record import OverviewCard, SlideCard
from armicro.slide.journal import Journal

SIDE_UM = 600.0
STATES: tuple[FieldState, ...] = (
    "analysed", "analysed", "blank", "unreadable", "analysed", "bad_scale",
)  # fmt: skip
"""Of the six fields, which lie three by two without a gap."""


def place_of(seq: int) -> Place:
    return Place(SIDE_UM * (seq % 3), SIDE_UM * (seq // 3), 0.0, "slide_file")


def observe(seq: int, dx_um: float, dy_um: float, hr: float) -> Observation:
    place = place_of(seq)
    finding = Finding(place.x_um + dx_um, place.y_um + dy_um, 62, 62, 0.8, hr, seq)
    crop = np.full((256, 256, 3), (200, 100, int(255 * hr)), np.uint8)
    return Observation(finding, np.full(2048, hr, np.float32), crop)


OBSERVATIONS = {
    0: [observe(0, 100, 300, 0.99984), observe(0, 590, 300, 0.70)],
    # The cell at the edge was seen by the next field too, better.
    1: [observe(1, -5, 302, 0.75), observe(1, 60, 310, 0.60)],
    4: [observe(4, 300, 300, 0.20)],
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The fields of a session, and nothing that is written at its end."""
    with Journal(tmp_path / "session.sqlite") as journal:
        for seq, state in enumerate(STATES):
            seen = OBSERVATIONS.get(seq, [])
            report = FieldReport(
                seq=seq,
                state=state,
                reason="" if state == "analysed" else f"reason of {state}",
                place=place_of(seq),
                width_um=SIDE_UM,
                height_um=SIDE_UM,
                lr_tiles=4,
                inference_ns=2_000_000_000,
                findings=tuple(each.finding for each in seen),
            )
            start = 1_000_000_000 * (seq + 1)
            took = 10_000_000 * (seq + 1)
            stations = {"taken": start, "received": start + took}
            journal.write(report, seen, stations)
        yield journal


@pytest.fixture
def finished(journal: Journal) -> Journal:
    """The same session, come to its end, with a hostile name."""
    _, png = cv2.imencode(".png", np.full((60, 90, 3), 225, np.uint8))
    journal.set(
        "slide",
        SlideCard(
            name="<script>alert('name')</script>",
            file="slide & co.svs",
            pixel_um=0.5,
            um_per_px=0.25,
            width_px=2400,
            height_px=2400,
            fields_planned=6,
        ),
    )
    journal.set("overview", OverviewCard(png.tobytes(), 20.0))
    scores = {"10": (0.9, 0.8), "20": (0.7, 0.6), "30": (0.5, 0.4)}
    journal.set(
        "score",
        SlideScore(score=0.65, scores=scores, coverage=0.97, fields=6, megapixels=20.5),
    )
    journal.set("engine", {"set": "test-net", "hash": "abc", "backend": "recorded"})
    journal.set("rig", {"name": "bench", "sha256": "def", "certificate": None})
    journal.set("settings", {"cascade": {"merge_um": 15.0}})
    journal.set("version", "0.0.7")
    journal.set("wall_s", 40.0)
    journal.set("fields_dropped", 3)
    journal.note("restart", "infer came <b>back</b>", 3_000_000_000)
    return journal
