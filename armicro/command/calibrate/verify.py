"""``armicro calibrate verify``: a minute's look whether the certificate still fits."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from armicro.calibrate.certificate import Measurement
from armicro.calibrate.guide import check_empty, check_ticks
from armicro.calibrate.procedure import (
    DIVISION_UM,
    GLASS_FIELDS,
    ProcedureSettings,
    measure_glass,
    measure_scale,
)
from armicro.calibrate.verify import Comparison, compare
from armicro.certificate import now
from armicro.command.calibrate.picture import (
    camera_of,
    check_size,
    photograph,
    picture_names,
    read_pictures,
)
from armicro.console import add_json, show
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels
from armicro.rig import read_rig
from armicro.source.identity import why_void

EXAMPLE = """\
examples:
  armicro calibrate verify --rig hardware/rigs/basler-usb3-20x.toml
  armicro calibrate verify --rig rig.toml micrometer.png glass.png --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.add_argument("--rig", type=Path, required=True, help="rig file")
    parser.add_argument(
        "pictures",
        type=Path,
        nargs="*",
        metavar="IMAGE",
        help="of the micrometer or of empty glass (default: the camera, now)",
    )
    parser.add_argument("--division-um", type=float, default=DIVISION_UM, help="(10)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and compare; 0 it fits, 1 it does not, 2 nothing to compare with."""
    rig = read_rig(args.rig)
    held = rig.calibration
    if held is None:
        raise CalibrationError(
            f"rig {args.rig}: {rig.calibration_fault or 'names no certificate'}; make "
            "one with armicro calibrate guide"
        )
    reason, fits_if = rig.calibration_fault, "yes"
    if args.pictures:
        seen = [[pixels] for pixels in read_pictures(args.pictures)]
        check_size(rig.certificate, held.instrument, seen[0][0])
        # Of which camera a file is, it does not say.
        fits_if = f"yes, if of {held.instrument.camera or 'that camera'}"
    else:
        with camera_of(rig) as (card, fields):
            seen = [photograph(fields, GLASS_FIELDS)]
            reason = why_void(rig, card, now()) or reason
    expected = rig.expected_um_per_px(held.instrument.binning)
    setting = ProcedureSettings(expected, args.division_um, now())
    names = picture_names(args.pictures, len(seen)) if len(seen) > 1 else [""]
    fresh = [
        table
        for name, pictures in zip(names, seen, strict=True)
        for table in _measure(pictures, setting, name)
    ]
    compared = compare(held, fresh)
    kinds = [type(table).__name__.lower() for table in fresh]
    missing = [kind for kind in kinds if getattr(held, kind) is None]
    if not compared:
        raise CalibrationError(
            f"rig {args.rig}: what is seen gives {' and '.join(kinds)}, of which its "
            "certificate holds nothing; look at the other target, or measure it first"
        )
    until = f"until {held.expires_at[:10]}"
    in_force = Comparison("in force", until, reason or fits_if, "", "", not reason)
    lines = [in_force, *compared]
    fits = all(line.fits for line in lines)
    rows = [line._asdict() for line in lines]
    answer = {"fits": fits, "lines": rows, "not_held": missing}
    show(answer, _text(lines, missing), as_json=args.json)
    return 0 if fits else 1


def _measure(
    pictures: list[Pixels], setting: ProcedureSettings, name: str
) -> tuple[Measurement, ...]:
    """Measure what is seen, whatever it is of the two; refusals begin with a name."""
    whose = f"{name}: " if name else ""
    field = Field(setting.nominal_um_per_px or 1.0, 0, 0, pixels=pictures[-1])
    if check_ticks(field).ok:
        outcome = measure_scale(pictures[-1:], setting)
    elif check_empty(field).ok:
        outcome = measure_glass(pictures, setting.measured_at)
    else:
        raise CalibrationError(
            f"{whose}neither a micrometer nor empty glass is seen; put one of them "
            "under the objective and focus"
        )
    if outcome.refusal:
        raise CalibrationError(f"{whose}{outcome.refusal}")
    return outcome.tables


def _text(lines: Sequence[Comparison], missing: Sequence[str]) -> str:
    rows = [
        ("", "", "certificate", "now", "off by", "allowed"),
        *(("ok" if line.fits else "!!", *line[:5]) for line in lines),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (map(str.ljust, row, widths) for row in rows)
    said = ["  ".join(row).rstrip() for row in cells]
    if missing:
        said.append(f"not compared, since not measured before: {', '.join(missing)}")
    return "\n".join(said)
