"""``armicro calibrate verify``: a minute's look whether the certificate still fits."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec

from armicro.calibrate.certificate import Certificate
from armicro.calibrate.course import (
    GLASS_FIELDS,
    Setting,
    measure_glass,
    measure_scale,
)
from armicro.calibrate.ready import check_empty, check_ticks
from armicro.calibrate.verify import Comparison, compare
from armicro.certificate import now
from armicro.command.calibrate.picture import check_size, read_pictures
from armicro.errors import CalibrationError
from armicro.field import Field
from armicro.rig import Rig, read_rig
from armicro.source.identity import why_void
from armicro.source.open import open_source

EXAMPLE = """\
examples:
  armicro calibrate verify --rig hardware/rigs/basler-usb3-20x.toml
  armicro calibrate verify --rig rig.toml micrometer.png glass.png --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.epilog = EXAMPLE
    parser.add_argument("--rig", type=Path, required=True, help="rig file")
    parser.add_argument(
        "pictures",
        type=Path,
        nargs="*",
        metavar="IMAGE",
        help="of the micrometer or of empty glass (default: the camera, now)",
    )
    parser.add_argument("--division-um", type=float, default=10.0, help="(10)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and compare; 0 it fits, 1 it does not, 2 nothing to compare with."""
    rig = read_rig(args.rig)
    held = rig.calibration
    if held is None:
        raise CalibrationError(
            f"rig {args.rig}: {rig.calibration_fault or 'names no certificate'}; make "
            "one with armicro calibrate guide"
        )
    fresh, reason = (
        _from_files(args, rig, held) if args.pictures else _from_camera(args, rig)
    )
    reason = reason or rig.calibration_fault
    compared = compare(held, fresh)
    if not compared:
        kinds = " and ".join(type(table).__name__.lower() for table in fresh)
        raise CalibrationError(
            f"rig {args.rig}: what is seen gives {kinds}, of which its certificate "
            "holds nothing; look at the other target, or measure it first"
        )
    lines = [_in_force(held, reason), *compared]
    sys.stdout.write(_json(lines) if args.json else _text(lines))
    return 0 if all(line.fits for line in lines) else 1


def _from_files(
    args: argparse.Namespace, rig: Rig, held: Certificate
) -> tuple[list[msgspec.Struct], str]:
    fresh: list[msgspec.Struct] = []
    for pixels in read_pictures(args.pictures):
        check_size(rig.certificate, held.instrument, pixels)
        fresh += _measure([Field(rig.camera.um_per_px, 0, 0, pixels=pixels)], args, rig)
    return fresh, ""


def _from_camera(
    args: argparse.Namespace, rig: Rig
) -> tuple[list[msgspec.Struct], str]:
    with contextlib.closing(open_source(rig, raw=True)) as source:
        fields = list(islice(source.fields(), GLASS_FIELDS))
        return _measure(fields, args, rig), why_void(rig, source.card, now())


def _measure(
    fields: Sequence[Field], args: argparse.Namespace, rig: Rig
) -> list[msgspec.Struct]:
    """Measure what is seen, whatever it is of the two."""
    setting = Setting(rig.camera.um_per_px, args.division_um, now())
    if check_ticks(fields[-1]).ok:
        return [*measure_scale(fields, setting=setting).tables]
    if check_empty(fields[-1]).ok:
        return [*measure_glass(fields, setting=setting).tables]
    raise CalibrationError(
        "neither a micrometer nor empty glass is seen; put one of them under the "
        "objective and focus"
    )


def _in_force(held: Certificate, reason: str) -> Comparison:
    return Comparison(
        "in force", f"until {held.expires_at[:10]}", reason or "yes", "", "", not reason
    )


def _text(lines: Sequence[Comparison]) -> str:
    rows = [
        ("", "certificate", "now", "off by", "allowed"),
        *(line[:5] for line in lines),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    marks = ["  ", *("ok" if line.fits else "!!" for line in lines)]
    return "".join(
        f"{mark}  "
        + "  ".join(
            f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        + "\n"
        for mark, row in zip(marks, rows, strict=True)
    )


def _json(lines: Sequence[Comparison]) -> str:
    answer = {
        "fits": all(line.fits for line in lines),
        "lines": [line._asdict() for line in lines],
    }
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n"
