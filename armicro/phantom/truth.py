"""What lies where: the ground truth of a built slide, in memory and as files."""

import contextlib
import csv
import errno
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from armicro.errors import DiskError, SourceError
from armicro.file import written
from armicro.phantom.specification import UM_PER_PX

COLOURS = {True: [200, 30, 30], False: [40, 130, 60]}
"""QuPath's colour of a lesion point and of any other."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The epithelial cells of a slide; one row a nucleus."""

    x_um: NDArray[np.float64]
    """(cells,)"""
    y_um: NDArray[np.float64]
    class_index: NDArray[np.uint8]
    """(cells,) index into ``classes``."""
    classes: tuple[str, ...]
    lesion_classes: frozenset[str]

    def __len__(self) -> int:
        return int(self.x_um.size)

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """(cells,) True where the cell is a lesion."""
        table = np.array([name in self.lesion_classes for name in self.classes], bool)
        return table[self.class_index]

    @property
    def names(self) -> list[str]:
        """(cells,) name of each cell's class."""
        return [self.classes[index] for index in self.class_index]

    def count(self, *, lesion: bool) -> int:
        """Number of cells that are, or are not, lesions."""
        return int((self.lesion == lesion).sum())


def truth_paths(slide: Path) -> tuple[Path, Path]:
    """The CSV and the GeoJSON beside a slide."""
    stem = slide.with_suffix("")
    return (
        stem.with_name(f"{stem.name}.truth.csv"),
        stem.with_name(f"{stem.name}.truth.geojson"),
    )


def write_truth(truth: Truth, slide: Path) -> None:
    """Write ``OUT.truth.csv`` (µm) and ``OUT.truth.geojson`` (pixels, for QuPath)."""
    table, shapes = truth_paths(slide)
    with (
        written(table) as whole,
        io.TextIOWrapper(whole, "utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["x_um", "y_um", "class", "lesion"])
        writer.writerows(
            (f"{x:.2f}", f"{y:.2f}", name, int(lesion))
            for x, y, name, lesion in _rows(truth)
        )
    with written(shapes) as whole, io.TextIOWrapper(whole, "utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for index, (x, y, name, lesion) in enumerate(_rows(truth)):
            file.write(",\n" if index else "\n")
            json.dump(_feature(x, y, name, lesion), file, separators=(",", ":"))
        file.write("\n]}\n")


def _rows(truth: Truth) -> "zip[tuple[float, float, str, bool]]":
    return zip(
        truth.x_um.tolist(),
        truth.y_um.tolist(),
        truth.names,
        truth.lesion.tolist(),
        strict=True,
    )


def _feature(x_um: float, y_um: float, name: str, lesion: bool) -> dict[str, object]:
    place = [round(x_um / UM_PER_PX, 1), round(y_um / UM_PER_PX, 1)]
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": place},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": name, "color": COLOURS[lesion]},
            "lesion": lesion,
        },
    }


# ---------------------------------------------------------------------------
# The slide file while it grows: beside its place, moved there when it is whole.


@contextlib.contextmanager
def slide_file(path: Path, room_bytes: int) -> Iterator[BinaryIO]:
    """Open a file for writing that is called ``path`` at the end.

    Args:
        path: What the slide is to be called; an older one is replaced at the end only.
        room_bytes: Disk space that the slide may take.

    Raises:
        SourceError: no such folder, or not enough disk.
        DiskError: it could not be written after all.
    """
    _check_place(path, room_bytes)
    try:
        with written(path) as file:
            yield file
    except OSError as error:
        raise DiskError(_what_failed(path, error)) from error


def _check_place(path: Path, room_bytes: int) -> None:
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise SourceError(f"{path}: expected a name that ends in .tif; choose one")
    if path.is_dir():
        raise SourceError(f"{path} is a folder: expected a file name; choose another")
    if not path.parent.is_dir():
        raise SourceError(
            f"{path.parent} is no folder: expected one to write {path.name} into; "
            "make it first"
        )
    free = shutil.disk_usage(path.parent).free
    if free < room_bytes:
        raise SourceError(
            f"{free / 1e6:.0f} MB free at {path.parent}: expected "
            f"{room_bytes / 1e6:.0f} MB for this slide; free some, or ask for fewer "
            "megapixels"
        )


def _what_failed(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            f"the disk ran full while writing {path}: expected room for the whole "
            "slide; free some, or ask for fewer megapixels"
        )
    return (
        f"{path} cannot be written ({error.strerror}): expected a folder that you may "
        "write to; choose another or change its permissions"
    )
