"""Annotated real fields as material: two tables read, checked and joined.

Coordinates here are pixels of a field after it has been resampled to 0.243 µm/px.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.picture import read_picture
from armicro.source.phantom.specification import UM_PER_PX
from armicro.source.table import (
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
