"""Tables of annotated cells: fields with points (CRIC form) and crops of single cells.

Training and validation read them here, strictly: a bad row is named. Splits never cut
through a slide group, field or case: fields follow their ``split`` column, crops a hash
of their group's name. Fields of any split but ``train`` and ``val`` are for the user
alone: training does not touch them. A field that nobody annotated is not lesion-free:
nobody uses it (``is_annotated``).
"""

import csv
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from armicro.errors import SourceError

NORMAL_CLASS = "NILM"
Split = Literal["train", "val"]
SPLIT_WORDS: Mapping[str, Split] = {
    "": "train",
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""What people call the two splits that training knows; no name is ``train``."""
UNLABELLED = ("unlabelled", "unlabeled")
"""Splits of fields that nobody annotated."""
LABEL_COLUMN = "bethesda"
"""Of a table of fields: the class of a field as a whole, where nobody set points."""
VAL_SHARE_PERCENT = {"herlev": 25, "sipakmed": 15}
"""Share of a source's groups that training leaves out."""
OTHER_VAL_SHARE_PERCENT = 15


@dataclass(frozen=True, slots=True)
class CellRow:
    """A nucleus of a field."""

    image: str
    category: str
    x_px: float
    y_px: float

    @property
    def lesion(self) -> bool:
        """Everything but NILM is a lesion."""
        return self.category != NORMAL_CLASS


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field with its scale and where its picture lies."""

    image: str
    path: Path
    um_per_px: float
    split: str
    group: str
    label: str = ""
    """Class of the field as a whole; empty where nobody gave one."""


@dataclass(frozen=True, slots=True)
class CropRow:
    """A picture of one cell."""

    file: str
    path: Path
    lesion: bool
    category: str
    group: str
    """Field or case; the file itself where the table has neither."""


AnnotatedRow = tuple[FieldRow, tuple[CellRow, ...]]
"""A field with its nuclei."""


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that has these columns; what a row lacks is empty.

    Raises:
        SourceError: it cannot be read, is empty, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = reader.fieldnames or ()
            rows = [{k: v or "" for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        seen = error.strerror if isinstance(error, OSError) else error
        raise SourceError(
            f"{path}: cannot be read ({seen}); expected a CSV table with "
            f"{', '.join(columns)}; check the path"
        ) from error
    missing = [name for name in columns if name not in names]
    if missing:
        raise SourceError(
            f"{path}: has no column {', '.join(missing)}; expected "
            f"{', '.join(columns)}; add what is missing"
        )
    if not rows:
        raise SourceError(f"{path}: has no rows; expected at least one; fill it")
    return rows


def number(row: dict[str, str], name: str, path: Path) -> float:
    """Return a finite number of a row, which its first column names.

    Raises:
        SourceError: it is none.
    """
    try:
        value = float(row[name])
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        first = next(iter(row.values()))
        raise SourceError(
            f"{path}: {name} of {first} is {row[name]!r}; expected a number; correct "
            "the table"
        )
    return value


def require_scale(um_per_px: float, where: str) -> float:
    """Return a scale that a picture can have, µm/px.

    Args:
        um_per_px: what was given.
        where: the option, or the table and its row, for the message.

    Raises:
        SourceError: it is not finite or not above 0.
    """
    if not (np.isfinite(um_per_px) and um_per_px > 0):
        raise SourceError(
            f"{where} is {um_per_px:g}; expected a finite number of µm/px above 0; "
            "correct it"
        )
    return um_per_px


def class_of(row: dict[str, str], path: Path) -> str:
    """Return the class of a nucleus.

    Raises:
        SourceError: the row has none; it must not count as a lesion.
    """
    category = row["bethesda"].strip()
    if not category:
        raise SourceError(
            f"{path}: bethesda of {row['image']} at {row['x_px']},{row['y_px']} is "
            f"empty; expected {NORMAL_CLASS} or the class of a lesion; fill it, or "
            "take the row out"
        )
    return category


def read_cells(path: Path) -> list[CellRow]:
    """Read nuclei: ``image,bethesda,x_px,y_px``.

    Raises:
        SourceError: the table is bad.
    """
    rows = read_rows(path, ("image", "bethesda", "x_px", "y_px"))
    return [
        CellRow(
            row["image"],
            class_of(row, path),
            number(row, "x_px", path),
            number(row, "y_px", path),
        )
        for row in rows
    ]


def read_fields(path: Path, *, split: str = "") -> list[FieldRow]:
    """Read fields: ``image,um_per_px`` and perhaps ``split`` and ``slide_group``.

    Raises:
        SourceError: the table is bad, or no field is of the split.
    """
    fields = [
        FieldRow(
            row["image"],
            find_image(path.parent, row["image"]),
            require_scale(
                number(row, "um_per_px", path), f"{path}: um_per_px of {row['image']}"
            ),
            row.get("split") or "",
            row.get("slide_group") or row["image"],
            row.get(LABEL_COLUMN, ""),
        )
        for row in read_rows(path, ("image", "um_per_px"))
    ]
    chosen = [field for field in fields if not split or field.split == split]
    if not chosen:
        found = ", ".join(sorted({field.split for field in fields}))
        raise SourceError(f"{path}: no field of split {split!r}; it has {found!r}")
    return chosen


def is_annotated(split: str, label: str, points: int) -> bool:
    """Return whether somebody looked for lesions in a field.

    A field without points is lesion-free only where its label says so: its points may
    be missing for any reason. A field that is a lesion as a whole has none to mark.

    >>> is_annotated("train", "", 3), is_annotated("train", "", 0)
    (True, False)
    >>> is_annotated("val", "NILM", 0), is_annotated("unlabelled", "NILM", 3)
    (True, False)
    """
    if split.strip().lower() in UNLABELLED:
        return False
    return points > 0 or label.strip() == NORMAL_CLASS


def read_annotated(fields: Path, cells: Path, *, split: str = "") -> list[AnnotatedRow]:
    """Read the annotated fields with the nuclei of each; a note tells of the others.

    Raises:
        SourceError: a table is bad, no field is of the split, or none is annotated.
    """
    own: dict[str, list[CellRow]] = {}
    for cell in read_cells(cells):
        own.setdefault(cell.image, []).append(cell)
    every = read_fields(fields, split=split)
    joined = [(field, tuple(own.get(field.image, ()))) for field in every]
    kept = [
        (field, found)
        for field, found in joined
        if is_annotated(field.split, field.label, len(found))
    ]
    tell_left_out(fields, [field.image for field in every], len(kept))
    return kept


def tell_left_out(path: Path, images: Sequence[str], kept: int) -> None:
    """Say on stderr how many fields of a table nobody annotated.

    Raises:
        SourceError: none is annotated.
    """
    if not kept:
        raise SourceError(
            f"{path}: nobody annotated {images[0]} and the other fields asked for: no "
            "cell of CELLS.csv lies in a field of FIELDS.csv, and no field is "
            f"{NORMAL_CLASS} by its {LABEL_COLUMN} column; their `image` columns must "
            "name the same files"
        )
    if kept < len(images):
        note = (
            f"{path}: {len(images) - kept} of {len(images)} fields are left out: "
            f"nobody annotated them; {NORMAL_CLASS} in a column {LABEL_COLUMN} says "
            "that a field without points has no lesion"
        )
        tqdm.write(note, file=sys.stderr)


def read_crops(path: Path) -> list[CropRow]:
    """Read crops: ``file,abnormal`` and perhaps ``class`` and a field or case.

    Raises:
        SourceError: the table is bad, or ``abnormal`` is neither 0 nor 1.
    """
    crops = []
    for row in read_rows(path, ("file", "abnormal")):
        if row["abnormal"] not in ("0", "1"):
            raise SourceError(
                f"{path}: abnormal is {row['abnormal']!r} for {row['file']}; "
                "expected 0 or 1"
            )
        file = Path(row["file"])
        crops.append(
            CropRow(
                row["file"],
                file if file.is_absolute() else find_crop(path.parent, file),
                row["abnormal"] == "1",
                row.get("class") or row["abnormal"],
                row.get("field_id") or row.get("case_id") or row["file"],
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


def split_of_field(field: FieldRow, path: Path) -> Split | None:
    """Return the split of a field in training, None where training leaves it out.

    Raises:
        SourceError: its name is another word for ``train`` or ``val``: a misspelt split
            must not be left out unseen.
    """
    wanted = SPLIT_WORDS.get(field.split.strip().lower())
    if wanted is not None and field.split not in ("", wanted):
        raise SourceError(
            f"{path}: split of {field.image} is {field.split!r}; expected "
            f"{wanted!r}, or another name for fields that training leaves out; "
            "correct the table"
        )
    return wanted


def split_of_crop(crop: CropRow, source: str) -> Split:
    """Return the split of a crop of a source."""
    percent = VAL_SHARE_PERCENT.get(source, OTHER_VAL_SHARE_PERCENT)
    return split_of_group(crop.group, percent)


def find_crop(folder: Path, file: Path) -> Path:
    """Return a crop beside its table, or in ``images/`` there."""
    beside = folder / file
    return beside if beside.exists() else folder / "images" / file


def find_image(folder: Path, name: str) -> Path:
    """Return a field's picture: in ``images/`` beside its table, or beside it."""
    inside = folder / "images" / name
    return inside if inside.exists() else folder / name
