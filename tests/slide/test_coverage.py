import numpy as np
import pytest

from armicro.cascade.tile import CellMask, pack_cells
from armicro.field import Place, Sight
from armicro.report import Area, CellBits, FieldReport, FieldState
from armicro.slide.coverage import (
    ADEQUATE,
    LEVEL,
    MARKS,
    RESTED,
    RIM,
    SHARP,
    UNSEEN,
    BinBox,
    Coverage,
    Ground,
    broken_ground,
)


def cells(rows: int, columns: int, *, pitch_um: float = 16.0) -> CellBits:
    mask = np.ones((rows, columns), np.bool_)
    return pack_cells(CellMask(mask, pitch_um, (240, 240, 240)), pool=1)


def at(x_um: float, y_um: float) -> Place:
    return Place(x_um, y_um, 0.1, "slide_file")


SIZE = (320.0, 160.0)
FIELD = cells(10, 20)


def seen(
    place: Place,
    size: tuple[float, float] = SIZE,
    held: CellBits | None = FIELD,
    *,
    state: FieldState = "analysed",
    sight: Sight | None = None,
    areas: tuple[Area, ...] | None = None,
) -> FieldReport:
    return FieldReport(
        seq=0,
        state=state,
        place=place,
        width_um=size[0],
        height_um=size[1],
        cells=held,
        sight=sight,
        areas_xywh_um=areas,
    )


def test_nothing_seen_is_no_coverage() -> None:
    assert Coverage().share == 0.0


def test_share_is_the_seen_part_of_the_cell_area_of_the_overview() -> None:
    coverage = Coverage()
    coverage.know_cells(cells(40, 40), 0.0, 0.0)
    coverage.take(seen(at(0, 0)))
    assert coverage.share == pytest.approx(10 * 20 / 1600)
    coverage.take(seen(at(320, 0)))
    assert coverage.share == pytest.approx(2 * 10 * 20 / 1600)


@pytest.mark.parametrize("pitch_um", [5.0, 16.0, 27.0])
def test_overview_of_any_pitch_has_no_holes(pitch_um: float) -> None:
    count = round(640 / pitch_um)
    coverage = Coverage()
    coverage.know_cells(cells(count, count, pitch_um=pitch_um), 0.0, 0.0)
    held = cells(1, 1, pitch_um=700.0)
    coverage.take(seen(at(-10, -10), (700.0, 700.0), held))
    assert coverage.share == 1.0


def test_unreadable_field_counts_as_cells_that_nobody_saw() -> None:
    coverage = Coverage()
    coverage.take(seen(at(0, 0)))
    coverage.take(seen(at(320, 0), held=None, state="unreadable"))
    assert coverage.share == pytest.approx(0.5)


def test_order_and_repetition_change_nothing() -> None:
    rng = np.random.default_rng(5)
    places = [at(*rng.uniform(-2000, 3000, 2)) for _ in range(40)]
    one, other = Coverage(), Coverage()
    for place in places:
        one.take(seen(place))
    for index in [*rng.permutation(40), *range(40)]:
        other.take(seen(places[index]))
    assert other.seen_um2 == one.seen_um2
    assert other.share == one.share


def test_seen_area_is_that_of_the_field_wherever_it_lies() -> None:
    rng = np.random.default_rng(6)
    areas = []
    for _ in range(200):
        coverage = Coverage()
        place = at(*rng.uniform(-5000, 5000, 2))
        coverage.take(seen(place, (612.0, 512.0), cells(32, 39)))
        areas.append(coverage.seen_um2)
    assert np.mean(areas) == pytest.approx(612 * 512, rel=0.01)


def test_cells_on_glass_only_count_where_they_are() -> None:
    mask = np.zeros((10, 20), np.bool_)
    mask[4, 7] = True
    sparse = pack_cells(CellMask(mask, 16.0, (240, 240, 240)), pool=1)
    coverage = Coverage()
    coverage.take(seen(at(0, 0), held=sparse))
    coverage.take(seen(at(320, 0), (16.0, 16.0), None, state="unreadable"))
    assert coverage.share == pytest.approx(0.5)


@pytest.mark.parametrize("state", ["moving", "out_of_focus"])
def test_blurred_field_counts_as_cells_that_nobody_saw(state: FieldState) -> None:
    coverage = Coverage()
    coverage.take(seen(at(0, 0)))
    coverage.take(seen(at(320, 0), state=state))
    assert coverage.share == pytest.approx(0.5)
    coverage.take(seen(at(320, 0)))
    assert coverage.share == 1.0


@pytest.mark.parametrize(("focus", "level"), [(0.6, ADEQUATE), (0.9, SHARP)])
def test_level_tells_the_rim_and_the_focus(focus: float, level: int) -> None:
    coverage = Coverage()
    coverage.take(seen(at(0, 0), sight=Sight(focus)))
    levels = coverage.read(BinBox.of((-16.0, -16.0, 352.0, 192.0)))[LEVEL]
    assert levels[0, 5] == UNSEEN
    assert levels[1, 5] == levels[2, 5] == RIM
    assert levels[5, 5] == level
    coverage.take(seen(at(0, 0), sight=Sight(0.6)))
    again = coverage.read(BinBox.of((-16.0, -16.0, 352.0, 192.0)))[LEVEL]
    assert (again == levels).all()


def test_only_analysed_areas_and_glass_count_as_seen() -> None:
    mask = np.ones((10, 20), np.bool_)
    mask[:, 16:] = False
    held = pack_cells(CellMask(mask, 16.0, (240, 240, 240)), pool=1)
    coverage = Coverage()
    coverage.take(seen(at(0, 0), held=held, areas=((0.0, 0.0, 128.0, 160.0),)))
    assert coverage.share == pytest.approx(0.5)
    assert coverage.seen_um2 == pytest.approx((128 + 64) * 160)


def test_mark_of_rest_goes_by_the_stage_and_not_by_the_path_of_a_file() -> None:
    fast = Sight(0.9, (900.0, 0.0))
    encoder = Place(0.0, 0.0, 0.1, "stage_encoder")
    for place, rested in ((encoder, False), (at(0, 0), True)):
        coverage = Coverage()
        coverage.take(seen(place, sight=fast))
        marks = coverage.read(BinBox.of((0.0, 0.0, *SIZE)))[MARKS]
        assert bool((marks & RESTED).all()) == rested


def ground(*areas: Area) -> Ground:
    whole = Ground()
    for area in areas:
        whole.add(area)
    return whole


LEFT, RIGHT, FAR = (0.0, 0.0, *SIZE), (320.0, 0.0, *SIZE), (-9000.0, 4000.0, *SIZE)
OVERVIEW, GLASS = (
    cells(40, 40),
    pack_cells(CellMask(np.zeros((10, 20), np.bool_), 16.0, (240, 240, 240)), pool=1),
)


@pytest.mark.parametrize(
    ("shown", "reports", "known", "share", "passed"),
    [
        pytest.param((LEFT, RIGHT), [], None, 0.0, 2, id="nothing was analysed"),
        pytest.param((LEFT, RIGHT), [seen(at(0, 0))], None, 0.5, 1, id="half passed"),
        pytest.param((LEFT,), [seen(at(0, 0))], None, 1.0, 0, id="all was analysed"),
        pytest.param(
            (LEFT, RIGHT),
            [seen(at(0, 0)), seen(at(320, 0), held=GLASS)],
            None, 1.0, 0, id="it was glass",
        ),
        pytest.param(
            (LEFT, RIGHT),
            [seen(at(0, 0)), seen(at(320, 0), held=GLASS, state="out_of_focus")],
            None, 1.0, 0, id="a blurred field tells glass too",
        ),
        pytest.param((LEFT,), [], OVERVIEW, 0.0, 1, id="cells are known"),
        pytest.param((FAR,), [seen(at(0, 0))], OVERVIEW, 1 / 8, 0, id="known glass"),
        pytest.param(
            (LEFT, RIGHT), [seen(at(0, 0)), seen(at(320, 0), state="moving")],
            None, 0.5, 1, id="analysis was refused for motion",
        ),
        pytest.param(
            (), [seen(at(0, 0)), seen(at(320, 0), SIZE, None, state="no_place")],
            None, 0.5, 1, id="place not known well enough",
        ),
        pytest.param(
            (), [seen(at(0, 0)), seen(at(320, 0), SIZE, None, state="bad_scale")],
            None, 0.5, 1, id="scale not to be trusted",
        ),
        pytest.param(
            ((0.0, 0.0, 1e9, 1e9),),
            [seen(at(0, 0)), seen(at(0, 0), (1e9, 1e9), None, state="bad_scale")],
            None, 1.0, 0, id="a field of a false scale is no ground",
        ),
    ],
)  # fmt: skip
def test_what_was_shown_and_never_analysed_is_in_the_denominator(
    shown: tuple[Area, ...],
    reports: list[FieldReport],
    known: CellBits | None,
    share: float,
    passed: int,
) -> None:
    """``passed`` counts fields of 320 by 160 µm."""
    rng = np.random.default_rng(1)
    for _ in range(4):
        coverage = Coverage()
        if known is not None:
            coverage.know_cells(known, 0.0, 0.0)
        acts = [*(ground(area) for area in shown), *reports]
        for index in [*rng.permutation(len(acts)), *range(len(acts))]:
            act = acts[index]
            if isinstance(act, Ground):
                coverage.pass_by(act)
            else:
                coverage.take(act)
        assert coverage.share == pytest.approx(share)
        area_um2 = sum(w * h for _, _, w, h in coverage.passed().boxes())
        assert area_um2 == pytest.approx(passed * SIZE[0] * SIZE[1])


def test_unknown_ground_that_turns_out_as_glass_is_no_cell_area() -> None:
    coverage = Coverage()
    coverage.take(seen(at(0, 0), held=None, state="unreadable"))
    coverage.take(seen(at(0, 0), held=GLASS))
    coverage.take(seen(at(320, 0)))
    assert coverage.share == 1.0
    assert coverage.seen_cells()[1] == pytest.approx(320 * 160)


def test_ground_is_a_union_that_packs_the_same_in_any_order() -> None:
    areas: list[Area] = [
        (x, y, 300.0, 200.0) for x in (-2000.0, -90.0, 1900.0) for y in (-40.0, 990.0)
    ]
    one, other = ground(*areas), ground(*reversed(areas), *areas)
    assert one.pack() == other.pack()
    assert Ground(one.pack()).pack() == one.pack()
    assert broken_ground(one.pack()) == ""
    size_um2 = sum(w * h for _, _, w, h in one.boxes())
    assert size_um2 == pytest.approx(sum(w * h for *_, w, h in areas), rel=0.05)
    assert one.join(other) is False
    assert one.without(other).chunks == {}
    assert len(one.without(Ground(), most=1).chunks) == 1


def test_what_was_taken_from_ground_stays_while_that_grows() -> None:
    whole = ground((0.0, 0.0, 300.0, 200.0))
    taken = whole.without(Ground())
    before = taken.pack()
    whole.add((400.0, 0.0, 300.0, 200.0))
    assert taken.pack() == before


@pytest.mark.parametrize(
    ("packed", "broken"),
    [(b"x" * 519, "519 bytes"), (b"\xff\xff\xff\x7f" * 130, "chunks off")],
)
def test_ground_of_others_is_looked_at_first(packed: bytes, broken: str) -> None:
    assert broken in broken_ground(packed)
