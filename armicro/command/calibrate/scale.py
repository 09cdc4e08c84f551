"""``armicro calibrate scale``: micrometres a pixel, from pictures of a known target."""

import argparse
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import msgspec
import numpy as np

from armicro.calibrate.certificate import Instrument
from armicro.calibrate.course import scale_table
from armicro.calibrate.lattice import measure_charuco, measure_dots
from armicro.calibrate.mark import draw_reading
from armicro.calibrate.objective import nominal_um_per_px
from armicro.calibrate.reading import Reading, check_expected, combine
from armicro.calibrate.scale import measure_grid, measure_ruler
from armicro.certificate import now
from armicro.command.calibrate.picture import (
    add_result_arguments,
    camera_of,
    instrument_for,
    keep,
    read_pictures,
    tell,
    write_picture,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.rig import Rig, read_rig
from armicro.source import Card

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

CAMERA_FIELDS = 5
SHEET_HEIGHT_PX = 900

Measure = Callable[[Pixels, float, float | None], Reading]

PATTERNS: dict[str, Measure] = {
    "ruler": lambda pixels, um, near: measure_ruler(
        pixels, division_um=um, expected=near
    ),
    "grid": lambda pixels, um, _: measure_grid(pixels, division_um=um),
    "dots": lambda pixels, um, _: measure_dots(pixels, pitch_um=um),
    "charuco": lambda pixels, um, _: measure_charuco(pixels, square_um=um),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.epilog = EXAMPLE
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
        default=10.0,
        metavar="UM",
        help="distance of neighbouring ticks, lines or dots, or a square's side (10)",
    )
    parser.add_argument(
        "--pattern", choices=PATTERNS, default="ruler", help="what is seen (ruler)"
    )
    parser.add_argument("--objective", default="", help='such as "20x/0.45"')
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
    """Measure, show, and record.

    Raises:
        CalibrationError: a picture cannot be read, shows no such target beyond doubt,
            or gives a scale that the instrument cannot have.
    """
    if not args.images and not args.rig:
        raise CalibrationError(
            "scale: no picture; give IMAGE of a stage micrometer, or --rig RIG for "
            "its camera"
        )
    rig = read_rig(args.rig) if args.rig else None
    names, pictures, card = _pictures(args, rig)
    expected = _expected(args, rig, card)
    readings = _measure(names, pictures, args, expected)
    reading = combine(readings)
    check_expected(reading.um_per_px, expected)
    drawn = _draw(args, names[0], pictures, readings)
    table = scale_table(reading, measured_at=now())
    keep(args, _instrument(args, pictures[0], card), table)
    _tell(args, reading, readings, drawn, expected)
    return 0


def _pictures(
    args: argparse.Namespace, rig: Rig | None
) -> tuple[list[str], list[Pixels], Card | None]:
    """Names and pixels of what is to be measured, and the camera if one was open."""
    if rig is None or args.images:
        pictures = read_pictures(args.images)
        return _names(args.images, len(pictures)), pictures, None
    with camera_of(rig) as (card, fields):
        taken = [f for f in islice(fields, CAMERA_FIELDS) if not f.fault]
    if not taken:
        raise CalibrationError(
            f"rig {rig.name}: its camera gave no picture; check cable and light"
        )
    return [f"field {f.seq}" for f in taken], [f.pixels for f in taken], card


def _names(paths: Sequence[Path], count: int) -> list[str]:
    """A name for each picture; those of a folder are numbered."""
    if len(paths) == count:
        return [path.name for path in paths]
    return [f"picture {i + 1}" for i in range(count)]


def _expected(
    args: argparse.Namespace, rig: Rig | None, card: Card | None
) -> float | None:
    """µm per pixel by what the objective is called; else what the rig says."""
    objective = args.objective or (rig.objective if rig else "")
    pixel_um = args.pixel_um or (rig.camera.pixel_um if rig else None)
    if pixel_um:
        nominal = nominal_um_per_px(objective, pixel_um)
        if nominal:
            return nominal * (card.binning if card else 1)
    if args.objective and args.pixel_um:
        raise CalibrationError(
            f'--objective "{args.objective}": names no magnification; expected such '
            'as "20x/0.45 with 0.5x C-mount adapter"'
        )
    return rig.camera.um_per_px if rig else None


def _measure(
    names: Sequence[str],
    pictures: Sequence[Pixels],
    args: argparse.Namespace,
    expected: float | None,
) -> list[Reading]:
    readings = []
    for name, pixels in zip(names, pictures, strict=True):
        try:
            readings.append(PATTERNS[args.pattern](pixels, args.division_um, expected))
        except CalibrationError as error:
            raise CalibrationError(f"{name}: {error}") from error
    return readings


def _draw(
    args: argparse.Namespace,
    name: str,
    pictures: Sequence[Pixels],
    readings: Sequence[Reading],
) -> Path | None:
    """Write the picture with the ticks; None where nobody asked and it cannot be."""
    path: Path = args.picture or Path(f"{Path(name).stem.replace(' ', '-')}.ticks.png")
    drawn = [draw_reading(p, r) for p, r in zip(pictures, readings, strict=True)]
    if len(drawn) > 1:
        drawn = [_to_height(picture, SHEET_HEIGHT_PX) for picture in drawn]
    try:
        write_picture(path, np.asarray(np.hstack(drawn), np.uint8))
    except CalibrationError:
        if args.picture is None:
            return None
        raise
    return path


def _to_height(picture: Pixels, height_px: int) -> Pixels:
    size = (picture.shape[1] * height_px // picture.shape[0], height_px)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _instrument(
    args: argparse.Namespace, picture: Pixels, card: Card | None
) -> Instrument:
    instrument = instrument_for(args, picture, card)
    if args.objective and not instrument.objective:
        instrument = msgspec.structs.replace(instrument, objective=args.objective)
    return instrument


def _tell(
    args: argparse.Namespace,
    reading: Reading,
    readings: Sequence[Reading],
    drawn: Path | None,
    expected: float | None,
) -> None:
    answer: dict[str, object] = {
        "um_per_px": reading.um_per_px,
        "standard_error": reading.standard_error,
        "rotation_deg": reading.rotation_deg,
        "divisions": reading.divisions,
        "division_um": reading.division_um,
        "residual_um": reading.residual_um,
        "longer_every": reading.every,
        "bend": reading.bend,
        "anisotropy": reading.anisotropy,
        "pattern": reading.method,
        "expected_um_per_px": expected,
        "each_um_per_px": [one.um_per_px for one in readings],
        "picture": str(drawn) if drawn else None,
    }
    lines = [
        f"{reading.um_per_px:.5f} ± {reading.standard_error:.5f} µm/px over "
        f"{reading.divisions} divisions of {reading.division_um:g} µm, rotated "
        f"{round(reading.rotation_deg, 2) % 180:.2f}°, residual "
        f"{reading.residual_um:.3f} µm"
    ]
    if reading.anisotropy is not None:
        lines.append(f"y differs from x by {reading.anisotropy:+.3%}")
    if drawn:
        lines.append(f"look at {drawn}: every tick must carry one line")
    tell(args, answer, "\n".join(lines))
