"""Where a procedure's pictures come from: files, or the rig's camera now."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from armicro.calibrate.certificate import Instrument
from armicro.certificate import Measurement, describe, read_certificate, record
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels
from armicro.file import write_whole
from armicro.picture import read_picture
from armicro.rig import Rig, read_rig
from armicro.source import Card
from armicro.source.identity import instrument_of
from armicro.source.open import open_source

LEAST_PX = 64
"""A side of a picture that can be measured."""
_STALE_FIELDS = 5
"""Exposed before they were asked for, perhaps."""


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every procedure takes."""
    parser.add_argument("--rig", type=Path, help="rig file, for its camera and names")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="write the result here"
    )
    parser.add_argument("--by", default="", help="who measures (default: the user)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def read_pictures(files: Iterable[Path], *, one_size: bool = True) -> list[Pixels]:
    """Read pictures; a folder stands for what is in it.

    Args:
        files: pictures or folders.
        one_size: they are of one camera.

    Raises:
        SourceError: a file is missing or no picture.
        CalibrationError: a folder holds none, one is too small, or sizes differ.
    """
    pictures: list[Pixels] = []
    for path in (file for given in files for file in _expand(given)):
        pixels = read_picture(path)
        (height, width), first = pixels.shape[:2], (pictures or [pixels])[0].shape
        if min(height, width) < LEAST_PX:
            raise CalibrationError(
                f"picture {path}: {width}x{height} px; expected a field of at least "
                f"{LEAST_PX} px a side"
            )
        if one_size and first != pixels.shape:
            raise CalibrationError(
                f"picture {path}: {width}x{height} px, the first was {first[1]}x"
                f"{first[0]}; give pictures of one camera, whole"
            )
        pictures.append(pixels)
    return pictures


def read_one(path: Path) -> Pixels:
    """Read one picture, where several would be too many; raises as above."""
    if path.is_dir() and len(_expand(path)) > 1:
        raise CalibrationError(f"{path}: a folder of several pictures; name one")
    return read_pictures([path])[0]


@contextlib.contextmanager
def camera_of(rig: Rig) -> Iterator[tuple[Card, Iterator[Field]]]:
    """Open the rig's camera as it is, without correction.

    Raises:
        SourceError: it cannot be used.
    """
    with contextlib.closing(open_source(rig, raw=True)) as source:
        yield source.card, iter(source.fields())


def photograph(fields: Iterator[Field], count: int) -> list[Pixels]:
    """Take pictures from now on.

    Raises:
        CalibrationError: the camera gave none.
    """
    taken = islice(fields, _STALE_FIELDS, _STALE_FIELDS + count)
    pictures = [field.pixels for field in taken if not field.fault]
    if not pictures:
        raise CalibrationError("the camera gave no picture; check its cable")
    return pictures


def mean_of(pictures: Sequence[Pixels]) -> Pixels:
    """The mean picture: a still view with less noise."""
    total = np.zeros(pictures[0].shape, np.float32)
    for picture in pictures:
        cv2.accumulate(picture, total)
    return np.rint(total / len(pictures)).astype(np.uint8)


def instrument_for(
    args: argparse.Namespace, picture: Pixels, card: Card | None = None
) -> Instrument:
    """What was measured: the camera that was open, else as the certificate says.

    Raises:
        CalibrationError: the certificate is for other pictures.
    """
    height, width = picture.shape[:2]
    rig = read_rig(args.rig) if args.rig else Rig()
    if card is not None:
        return instrument_of(rig, card)
    if args.certificate and args.certificate.exists():
        held = read_certificate(args.certificate).instrument
        check_size(args.certificate, held, picture)
        return held
    return Instrument(width_px=width, height_px=height, objective=rig.objective)


def check_size(certificate: Path | str, held: Instrument, picture: Pixels) -> None:
    """Refuse a picture that the certificate's camera does not take.

    Raises:
        CalibrationError: it has another size.
    """
    height, width = picture.shape[:2]
    if (held.width_px, held.height_px) != (width, height):
        raise CalibrationError(
            f"certificate {certificate}: is for {describe(held)}, the pictures are "
            f"{width}x{height}; give pictures of that camera, whole"
        )


def keep(
    args: argparse.Namespace, instrument: Instrument, measurement: Measurement
) -> None:
    """Put a result into the certificate, where one is asked for."""
    if args.certificate:
        record(args.certificate, instrument, measurement, by=args.by)


def tell(args: argparse.Namespace, answer: dict[str, object], words: str) -> None:
    """Print the result, for a program or for a person."""
    if args.json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(words + "\n")
    if args.certificate:
        sys.stdout.write(f"written to {args.certificate}\n")


def write_picture(path: Path, picture: Pixels) -> None:
    """Write a PNG.

    Raises:
        CalibrationError: the file cannot be written.
    """
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    try:
        write_whole(path, encoded.tobytes())
    except OSError as error:
        raise CalibrationError(
            f"{path}: {error.strerror or error}; choose a folder that may be written"
        ) from error


def side_by_side(before: Pixels, after: Pixels, *, height_px: int = 700) -> Pixels:
    """Before at the left, after at the right, at a size for people."""
    gap = np.full((height_px, 12, 3), 255, np.uint8)
    width = round(before.shape[1] * height_px / before.shape[0])
    small = [
        cv2.resize(p, (width, height_px), interpolation=cv2.INTER_AREA)
        for p in (before, after)
    ]
    return np.asarray(np.hstack((small[0], gap, small[1])), np.uint8)


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        files = sorted(f for f in path.iterdir() if f.name[0] != "." and f.is_file())
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror or error}") from error
    if not files:
        raise CalibrationError(
            f"{path}: no picture in this folder; expected PNG, TIFF or JPEG files"
        )
    return files
