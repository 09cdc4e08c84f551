"""``armicro calibrate scale``: micrometres a pixel, from pictures of a known target."""

import argparse
from dataclasses import replace
from pathlib import Path

import msgspec

from armicro.calibrate.procedure import (
    DIVISION_UM,
    TARGETS,
    ProcedureSettings,
    measure_scale,
)
from armicro.certificate import now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    conclude,
    instrument_for,
    is_among,
    picture_names,
    pictures_of,
    write_picture,
)
from armicro.console import name_up_to
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.rig import Rig, read_rig
from armicro.source import SourceCard

CAMERA_FIELDS = 5
_LONGEST_OBJECTIVE = 200

EXAMPLE = """\
examples:
  armicro calibrate scale micrometer.png --division-um 10 --picture ticks.png
  armicro calibrate scale x.png y.png --objective "20x/0.45 with 0.5x adapter" \\
      --pixel-um 3.45
  armicro calibrate scale --rig rig.toml --certificate 20x.toml
  armicro calibrate scale board.png --pattern charuco --division-um 1000 --json

Look at the picture with the detected ticks before you believe the number: every tick
must carry one line, and no line may lie between two ticks. calibration/scale.md is the
procedure. From x.png and y.png (the ruler turned by 90 degrees) one scale is made, or
none where they disagree.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        type=Path,
        help="pictures of the target (default: the rig's camera takes them now)",
    )
    parser.add_argument(
        "--division-um",
        type=float,
        default=DIVISION_UM,
        metavar="UM",
        help="distance of neighbouring ticks, lines or dots, or a square's side (10)",
    )
    parser.add_argument(
        "--pattern", choices=TARGETS, default="ruler", help="what is seen (ruler)"
    )
    parser.add_argument(
        "--objective",
        type=name_up_to(_LONGEST_OBJECTIVE),
        help='such as "20x/0.45"',
    )
    parser.add_argument(
        "--pixel-um", type=float, metavar="UM", help="side of a pixel of the sensor"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="OUT.png",
        help="where the picture with the ticks goes (./IMAGE.ticks.png)",
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, show, and record."""
    pictures, card = pictures_of(
        args,
        args.images,
        CAMERA_FIELDS,
        missing="scale: no picture; give IMAGE of a stage micrometer, or --rig RIG for "
        "its camera",
    )
    rig = read_rig(args.rig) if args.rig else None
    names = picture_names(args.images, len(pictures))
    setting = ProcedureSettings(_expected(args, rig, card), args.division_um, now())
    outcome = measure_scale(pictures, setting, target=args.pattern, names=names)
    drawn = _draw(args, names[0], outcome.picture)
    numbers = outcome.numbers | {"picture": str(drawn) if drawn else None}
    account = outcome.account
    if drawn:
        account += f"\nlook at {drawn}: every tick must carry one line"
    instrument = instrument_for(args, pictures[0], card)
    if args.objective and not instrument.objective:
        instrument = msgspec.structs.replace(instrument, objective=args.objective)
    conclude(args, replace(outcome, numbers=numbers, account=account), instrument)
    return 0


def _expected(
    args: argparse.Namespace, rig: Rig | None, card: SourceCard | None
) -> float | None:
    """µm per pixel by the names given here, else by the rig's; None: nobody says."""
    replace = msgspec.structs.replace
    named = rig or Rig()
    if args.objective:
        named = replace(named, objective=args.objective)
    if args.pixel_um:
        named = replace(named, camera=replace(named.camera, pixel_um=args.pixel_um))
    if named.named_um_per_px is None and args.objective and args.pixel_um:
        raise CalibrationError(
            f'--objective "{args.objective}": names no magnification; expected such '
            'as "20x/0.45 with 0.5x C-mount adapter"'
        )
    if named.named_um_per_px is None and rig is None:
        return None
    return named.expected_um_per_px(card.binning if card else 1)


def _draw(args: argparse.Namespace, name: str, shown: Pixels | None) -> Path | None:
    """Write the picture with the ticks; None where nobody asked and it cannot be."""
    path: Path = args.picture or Path(f"{Path(name).stem.replace(' ', '-')}.ticks.png")
    if args.picture is None and any(is_among(path, one) for one in args.images):
        return None
    try:
        write_picture(path, shown)
    except CalibrationError:
        if args.picture is None:
            return None
        raise
    return path
