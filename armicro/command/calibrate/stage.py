"""``armicro calibrate stage``: moves a stage under its camera and measures both."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from armicro.calibrate.certificate import LARGEST_SHARE_OFF
from armicro.calibrate.procedure import judge_walk
from armicro.calibrate.stage import StageWalk
from armicro.calibrate.walk import REACH, Walk, planned_looks, walk
from armicro.certificate import begun_for, now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    keep,
    write_picture,
)
from armicro.console import show
from armicro.rig import read_rig
from armicro.source.identity import instrument_of
from armicro.source.open import OpenInstrument, carry_out, open_instrument
from armicro.source.stage import Limits

FIRST_STEP = 0.02
"""Share of the field's smaller side that the first step moves, by the rig's scale."""
UNNAMED_LIMIT = 1000.0
"""How far from its start a stage without soft limits may go, in its units."""

EXAMPLE = """\
examples:
  armicro calibrate stage --rig hardware/rigs/micromanager-demo.toml --dry-run
  armicro calibrate stage --rig hardware/rigs/simulated-microscope.toml --json
  armicro calibrate stage --rig rig.toml --certificate certificates/20x.toml
"""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What is about to be done."""

    start: tuple[float, float]
    limits: Limits
    field_wh_px: tuple[int, int]
    um_per_px: float
    first_step: float

    def walk(self) -> Walk:
        """The moves, one by one."""
        return walk(
            self.start,
            limits=self.limits,
            field_wh_px=self.field_wh_px,
            first_step=self.first_step,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    default = ", and use its scale (default: the rig's)"
    add_result_arguments(parser, default=default, needs_rig=True)
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="PNG",
        help="residual plot (default: stage.png, beside the certificate)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done; move nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Measure; 2 when stage and picture do not fit together."""
    rig = read_rig(args.rig)
    if args.certificate is None and rig.certificate:
        args.certificate = Path(rig.certificate)
    beside = args.certificate.parent if args.certificate else Path()
    args.picture = args.picture or beside / "stage.png"
    with open_instrument(rig) as instrument:
        this = instrument_of(rig, instrument.source.card)
        # Asked before, so that nobody waits for a result that cannot be kept.
        held = begun_for(args.certificate, this).scale if args.certificate else None
        um_per_px = rig.camera.um_per_px if held is None else held.um_per_px
        plan = plan_of(instrument, um_per_px)
        if args.dry_run:
            show(plan, _plan_text(plan), as_json=args.json)
            return 0
        walked = _measure(instrument, plan, settle_s=rig.stage.settle_s, args=args)
    outcome = judge_walk(walked, um_per_px=um_per_px, measured_at=now())
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    write_picture(args.picture, outcome.picture)
    if args.certificate:
        keep(args.certificate, this, outcome, by=args.by)
    answer = outcome.numbers | {"picture": str(args.picture)}
    show(answer, _text(answer, args.certificate), as_json=args.json)
    return 0


def plan_of(instrument: OpenInstrument, um_per_px: float) -> StagePlan:
    """Plan the moves of an open instrument, within its limits."""
    card, stage = instrument.source.card, instrument.stage
    x, y = stage.position()
    limits = stage.limits or (
        x - UNNAMED_LIMIT, y - UNNAMED_LIMIT, x + UNNAMED_LIMIT, y + UNNAMED_LIMIT,
    )  # fmt: skip
    smaller_px = min(card.width_px, card.height_px)
    return StagePlan(
        start=(x, y),
        limits=limits,
        field_wh_px=(card.width_px, card.height_px),
        um_per_px=um_per_px,
        first_step=FIRST_STEP * smaller_px * um_per_px,
    )


def _measure(
    instrument: OpenInstrument,
    plan: StagePlan,
    *,
    settle_s: float,
    args: argparse.Namespace,
) -> StageWalk:
    with tqdm(total=planned_looks(), unit="look", disable=args.json) as bar:

        def show(target: Any) -> None:
            bar.set_description(f"{target.purpose:<12}", refresh=False)
            # More rounds are walked where the moves scatter.
            bar.total = max(bar.total, bar.n + 1)
            bar.update()

        walked = carry_out(plan.walk(), instrument, settle_s=settle_s, on_look=show)
        bar.total = bar.n
        return walked


def _plan_text(plan: StagePlan) -> str:
    left, top, right, bottom = plan.limits
    reach_um = REACH * min(plan.field_wh_px) * plan.um_per_px
    # Rounded, and 0.0 added: a stage that stands at -1e-14 is not at "-0".
    x, y = (round(at, 3) + 0.0 for at in plan.start)
    return (
        f"stage stands at ({x:.6g}, {y:.6g}); "
        f"limits x {left:g} to {right:g}, y {top:g} to {bottom:g}\n"
        f"first step {plan.first_step:.3g}, doubled until the picture has moved about "
        f"{reach_um:.0f} µm; some {planned_looks()} looks; nothing was moved"
    )


def _text(answer: dict[str, Any], certificate: Path | None) -> str:
    (a, b), (c, d) = answer["um_per_step"]
    play, sure = answer["backlash_um"], answer["backlash_error_um"]
    scale = answer["scale_from_moves"]
    mirrored = ", y up" if answer["mirrored"] else ""
    lines = [
        f"matrix         [[{a:z.5f}, {b:z.5f}], [{c:z.5f}, {d:z.5f}]] µm a step, "
        f"± {answer['standard_error']:.3%}",
        f"rotation       {answer['rotation_deg']:z.3f}° ± "
        f"{answer['rotation_error_deg']:.3f}°{mirrored}",
        f"backlash       x {play[0]:.2f} ± {sure[0]:.2f}, y {play[1]:.2f} ± "
        f"{sure[1]:.2f} µm",
        f"repeatability  {answer['repeatability_um']:.2f} µm",
        f"held-out moves {answer['held_out_rms_px']:.2f} px rms "
        f"({answer['held_out_rms_um']:.2f} µm)",
        f"closed loop    {answer['closed_loop_first_px']:.2f} px at the first try, "
        f"{answer['closed_loop_last_px']:.2f} px at the last",
        f"scale          {scale['um_per_px']:.5f} ± {scale['standard_error']:.5f} "
        "µm/px, if the stage's units are true µm",
        f"picture        {answer['picture']}",
    ]
    if abs(scale["um_per_px"] / answer["um_per_px"] - 1) > LARGEST_SHARE_OFF:
        lines.append(
            f"note           the matrix was reckoned with {answer['um_per_px']:g} "
            "µm/px; that differs: other objective, or the stage does not count in µm"
        )
    if certificate is not None:
        lines.append(f"certificate    {certificate}")
    return "\n".join(lines)
