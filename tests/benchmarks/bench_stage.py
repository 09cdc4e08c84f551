"""Stage calibration against known truth, and camera-stage-mapping on the same moves.

    python tests/benchmarks/bench_stage.py [--quick] [--json]

Every instrument walks through ``armicro calibrate stage`` as shipped: Micro-Manager's
demonstration pair, pylon's virtual stage, and simulated microscopes whose camera is
turned and whose stage has play and scatter, with a drawn slide and sensor noise. Then
it goes to and fro along each axis for backlash. camera-stage-mapping (LGPL, a
development dependency) gets the pictures of the very same moves: its own FFT tracker on
the grid and its own least squares for the matrix, its own model on the way to and fro
for backlash (it reports half the play; shown doubled).

Errors are the largest of the matrix's entries as a share of a step, the rotation, the
larger of the two axes' play, and the RMS of moves that took no part in the fit (ours
as the command reports it; theirs from their tracker and their matrix on those moves).
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from camera_stage_mapping.camera_stage_calibration_1d import fit_backlash
from camera_stage_mapping.camera_stage_tracker import TrackerHistory
from camera_stage_mapping.fft_image_tracking import (
    displacement_from_fft_template,
    high_pass_fft_template,
)
from numpy.typing import NDArray

from armicro.calibrate.stage import StageWalk, rms, table_of
from armicro.calibrate.walk import Walk, WalkReading, WalkTarget, walk
from armicro.field import Field, Pixels
from armicro.rig import Camera, Matrix, Mechanics, Rig, Scan, StageSettings, read_rig
from armicro.source import SourceCard
from armicro.source.open import OpenInstrument, carry_out, open_instrument

RIGS = Path(__file__).parents[2] / "hardware/rigs"
IDENTITY: Matrix = ((1.0, 0.0), (0.0, 1.0))
TO_AND_FRO = 10
Array = NDArray[np.float64]


@dataclass
class Case:
    """An instrument and what is true of it."""

    name: str
    rig: Rig
    um_per_step: Matrix = IDENTITY
    backlash: tuple[float, float] = (0.0, 0.0)


@dataclass
class Log:
    """A source that keeps its pictures, and the plan's moves beside them."""

    instrument: OpenInstrument
    pictures: list[Pixels] = field(default_factory=list)
    targets: list[WalkTarget] = field(default_factory=list)
    seen: list[WalkReading] = field(default_factory=list)

    @property
    def card(self) -> SourceCard:
        return self.instrument.source.card

    def fields(self, *, done: object = ()) -> Iterator[Field]:
        """Fields that are fresh, kept."""
        fields = self.instrument.source.fields()
        while True:
            for _ in range(self.instrument.stale_fields):
                next(fields)
            fresh = next(fields)
            self.pictures.append(fresh.pixels)
            yield fresh

    def close(self) -> None:
        """The instrument's own."""

    def listen(self, plan: Walk) -> Walk:
        """Pass a plan on and write down what was asked and seen."""
        target = next(plan)
        while True:
            seen = yield target
            self.targets.append(target)
            self.seen.append(seen)
            try:
                target = plan.send(seen)
            except StopIteration as ended:
                walked: StageWalk = ended.value
                return walked


def turned(degrees: float, *, scale: float = 1.0, mirror: bool = False) -> Matrix:
    """The matrix of a stage whose x points so many degrees clockwise."""
    angle = math.radians(degrees)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    sign = -1.0 if mirror else 1.0
    return (cos, -sign * sin), (sin, sign * cos)


def simulated(
    degrees: float, backlash: tuple[float, float], *, scatter: float, mirror: bool
) -> Case:
    """A simulated microscope at 0.345 µm/px."""
    matrix = turned(degrees, scale=1.01, mirror=mirror)
    mechanics = Mechanics(
        um_per_step=matrix, backlash=backlash, repeatability=scatter, seed=7
    )
    camera = Camera(
        driver="simulated", width_px=816, height_px=680, um_per_px=0.345,
        frames_per_second=1000.0, emulated_image="drawn",
    )  # fmt: skip
    stage = StageSettings(
        driver="simulated", limits=(-220.0, -220.0, 220.0, 220.0), mechanics=mechanics
    )
    rig = Rig(camera=camera, stage=stage, scan=Scan(noise=0.01))
    play = f"{backlash[0]:g}/{backlash[1]:g}"
    name = f"simulated {degrees:g}° play {play} scatter {scatter:g}"
    return Case(name + (" mirrored" if mirror else ""), rig, matrix, backlash)


def cases(*, quick: bool) -> list[Case]:
    """What is measured."""
    demo = read_rig(RIGS / "micromanager-demo.toml")
    pylon = Camera(
        driver="basler", width_px=816, height_px=680, um_per_px=0.345,
        frames_per_second=100.0, emulated_image="drawn",
    )  # fmt: skip
    real = [
        Case("Micro-Manager demo pair", demo),
        Case(
            "pylon virtual stage",
            Rig(camera=pylon, stage=StageSettings(driver="pylon")),
        ),
    ]
    plays = [(5.0, 10.0), (20.0, 30.0)] if quick else [
        (0.0, 0.0), (5.0, 10.0), (15.0, 20.0), (25.0, 30.0), (30.0, 5.0),
    ]  # fmt: skip
    angles = [1.5, -4.0, 0.0, 88.0, 176.0]
    return [
        *real,
        *(
            simulated(angle, play, scatter=0.05, mirror=index % 2 == 1)
            for index, (angle, play) in enumerate(zip(angles, plays, strict=False))
        ),
        simulated(2.0, (12.0, 7.0), scatter=0.2, mirror=False),
    ]


def measure(case: Case) -> dict[str, Any]:
    """Calibrate one instrument both ways."""
    with open_instrument(case.rig) as instrument:
        card, stage = instrument.source.card, instrument.stage
        smaller_px = min(card.width_px, card.height_px)
        scale = case.rig.camera.um_per_px
        log = Log(instrument)
        limits = stage.limits or (-1e3, -1e3, 1e3, 1e3)
        start = tuple((limits[i] + limits[i + 2]) / 2 for i in (0, 1))
        stage.move_to(*start)
        begun = time.perf_counter()
        plan = walk(
            stage.position(),
            limits=limits,
            field_wh_px=(card.width_px, card.height_px),
            first_step=0.02 * smaller_px * scale,
        )
        walked = carry_out(log.listen(plan), OpenInstrument(log, stage))
        seconds = time.perf_counter() - begun
        step = 0.022 * smaller_px * scale
        theirs_play = [2 * go_to_and_fro(log, axis, step) for axis in (0, 1)]
    table = table_of(walked, um_per_px=scale, measured_at="")
    theirs, theirs_held_out_px = camera_stage_mapping(log)
    return {
        "case": case.name,
        "looks": len(log.targets),
        "seconds": round(seconds, 1),
        "armicro": errors(
            case,
            np.asarray(table.um_per_step) / scale,
            walked.backlash.mean(axis=0),
            rms(walked.held_out_px),
        )
        | {"closed_loop_px": round(rms(walked.last_tries_px), 3)},
        "camera_stage_mapping": errors(
            case, theirs, np.array(theirs_play), theirs_held_out_px
        ),
    }


def errors(
    case: Case, px_per_step: Array, play: Array, held_out_px: float
) -> dict[str, float]:
    """How far a calibration lies from the truth."""
    truth = np.asarray(case.um_per_step)
    found = px_per_step * case.rig.camera.um_per_px
    size = math.sqrt(abs(np.linalg.det(truth)))
    turn = found @ np.linalg.inv(truth)
    angle = math.degrees(math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1]))
    return {
        "matrix_percent": round(100 * float(np.abs(found - truth).max()) / size, 4),
        "rotation_deg": round(abs(angle), 4),
        "backlash_um": round(float(np.abs(play - case.backlash).max()), 3),
        "held_out_px": round(held_out_px, 3),
    }


def camera_stage_mapping(log: Log) -> tuple[Array, float]:
    """Their tracker and their least squares on the pictures of the grid.

    Returns:
        Pixels of the view a step, (2, 2), and the RMS on the moves held out.
    """
    first = max(i for i, target in enumerate(log.targets) if target.reference)
    template = high_pass_fft_template(log.pictures[first])

    def track(purpose: str) -> tuple[Array, Array]:
        chosen = [
            i
            for i, target in enumerate(log.targets)
            if target.purpose == purpose and i > first
        ]
        at = np.array([log.seen[i].at_xy for i in chosen])
        return at, np.array([follow(template, log.pictures[i]) for i in chosen])

    at, shifts = track("matrix")
    centre, middle = at.mean(axis=0), shifts.mean(axis=0)
    # As in their calibrate_xy_grid: shifts @ A = moves.
    solved, *_ = np.linalg.lstsq(shifts - middle, at - centre, rcond=None)
    px_per_step = np.linalg.inv(solved).T
    at, shifts = track("held out")
    missed = shifts - middle - (at - centre) @ px_per_step.T
    return px_per_step, rms(missed)


def follow(template: Any, picture: Pixels) -> Array:
    """How the view moved, x and y, by their tracker."""
    row, column = -displacement_from_fft_template(template, picture)
    return np.array([column, row])


def go_to_and_fro(log: Log, axis: int, step: float) -> float:
    """Go back and forth along an axis; half the play as they fit it."""
    stage, fields = log.instrument.stage, log.fields()
    start = np.array(stage.position())
    template, at, shifts = None, [], []
    way = [*range(0, -TO_AND_FRO - 1, -1), *range(-TO_AND_FRO, TO_AND_FRO + 1)]
    for count in way:
        stage.move_to(*(start + count * step * np.eye(2)[axis]))
        picture = next(fields).pixels
        template = high_pass_fft_template(picture) if template is None else template
        at.append((*stage.position(), 0.0))
        shifts.append(follow(template, picture))
    stage.move_to(*start)
    history = TrackerHistory(np.array(at), np.array(shifts), np.arange(len(at)))
    return float(fit_backlash(history)["backlash"])


def show(results: list[dict[str, Any]]) -> str:
    """A table for people."""
    lines = [
        f"{'':<46}{'matrix %':>18}{'rotation °':>18}{'play µm':>18}"
        f"{'held out px':>18}{'closed px':>10}",
        f"{'':<46}" + 4 * f"{'ours':>9}{'c-s-m':>9}",
    ]
    for row in results:
        ours, theirs = row["armicro"], row["camera_stage_mapping"]
        lines.append(
            f"{row['case']:<46}"
            + "".join(
                f"{ours[key]:>9.3f}{theirs[key]:>9.3f}"
                for key in (
                    "matrix_percent",
                    "rotation_deg",
                    "backlash_um",
                    "held_out_px",
                )
            )
            + f"{ours['closed_loop_px']:>10.2f}"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer simulated stages")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.environ.setdefault("PYLON_CAMEMU", "1")
    cv2.setNumThreads(1)
    results = [measure(case) for case in cases(quick=args.quick)]
    sys.stdout.write(
        (json.dumps(results, indent=2) if args.json else show(results)) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
