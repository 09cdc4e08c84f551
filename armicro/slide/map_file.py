"""Keyframes on disk: one SQLite file, each keyframe a transaction.

What was added survives every crash of the process. A picture is kept as JPEG, whose
errors are far below those of a camera; a keyframe takes some 100 kB.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np

from armicro.align.look import Look
from armicro.errors import SourceError
from armicro.picture import check_header
from armicro.rule import ExtentUm, PlaceUm
from armicro.slide.atlas import Keyframe
from armicro.slide.database import Database, Schema
from armicro.slide.landmark import WORDS, Landmarks

_MAP = Schema(
    noun="map",
    # Maps carry none: their version tells them from other programs' files.
    application_id=0,
    version=1,
    tables="""
CREATE TABLE keyframes (
    number INTEGER PRIMARY KEY, x_um REAL NOT NULL, y_um REAL NOT NULL,
    standard_error_um REAL NOT NULL, width_um REAL NOT NULL, height_um REAL NOT NULL,
    spots BLOB NOT NULL, words BLOB NOT NULL, picture BLOB NOT NULL);
""",
    refused="move it away, and the slide is mapped anew",
    damaged="move it away, and the slide is mapped anew",
)
MOST_PX = 1 << 22
"""Of a keyframe's picture, which is a field made small."""
_QUALITY = 95
_SCALE = 31.0
"""Grey levels a unit of texture, which lies between -4 and 4."""


_Row = tuple[PlaceUm, PlaceUm, ExtentUm, ExtentUm, ExtentUm, bytes, bytes]


class MapFile(Database):
    """A ``KeyframeStore`` in a file."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            SourceError: here and from every method, when it cannot be used.
        """
        super().__init__(path, _MAP)

    def add(self, keyframe: Keyframe, look: Look) -> None:
        """Keep one more."""
        levels = np.clip(np.rint(look.fine * _SCALE + 128), 0, 255).astype(np.uint8)
        _, picture = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        row = (
            keyframe.x_um,
            keyframe.y_um,
            # Along which axis is not kept: the larger is right for both.
            max(keyframe.standard_error_xy_um),
            *keyframe.size_um,
            keyframe.landmarks.xy_um.astype(np.float32).tobytes(),
            keyframe.landmarks.words.astype(np.float16).tobytes(),
            picture.tobytes(),
        )
        with self._writes():
            # Numbers count from 0, as the keyframes in memory do.
            self._database.execute(
                "INSERT INTO keyframes VALUES "
                "((SELECT count(*) FROM keyframes),?,?,?,?,?,?,?,?)",
                row,
            )

    def look(self, number: int) -> Look:
        """Return a keyframe's picture."""
        with self._told():
            row = self._database.execute(
                "SELECT picture FROM keyframes WHERE number = ?", (number,)
            ).fetchone()
        levels = None
        if row is not None:
            encoded = np.frombuffer(row[0], np.uint8)
            check_header(row[0], "keyframe", kind="JPEG", most_px=MOST_PX)
            levels = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
        if levels is None:
            raise SourceError(
                f"{self._path}: keyframe {number} is missing or damaged; {_MAP.damaged}"
            )
        return Look((levels.astype(np.float32) - 128) / np.float32(_SCALE))

    def keyframes(self) -> Iterator[Keyframe]:
        """Yield all that are kept, in order."""
        with self._told():
            rows = self._database.execute(
                "SELECT x_um, y_um, standard_error_um, width_um, height_um, spots, "
                "words FROM keyframes ORDER BY number"
            )
            for row in rows:
                x_um, y_um, error_um, width_um, height_um, spots, words = (
                    msgspec.convert(row, _Row)
                )
                landmarks = Landmarks(
                    np.frombuffer(spots, np.float32).reshape(-1, 2),
                    np.frombuffer(words, np.float16)
                    .reshape(-1, WORDS)
                    .astype(np.float32),
                )
                if not np.isfinite(landmarks.xy_um).all():
                    raise ValueError("landmarks that lie nowhere")
                size_um = width_um, height_um
                yield Keyframe(x_um, y_um, (error_um, error_um), size_um, landmarks)
