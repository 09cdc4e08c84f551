"""Fields whose pixels depend on their number, a full example of every message."""

from collections.abc import Callable

import numpy as np
import pytest

from armicro.field import Field, FieldHead, Place
from armicro.report import CellBits, FieldReport, Finding, SlideReport, SlideScore
from armicro.wire.topic import Ask, Beat, Message, Shot, Slide, View, Wait

FieldMaker = Callable[..., Field]
Example = tuple[str, Message]

PLACE = Place(10.5, -3.25, 0.5, "stage_encoder")
FINDING = Finding(100.0, 50.0, 62.0, 62.0, 0.9, 0.75, 3)
HEAD = FieldHead(0.25, 3, 1_000, PLACE, width_px=6, height_px=4)
SHOT = Shot(HEAD, 2_000, 1, 8, 2)
REPORT = FieldReport(
    seq=3,
    state="analysed",
    place=PLACE,
    width_um=600.0,
    height_um=500.0,
    cell_share=0.5,
    cells=CellBits(2, 5, 8.0, b"\xaa\x80"),
    lr_tiles=12,
    lr_positive=3,
    hr_tiles=5,
    inference_ns=900,
    findings=(FINDING,),
)
SLIDE = Slide(
    session="run",
    sent_ns=3_000,
    report=SlideReport(
        name="slide-1",
        score=SlideScore(0.5, {"10": (0.25, 0.75)}, 0.125, 4, 1, 1, 2.5),
        last=REPORT,
        findings=(FINDING, FINDING),
        fields_dropped=2,
        inference_ms=12.5,
    ),
)
EXAMPLES: tuple[Example, ...] = (
    ("fields", Ask("run", 7, ((0, 4), (6, 6)))),
    ("fields", SHOT),
    ("fields", Wait("lost", "camera unplugged")),
    ("view", View(SHOT, "slide-1")),
    ("view", View(None, "slide-1", "camera unplugged")),
    ("slide", SLIDE),
    ("health", Beat("infer", 77, 4_000, "running", "", 4, 1, 0)),
)


@pytest.fixture(params=EXAMPLES, ids=lambda e: f"{e[0]}-{type(e[1]).__name__}")
def example(request: pytest.FixtureRequest) -> Example:
    """A topic and a message that travels on it."""
    given: Example = request.param
    return given


@pytest.fixture
def make_field() -> FieldMaker:
    """Make a field of random pixels, the same for the same number."""

    def make(seq: int, width_px: int = 6, height_px: int = 4) -> Field:
        shape = (height_px, width_px, 3)
        pixels = np.random.default_rng(seq).integers(0, 256, shape, dtype=np.uint8)
        return Field(0.25, seq, 1_000 + seq, PLACE, pixels=pixels)

    return make
