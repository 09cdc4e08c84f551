"""``armicro calibrate scale``: micrometres a pixel, from pictures of a known target."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from armicro.calibrate.certificate import Instrument, Scale
from armicro.calibrate.lattice import measure_charuco, measure_dots
from armicro.calibrate.mark import draw_reading
from armicro.calibrate.objective import nominal_um_per_px
from armicro.calibrate.reading import Reading, check_expected, combine
from armicro.calibrate.scale import measure_grid, measure_ruler
from armicro.certificate import now, record
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.rig import Rig, read_rig
from armicro.source import Card
from armicro.source.identity import instrument_of
from armicro.source.open import open_source
from armicro.source.video import read_image

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
        "images", nargs="*", metavar="IMAGE", type=Path, help="pictures of the target"
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
    parser.add_argument(
        "--rig", type=Path, help="its camera takes the pictures when none are named"
    )
    parser.add_argument("--objective", default="", help='such as "20x/0.45"')
    parser.add_argument(
        "--pixel-um", type=float, metavar="UM", help="side of a pixel of the sensor"
    )
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="write the result here"
    )
    parser.add_argument("--by", default="", help="who measures (default: the user)")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="OUT.png",
        help="where the picture with the ticks goes (./IMAGE.ticks.png)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


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
    for name, value in (("division", args.division_um), ("pixel", args.pixel_um)):
        if value is not None and not 0 < value < 1e6:
            raise CalibrationError(
                f"--{name}-um {value:g}: expected micrometres, more than 0"
            )
    rig = read_rig(args.rig) if args.rig else None
    names, pictures, card = _pictures(args, rig)
    expected = _expected(args, rig, card)
    readings = _measure(names, pictures, args, expected)
    reading = combine(readings)
    check_expected(reading.um_per_px, expected)
    drawn = _draw(args, names[0], pictures, readings)
    if args.certificate:
        instrument = _instrument(args, rig, card, pictures[0])
        record(args.certificate, instrument, _table(reading), by=args.by)
    _tell(args, reading, readings, drawn, expected)
    return 0


def _pictures(
    args: argparse.Namespace, rig: Rig | None
) -> tuple[list[str], list[Pixels], Card | None]:
    """Names and pixels of what is to be measured, and the camera if one was open."""
    if rig is None or args.images:
        pictures = [_read(path) for path in args.images]
        return [path.name for path in args.images], pictures, None
    with contextlib.closing(open_source(rig)) as source:
        fields = list(islice(source.fields(), CAMERA_FIELDS))
        card = source.card
    seen = [(f"field {f.seq}", f.pixels) for f in fields if not f.fault]
    if not seen:
        raise CalibrationError(
            f"rig {rig.name}: its camera gave no picture; check cable and light"
        )
    return [name for name, _ in seen], [pixels for _, pixels in seen], card


def _read(path: Path) -> Pixels:
    picture = read_image(path)
    if picture is None:
        raise CalibrationError(
            f"{path}: no picture that can be read; expected a PNG, TIFF or JPEG of a "
            "stage micrometer"
        )
    return picture


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
    sheet = cv2.cvtColor(np.hstack(drawn), cv2.COLOR_RGB2BGR)
    try:
        path.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
    except OSError as error:
        if args.picture is None:
            return None
        raise CalibrationError(
            f"{path}: {error.strerror or error}; choose a folder that may be written"
        ) from error
    return path


def _to_height(picture: Pixels, height_px: int) -> Pixels:
    size = (picture.shape[1] * height_px // picture.shape[0], height_px)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _instrument(
    args: argparse.Namespace, rig: Rig | None, card: Card | None, picture: Pixels
) -> Instrument:
    if rig is not None and card is not None:
        return instrument_of(rig, card)
    height, width = picture.shape[:2]
    objective = args.objective or (rig.objective if rig else "")
    return Instrument(width_px=width, height_px=height, objective=objective)


def _table(reading: Reading) -> Scale:
    return Scale(
        measured_at=now(),
        um_per_px=reading.um_per_px,
        standard_error=reading.standard_error,
        rotation_deg=reading.rotation_deg,
        divisions=reading.divisions,
        division_um=reading.division_um,
        residual_um=reading.residual_um,
        method=reading.method,
    )


def _tell(
    args: argparse.Namespace,
    reading: Reading,
    readings: Sequence[Reading],
    drawn: Path | None,
    expected: float | None,
) -> None:
    if args.json:
        answer = {
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
            "pictures": [
                {
                    "um_per_px": one.um_per_px,
                    "standard_error": one.standard_error,
                    "rotation_deg": one.rotation_deg,
                    "divisions": one.divisions,
                }
                for one in readings
            ],
            "picture": str(drawn) if drawn else None,
            "certificate": str(args.certificate) if args.certificate else None,
        }
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
        return
    lines = [
        f"{reading.um_per_px:.5f} ± {reading.standard_error:.5f} µm/px over "
        f"{reading.divisions} divisions of {reading.division_um:g} µm, rotated "
        f"{reading.rotation_deg:.2f}°, residual {reading.residual_um:.3f} µm"
    ]
    if reading.anisotropy is not None:
        lines.append(f"y differs from x by {reading.anisotropy:+.3%}")
    if drawn:
        lines.append(f"look at {drawn}: every tick must carry one line")
    if args.certificate:
        lines.append(f"written to {args.certificate}")
    sys.stdout.write("\n".join(lines) + "\n")
