"""Annotated real fields as material: two tables read, checked and joined.

Coordinates here are pixels of a field after it has been resampled to 0.243 µm/px.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.phantom.specification import UM_PER_PX
from armicro.picture import read_picture
from armicro.table import (
    LABEL_COLUMN,
    NORMAL_CLASS,
    class_of,
    find_image,
    is_annotated,
    number,
    read_rows,
    tell_left_out,
)

FIELD_COLUMNS = ("image", "um_per_px", "slide_group")
CELL_COLUMNS = ("image", "bethesda", "x_px", "y_px")


@dataclass(frozen=True, slots=True, eq=False)
class RealField:
    """One annotated field of a real smear."""

    path: Path
    um_per_px: float
    """Scale of the file."""
    file_width_px: int
    file_height_px: int
    group: str
    xy_px: NDArray[np.float64]
    """(cells, 2) nuclei at 0.243 µm/px."""
    classes: tuple[str, ...]
    """(cells,) Bethesda classes."""

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """(cells,) True where the cell is a lesion."""
        return np.array([name != NORMAL_CLASS for name in self.classes], dtype=bool)

    @property
    def scale(self) -> float:
        """What the file's pixels are multiplied by."""
        return self.um_per_px / UM_PER_PX

    def size_px(self) -> tuple[int, int]:
        """Width and height at 0.243 µm/px."""
        return scaled_size(self.file_width_px, self.file_height_px, self.scale)

    def thumbnail(self) -> Pixels:
        """The file at an eighth of its size, (height, width, 3) uint8 RGB.

        Raises:
            SourceError: the file is no picture.
        """
        picture = _picture(self.path, cv2.IMREAD_REDUCED_COLOR_8)
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)

    def read(self) -> Pixels:
        """Read the file, (height, width, 3) uint8 RGB at its own scale.

        Raises:
            SourceError: the file is no picture, or of another size than the table says.
        """
        picture = read_picture(self.path)
        size = (self.file_height_px, self.file_width_px)
        if picture.shape[:2] != size:
            raise SourceError(
                f"{self.path} cannot be read: expected a picture of "
                f"{self.file_width_px} x {self.file_height_px} px; copy it there again"
            )
        return picture


def _picture(path: Path, flags: int) -> Pixels:
    """A picture file, (height, width, 3) BGR."""
    picture = cv2.imread(str(path), flags)
    if picture is None:
        raise SourceError(
            f"{path} cannot be read: expected a picture; copy it there again"
        )
    return np.asarray(picture, np.uint8)


def scaled_size(width_px: int, height_px: int, scale: float) -> tuple[int, int]:
    """Width and height of a resampled field."""
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def read_material(fields_csv: Path, cells_csv: Path, split: str) -> list[RealField]:
    """Read the annotated fields of a split with their cells, in the table's order.

    Args:
        fields_csv: Columns ``image,um_per_px,slide_group`` and, for a split, ``split``.
        cells_csv: Columns ``image,bethesda,x_px,y_px`` (pixels of the file on disk).
        split: The split to take; every annotated field when empty.

    Raises:
        SourceError: a file, column, number or image is missing or wrong.
    """
    columns = (*FIELD_COLUMNS, "split") if split else FIELD_COLUMNS
    rows = read_rows(fields_csv, columns)
    cells: dict[str, list[dict[str, str]]] = {row["image"]: [] for row in rows}
    if len(cells) < len(rows):
        raise SourceError(
            f"{fields_csv} names an image twice: expected one row a field, so that no "
            "cell is used twice; take the second out"
        )
    for cell in read_rows(cells_csv, CELL_COLUMNS):
        if cell["image"] in cells:
            cells[cell["image"]].append(cell)
    if split:
        known = sorted({row["split"] for row in rows})
        rows = [row for row in rows if row["split"] == split]
        if not rows:
            raise SourceError(
                f"no field of split {split!r} in {fields_csv}: expected one of "
                f"{', '.join(known)}; choose one of them"
            )
    for row in rows:
        _image_path(row["image"], fields_csv)
    kept = [
        row
        for row in rows
        if is_annotated(
            row.get("split", ""), row.get(LABEL_COLUMN, ""), len(cells[row["image"]])
        )
    ]
    tell_left_out(fields_csv, [row["image"] for row in rows], len(kept))
    return [_field_of(row, cells[row["image"]], fields_csv, cells_csv) for row in kept]


def _field_of(
    row: dict[str, str],
    cells: Sequence[dict[str, str]],
    fields_csv: Path,
    cells_csv: Path,
) -> RealField:
    um_per_px = number(row, "um_per_px", fields_csv)
    if not 0.02 <= um_per_px <= 2:
        raise SourceError(
            f"{row['image']} in {fields_csv} has {um_per_px} µm/px: expected 0.02 to "
            "2; correct the table"
        )
    xy = [(number(c, "x_px", cells_csv), number(c, "y_px", cells_csv)) for c in cells]
    # The centre of pixel 0 is at 0.5 on both scales.
    xy_px = (np.array(xy, float).reshape(-1, 2) + 0.5) * (um_per_px / UM_PER_PX) - 0.5
    path = _image_path(row["image"], fields_csv)
    width_px, height_px = _size_of(row, path, fields_csv)
    return RealField(
        path=path,
        um_per_px=um_per_px,
        file_width_px=width_px,
        file_height_px=height_px,
        group=row["slide_group"],
        xy_px=xy_px,
        classes=tuple(class_of(cell, cells_csv) for cell in cells),
    )


def _size_of(row: dict[str, str], path: Path, table: Path) -> tuple[int, int]:
    """A picture's size from the table, or from the file where the table lacks it."""
    if row.get("width") and row.get("height"):
        return (
            round(number(row, "width", table)),
            round(number(row, "height", table)),
        )
    height_px, width_px = _picture(path, cv2.IMREAD_COLOR).shape[:2]
    return width_px, height_px


def _image_path(name: str, fields_csv: Path) -> Path:
    path = find_image(fields_csv.parent, name)
    if path.is_file():
        return path
    raise SourceError(
        f"image {name!r} of {fields_csv} is missing: expected it in images/ beside the "
        "table, or beside it; copy it there or take its row out"
    )


# ---------------------------------------------------------------------------
# What is cut from real fields: whole ones without lesions, and windows round cells.
#
# Pieces of one field never share a pixel, so no cell is used twice. A window is chosen
# so that each lesion cell of its field lies either well inside it or well outside.

INSIDE_PX = 52
"""A cell that a window is cut for lies at least so far from its sides."""
OUTSIDE_PX = 40
"""A lesion cell left out lies at least so far beyond them."""
LESION_WINDOWS_PX = ((480, 400, 320, 256, 200), (150, 108))
"""Sides to try: the small ones only where the large ones do not give enough."""
NORMAL_WINDOWS_PX = (640, 512, 400, 300)
TRIES = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a resampled field."""

    field: int
    """Index of the field in the material."""
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    lesions: int
    whole: bool


Size = tuple[int, int]


class PieceCutter:
    """Cuts pieces out of fields, remembering what is gone."""

    def __init__(
        self,
        fields: Sequence[RealField],
        sizes: Sequence[Size],
        rng: np.random.Generator,
    ) -> None:
        """Take fields, the best first, and their (width, height) at 0.243 µm/px."""
        self._fields, self._sizes, self._rng = fields, sizes, rng
        self._gone: list[list[Piece]] = [[] for _ in fields]
        self._lesion_xy = [field.xy_px[field.lesion] for field in fields]

    def lesion_pieces(self, count: int, *, largest_px: float) -> list[Piece]:
        """Windows that hold exactly ``count`` lesion cells between them.

        No window is wider than ``largest_px``, but for the smallest there is.

        Raises:
            SourceError: the fields do not have so many that can be cut out.
        """
        pieces: list[Piece] = []
        wanted = count
        cells = self._shuffled(lesion=True)
        for sides, (field, spot) in itertools.product(LESION_WINDOWS_PX, cells):
            if not wanted:
                break
            fitting = [side for side in sides if side <= largest_px] or sides[-1:]
            piece = self._window(field, spot, fitting, wanted)
            if piece is not None:
                self._gone[field].append(piece)
                pieces.append(piece)
                wanted -= piece.lesions
        if wanted:
            raise SourceError(
                f"{count} lesion cells: expected at most {count - wanted}, all that "
                "can be cut from the fields of this stain; ask for fewer, or give "
                "more fields"
            )
        return pieces

    def whole_pieces(self) -> list[Piece]:
        """Every field that holds no lesion cell."""
        return [
            Piece(index, 0, 0, width, height, lesions=0, whole=True)
            for index, (width, height) in enumerate(self._sizes)
            if not len(self._lesion_xy[index])
        ]

    def normal_pieces(self) -> Iterator[Piece]:
        """Windows round normal cells of the other fields, as long as there are any."""
        for field, spot in self._shuffled(lesion=False):
            if not len(self._lesion_xy[field]):
                continue
            piece = self._window(field, spot, NORMAL_WINDOWS_PX, 0)
            if piece is not None:
                self._gone[field].append(piece)
                yield piece

    def _shuffled(self, *, lesion: bool) -> list[tuple[int, NDArray[np.float64]]]:
        """Cells by and by from fields ever further down, in random order."""
        cells = [
            (index, spot)
            for index, field in enumerate(self._fields)
            for spot in field.xy_px[field.lesion == lesion]
        ]
        # Neighbouring fields mix, so that no field is used up before the next begins.
        rank = [index + self._rng.uniform(0, 6) for index, _ in cells]
        return [cells[i] for i in np.argsort(rank).tolist()]

    def _window(
        self, field: int, spot: NDArray[np.float64], sides: Sequence[int], most: int
    ) -> Piece | None:
        """The largest allowed window round a cell, or None."""
        for side in sides:
            for _ in range(TRIES):
                # Near the middle, where the ragged border does not reach it.
                play = 0.24 * max(side - 2 * INSIDE_PX, 0)
                shift = self._rng.uniform(-play, play, 2) - side / 2
                x, y = np.rint(spot + shift).astype(int).tolist()
                lesions = self._lesions_in(field, x, y, side)
                if lesions is None or lesions > most or (most and not lesions):
                    continue
                piece = Piece(field, x, y, side, side, lesions, whole=False)
                if self._is_free(piece):
                    return piece
        return None

    def _lesions_in(self, field: int, x: int, y: int, side: int) -> int | None:
        """How many lesion cells lie inside; None when one lies across the border."""
        spots = self._lesion_xy[field] - [x, y]
        inside = ((spots >= INSIDE_PX) & (spots <= side - INSIDE_PX)).all(axis=1)
        near = ((spots > -OUTSIDE_PX) & (spots < side + OUTSIDE_PX)).all(axis=1)
        return None if bool((near & ~inside).any()) else int(inside.sum())

    def _is_free(self, piece: Piece) -> bool:
        width, height = self._sizes[piece.field]
        fits = piece.x_px >= 0 and piece.y_px >= 0
        fits &= piece.x_px + piece.width_px <= width
        fits &= piece.y_px + piece.height_px <= height
        return fits and not any(_overlap(piece, g) for g in self._gone[piece.field])


def _overlap(a: Piece, b: Piece) -> bool:
    return (
        a.x_px < b.x_px + b.width_px
        and b.x_px < a.x_px + a.width_px
        and a.y_px < b.y_px + b.height_px
        and b.y_px < a.y_px + a.height_px
    )
