"""Saves the fields of a live session losslessly and plays them again exactly.

A recording is a folder that needs no program of ours to look into::

    recording.json      format version and the card of the source
    overview.png        where the source had one
    fields.jsonl        a line a field: its ``FieldHead``
    pixels/000000.png   in the order of the lines

It only ever grows. Pixels are written before their line, so a line that is complete has
its pixels; what a kill cut short is ignored when playing and dropped when appending.
"""

import errno
import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Self

import cv2
import msgspec
import numpy as np

from armicro.errors import DiskError, SourceError
from armicro.field import Field, FieldHead, Overview, Pixels
from armicro.file import (
    create,
    make_own_folder,
    read_bounded,
    refuse_link,
    write_whole,
)
from armicro.picture import MOST_PX, check_header
from armicro.rule import PictureUmPerPx, PlaceUm, cut_texts
from armicro.source import CardHead, SourceCard
from armicro.verdict import state_text

VERSION = 2
"""Since 2 what is written keeps the bounds of ``FieldHead``; the form is that of 1."""
_READ = (1, VERSION)
_HEADER, _INDEX, _OVERVIEW, _PIXELS = (
    "recording.json",
    "fields.jsonl",
    "overview.png",
    "pixels",
)
_MOST_HEADER_BYTES = 1 << 16
# One filter and no search for repeats: twice as fast as level 1, and smaller on
# pictures with camera noise.
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
)


class _Corner(msgspec.Struct, frozen=True):
    um_per_px: PictureUmPerPx
    x_um: PlaceUm
    y_um: PlaceUm


class _Header(CardHead, frozen=True, kw_only=True):
    armicro_recording: int
    overview: _Corner | None = None


class RecordingWriter:
    """Appends fields to a recording."""

    def __init__(self, folder: Path, card: SourceCard) -> None:
        """Start a recording, or go on with one of the same source.

        Raises:
            SourceError: the folder cannot be written, or holds something else.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            make_own_folder(folder / _PIXELS)
            refuse_link(folder / _INDEX)
            if (folder / _HEADER).exists():
                name = _read_header(folder).name
                if name != card.name:
                    raise SourceError(
                        f"recording {folder}: holds fields of {name}, not of "
                        f"{card.name}; choose another folder"
                    )
            else:
                _write_header(folder, card)
            heads, whole_bytes = _read_index(folder)
            self._count = len(heads)
            # Without a buffer: what was not written must not follow at the close.
            self._index = (folder / _INDEX).open("ab", buffering=0)
            self._index.truncate(whole_bytes)
        except OSError as error:
            raise _refuse(folder, error) from error

    def write(self, field: Field) -> None:
        """Save a field; it is safe from a kill of this process on return.

        Raises:
            DiskError: the disk is full or gone; the field is not kept.
            SourceError: a value is out of bounds, and would not be played again.
        """
        line = msgspec.json.encode(cut_texts(field.head)) + b"\n"
        if broken := _head_of(line)[1]:
            raise SourceError(f"recording {self._folder}: field {field.seq}: {broken}")
        try:
            with create(_pixel_file(self._folder, self._count)) as file:
                file.write(encode_png(field.pixels))
            written = self._index.write(line)
        except OSError as error:
            raise _not_kept(self._folder, error.strerror or str(error)) from error
        if written < len(line):
            raise _not_kept(self._folder, os.strerror(errno.ENOSPC))
        self._count += 1

    def close(self) -> None:
        """End the recording; may be called twice."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RecordingSource:
    """Plays a recording: the same pixels, places, numbers and times."""

    def __init__(self, folder: Path) -> None:
        """Open a recording.

        Raises:
            SourceError: the folder is missing or is not a recording.
        """
        self._folder = folder
        header = _read_header(folder)
        self._heads, _ = _read_index(folder)
        self.card = SourceCard(
            **header.told(),
            fields_planned=len(self._heads),
            overview=_read_overview(folder, header.overview),
            simulated=True,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield fields as they were recorded; see ``Source``."""
        for index, head in enumerate(self._heads):
            if head.seq in done:
                continue
            shape = head.height_px, head.width_px, 3
            file = _pixel_file(self._folder, index)
            pixels = decode_png(file, most_px=head.width_px * head.height_px)
            if pixels is None or pixels.shape != shape:
                pixels = np.full(shape, 255, np.uint8)
                fault = state_text("unreadable", what=file.name)
                head = msgspec.structs.replace(head, fault=fault)
            yield head.with_pixels(pixels)

    def close(self) -> None:
        """Nothing stays open between fields."""


def is_recording(folder: Path) -> bool:
    """Whether a path is a folder that holds a recording."""
    return (folder / _HEADER).is_file()


def encode_png(pixels: Pixels) -> bytes:
    """Compress (height, width, 3) RGB without loss."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, _PNG)[1].tobytes()


def decode_png(path: Path, *, most_px: int = MOST_PX) -> Pixels | None:
    """Read (height, width, 3) RGB; None when the file is missing, damaged or larger."""
    try:
        content = path.read_bytes()
        check_header(content, path.name, kind="PNG", most_px=most_px)
    except (OSError, SourceError):
        return None
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _pixel_file(folder: Path, index: int) -> Path:
    return folder / _PIXELS / f"{index:06d}.png"


def _write_header(folder: Path, card: SourceCard) -> None:
    corner = None
    if card.overview is not None:
        write_whole(folder / _OVERVIEW, encode_png(card.overview.pixels))
        corner = _Corner(
            card.overview.um_per_px, card.overview.x_um, card.overview.y_um
        )
    header = _Header(**card.told(), armicro_recording=VERSION, overview=corner)
    # Renamed into place: a header is there whole or not at all.
    content = msgspec.json.format(msgspec.json.encode(header))
    write_whole(folder / _HEADER, content)


def _header_bytes(folder: Path) -> bytes:
    return read_bounded(folder / _HEADER, _MOST_HEADER_BYTES)


def _read_header(folder: Path) -> _Header:
    try:
        header = msgspec.json.decode(_header_bytes(folder), type=_Header)
    except OSError as error:
        raise _refuse(folder, error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(
            f"recording {folder}: {_HEADER}: {error}; it is damaged or of another kind"
        ) from error
    if header.armicro_recording not in _READ:
        raise SourceError(
            f"recording {folder}: version {header.armicro_recording}, expected "
            f"{_READ[0]} or {VERSION}; play it with the armicro that recorded it"
        )
    return header


def _read_index(folder: Path) -> tuple[list[FieldHead], int]:
    """Read the whole lines and how many bytes of the index they fill."""
    path = folder / _INDEX
    heads: list[FieldHead] = []
    whole_bytes = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        head, broken = _head_of(line)
        if head is None or broken or not line.endswith(b"\n"):
            break
        heads.append(head)
        whole_bytes += len(line)
    return heads, whole_bytes


def _head_of(line: bytes) -> tuple[FieldHead | None, str]:
    """The head in a line, and what is wrong with it; both ways ask here."""
    try:
        head = msgspec.json.decode(line, type=FieldHead)
    except msgspec.DecodeError as error:
        return None, str(error)
    pixels = head.width_px * head.height_px
    too_many = f"{pixels} pixels, at most {MOST_PX}" if pixels > MOST_PX else ""
    return head, too_many or head.broken()


def _read_overview(folder: Path, corner: _Corner | None) -> Overview | None:
    pixels = decode_png(folder / _OVERVIEW) if corner else None
    if corner is None or pixels is None:
        return None
    return Overview(pixels, corner.um_per_px, corner.x_um, corner.y_um)


def _not_kept(folder: Path, why: str) -> DiskError:
    return DiskError(
        f"recording {folder}: {why}: what came last is not kept; "
        "free some space, or choose another --out"
    )


def _refuse(folder: Path, error: OSError) -> SourceError:
    return SourceError(
        f"recording {folder}: {error.strerror or error}; expected a folder with "
        f"{_HEADER}, {_INDEX} and {_PIXELS}/ that can be read and written"
    )
