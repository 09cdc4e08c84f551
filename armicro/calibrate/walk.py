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

import numpy as np

from armicro.calibrate.move import Limits, Point, Seen, Target, centre_of, look, unit
from armicro.calibrate.play import PAIRS, measure_play
from armicro.calibrate.stage import Array, Matrix, Walked, fit_matrix, require_sound
from armicro.calibrate.step import find_step
from armicro.errors import CalibrationError

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

Walk = Generator[Target, Seen, Walked]


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
    walked = Walked(
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
) -> Generator[Target, Seen, tuple[Matrix, Array]]:
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
) -> Generator[Target, Seen, Array]:
    """Errors (n, 2) of the matrix at places that it has not seen."""
    errors: list[Array] = []
    for offset in _inside(rng, _HELD_OUT):
        seen = yield from look(home + offset * steps, run_up, "held out")
        errors.append(seen.shift_px - matrix.predict_px(seen.at[None])[0])
    return np.array(errors)


def _close_loop(
    matrix: Matrix, home: Array, steps: Array, run_up: Array, rng: np.random.Generator
) -> Generator[Target, Seen, tuple[Array, Array]]:
    """Errors (n, 2) of moves to places in the picture: at first, and corrected."""
    pairs: list[tuple[Array, Array]] = []
    for offset in _inside(rng, _CLOSED_MOVES):
        wanted_px = matrix.px_per_step @ (offset * steps)
        pairs.append((yield from _closed_move(matrix, home, wanted_px, run_up, steps)))
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def _closed_move(
    matrix: Matrix, home: Array, wanted_px: Array, run_up: Array, steps: Array
) -> Generator[Target, Seen, tuple[Array, Array]]:
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
