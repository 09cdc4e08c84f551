"""Paths over drawn cells with hidden truth."""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from armicro.field import Field, Pixels, Place
from armicro.place.atlas import MemoryStore
from armicro.place.claim import RegisterChoice
from armicro.place.register import Register
from tests.cells import FIELD_WH_PX, cut, cut_turned, draw_cells, field_at

Point = tuple[int, int]
SCENE = draw_cells(7)


def loop(step: int) -> list[Point]:
    """Out along a rectangle of the scene, and back to where it began."""
    right, down = range(100, 900, step), range(100, 700, step)
    return [
        *((x, 100) for x in right),
        *((900, y) for y in down),
        *((x, 700) for x in reversed(right)),
        *((100, y) for y in reversed(down)),
    ]


def errors_of(register: Register, fields: Iterable[tuple[Field, Point]]) -> list[float]:
    """Distance of each place from the truth, µm; infinite where there is none."""
    origin: tuple[float, float] | None = None
    errors = []
    for field, (x, y) in fields:
        place = register.update(field).place
        if place is None:
            errors.append(np.inf)
            continue
        origin = origin or (x - place.x_um, y - place.y_um)
        errors.append(
            float(np.hypot(place.x_um + origin[0] - x, place.y_um + origin[1] - y))
        )
    return errors


def shown(path: Iterable[Point], scene: Pixels = SCENE) -> list[tuple[Field, Point]]:
    return [(field_at(scene, *at, seq), at) for seq, at in enumerate(path)]


@pytest.mark.parametrize("step", [130, 200])
def test_loop_closes_without_drift(step: int) -> None:
    errors = errors_of(Register(MemoryStore(), timed=False), shown(loop(step) * 2))
    assert max(errors) < 1.0


def test_keyframes_never_move_and_a_second_loop_adds_few() -> None:
    store = MemoryStore()
    register = Register(store, timed=False)
    errors_of(register, shown(loop(160)))
    first = [(k.x_um, k.y_um) for k in store.keyframes()]
    errors_of(register, shown(loop(190)))
    after = [(k.x_um, k.y_um) for k in store.keyframes()]
    assert after[: len(first)] == first
    assert len(after) <= len(first) + 2


def test_error_is_claimed_honestly() -> None:
    register = Register(MemoryStore(), timed=False)
    ratios = []
    for field, (x, y) in shown(loop(150)):
        place = register.update(field).place
        assert place is not None
        error = np.hypot(place.x_um + 100 - x, place.y_um + 100 - y) / np.sqrt(2)
        ratios.append(error / max(place.standard_error_um, 0.02))
    assert np.sqrt(np.mean(np.square(ratios))) < 1.5


def test_jump_is_lost_and_the_way_back_is_found() -> None:
    register = Register(MemoryStore(), timed=False)
    errors = errors_of(
        register, shown([(100, 100), (200, 100), (300, 100), (900, 760), (210, 130)])
    )
    assert errors[3] == np.inf
    assert errors[4] < 1.0


def test_jump_to_a_known_place_is_found_at_once() -> None:
    register = Register(MemoryStore(), timed=False)
    errors = errors_of(
        register, shown([*loop(200), (880, 690), (500, 110), (120, 650)])
    )
    assert max(errors) < 1.0


def test_ground_passed_while_lost_is_known_once_it_joins_the_map() -> None:
    register = Register(MemoryStore(), timed=False)
    away = [(860, 700), (700, 640), (560, 520), (420, 400)]
    errors = errors_of(register, shown([(100, 100), (200, 100), *away, (300, 200)]))
    assert errors[2:5] == [np.inf] * 3
    # It was never seen with a place of its own.
    assert errors_of(register, shown([(100, 100), (850, 710)]))[1] < 1.0


def test_step_of_a_scan_is_repeated_over_a_strip_with_few_cells() -> None:
    sparse = draw_cells(12, cells=150)
    register = Register(MemoryStore(), timed=False)
    path = [(100 + 330 * column, 100) for column in range(4)]
    errors = np.array(errors_of(register, shown(path, sparse)))
    assert errors[np.isfinite(errors)].max() < 1.0


def test_first_field_alone_is_tied_to_the_rest_by_all_that_meets_it() -> None:
    # Nothing in the strip to the right of the first field: a second map begins there,
    # and comes back a row below over strips of a few cells each.
    scene = draw_cells(47, width=2300, cells=180)
    columns = [20 + 340 * number for number in range(6)]
    rows = [columns, columns[::-1], columns]
    path = [(x, 20 + 272 * row) for row, xs in enumerate(rows) for x in xs]
    errors = errors_of(Register(MemoryStore(), timed=False), shown(path, scene))
    assert errors[1] == np.inf
    assert max(errors[11:]) < 1.0


def test_another_slide_is_never_given_a_place() -> None:
    register = Register(MemoryStore(), timed=False)
    errors_of(register, shown(loop(200)))
    other = draw_cells(8)
    errors = errors_of(register, shown([(x, 300) for x in range(0, 1000, 250)], other))
    assert errors == [np.inf] * len(errors)


def test_empty_glass_has_no_place_and_cells_after_it_are_recognised() -> None:
    register = Register(MemoryStore(), timed=False)
    errors_of(register, shown([(100, 100), (200, 100)]))
    glass = Field(1.0, 2, 0, pixels=np.full((320, 400, 3), 236, np.uint8))
    assert register.update(glass).place is None
    assert errors_of(register, shown([(210, 110)]))[0] == 0.0


def test_field_on_glass_alone_is_not_the_origin() -> None:
    register = Register(MemoryStore())
    glass = Field(1.0, 0, 0, pixels=np.full((320, 400, 3), 236, np.uint8))
    assert register.update(glass).place is None
    place = register.update(field_at(SCENE, 100, 100, 1)).place
    assert place == Place(0.0, 0.0, 0.0, "image_registration")


def poor_field(seq: int, *, moved_px: int = 0) -> Field:
    """Glass with two cells at one side."""
    pixels = np.full((320, 400, 3), 236, np.uint8)
    for number, (x, y) in enumerate([(20, 30), (30, 170)]):
        cell = SCENE[300:328, 300 + 90 * number : 328 + 90 * number]
        pixels[y : y + 28, x + moved_px : x + moved_px + 28] = cell
    return Field(1.0, seq, 0, pixels=pixels)


def test_field_of_almost_nothing_but_glass_is_not_the_origin() -> None:
    # Nothing ties it to what comes: as the origin it would keep all that from the map.
    register = Register(MemoryStore(), timed=False)
    assert register.update(poor_field(0)).place is None
    errors = errors_of(register, shown(loop(200)))
    assert max(errors) < 1.0


def test_fields_of_few_cells_that_prove_each_other_are_a_map() -> None:
    register = Register(MemoryStore(), timed=False)
    assert register.update(poor_field(0)).place is None
    place = register.update(poor_field(1, moved_px=200)).place
    assert place is not None
    assert (place.x_um, place.y_um) == pytest.approx((-200.0, 0.0), abs=0.5)


def test_field_of_few_cells_on_which_somebody_stays_has_a_place() -> None:
    register = Register(MemoryStore(), timed=False)
    places = [register.update(poor_field(seq)).place for seq in range(12)]
    assert places[0] is None
    assert places[-1] is not None


def test_place_of_a_slide_file_is_left_alone() -> None:
    field = replace(field_at(SCENE, 0, 0), place=Place(5.0, 6.0, 0.1, "slide_file"))
    assert Register(MemoryStore()).update(field) is field


def test_velocity_and_smear_come_from_the_clock() -> None:
    register = Register(MemoryStore(), exposure_us=10_000)
    sight = None
    for seq in range(6):
        # 12 µm in a thirtieth of a second.
        sight = register.update(field_at(SCENE, 100 + 12 * seq, 100, seq)).sight
    assert sight is not None
    assert sight.velocity_xy_um_per_s is not None
    assert sight.velocity_xy_um_per_s[0] == pytest.approx(360, abs=6)
    assert sight.velocity_xy_um_per_s[1] == pytest.approx(0, abs=6)
    assert sight.smear_um == pytest.approx(3.6, abs=0.1)


@pytest.mark.parametrize(
    ("specks", "radius_px", "light", "cells"),
    [(25, 4, 0.5, 120), (60, 5, 0.6, 150), (25, 12, 0.5, 300)],
)
def test_dirt_on_the_sensor_neither_holds_the_slide_nor_loses_it(
    specks: int, radius_px: int, light: float, cells: int
) -> None:
    rng = np.random.default_rng(1)
    clear = np.ones((320, 400), np.float32)
    for _ in range(specks):
        centre = int(rng.integers(400)), int(rng.integers(320))
        cv2.circle(clear, centre, radius_px, light, -1)
    clear = np.asarray(cv2.GaussianBlur(clear, (0, 0), 2.0), np.float32)
    fields = []
    for field, at in shown(loop(90), draw_cells(9, cells=cells)):
        pixels = np.asarray(field.pixels * clear[..., None], np.uint8)
        fields.append((replace(field, pixels=pixels), at))
    errors = np.array(errors_of(Register(MemoryStore(), timed=False), fields))
    assert np.isfinite(errors).mean() > 0.95
    assert errors[np.isfinite(errors)].max() < 2.0


def test_change_of_objective_keeps_the_place() -> None:
    register = Register(MemoryStore(), timed=False)
    errors_of(register, shown(loop(150)[:4]))
    middle = SCENE[200:360, 400:600]
    fine = np.repeat(np.repeat(middle, 2, axis=0), 2, axis=1)
    place = register.update(Field(0.5, 9, 0, pixels=fine)).place
    assert place is not None
    assert np.hypot(place.x_um + 100 - 400, place.y_um + 100 - 200) < 1.0


def told(
    x: float, y: float, seq: int, at: Point, pixels: Pixels | None = None
) -> Field:
    """A field whose stage says where it is."""
    field = field_at(SCENE, *at, seq)
    place = Place(x, y, 0.5, "stage_encoder")
    return replace(
        field, place=place, pixels=field.pixels if pixels is None else pixels
    )


def test_encoder_is_fused_and_its_offset_learnt() -> None:
    register = Register(MemoryStore(), timed=False)
    start = 0.0
    for seq, at in enumerate(loop(200)):
        # Noise of half a micrometre, and a scale that is wrong by 0.5 %.
        wobble = 0.5 * (-1) ** seq
        place = register.update(told(1.005 * at[0] + wobble, at[1], seq, at)).place
        assert place is not None
        # The first picture has nothing to be compared with.
        assert place.origin == ("image_registration" if seq else "stage_encoder")
        if seq == 0:
            start = place.x_um - at[0]
        assert abs(place.x_um - start - at[0]) < 1.5


def test_encoder_that_slipped_does_not_move_the_place() -> None:
    register = Register(MemoryStore(), timed=False)
    path = [(100 + 40 * k, 100) for k in range(10)]
    for seq, at in enumerate(path):
        slip = 300.0 if seq >= 5 else 0.0
        place = register.update(told(at[0] + slip, at[1], seq, at)).place
        assert place is not None
        assert abs(place.x_um - at[0]) < 1.0


def test_encoder_carries_on_over_empty_glass_with_a_growing_error() -> None:
    register = Register(MemoryStore(), timed=False)
    register.update(told(0.0, 0.0, 0, (100, 100)))
    glass = np.full((320, 400, 3), 236, np.uint8)
    errors = []
    for seq in range(1, 5):
        place = register.update(told(500.0 * seq, 0.0, seq, (0, 0), glass)).place
        assert place is not None
        assert place.origin == "stage_encoder"
        errors.append(place.standard_error_um)
    assert errors == sorted(errors)
    assert errors[-1] > 5.0


def test_camera_turned_against_the_stage_turns_what_the_encoder_says() -> None:
    choice = RegisterChoice(rotation_deg=90.0)
    register = Register(MemoryStore(), choice, timed=False)
    glass = np.full((320, 400, 3), 236, np.uint8)
    register.update(told(0.0, 0.0, 0, (100, 100)))
    place = register.update(told(0.0, 50.0, 1, (0, 0), glass)).place
    assert place is not None
    assert (place.x_um, place.y_um) == pytest.approx((50.0, 0.0), abs=1e-6)


def test_unreadable_field_changes_nothing() -> None:
    register = Register(MemoryStore())
    errors_of(register, shown([(100, 100)]))
    broken = replace(field_at(SCENE, 140, 100, 1), fault="unreadable: tile 3")
    assert register.update(broken) is broken
    assert register.update(field_at(SCENE, 140, 100, 2)).place is not None


def test_noise_of_a_field_is_not_a_place() -> None:
    register = Register(MemoryStore(), timed=False)
    errors_of(register, shown(loop(200)[:6]))
    width, height = FIELD_WH_PX
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    assert register.update(Field(1.0, 99, 0, pixels=noise)).place is None
    assert cut(SCENE, 0, 0).shape == noise.shape


def test_play_of_the_stage_is_no_error_of_a_map_that_begins_with_it() -> None:
    register = Register(MemoryStore(), timed=False)
    for seq, at in enumerate(loop(160)):
        field = field_at(SCENE, *at, seq)
        # Play of 12 µm: more than a field may be wrong by and have boxes.
        place = Place(float(at[0]), float(at[1]), 12.0, "stage_encoder")
        found = register.update(replace(field, place=place)).place
        assert found is not None
        assert found.standard_error_um < 1.5
        assert (found.x_um, found.y_um) == pytest.approx(at, abs=1.5)


Seen = list[tuple[Field, Point]]


def turned_at(path: list[Point], turns: list[float], scene: Pixels = SCENE) -> Seen:
    """Fields whose corners lie on a path, each of a camera turned about its middle."""
    width, height = FIELD_WH_PX
    made = []
    for seq, ((x, y), turn_deg) in enumerate(zip(path, turns, strict=True)):
        middle = x + width / 2, y + height / 2
        pixels = cut_turned(scene, middle, turn_deg, seed=seq)
        made.append((Field(1.0, seq, seq, pixels=pixels), (x, y)))
    return made


def judged(register: Register, seen: Seen, turn_deg: float) -> list[tuple[str, float]]:
    """Origin of each place ("lost" where there is none), and its error on its map."""
    began: dict[bool, tuple[np.ndarray, np.ndarray]] = {}
    judged = []
    for field, at in seen:
        place = register.update(field).place
        if place is None:
            judged.append(("lost", 0.0))
            continue
        on_new = place.origin == "turned_camera"
        here, there = np.array([place.x_um, place.y_um]), np.array(at, float)
        first = began.setdefault(on_new, (here, there))
        turn = np.deg2rad(turn_deg if on_new else 0.0)
        cos, sin = np.cos(turn), np.sin(turn)
        way = np.array([[cos, -sin], [sin, cos]]) @ (there - first[1])
        judged.append((place.origin, float(np.hypot(*(here - first[0] - way)))))
    return judged


@pytest.mark.parametrize("step", [80, 270])
@pytest.mark.parametrize("turn_deg", [1.5, -3.0, 10.0, 45.0, 90.0, 180.0])
def test_camera_turned_in_mid_session_goes_on_in_a_new_map(
    turn_deg: float, step: int
) -> None:
    scene = draw_cells(7, cells=330)
    path = [(x, 100) for x in range(100, 960, step)]
    path += [(x, 100 + step) for x in reversed(range(100, 960, step))]
    half = len(path) // 2
    turns = [0.0] * half + [turn_deg] * (len(path) - half)
    said = judged(
        Register(MemoryStore(), timed=False), turned_at(path, turns, scene), turn_deg
    )
    assert {origin for origin, _ in said[:half]} == {"image_registration"}
    assert {origin for origin, _ in said[half:]} == {"turned_camera"}
    assert max(error for _, error in said) < 1.5


@pytest.mark.parametrize("cells", [70, 150])
@pytest.mark.parametrize("turn_deg", [1.5, 3.0, 90.0])
@pytest.mark.parametrize("step", [80, 270])
def test_where_few_cells_tell_of_a_turn_nothing_is_placed_wrongly(
    turn_deg: float, step: int, cells: int
) -> None:
    row = [(x, 60) for x in range(60, 960, step)]
    path = row + [(x, 60 + step) for x, _ in reversed(row)]
    half = len(path) // 2 - 2
    turns = [0.0] * half + [turn_deg] * (len(path) - half)
    seen = turned_at(path, turns, draw_cells(11, cells=cells))
    said = judged(Register(MemoryStore(), timed=False), seen, turn_deg)
    assert max(error for _, error in said) < 10.0


def test_camera_turned_back_finds_the_old_map() -> None:
    path = [(100 + 90 * k, 100) for k in range(9)]
    turns = [0.0] * 3 + [3.0] * 3 + [0.0] * 3
    seen = turned_at(path, turns, draw_cells(7, cells=330))
    path_back = [(190, 110), (250, 120)]
    seen += turned_at(path_back, [0.0, 0.0], draw_cells(7, cells=330))
    said = judged(Register(MemoryStore(), timed=False), seen, 3.0)
    assert [origin for origin, _ in said[3:6]] == ["turned_camera"] * 3
    assert [origin for origin, _ in said[9:]] == ["image_registration"] * 2
    assert max(error for _, error in said[:6] + said[9:]) < 1.5


def speckled(pixels: np.ndarray) -> np.ndarray:
    clear = np.ones(pixels.shape[:2], np.float32)
    for x, y in np.random.default_rng(4).integers((0, 0), FIELD_WH_PX, (40, 2)):
        cv2.circle(clear, (int(x), int(y)), 4, 0.5, -1)
    return np.asarray(pixels * clear[..., None])


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma))


def larger(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(pixels[1:-1, 1:-1], FIELD_WH_PX))


UNTURNED: dict[str, Callable[[int, np.ndarray], np.ndarray]] = {
    "noise": lambda k, p: p + np.random.default_rng(k).normal(0, 12, p.shape),
    "focus": lambda k, p: blurred(p, 0.3 + 0.25 * (k % 5)),
    "brightness": lambda k, p: p * (0.7 + 0.06 * (k % 6)),
    "larger by 0.5 %": lambda k, p: larger(p) if k % 2 else p,
    "dirt": lambda _, p: speckled(p),
}


@pytest.mark.parametrize("what", UNTURNED)
def test_nothing_else_is_told_as_a_turn(what: str) -> None:
    register = Register(MemoryStore(), timed=False)
    origins = []
    for k, (field, _) in enumerate(shown(loop(110), draw_cells(7, cells=330))):
        changed = UNTURNED[what](k, field.pixels.astype(np.float32))
        pixels = np.clip(changed, 0, 255).astype(np.uint8)
        place = register.update(replace(field, pixels=pixels)).place
        origins.append(place and place.origin)
    assert "turned_camera" not in origins
    assert origins.count("image_registration") > 0.9 * len(origins)


@pytest.mark.parametrize("cells", [250, 570])
def test_few_cells_that_seem_turned_by_chance_are_told_as_no_turn(cells: int) -> None:
    scene = draw_cells(5, width=2200, height=1700, cells=cells)
    path = [(50 + 340 * k, 90) for k in range(5)]
    path += [(x, 362) for x, _ in path[::-1]]
    seen = turned_at(path, [0.0] * len(path), scene)
    said = judged(Register(MemoryStore(), timed=False), seen, 0.0)
    assert "turned_camera" not in {origin for origin, _ in said}
    assert max(off_um for _, off_um in said) < 10.0


@pytest.mark.parametrize("seed", [5, 8, 9])
def test_one_cell_that_is_alike_by_chance_is_no_place_for_a_turned_field(
    seed: int,
) -> None:
    scene = draw_cells(seed, width=2200, height=1700, cells=250)
    path = [(50 + 160 * k, 90) for k in range(11)]
    path += [(x, 218) for x, _ in path[::-1]]
    seen = turned_at(path, [0.0] * 11 + [3.0] * 11, scene)[:17]
    said = judged(Register(MemoryStore(), timed=False), seen, 3.0)
    assert max(off_um for _, off_um in said) < 10.0


def there_and_back(step: int) -> list[Point]:
    """A row over a sparse scene, and the next one back, a fifth of it shared."""
    row = [(50 + step * k, 90) for k in range(max(2, min(11, 1740 // step)))]
    return row + [(x, 90 + step * 4 // 5) for x, _ in row[::-1]]


@pytest.mark.parametrize(
    ("cells", "step", "turn_deg", "seed"),
    [
        pytest.param(250, 160, 3.0, 5, id="a search that keyframes around it deny"),
        pytest.param(250, 280, 3.0, 5, id="fields of which parts were left out"),
        pytest.param(250, 340, 0.5, 5, id="a turn that one keyframe of two shows"),
        pytest.param(120, 160, 0.5, 11, id="a turn in doubt, then known"),
    ],
)
def test_turned_fields_that_fit_one_another_add_up_to_no_wrong_place(
    cells: int, step: int, turn_deg: float, seed: int
) -> None:
    path = there_and_back(step)
    half = len(path) // 2
    scene = draw_cells(seed, width=2200, height=1700, cells=cells)
    seen = turned_at(path, [0.0] * half + [turn_deg] * half, scene)
    register = Register(MemoryStore(), timed=False)
    said = judged(register, seen, turn_deg)
    assert {origin for origin, _ in said[:half]} <= {"image_registration", "lost"}
    assert max(off_um for _, off_um in said) < 5.0


def test_what_one_round_cell_leaves_open_of_a_turn_is_told_as_error() -> None:
    # All that two parts of a slide share is one cell: nobody knows whether the camera
    # was turned between them, by 1.5° here.
    rich = draw_cells(7, cells=500)
    scene = np.full((700, 2200, 3), 236, np.uint8)
    scene[:, :400], scene[:, 640:1800] = rich[:700, :400], rich[:700, 240:]
    for radius, light in ((22, 190), (7, 80)):
        cv2.circle(scene, (520, 300), radius, (light, light - 20, light), -1)
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.0))
    path = [(100 + 120 * k, 150) for k in range(11)]
    for turn_deg in (0.0, 1.5):
        seen = turned_at(path, [0.0] * 3 + [turn_deg] * 8, scene)
        register = Register(MemoryStore(), timed=False)
        for field, (x, y) in seen:
            place = register.update(field).place
            if place is not None and place.origin == "image_registration":
                off_um = np.hypot(place.x_um + 100 - x, place.y_um + 150 - y)
                assert off_um < 3 * max(1.0, place.standard_error_um)


def test_small_turn_is_told_once_two_fields_say_the_same() -> None:
    path = [(100 + 60 * k, 100) for k in range(10)]
    seen = turned_at(path, [0.0] * 5 + [0.5] * 5, draw_cells(7, cells=330))
    register = Register(MemoryStore(), timed=False)
    places = [register.update(field).place for field, _ in seen]
    origins = [place.origin if place else "lost" for place in places]
    assert origins[5:] == ["lost"] + ["turned_camera"] * 4


def test_encoder_is_not_heard_once_the_camera_was_turned() -> None:
    register = Register(MemoryStore(), timed=False)
    path = [(100 + 90 * k, 100) for k in range(8)]
    turns = [0.0] * 4 + [3.0] * 4
    origins = []
    for field, (x, y) in turned_at(path, turns, draw_cells(7, cells=330)):
        place = Place(float(x), float(y), 0.5, "stage_encoder")
        found = register.update(replace(field, place=place)).place
        origins.append(found and found.origin)
    assert origins[4:] == ["turned_camera"] * 4
    glass = Field(1.0, 9, 9, pixels=np.full((320, 400, 3), 236, np.uint8))
    told = Place(900.0, 100.0, 0.5, "stage_encoder")
    assert register.update(replace(glass, place=told)).place is None


def behind(mask: str, pixels: Pixels) -> Pixels:
    """A field as a camera shows it behind what is dark at the border."""
    y, x = np.mgrid[:320, :400].astype(np.float32)
    away = np.hypot(x - 200, y - 160)
    dark = {
        "round, sharp": away > 175,
        "round, soft": np.clip((away - 165) / 20, 0, 1),
        "one corner": x + y < 150,
        "left side": x < 70,
    }
    light = 1.0 - 0.97 * np.asarray(dark[mask], np.float32)
    return np.asarray(pixels * light[..., None], np.uint8)


@pytest.mark.parametrize(
    "mask", ["round, sharp", "round, soft", "one corner", "left side"]
)
def test_mask_of_an_eyepiece_neither_loses_fields_nor_places_strangers(
    mask: str,
) -> None:
    register = Register(MemoryStore(), timed=False)
    fields = [
        (replace(field, pixels=behind(mask, field.pixels)), at)
        for field, at in shown(loop(110)[:14], draw_cells(9, cells=300))
    ]
    errors, told = np.array(errors_of(register, fields)), register.last
    assert np.isfinite(errors).mean() > 0.9
    assert errors[np.isfinite(errors)].max() < 2.0
    assert told is not None
    assert errors[-1] < 2.0 * max(told.standard_error_um, 0.05)
    strangers = [draw_cells(100 + seed, cells=300) for seed in range(8)]
    for seq, scene in enumerate(strangers):
        field = field_at(scene, 100 + 60 * seq, 200, 50 + seq)
        hidden = replace(field, pixels=behind(mask, field.pixels))
        assert register.update(hidden).place is None
