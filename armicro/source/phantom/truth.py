"""What lies where: the ground truth of a built slide, in memory and as files."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from armicro.file import written
from armicro.source.phantom.specification import UM_PER_PX

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
