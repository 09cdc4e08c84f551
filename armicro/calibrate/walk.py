"""Which move comes next: a stage's calibration as a pure generator.

It says where to go and is told what was seen there; it knows no stage and no camera, so
a window or a test may carry out its moves as well as the command. It begins with a step
that is safe for any objective, doubles it until the picture has moved far enough to be
measured well and still shows enough of the last, and from then on every step is one
that was tried.

    step       find for each axis the step that moves the picture by about a quarter
    play       come to one place from either side, until the run-up exceeds the play
    matrix     visit a grid, always arriving upwards in x and y; again while it scatters
    held out   visit places that take no part in the fit
    closed     go to places in the picture, and correct by what is seen
    return     come back: has anything drifted?
"""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from armicro.calibrate.stage import Array, Matrix, StageWalk, fit_matrix, require_sound
from armicro.errors import CalibrationError

# ---------------------------------------------------------------------------
# One move of a stage's calibration, and what was seen after it.


Point = tuple[float, float]
Limits = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y, in the stage's units."""


class WalkTarget(NamedTuple):
    """Where to go and look next."""

    xy: Point
    """In the stage's units."""
    via: Point | None
    """Go here first, so that the play lies on a known side."""
    purpose: str
    """For the progress line."""
    reference: bool = False
    """Compare later pictures with this one."""


class WalkReading(NamedTuple):
    """What was seen there."""

    at_xy: Point
    """The stage's reading."""
    shift_px: Point | None
    """Of the view against the reference; None where the pictures have nothing in
    common; of a reference (0, 0)."""


class WalkReadings(NamedTuple):
    """What was seen, as arrays of two."""

    at: Array
    shift_px: Array


Looks = Generator[WalkTarget, WalkReading, WalkReadings]


def look(
    at: Array, run_up: Array | None, purpose: str, *, reference: bool = False
) -> Looks:
    """Go there and look.

    Raises:
        CalibrationError: the pictures have nothing in common, though they should.
    """
    seen = yield target_of(at, run_up, purpose, reference=reference)
    if seen.shift_px is None:
        raise CalibrationError(
            f"stage: at ({at[0]:.6g}, {at[1]:.6g}) the picture was not recognised, "
            "though smaller steps were; choose a place with more cells, in focus"
        )
    return WalkReadings(np.array(seen.at_xy), np.array(seen.shift_px))


def target_of(
    at: Array, run_up: Array | None, purpose: str, *, reference: bool = False
) -> WalkTarget:
    """A place to be approached from a run-up away; None: straight."""
    via = None if run_up is None else _point(at - run_up)
    return WalkTarget(_point(at), via, purpose, reference)


def centre_of(start: Point, limits: Limits, room: Array) -> Array:
    """The place nearest to the start with room on all sides.

    Raises:
        CalibrationError: the limits leave no such place.
    """
    low, high = np.array(limits[:2]) + room, np.array(limits[2:]) - room
    if (low > high).any():
        need = ", ".join(
            f"{axis} {2 * r:.4g}" for axis, r in zip("xy", room, strict=True)
        )
        raise CalibrationError(
            f"stage: the soft limits {limits} leave too little room; expected at least "
            f"{need} (stage's units); widen stage.limits"
        )
    return np.asarray(np.clip(np.array(start), low, high))


def unit(index: int) -> Array:
    """Along x for 0, along y for 1."""
    return np.asarray(np.eye(2)[index])


def _point(at: Array) -> Point:
    return float(at[0]), float(at[1])


# ---------------------------------------------------------------------------
# The play of an axis, and how well it comes back to a place.


_AGREES = 0.05
"""Share of the run-up by which plays measured with two run-ups may differ."""
PAIRS = 5
"""How often a place is approached from both sides."""


def measure_play(
    index: int, centre: Array, limits: Limits, rough: Array, run_up: float
) -> Generator[WalkTarget, WalkReading, tuple[Array, Array, float]]:
    """Come to one place from either side; lengthen the run-up until it is enough.

    Returns:
        The plays, the places reached from below, and the run-up, in units.
    """
    inverse = np.linalg.inv(rough)
    back = unit(index)
    purpose = f"play {'xy'[index]}"
    room = min(limits[index + 2] - centre[index], centre[index] - limits[index])
    while True:
        tried = []
        for reach in (run_up, 2 * run_up):
            below = yield from look(centre, back * reach, purpose, reference=True)
            above = yield from look(centre, -back * reach, purpose)
            far = inverse @ above.shift_px - (above.at - below.at)
            tried.append(float(far[index]))
        run_up *= 2
        # A run-up shorter than the play shows less of it than a longer one.
        if abs(tried[1] - tried[0]) <= _AGREES * run_up and tried[1] <= run_up:
            break
        if 2 * run_up > room:
            raise CalibrationError(
                f"stage: {'xy'[index]} has a play of {max(tried):.3g} or more, and its "
                f"soft limits leave {room:.3g} to measure it; widen stage.limits, or "
                "have the drive repaired"
            )
    plays, belows = tried[1:], [0.0]
    for _ in range(PAIRS - 1):
        below = yield from look(centre, back * run_up, purpose)
        above = yield from look(centre, -back * run_up, purpose)
        far = inverse @ (above.shift_px - below.shift_px) - (above.at - below.at)
        plays.append(float(far[index]))
        belows.append(float((inverse @ below.shift_px)[index]))
    return np.array(plays), np.array(belows), run_up


# ---------------------------------------------------------------------------
# The step that moves the picture far enough to be measured, found from below.


_FAR_ENOUGH = 0.7
"""Share of the reach at which a step is good."""
_MOVED_PX = 4.0
"""Less may be scatter or a picture's own flicker."""
_HALVINGS = 6


class StageAxis(NamedTuple):
    """How one axis moves the picture, roughly."""

    step: float
    """Units that move the picture by about the reach."""
    px_per_unit: Array
    """(2,)"""


def find_step(
    index: int, start: Point, limits: Limits, reach_px: float, first_step: float
) -> Generator[WalkTarget, WalkReading, StageAxis]:
    """Grow the step along one axis until the picture moves by about the reach."""
    name = "xy"[index]
    room = limits[index + 2] - start[index], start[index] - limits[index]
    sign, most = (1.0, room[0]) if room[0] >= room[1] else (-1.0, room[1])
    along = sign * unit(index)
    purpose = f"step {name}"
    last = yield from look(np.array(start), None, purpose, reference=True)
    way, halvings = min(first_step, most), 0
    while True:
        seen = yield target_of(np.array(start) + way * along, None, purpose)
        if seen.shift_px is None:
            halvings += 1
            if halvings > _HALVINGS:
                raise CalibrationError(
                    f"stage: after {way:.3g} along {name} the picture has nothing in "
                    "common with the last; put a stained slide with cells in focus "
                    "under the objective and check that this camera is over this stage"
                )
            # Not further than what was last recognised, and half of what is beyond.
            known = float(abs(last.at - start)[index])
            way = known + (way - known) / 2
            continue
        now = WalkReadings(np.array(seen.at_xy), np.array(seen.shift_px))
        went = float(abs(now.at - last.at)[index])
        more_px = float(np.hypot(*(now.shift_px - last.shift_px)))
        moved_px = float(np.hypot(*now.shift_px))
        before_px = float(np.hypot(*last.shift_px))
        if went and moved_px >= _FAR_ENOUGH * reach_px and before_px >= _MOVED_PX:
            slope = (now.shift_px - last.shift_px) / (now.at - last.at)[index]
            return StageAxis(reach_px / float(np.hypot(*slope)), slope)
        if way >= most:
            raise CalibrationError(
                f"stage: went {way:.4g} along {name}, up to its soft limits, and the "
                f"picture moved {moved_px:.0f} px, expected {reach_px:.0f}; check that "
                f"the stage's clutch is closed, that {name} moves, and stage.limits"
            )
        last = now if more_px >= _MOVED_PX else last
        growth = reach_px - moved_px if moved_px < reach_px else reach_px / 4
        rate = more_px / went if went else 0.0
        way = min(most, way + min(way, growth / rate if rate else way))


# ---------------------------------------------------------------------------
# The walk.


REACH = 0.22
"""Share of the field's smaller side that a step moves: over a grid's diagonal three
fifths of the field stay common."""
_RUN_UP = 0.5
"""Share of the reach from which places are approached at first; then twice that."""
_SAME_MATRIX = 0.15
"""How far the grid's matrix may be from the steps': else the play was not taken up."""
_MOST_ROUNDS = 6
_GOOD_ENOUGH = 0.0005
"""Relative error of the matrix at which no more rounds are needed."""
_HELD_OUT = 8
_CLOSED_MOVES = 4
_MOST_TRIES = 4
_CLOSED_PX = 0.5

Walk = Generator[WalkTarget, WalkReading, StageWalk]


def walk(
    start: Point,
    *,
    limits: Limits,
    field_wh_px: tuple[int, int],
    first_step: float,
    seed: int = 0,
) -> Walk:
    """Plan a calibration, move by move.

    Args:
        start: the stage's reading now.
        limits: no place outside is ever named.
        field_wh_px: width and height of the pictures.
        first_step: units that surely keep most of the field in view.
        seed: of the order of the moves and the places held out.

    Yields:
        Where to go next; send back what was seen.

    Returns:
        What was measured.

    Raises:
        CalibrationError: the picture does not follow the stage, there is too little
            room within the limits, or the moves fit no matrix.
    """
    reach_px = REACH * min(field_wh_px)
    rng = np.random.default_rng(seed)
    x = yield from find_step(0, start, limits, reach_px, first_step)
    y = yield from find_step(1, start, limits, reach_px, first_step)
    steps = np.array((x.step, y.step))
    rough = np.column_stack((x.px_per_unit, y.px_per_unit))
    run_up = _RUN_UP * steps
    plays, scatters = [], []
    for index in (0, 1):
        centre = centre_of(start, limits, unit(index) * 2 * steps)
        play, scatter, need = yield from measure_play(
            index, centre, limits, rough, run_up[index]
        )
        plays.append(play)
        scatters.append(scatter)
        run_up[index] = need
    home = centre_of(start, limits, steps + run_up)
    yield from look(home, run_up, "matrix", reference=True)
    matrix, shifts = yield from _measure_matrix(home, steps, run_up, rng)
    _require_same(matrix, rough)
    held_out = yield from _hold_out(matrix, home, steps, run_up, rng)
    firsts, lasts = yield from _close_loop(matrix, home, steps, run_up, rng)
    back = yield from look(home, run_up, "return")
    walked = StageWalk(
        matrix=matrix,
        shifts_px=shifts,
        backlash=np.column_stack(plays),
        scatter=(scatters[0], scatters[1]),
        held_out_px=held_out,
        first_tries_px=firsts,
        last_tries_px=lasts,
        return_px=back.shift_px - matrix.predict_px(back.at[None])[0],
    )
    require_sound(walked)
    return walked


def _require_same(matrix: Matrix, rough: Array) -> None:
    off = np.abs(matrix.px_per_step - rough).max() / np.abs(rough).max()
    if off > _SAME_MATRIX:
        raise CalibrationError(
            f"stage: moves over the grid differ by {off:.0%} from the first steps, "
            f"expected at most {_SAME_MATRIX:.0%}; slide, camera or drive is loose, or "
            "the play is larger than a third of the field"
        )


def _measure_matrix(
    home: Array, steps: Array, run_up: Array, rng: np.random.Generator
) -> Generator[WalkTarget, WalkReading, tuple[Matrix, Array]]:
    """Visit a grid until the matrix is known well enough."""
    grid = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)], float)
    at: list[Array] = []
    shifts: list[Array] = []
    while True:
        for offset in rng.permutation(grid):
            seen = yield from look(home + offset * steps, run_up, "matrix")
            at.append(seen.at)
            shifts.append(seen.shift_px)
        matrix = fit_matrix(np.array(at), np.array(shifts))
        enough = matrix.relative_error <= _GOOD_ENOUGH
        if enough or len(at) >= _MOST_ROUNDS * len(grid):
            return matrix, np.array(shifts)


def _hold_out(
    matrix: Matrix, home: Array, steps: Array, run_up: Array, rng: np.random.Generator
) -> Generator[WalkTarget, WalkReading, Array]:
    """Errors (n, 2) of the matrix at places that it has not seen."""
    errors: list[Array] = []
    for offset in _inside(rng, _HELD_OUT):
        seen = yield from look(home + offset * steps, run_up, "held out")
        errors.append(seen.shift_px - matrix.predict_px(seen.at[None])[0])
    return np.array(errors)


def _close_loop(
    matrix: Matrix, home: Array, steps: Array, run_up: Array, rng: np.random.Generator
) -> Generator[WalkTarget, WalkReading, tuple[Array, Array]]:
    """Errors (n, 2) of moves to places in the picture: at first, and corrected."""
    pairs: list[tuple[Array, Array]] = []
    for offset in _inside(rng, _CLOSED_MOVES):
        wanted_px = matrix.px_per_step @ (offset * steps)
        pairs.append((yield from _closed_move(matrix, home, wanted_px, run_up, steps)))
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def _closed_move(
    matrix: Matrix, home: Array, wanted_px: Array, run_up: Array, steps: Array
) -> Generator[WalkTarget, WalkReading, tuple[Array, Array]]:
    """Go to a place in the picture and correct; the first and the last error."""
    inverse = np.linalg.inv(matrix.px_per_step)
    told = home + inverse @ wanted_px
    errors: list[Array] = []
    for _ in range(_MOST_TRIES):
        seen = yield from look(told, run_up, "closed loop")
        errors.append(seen.shift_px - wanted_px)
        if np.hypot(*errors[-1]) <= _CLOSED_PX:
            break
        # Never out of the ground that was tried.
        told = np.clip(told - inverse @ errors[-1], home - steps, home + steps)
    return errors[0], min(errors, key=lambda e: float(np.hypot(*e)))


def _inside(rng: np.random.Generator, count: int) -> Array:
    """Points inside the grid, (count, 2) in -1..1."""
    return np.asarray(rng.uniform(-0.95, 0.95, (count, 2)))


def planned_looks() -> int:
    """About how many looks a walk takes, for a progress bar."""
    return 2 * 7 + 2 * 2 * (PAIRS + 1) + 1 + 9 + _HELD_OUT + _CLOSED_MOVES + 1
