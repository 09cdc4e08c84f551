"""Photographs as fields: a folder of pictures, a stack of pages, or one picture.

Nobody knows how they lie to each other, and each is a field on a ground of its own, so
far from the next that neither boxes nor coverage of two can meet. They are not
registered: what they share is often not the slide. Of 30 fields of strangers behind the
round mask of an eyepiece, registration laid 7 on one place, by the mask's rim.

A picture that cannot be read, or has another size than most, costs one field and says
why: made to fit, it would be looked at as what it is not.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armicro.errors import SourceError, one_line
from armicro.field import Field, Pixels, Place
from armicro.picture import apply_gains, picture_sizes, read_picture
from armicro.rig import Camera
from armicro.source import SourceCard
from armicro.verdict import state_text

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
APART_UM = 1000.0
"""Between two grounds: more than tiles, crops, the top list's 200 µm and what a hole in
the coverage may span (528 µm)."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """One of a file's pictures."""

    file: Path
    index: int = 0
    name: str = ""
    """For people: the file's, and which page of how many."""
    size_px: tuple[int, int] | None = None
    """Width and height by its header; None where that cannot be read."""


class PhotographSource:
    """Photographs, in the natural order of their names: 2 before 10."""

    def __init__(
        self,
        path: Path,
        camera: Camera,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """List the pictures, and see of what size most of them are.

        Args:
            path: a folder, or one file that may be a stack of pages.
            camera: the rig's.
            clock: nanoseconds, monotonic.

        Raises:
            SourceError: there is no picture whose header can be read.
        """
        self._camera, self._clock = camera, clock
        files = _files_of(path) if path.is_dir() else [path]
        self._pictures = [picture for file in files for picture in _pictures_of(file)]
        sizes = Counter(each.size_px for each in self._pictures if each.size_px)
        if not sizes:
            raise SourceError(
                f"{path}: no image to read, {len(files)} looked at; "
                "expected pictures such as 0001.png or pages of a TIFF"
            )
        # The first of them where two sizes are equally common.
        ((self._size_px, _),) = sizes.most_common(1)
        self.card = SourceCard(
            name=one_line(path.name if path.is_dir() else path.stem),
            um_per_px=camera.um_per_px,
            width_px=self._size_px[0],
            height_px=self._size_px[1],
            fields_planned=len(self._pictures),
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield a picture a field; see ``Source``."""
        for seq, picture in enumerate(self._pictures):
            if seq not in done:
                yield self._field(seq, picture)

    def _field(self, seq: int, picture: _Picture) -> Field:
        fault = ""
        try:
            pixels = self._read(picture)
        except SourceError as error:
            pixels = np.full((*self._size_px[::-1], 3), 255, np.uint8)
            said = str(error).removeprefix("picture ")
            reason = said.removeprefix(f"{one_line(str(picture.file))}: ")
            fault = one_line(state_text("unreadable", what=f"{picture.name}: {reason}"))
        scale = self._camera.um_per_px
        place = own_ground(seq, self._size_px, scale)
        return Field(scale, seq, self._clock(), place, fault=fault, pixels=pixels)

    def _read(self, picture: _Picture) -> Pixels:
        # A pipe of that name would be waited for without end.
        if picture.file.exists() and not picture.file.is_file():
            raise SourceError("it is no file; take it out")
        self._refuse_size(picture.size_px or self._size_px)
        pixels = read_picture(picture.file, picture.index)
        self._refuse_size(pixels.shape[1::-1])
        gains = self._camera.white_balance
        return pixels if gains is None else apply_gains(pixels, gains)

    def _refuse_size(self, size_px: tuple[int, ...]) -> None:
        if size_px == self._size_px:
            return
        raise SourceError(
            f"{size_px[0]}x{size_px[1]} px, most here have {self._size_px[0]}x"
            f"{self._size_px[1]}, and another size may be another scale; give it a "
            "session of its own"
        )

    def close(self) -> None:
        """Nothing stays open between fields."""


def own_ground(seq: int, size_px: tuple[int, int], um_per_px: float) -> Place:
    """A place that keeps a picture apart; the first n always fill about a square.

    >>> [(p.x_um, p.y_um) for p in (own_ground(i, (500, 400), 1.0) for i in range(5))]
    [(0.0, 0.0), (1500.0, 0.0), (1500.0, 1400.0), (0.0, 1400.0), (3000.0, 0.0)]
    """
    shell = math.isqrt(seq)
    step = seq - shell**2
    column, row = min(shell, 2 * shell - step), min(shell, step)
    x_um, y_um = (
        at * (side_px * um_per_px + APART_UM)
        for at, side_px in zip((column, row), size_px, strict=True)
    )
    return Place(x_um, y_um, 0.0, "own_ground")


def _files_of(folder: Path) -> list[Path]:
    # macOS puts "._NAME" beside NAME on foreign disks: no picture, for all its suffix.
    named = (
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )
    return sorted((file for file in named if not file.is_dir()), key=_natural)


def _natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Key that sorts names as people number them.

    >>> [_natural(Path(name))[0] for name in ("f10.png", "f2.png")]
    [[(-1, 'f'), (10, ''), (-1, '.png')], [(-1, 'f'), (2, ''), (-1, '.png')]]
    """
    parts = re.split(r"([0-9]+)", file.name.casefold())
    keys = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return keys, file.name


def _pictures_of(file: Path) -> list[_Picture]:
    """The pictures of a file; the levels of a pyramid are one.

    A file that is no picture is one too: it says why when it is read.
    """
    try:
        sizes = picture_sizes(file) if file.is_file() else []
    except SourceError:
        sizes = []
    if len(sizes) < 2:
        return [_Picture(file, 0, file.name, *sizes)]
    return [
        _Picture(file, index, f"{file.name} page {index + 1} of {len(sizes)}", size_px)
        for index, size_px in enumerate(sizes)
    ]
