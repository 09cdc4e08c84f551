"""Annotated data in memory: every source of a data folder, pictures and all.

A data folder holds any number of sources, one sub-folder each. A folder with
``fields.csv`` and ``cells.csv`` is read as fields, one with ``cells.csv`` alone as
crops; a new source of either form needs no code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from armicro import table
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.phantom import STAINS, UM_PER_PX, ScannerOptics, paint_field
from armicro.picture import read_picture
from armicro.table import NORMAL_CLASS, Split

SCALE_RANGE_UM_PER_PX: Mapping[str, tuple[float, float]] = {
    "herlev": (0.19, 0.22),
    "sipakmed": (0.10, 0.20),
}
"""Plausible scales of sources that do not publish one: drawn anew for every sample."""

ANY_SCALE_UM_PER_PX = (0.12, 0.28)
"""For a source of unknown scale that is not in the table (x20 to x40 objectives)."""


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
        SourceError: the folder holds no source, or not one that was named, or an image
            cannot be read.
    """
    held = {path.parent.name for path in folder.glob("*/cells.csv")}
    if held and (missing := [name for name in sources if name not in held]):
        raise SourceError(
            f"{folder}: has no source {', '.join(missing)}; it has "
            f"{', '.join(sorted(held))}"
        )
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
    """Read a source of the CRIC form: ``fields.csv``, ``cells.csv``, ``images/``.

    Fields of a split that is neither ``train`` nor ``val`` are left out, so that nobody
    trains on what is kept for a test, and so are those that nobody annotated.

    Raises:
        SourceError: a table is bad, or a picture cannot be read.
    """
    fields = []
    path = folder / "fields.csv"
    for row, found in table.read_annotated(path, folder / "cells.csv"):
        split = table.split_of_field(row, path)
        if split is None:
            continue
        points = [(cell.x_px, cell.y_px) for cell in found]
        fields.append(
            AnnotatedField(
                name=row.image,
                source=folder.name,
                group=row.group,
                split=split,
                pixels=read_picture(row.path),
                um_per_px=row.um_per_px,
                points_px=np.array(points, float).reshape(-1, 2),
                classes=tuple(cell.category for cell in found),
            )
        )
    return fields


def read_crops(folder: Path) -> list[Crop]:
    """Read a source of single cells: ``file``, ``abnormal`` and a field or case."""
    scale = SCALE_RANGE_UM_PER_PX.get(folder.name, ANY_SCALE_UM_PER_PX)
    return [
        Crop(
            name=row.file,
            source=folder.name,
            group=row.group,
            split=table.split_of_crop(row, folder.name),
            pixels=read_picture(row.path),
            um_per_px_range=scale,
            category=row.category,
            lesion=row.lesion,
        )
        for row in table.read_crops(folder / "cells.csv")
    ]


# ---------------------------------------------------------------------------
# Phantom fields as one more source, so that drawn lesions are found as real ones are.
#
# They join with a small share, and figures on them stand apart: a network that knows
# the drawings proves that the machinery works, nothing about cytology. Two stains stay
# out of training, to show an unseen one.

SOURCE = "phantom"
UNSEEN_STAINS = tuple(sorted(STAINS))[-2:]
FIELD_PX = 1024


def draw_fields(
    seeds: Sequence[int], *, split: Split, lesions: int = 6
) -> list[AnnotatedField]:
    """Return a drawn field a seed; every fourth has no lesion.

    Training seeds take the stains that training may see, validation seeds the others.
    """
    known = [stain for stain in sorted(STAINS) if stain not in UNSEEN_STAINS]
    stains = known if split == "train" else list(UNSEEN_STAINS)
    fields = []
    for index, seed in enumerate(seeds):
        stain = stains[index % len(stains)]
        pixels, truth = paint_field(
            seed=seed,
            width_px=FIELD_PX,
            height_px=FIELD_PX,
            um_per_px=UM_PER_PX,
            lesions=0 if index % 4 == 3 else lesions,
            stain=stain,
            optics=ScannerOptics(defocus_px=1.0 * (index % 3 == 2)),
        )
        points = np.column_stack([truth.x_um, truth.y_um]) / UM_PER_PX
        classes = tuple(
            name if lesion else "NILM"
            for name, lesion in zip(truth.names, truth.lesion, strict=True)
        )
        fields.append(
            AnnotatedField(
                name=f"phantom-{seed}-{stain}",
                source=SOURCE,
                group=stain,
                split=split,
                pixels=pixels,
                um_per_px=UM_PER_PX,
                points_px=points,
                classes=classes,
            )
        )
    return fields
