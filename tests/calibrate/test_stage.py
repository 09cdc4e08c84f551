"""Walks over stages that are only arithmetic, so that every truth is known."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from armicro.calibrate.stage import (
    StageWalk,
    draw_stage,
    fit_matrix,
    rms,
    scale_from_moves,
    table_of,
)
from armicro.calibrate.walk import Limits, Point, WalkReading, WalkTarget, walk
from armicro.errors import CalibrationError
from armicro.rig import Mechanics
from armicro.source.stage import SimulatedStage

UM_PER_PX = 0.243
FIELD_WH_PX = 800, 600
LIMITS: Limits = (-500.0, -500.0, 500.0, 500.0)


def turned(degrees: float, *, scale: float = 1.0, mirror: bool = False) -> Mechanics:
    """A stage whose x points so many degrees clockwise on the screen."""
    angle = math.radians(degrees)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    sign = -1.0 if mirror else 1.0
    return Mechanics(um_per_step=((cos, -sign * sin), (sin, sign * cos)))


@dataclass
class Bench:
    """A stage, and a camera that measures shifts without a picture."""

    mechanics: Mechanics
    limits: Limits = LIMITS
    noise_px: float = 0.0
    drift_px: float = 0.0
    """The slide slips so far at each look."""
    first_step: float = 3.0
    visited: list[Point] = field(default_factory=list)
    targets: list[WalkTarget] = field(default_factory=list)

    def run(self, start: Point = (0.0, 0.0)) -> StageWalk:
        stage = SimulatedStage(self.mechanics, limits=self.limits)
        stage.move_to(*start)
        rng = np.random.default_rng(1)
        plan = walk(
            start,
            limits=self.limits,
            field_wh_px=FIELD_WH_PX,
            first_step=self.first_step,
        )
        reference = np.zeros(2)
        target = next(plan)
        while True:
            self.targets.append(target)
            for xy in (target.via, target.xy):
                if xy is not None:
                    stage.move_to(*xy)
                    self.visited.append(xy)
            view = np.array(stage.true_xy_um) / UM_PER_PX
            view += self.drift_px * len(self.targets) + rng.normal(0, self.noise_px, 2)
            if target.reference:
                reference = view
            x, y = view - reference
            common = (1 - abs(x) / FIELD_WH_PX[0]) * (1 - abs(y) / FIELD_WH_PX[1])
            seen = (float(x), float(y))
            lost = common < 0.3 or abs(x) > FIELD_WH_PX[0]
            try:
                target = plan.send(
                    WalkReading(stage.position(), None if lost else seen)
                )
            except StopIteration as ended:
                walked: StageWalk = ended.value
                return walked


@pytest.mark.parametrize("degrees", [-100.0, -3.0, 0.0, 1.5, 45.0, 180.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_matrix_and_rotation_are_those_of_the_stage(
    degrees: float, *, mirror: bool
) -> None:
    mechanics = turned(degrees, scale=1.02, mirror=mirror)
    walked = Bench(mechanics, noise_px=0.05).run()
    table = table_of(walked, um_per_px=UM_PER_PX, measured_at="now")
    error = np.subtract(table.um_per_step, mechanics.um_per_step)
    assert np.abs(error).max() < 0.002
    apart = (table.rotation_deg - degrees + 180) % 360 - 180
    assert abs(apart) < 0.1
    assert walked.matrix.mirrored == mirror
    assert rms(walked.held_out_px) < 0.5


@pytest.mark.parametrize(
    "backlash", [(0.0, 0.0), (5.0, 30.0), (30.0, 12.0), (20.0, 20.0)]
)
def test_backlash_is_found_within_a_micrometre(backlash: Point) -> None:
    angle = turned(2.0)
    mechanics = Mechanics(
        um_per_step=angle.um_per_step, backlash=backlash, repeatability=0.2, seed=3
    )
    walked = Bench(mechanics, noise_px=0.05).run()
    table = table_of(walked, um_per_px=UM_PER_PX, measured_at="now")
    assert table.backlash_um == pytest.approx(backlash, abs=1.0)
    assert table.repeatability_um == pytest.approx(0.2, abs=0.15)
    error = np.subtract(table.um_per_step, mechanics.um_per_step)
    assert np.abs(error).max() < 4 * table.standard_error < 0.02


def test_closed_loop_is_better_than_the_first_try_where_the_matrix_is_poor() -> None:
    mechanics = Mechanics(repeatability=0.4, seed=2)
    walked = Bench(mechanics).run()
    assert rms(walked.last_tries_px) < rms(walked.first_tries_px)


def test_scale_follows_from_moves_of_a_stage_that_counts_in_micrometres() -> None:
    walked = Bench(turned(10.0), noise_px=0.1).run()
    scale = scale_from_moves(walked.matrix)
    assert scale.um_per_px == pytest.approx(UM_PER_PX, rel=0.001)
    assert abs(scale.um_per_px - UM_PER_PX) < 4 * scale.standard_error


@pytest.mark.parametrize("start", [(0.0, 0.0), (-119.0, 118.0), (120.0, 120.0)])
def test_soft_limits_are_kept_from_wherever_it_starts(start: Point) -> None:
    limits = (-120.0, -120.0, 120.0, 120.0)
    mechanics = Mechanics(backlash=(8.0, 15.0))
    bench = Bench(mechanics, limits=limits)
    bench.run(start)
    for x, y in bench.visited:
        assert -120 <= x <= 120
        assert -120 <= y <= 120


def test_steps_start_small_and_grow_to_a_quarter_of_the_field() -> None:
    bench = Bench(turned(0.0, scale=7.0))
    bench.run()
    ways = [
        target.xy[0]
        for target in bench.targets
        if target.purpose == "step x" and not target.reference
    ]
    assert ways[0] <= bench.first_step
    assert all(b <= 2 * a + 1e-9 for a, b in pairwise(ways))
    grid = max(abs(t.xy[0]) for t in bench.targets if t.purpose == "matrix")
    assert 0.15 < grid * 7 / UM_PER_PX / FIELD_WH_PX[1] < 0.3


@pytest.mark.parametrize(
    ("bench", "says"),
    [
        (Bench(turned(0.0, scale=1e-4)), "clutch"),
        (Bench(turned(0.0, scale=1e4)), "nothing in common"),
        (Bench(turned(0.0), limits=(-60.0, -60.0, 60.0, 60.0)), "too little room"),
        (Bench(turned(0.0), drift_px=1.5), "drift|scatter"),
        (Bench(Mechanics(repeatability=6.0)), "scatter|play"),
        (Bench(Mechanics(um_per_step=((1.0, 0.3), (0.0, 1.0)))), "from square"),
    ],
)
def test_stage_that_cannot_be_calibrated_is_refused(bench: Bench, says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        bench.run()


def test_moves_on_one_line_are_no_calibration() -> None:
    at = np.column_stack((np.arange(10.0), np.arange(10.0)))
    with pytest.raises(CalibrationError, match="both directions"):
        fit_matrix(at, at)


def test_standard_error_covers_the_truth_two_times_in_three() -> None:
    rng = np.random.default_rng(0)
    grid = np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]) * 30.0
    inside = 0
    for _ in range(200):
        fit = fit_matrix(grid, grid + rng.normal(0, 0.5, grid.shape))
        inside += int((np.abs(fit.px_per_step - np.eye(2)) <= fit.standard_error).sum())
    # A t distribution of six degrees of freedom: 64 %.
    assert 0.58 < inside / 800 < 0.70


def test_plot_shows_a_dot_for_every_error() -> None:
    walked = Bench(turned(2.0), noise_px=0.1).run()
    pixels = draw_stage(walked, um_per_px=UM_PER_PX)
    held_out = np.all(np.abs(pixels.astype(int) - (213, 94, 0)) < 40, axis=2)
    assert held_out[50:440, 480:860].sum() > 100
