"""What stands on the bench, and whether the rig's certificate was made for it.

And which slide lies there: two of one name and size are told by their content.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from armicro.calibrate.certificate import SCALE_NOT_MEASURED, Instrument, why_not
from armicro.errors import CalibrationError, SourceError
from armicro.rig import Rig
from armicro.source import SourceCard

_WHOLE_BYTES = 2**28
"""A slide up to this size is read whole, which takes half a second; of a larger one the
head, the tail and blocks between, so that gigabytes take no longer."""
_BLOCK_BYTES = 2**16
_BLOCKS = 512


def slide_sha256(slide: Path) -> str:
    """What tells a slide from another of its name and size, whatever it is called.

    Args:
        slide: a file, with the folder that belongs to it (MRXS) or those beside it
            (DICOM), or a folder.

    Returns:
        SHA-256, in hexadecimal, of the names, sizes and content of its files.

    Raises:
        SourceError: one of them cannot be read.
    """
    told = hashlib.sha256()
    try:
        files = [(name, path, path.stat().st_size) for name, path in _files_of(slide)]
        total = sum(size for _, _, size in files)
        for name, path, size in files:
            told.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
            with path.open("rb") as file:
                for start in _starts(size, total):
                    file.seek(start)
                    told.update(file.read(_BLOCK_BYTES))
    except OSError as error:
        raise SourceError(
            f"{error.filename or slide}: {error.strerror or error}; expected a slide "
            "that can be read"
        ) from error
    return told.hexdigest()


def _files_of(slide: Path) -> list[tuple[str, Path]]:
    """Names within the slide, and files, sorted; a slide file's own name is none."""
    files = [] if slide.is_dir() else [("", slide)]
    folders = {".mrxs": slide.with_suffix(""), ".dcm": slide.parent}
    folder = slide if slide.is_dir() else folders.get(slide.suffix.lower())
    if folder is not None and folder.is_dir():
        beside = (p for p in folder.rglob("*") if p.is_file() and p != slide)
        files += [
            (path.relative_to(folder).as_posix(), path)
            for path in sorted(beside)
            # What a Mac or a file manager leaves beside the files of a slide.
            if not path.name.startswith(".")
        ]
    return files


def _starts(size: int, total: int) -> Iterator[int]:
    """Where blocks of a file begin: all of them, or spread from head to tail."""
    if total <= _WHOLE_BYTES or size <= 3 * _BLOCK_BYTES:
        yield from range(0, size, _BLOCK_BYTES)
        return
    count = max(3, _BLOCKS * size // total)
    for number in range(count):
        yield number * (size - _BLOCK_BYTES) // (count - 1)


def instrument_of(rig: Rig, card: SourceCard | None = None) -> Instrument:
    """The instrument as a certificate names it.

    Args:
        rig: names the objective.
        card: of the open source; None, or of a file that plays a camera: the camera is
            not known and its fields are those of the rig.
    """
    camera = rig.camera
    if card is None or card.ends:
        return Instrument(
            width_px=camera.width_px,
            height_px=camera.height_px,
            objective=rig.objective,
        )
    return Instrument(
        camera=card.name,
        width_px=card.width_px,
        height_px=card.height_px,
        binning=card.binning,
        objective=rig.objective,
    )


def why_void(rig: Rig, card: SourceCard | None, now: str) -> str:
    """Why the scale of a source's fields cannot be trusted; empty when it can.

    Args:
        rig: as ``read_rig`` gives it.
        card: of the open source; None where slides are read, whatever the camera.
        now: ISO 8601, UTC.
    """
    if rig.calibration_fault:
        return rig.calibration_fault
    certificate = rig.calibration
    if certificate is not None:
        reason = why_not(certificate, instrument_of(rig, card), now)
        if reason:
            return reason
    measured = certificate is not None and certificate.scale is not None
    as_given = card is None or card.simulated or rig.camera.uncalibrated
    return "" if measured or as_given else SCALE_NOT_MEASURED


def refuse_void(rig: Rig, card: SourceCard | None, now: str) -> None:
    """Refuse a batch whose fields would get no box.

    Raises:
        CalibrationError: the rig's certificate is not in force.
    """
    reason = why_void(rig, card, now)
    if reason:
        raise CalibrationError(
            f"rig {rig.name}: {reason}; measure the instrument again (armicro "
            "calibrate guide), or name another rig"
        )
