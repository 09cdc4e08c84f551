"""Where a procedure's pictures come from: files, or the rig's camera now."""

import argparse
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import msgspec
import numpy as np
from tqdm import tqdm

from armicro.calibrate.certificate import Instrument, Light
from armicro.calibrate.guide import Outcome
from armicro.certificate import (
    begun_for,
    describe,
    read_begun,
    read_certificate,
    record,
)
from armicro.console import add_json, name_up_to, show
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels
from armicro.file import same_file, why_no_folder, write_whole
from armicro.flat import write_flat
from armicro.picture import read_picture
from armicro.rig import Rig, read_rig
from armicro.slide.decision import LONGEST_NAME
from armicro.source import SourceCard
from armicro.source.identity import instrument_of
from armicro.source.open import open_source

DRAWINGS = ("picture", "before_after", "found", "pattern_out")
"""Arguments that name a PNG to be written."""
LEAST_PX = 64
"""A side of a picture that can be measured."""
_STALE_FIELDS = 5
"""Exposed before they were asked for, perhaps."""


def add_result_arguments(
    parser: argparse.ArgumentParser, *, default: str = "", needs_rig: bool = False
) -> None:
    """Declare what every procedure takes; ``default`` is said of the certificate."""
    parser.add_argument(
        "--rig",
        type=Path,
        required=needs_rig,
        help="rig file" if needs_rig else "rig file, for its camera and names",
    )
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help=f"write the result here{default}",
    )
    add_by(parser)
    add_json(parser)


def add_by(parser: argparse.ArgumentParser) -> None:
    """Declare ``--by``."""
    parser.add_argument(
        "--by",
        type=name_up_to(LONGEST_NAME),
        metavar="NAME",
        help="who measures (default: the user)",
    )


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


def picture_names(paths: Sequence[Path], count: int) -> list[str]:
    """A name for each picture; those of a folder or a camera are numbered."""
    if len(paths) == count:
        return [path.name for path in paths]
    return [f"{'picture' if paths else 'field'} {i + 1}" for i in range(count)]


def read_one(path: Path) -> Pixels:
    """Read one picture, where several would be too many; raises as above."""
    if path.is_dir() and len(_expand(path)) > 1:
        raise CalibrationError(f"{path}: a folder of several pictures; name one")
    return read_pictures([path])[0]


@contextlib.contextmanager
def camera_of(rig: Rig) -> Iterator[tuple[SourceCard, Iterator[Field]]]:
    """Open the rig's camera as it is, without correction.

    Raises:
        SourceError: it cannot be used.
    """
    with contextlib.closing(open_source(rig, raw=True)) as source:
        yield source.card, iter(source.fields())


def pictures_of(
    args: argparse.Namespace, files: Sequence[Path], count: int, *, missing: str
) -> tuple[list[Pixels], SourceCard | None]:
    """Read the pictures that were named; where none is, take them with the camera.

    Args:
        args: of the command.
        files: pictures or folders.
        count: how many the rig's camera takes.
        missing: what to say where there is neither.

    Raises:
        CalibrationError: a picture cannot be used, or there is none.
    """
    if files:
        return read_pictures(tqdm(files, disable=args.json or len(files) < 10)), None
    if not args.rig:
        raise CalibrationError(missing)
    with camera_of(read_rig(args.rig)) as (card, fields):
        return photograph(fields, count), card


def check_files(args: argparse.Namespace) -> None:
    """Refuse files that cannot be written, or would be written over what is read.

    Asked before anything is measured: a walk of the stage takes minutes.

    Raises:
        CalibrationError: one is such a file.
    """
    named = [
        (name, path)
        for name, value in vars(args).items()
        for path in (value if isinstance(value, list) else [value])
        if isinstance(path, Path)
    ]
    written = () if args.kind == "show" else (*DRAWINGS, "certificate", "stain")
    for name, out in named:
        if name not in written:
            continue
        said = f"--{name.replace('_', '-')} {out}"
        if any(other != name and is_among(out, path) for other, path in named):
            raise CalibrationError(
                f"{said}: is the picture that is measured, or another file that this "
                "command takes; name another file to write"
            )
        if name in DRAWINGS:
            _check_drawing(out, said)
        elif out.is_dir():
            raise CalibrationError(f"{said}: Is a directory; name a file in it")
        elif name == "certificate" and out.exists():
            read_begun(out)
        # The stage's drawing lies beside its certificate, whose folder is made.
        made = name == "certificate" or args.kind == "stage"
        fault = "" if name == "stain" else why_no_folder(out.parent, made=made)
        if fault:
            raise CalibrationError(
                f"{said}: {fault}; choose a folder that may be written"
            )


def is_among(out: Path, read: Path) -> bool:
    """Whether a file to be written is one that is read.

    Or a picture in a folder that is read: it would be one of those, next time.
    """
    inside = read.is_dir() and out.suffix.lower() == ".png"
    return same_file(out, read) or (inside and same_file(out.parent, read))


def _check_drawing(out: Path, said: str) -> None:
    if out.is_dir():
        raise CalibrationError(f"{said}: Is a directory; name the picture's file in it")
    if out.suffix.lower() != ".png":
        raise CalibrationError(
            f"{said}: a PNG is written; name a file that ends in .png"
        )


def photograph(fields: Iterator[Field], count: int) -> list[Pixels]:
    """Take pictures from now on; of a source that ends, what it has.

    Raises:
        CalibrationError: the camera gave none.
    """
    taken = islice(fields, _STALE_FIELDS + count)
    pictures = [field.pixels for field in taken if not field.fault][-count:]
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
    args: argparse.Namespace, picture: Pixels, card: SourceCard | None = None
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
    path: Path, instrument: Instrument, outcome: Outcome, *, by: str | None
) -> None:
    """Put what was measured into a certificate, and the map of the light beside it.

    Raises:
        CalibrationError: it is of another instrument, or cannot be written.
    """
    begun_for(path, instrument)
    for table in outcome.tables:
        if isinstance(table, Light) and outcome.flat is not None:
            name, digest = write_flat(path, outcome.flat)
            table = msgspec.structs.replace(table, flat=name, flat_sha256=digest)
        record(path, instrument, table, by=by or "")


def conclude(
    args: argparse.Namespace,
    outcome: Outcome,
    instrument: Instrument,
    *,
    shown: Path | None = None,
) -> None:
    """Show what was found, refuse it or keep it, and tell it.

    Args:
        args: of a command with ``add_result_arguments``.
        outcome: of a procedure.
        instrument: that it is of.
        shown: where the picture goes; None: nowhere.

    Raises:
        CalibrationError: it is refused, or a file cannot be written.
    """
    if args.certificate:
        # Asked first: nothing is drawn of what is then refused for its instrument.
        begun_for(args.certificate, instrument)
    if shown:
        write_picture(shown, outcome.picture)
    if outcome.refusal:
        raise CalibrationError(outcome.refusal)
    if args.certificate:
        keep(args.certificate, instrument, outcome, by=args.by)
    tell(args, outcome.numbers, outcome.account)


def tell(args: argparse.Namespace, answer: object, words: str) -> None:
    """Print the result, for a program or for a person."""
    if args.certificate:
        words += f"\nwritten to {args.certificate}"
    show(answer, words, as_json=args.json)


def write_picture(path: Path, picture: Pixels | None) -> None:
    """Write a PNG, if there is a picture.

    Raises:
        CalibrationError: the file cannot be written.
    """
    if picture is None:
        return
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    try:
        write_whole(path, encoded.tobytes())
    except OSError as error:
        raise CalibrationError(
            f"{path}: {error.strerror or error}; choose a folder that may be written"
        ) from error


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
