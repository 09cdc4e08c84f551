"""The incremental cascade: what it costs, what it finds, what it keeps."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from armicro.cascade.screen import Choice
from armicro.engine.registry import NetworkSet, open_set
from armicro.field import Field, Pixels, Place, Sight
from armicro.phantom import paint_field
from armicro.pipeline import Pipeline
from armicro.report import Account, FieldReport, Finding
from tests.cascade.test_screen import field_with, networks

UM_PER_PX = 0.486
WIDTH_PX, HEIGHT_PX = 1224, 1024
"""A camera of 2448 by 2048 pixels at 0.243 µm, at the LR network's scale."""
STEP = WIDTH_PX // 5, HEIGHT_PX // 5
"""80 % overlap."""
INCREMENTAL = Choice(mode="incremental")
FIELD = Choice(mode="field")


@pytest.fixture(scope="module")
def drawn() -> Pixels:
    """A drawn slide with ten lesion cells."""
    pixels, _ = paint_field(
        seed=3, width_px=2700, height_px=1640, um_per_px=UM_PER_PX, lesions=10
    )
    return pixels


@pytest.fixture(scope="module")
def tiny(tiny_set: Path) -> Iterator[NetworkSet]:
    with open_set(str(tiny_set), threads=1) as opened:
        yield opened


def path(pixels: Pixels, step_xy_px: tuple[int, int]) -> list[Field]:
    """A serpentine over a slide."""
    height, width = pixels.shape[:2]
    places = [
        (x, y)
        for row, y in enumerate(range(0, height - HEIGHT_PX + 1, step_xy_px[1]))
        for x in sorted(
            range(0, width - WIDTH_PX + 1, step_xy_px[0]), reverse=bool(row % 2)
        )
    ]
    return [
        Field(
            UM_PER_PX,
            seq,
            seq,
            Place(x * UM_PER_PX, y * UM_PER_PX, 0.1, "slide_file"),
            pixels=np.ascontiguousarray(pixels[y : y + HEIGHT_PX, x : x + WIDTH_PX]),
        )
        for seq, (x, y) in enumerate(places)
    ]


def read(pipeline: Pipeline, fields: Sequence[Field]) -> dict[int, FieldReport]:
    """Run fields and the end; the last report of each."""
    return {a.report.seq: a.report for a in accounts(pipeline, fields)}


def accounts(pipeline: Pipeline, fields: Sequence[Field]) -> list[Account]:
    """Run fields and the end; every account, as it came."""
    told: list[Account | None] = []
    for field in fields:
        account, late, _ = pipeline.step(field)
        told += [late, account]
    return [each for each in (*told, pipeline.flush()) if each is not None]


def tiles(reports: dict[int, FieldReport]) -> int:
    return sum(report.lr_tiles for report in reports.values())


def top_of(pipeline: Pipeline) -> tuple[Finding, ...]:
    """The ten most suspicious that lie apart."""
    chosen: list[Finding] = []
    for finding in pipeline.findings():
        if all(apart_um(finding, other) >= 200 for other in chosen):
            chosen.append(finding)
    return tuple(chosen[:10])


def apart_um(one: Finding, other: Finding) -> float:
    return float(np.hypot(one.x_um - other.x_um, one.y_um - other.y_um))


def test_path_with_80_percent_overlap_costs_at_most_30_percent_and_finds_the_same(
    drawn: Pixels, tiny: NetworkSet
) -> None:
    fields = path(drawn, STEP)
    whole, part = Pipeline(tiny, FIELD), Pipeline(tiny, INCREMENTAL)
    full, few = read(whole, fields), read(part, fields)
    assert tiles(few) <= 0.3 * tiles(full)
    assert part.score().coverage == whole.score().coverage == 1.0
    best = top_of(part)
    agreed = [any(apart_um(a, b) < 15 for b in best) for a in top_of(whole)]
    assert len(agreed) == 10
    assert sum(agreed) >= 9


def test_scan_with_little_overlap_loses_nothing(
    drawn: Pixels, tiny: NetworkSet
) -> None:
    fields = path(drawn, (988, 616))
    whole, part = Pipeline(tiny, FIELD), Pipeline(tiny, INCREMENTAL)
    full, few = read(whole, fields), read(part, fields)
    assert part.score().coverage == whole.score().coverage == 1.0
    assert tiles(few) <= 1.2 * tiles(full)
    for finding in whole.findings():
        if finding.hr_probability > 0.9:
            assert any(apart_um(finding, other) < 15 for other in part.findings())


def test_any_order_and_repetition_of_fields_gives_the_same_top_list_and_score(
    drawn: Pixels, tiny: NetworkSet
) -> None:
    fields = path(drawn, (988, 616))
    rng = np.random.default_rng(4)
    answers = []
    for order in (range(len(fields)), rng.permutation(len(fields)), [*rng.integers(
        0, len(fields), 5), *range(len(fields))]):  # fmt: skip
        pipeline = Pipeline(tiny, FIELD)
        read(pipeline, [fields[index] for index in order])
        answers.append((top_of(pipeline), pipeline.findings(), pipeline.score()))
    assert answers[0] == answers[1] == answers[2]


def test_slide_seen_again_costs_nothing_and_changes_nothing(
    drawn: Pixels, tiny: NetworkSet
) -> None:
    fields = path(drawn, (988, 616))
    pipeline = Pipeline(tiny, INCREMENTAL)
    read(pipeline, fields)
    before = pipeline.findings(), pipeline.score(), held(pipeline)
    for _ in range(3):
        again = read(pipeline, list(reversed(fields)))
        assert tiles(again) == 0
    assert (pipeline.findings(), pipeline.score(), held(pipeline)) == before


def held(pipeline: Pipeline) -> tuple[int, int]:
    """What of a pipeline could grow."""
    return len(pipeline._coverage._chunks), len(pipeline._findings._best)


CELLS_UM = [(90.0, 90.0), (306.0, 256.0), (520.0, 420.0), (306.0, 310.0), (70.0, 420.0)]
"""In a field of 612 by 512 µm."""


def at(
    x_um: float, y_um: float, seq: int, *, cells: Sequence[tuple[float, float]]
) -> Field:
    """A field at a place of a slide with these cells."""
    inside = [(x - x_um, y - y_um) for x, y in cells]
    place = Place(x_um, y_um, 0.1, "image_registration")
    return field_with(*inside, place=place, seq=seq)


def steps(
    pipeline: Pipeline, fields: Sequence[Field]
) -> tuple[list[FieldReport], list[FieldReport]]:
    """Reports as the fields came, and those that grew later."""
    now, late = [], []
    for field in fields:
        account, grown, _ = pipeline.step(pipeline.prepare(field))
        now.append(account.report)
        late += [grown.report] if grown else []
    return now, late


ROW = [(float(x), float(y)) for x in range(40, 1800, 90) for y in range(40, 500, 90)]


def test_stage_that_rests_is_shown_everything_at_once() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    now, late = steps(pipeline, [at(0, 0, seq, cells=ROW) for seq in range(4)])
    assert [report.lr_tiles > 0 for report in now] == [True, True, False, False]
    assert late == []
    assert pipeline.flush() is None
    inside = [c for c in ROW if c[0] < 612 and c[1] < 512]
    for x, y in inside:
        assert any(
            np.hypot(f.x_um - x, f.y_um - y) < 12 for f in pipeline.findings()
        ), (x, y)


def test_what_leaves_the_view_is_found_late_and_belongs_to_its_own_field() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    fields = [at(0, 0, 7, cells=ROW), at(3000, 0, 8, cells=ROW)]
    now, late = steps(pipeline, fields)
    (grown,) = late
    assert grown.seq == now[0].seq == 7
    assert grown.lr_tiles > now[0].lr_tiles
    assert {finding.field_seq for finding in grown.findings} == {7}
    assert set(now[0].findings) < set(grown.findings)
    assert now[1].state == "blank"
    assert pipeline.flush() is None


def test_what_leaves_in_two_parts_is_all_in_the_last_report() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    # The second field is too soft to show a cell, and takes no part.
    fields = [
        replace(at(0, 0, 0, cells=ROW), sight=Sight(0.9)),
        replace(at(-60, 0, 1, cells=[]), sight=Sight(0.6)),
        replace(at(3000, 0, 2, cells=[]), sight=Sight(0.9)),
    ]
    now, (first, second) = steps(pipeline, fields)
    assert now[1].state == "blank"
    assert first.seq == second.seq == 0
    assert set(first.areas_xywh_um or ()) < set(second.areas_xywh_um or ())
    assert set(first.findings) <= set(second.findings)
    assert second.lr_tiles == len(second.areas_xywh_um or ())


def test_end_of_the_session_looks_at_what_waited() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    steps(pipeline, [at(0, 0, 0, cells=ROW)])
    before = pipeline.score().coverage
    late = pipeline.flush()
    assert late is not None
    assert before < pipeline.score().coverage == 1.0
    assert pipeline.flush() is None


def test_stage_that_begins_to_move_leaves_nothing_behind() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    moving = replace(at(500, 0, 1, cells=ROW), sight=Sight(0.9, None, 40.0))
    now, late = steps(pipeline, [at(0, 0, 0, cells=ROW), moving])
    assert now[1].state == "moving"
    assert [report.seq for report in late] == [0]
    assert now[1].areas_xywh_um is None
    assert pipeline.flush() is None


def test_sharper_view_of_the_same_place_replaces_the_blurred_one() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    soft, sharp = Sight(0.6), Sight(0.9)
    seen = [replace(at(0, 0, seq, cells=CELLS_UM), sight=soft) for seq in range(2)]
    now, _ = steps(pipeline, seen)
    assert {finding.field_seq for finding in pipeline.findings()} <= {0, 1}
    sharper = [
        replace(at(0, 0, seq, cells=CELLS_UM), sight=sharp) for seq in range(2, 5)
    ]
    now, _ = steps(pipeline, sharper)
    assert now[0].lr_tiles > 0
    assert now[2].lr_tiles == 0
    assert {finding.field_seq for finding in pipeline.findings()} <= {2, 3}
    # And a blurred one that comes after is not looked at.
    now, _ = steps(pipeline, [replace(at(0, 0, 9, cells=CELLS_UM), sight=soft)])
    assert now[0].lr_tiles == 0


def test_resumed_slide_covers_only_what_its_journal_says() -> None:
    killed = Pipeline(networks(), INCREMENTAL)
    fields = [at(200.0 * seq, 0, seq, cells=ROW) for seq in range(5)]
    kept = accounts(killed, fields[:3])
    resumed = Pipeline(networks(), INCREMENTAL)
    for account in kept[:-1]:
        # The end, with what waited for it, was never written.
        resumed.keep(*account)
    unwritten = kept[-1].report.areas_xywh_um or ()
    assert unwritten
    assert resumed.score().coverage < killed.score().coverage
    read(resumed, [fields[2], *fields[3:]])
    assert resumed.score().coverage == pytest.approx(1.0, abs=0.03)


def test_memory_holds_the_pixels_of_one_field() -> None:
    pipeline = Pipeline(networks(), INCREMENTAL)
    steps(pipeline, [at(150.0 * seq, 0, seq, cells=ROW) for seq in range(6)])
    increment = pipeline._increment
    assert increment is not None
    assert increment._last is not None
    assert increment._last.prepared.field.seq == 5


def test_whole_fields_are_never_incremental() -> None:
    choice = Choice(mode="incremental", lr_mode="whole")
    pipeline = Pipeline(networks(), choice, live=True)
    now, _ = steps(pipeline, [at(0, 0, seq, cells=CELLS_UM) for seq in range(2)])
    assert [report.lr_tiles for report in now] == [1, 1]


@pytest.mark.parametrize(
    ("make", "costs"),
    [(lambda: Pipeline(networks(), Choice(), live=True), False),
     (lambda: Pipeline(networks(), Choice()), True)],
    ids=["live", "replay"],
)  # fmt: skip
def test_live_is_incremental_and_a_replay_is_not(
    make: Callable[[], Pipeline], costs: bool
) -> None:
    fields = [at(0, 0, seq, cells=CELLS_UM) for seq in range(3)]
    now, _ = steps(make(), fields)
    assert (now[2].lr_tiles > 0) == costs
