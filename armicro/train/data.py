"""Readers of annotated data: fields with points (CRIC form) and crops of single cells.

A data folder holds any number of sources, one sub-folder each. A folder with
``fields.csv`` and ``cells.csv`` is read as fields, one with ``cells.csv`` alone as
crops; a new source of either form needs no code. Splits never cut through a slide
group, field or case: fields follow their ``split`` column, crops a hash of their group.
"""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels

Split = Literal["train", "val"]

NORMAL_CLASS = "NILM"

SCALE_RANGE_UM_PER_PX: Mapping[str, tuple[float, float]] = {
    "herlev": (0.19, 0.22),
    "sipakmed": (0.10, 0.20),
}
"""Plausible scales of sources that do not publish one: drawn anew for every sample."""

ANY_SCALE_UM_PER_PX = (0.12, 0.28)
"""For a source of unknown scale that is not in the table (x20 to x40 objectives)."""

VAL_SHARE_PERCENT = {"herlev": 25, "sipakmed": 15}


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedField:
    """A microscope field with the nuclei that somebody classified."""

    name: str
    source: str
    group: str
    split: Split
    pixels: Pixels
    um_per_px: float
    points_px: NDArray[np.float64]
    """(n, 2) x and y of nuclei."""
    classes: tuple[str, ...]

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """(n,) whether a point is a lesion."""
        return np.array([name != NORMAL_CLASS for name in self.classes], bool)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A picture of one cell, with as much surround as its source left."""

    name: str
    source: str
    group: str
    """The field or case it comes from: the unit of splits and of the bootstrap."""
    split: Split
    pixels: Pixels
    um_per_px_range: tuple[float, float]
    category: str
    lesion: bool


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Everything read from a data folder."""

    fields: tuple[AnnotatedField, ...]
    crops: tuple[Crop, ...]

    def split(self, split: Split) -> "Dataset":
        """Return the part of one split."""
        return Dataset(
            tuple(field for field in self.fields if field.split == split),
            tuple(crop for crop in self.crops if crop.split == split),
        )


def read_dataset(folder: Path, *, sources: tuple[str, ...] = ()) -> Dataset:
    """Read every source under ``folder``, or only the named ones.

    Raises:
        SourceError: the folder holds no source, or an image cannot be read.
    """
    fields: list[AnnotatedField] = []
    crops: list[Crop] = []
    for path in sorted(folder.glob("*/cells.csv")):
        if sources and path.parent.name not in sources:
            continue
        if (path.parent / "fields.csv").exists():
            fields += read_fields(path.parent)
        else:
            crops += read_crops(path.parent)
    if not fields and not crops:
        raise SourceError(
            f"{folder}: found no source ({', '.join(sources) or 'any'}); expected "
            "sub-folders with cells.csv; give --data the folder that holds them"
        )
    return Dataset(tuple(fields), tuple(crops))


def read_fields(folder: Path) -> list[AnnotatedField]:
    """Read a source of the CRIC form: ``fields.csv``, ``cells.csv``, ``images/``."""
    cells: dict[str, list[tuple[float, float, str]]] = {}
    for row in read_rows(folder / "cells.csv"):
        place = (float(row["x_px"]), float(row["y_px"]), row["bethesda"])
        cells.setdefault(row["image"], []).append(place)
    fields = []
    for row in read_rows(folder / "fields.csv"):
        found = cells.get(row["image"], [])
        points = np.array([cell[:2] for cell in found], float).reshape(-1, 2)
        fields.append(
            AnnotatedField(
                name=row["image"],
                source=folder.name,
                group=row.get("slide_group", row["image"]),
                split="val" if row.get("split") == "val" else "train",
                pixels=read_image(find_image(folder, row["image"])),
                um_per_px=float(row["um_per_px"]),
                points_px=points,
                classes=tuple(cell[2] for cell in found),
            )
        )
    return fields


def read_crops(folder: Path) -> list[Crop]:
    """Read a source of single cells: ``file``, ``abnormal`` and a field or case."""
    scale = SCALE_RANGE_UM_PER_PX.get(folder.name, ANY_SCALE_UM_PER_PX)
    crops = []
    for row in read_rows(folder / "cells.csv"):
        group = row.get("field_id") or row.get("case_id") or row["file"]
        crops.append(
            Crop(
                name=row["file"],
                source=folder.name,
                group=group,
                split=split_of_group(group, VAL_SHARE_PERCENT.get(folder.name, 15)),
                pixels=read_image(folder / row["file"]),
                um_per_px_range=scale,
                category=row.get("class") or row["abnormal"],
                lesion=row["abnormal"] == "1",
            )
        )
    return crops


def split_of_group(group: str, val_percent: int) -> Split:
    """Return the split of a group, from its name alone.

    >>> split_of_group("AIS01", 0), split_of_group("AIS01", 100)
    ('train', 'val')
    """
    digest = hashlib.sha256(group.encode()).digest()
    return "val" if int.from_bytes(digest[:4], "big") % 100 < val_percent else "train"


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file.

    Raises:
        SourceError: there is no such file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error


def find_image(folder: Path, name: str) -> Path:
    """Return where an image of a source lies: in ``images/``, or beside the table."""
    inside = folder / "images" / name
    return inside if inside.exists() else folder / name


def read_image(path: Path) -> Pixels:
    """Return (h, w, 3) RGB.

    Raises:
        SourceError: the file is missing or is no image.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SourceError(f"{path}: is not a readable image; check the table beside it")
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)
