"""Tile-level assessment: the HR network on single cells, in crops and in fields."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from armicro.cascade.tile import cut_centred, find_cells, resample
from armicro.engine import Engine
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.metrics import OF_CELLS, Judged, by_category, judge
from armicro.picture import read_picture
from armicro.table import (
    CellRow,
    CropRow,
    FieldRow,
    read_annotated,
    read_crops,
    require_scale,
    split_of_crop,
)
from armicro.validate.folder import plot_features
from armicro.verdict import HR_TILE_PX, HR_UM_PER_PX

# ---------------------------------------------------------------------------
# HR tiles as the cascade would cut them, for cells whose place is given.


def tile_of_crop(pixels: Pixels, um_per_px: float) -> Pixels:
    """Return the (256, 256, 3) tile of a single cell's picture.

    It is brought to 0.243 µm/px and laid on its own ground; a larger one loses its rim.
    """
    scaled = resample(pixels, from_um_per_px=um_per_px, to_um_per_px=HR_UM_PER_PX)
    height, width = scaled.shape[:2]
    return cut_centred(
        scaled, (width / 2, height / 2), HR_TILE_PX, ground_colour(scaled)
    )


def ground_colour(pixels: Pixels) -> tuple[int, int, int]:
    """Return the median of the brighter half of a picture's border."""
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    light = rim.sum(axis=1, dtype=np.int64)
    red, green, blue = np.median(rim[light >= np.median(light)], axis=0)
    return int(red), int(green), int(blue)


def tiles_of_points(
    pixels: Pixels, um_per_px: float, points_px: list[tuple[float, float]]
) -> Pixels:
    """Return (n, 256, 256, 3) centred on points of a field, its glass where it ends."""
    colour = find_cells(pixels, um_per_px).background
    side_px = round(HR_TILE_PX * HR_UM_PER_PX / um_per_px)
    tiles = np.empty((len(points_px), HR_TILE_PX, HR_TILE_PX, 3), np.uint8)
    for tile, point in zip(tiles, points_px, strict=True):
        crop = cut_centred(pixels, point, side_px, colour)
        how = cv2.INTER_AREA if side_px > HR_TILE_PX else cv2.INTER_LINEAR
        tile[:] = cv2.resize(crop, (HR_TILE_PX, HR_TILE_PX), interpolation=how)
    return tiles


# ---------------------------------------------------------------------------
# Single cells.


BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What the HR network said of cells, and its features."""

    judged: Judged
    features: NDArray[np.float32]
    name: tuple[str, ...]


def look_at_crops(hr: Engine, crops: Sequence[CropRow], um_per_px: float) -> Looked:
    """Run the HR network on each crop.

    Raises:
        SourceError: a picture cannot be read.
        EngineError: the engine failed.
    """
    tiles = (tile_of_crop(read_picture(crop.path), um_per_px) for crop in crops)
    score, features = run_batches(hr, tiles)
    judged = Judged(
        score,
        np.array([crop.lesion for crop in crops], dtype=bool),
        np.array([crop.group for crop in crops]),
        np.array([crop.category for crop in crops]),
    )
    return Looked(judged, features, tuple(crop.file for crop in crops))


def look_at_cells(
    hr: Engine, fields: Iterable[FieldRow], cells: Sequence[CellRow]
) -> Looked:
    """Run the HR network on the tile around each nucleus of the fields.

    Raises:
        SourceError: no cell lies in the fields, or a picture cannot be read.
        EngineError: the engine failed.
    """
    own: dict[str, list[CellRow]] = {}
    for cell in cells:
        own.setdefault(cell.image, []).append(cell)
    rows: list[CellRow] = []

    def tiles() -> Iterator[Pixels]:
        for field in fields:
            found = own.get(field.image, [])
            if not found:
                continue
            rows.extend(found)
            points = [(cell.x_px, cell.y_px) for cell in found]
            yield from tiles_of_points(
                read_picture(field.path), field.um_per_px, points
            )

    score, features = run_batches(hr, tiles())
    if not rows:
        raise SourceError(
            "no cell of CELLS.csv lies in a field of FIELDS.csv; their `image` columns "
            "must name the same files"
        )
    judged = Judged(
        score,
        np.array([cell.lesion for cell in rows], dtype=bool),
        np.array([cell.image for cell in rows]),
        np.array([cell.category for cell in rows]),
    )
    names = tuple(f"{cell.image}:{cell.x_px:g},{cell.y_px:g}" for cell in rows)
    return Looked(judged, features, names)


def run_batches(
    hr: Engine, tiles: Iterable[Pixels]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return probability (n,) and features (n, 2048) of a stream of tiles."""
    scores: list[NDArray[np.float32]] = []
    features: list[NDArray[np.float32]] = []
    batch: list[Pixels] = []

    def flush() -> None:
        outputs = hr.infer({"tiles": np.stack(batch)})
        scores.append(outputs["probability"])
        features.append(outputs["features"])
        batch.clear()

    for tile in tiles:
        batch.append(tile)
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    if not scores:
        return np.zeros(0), np.zeros((0, 2048), np.float32)
    return np.concatenate(scores).astype(np.float64), np.concatenate(features)


# ---------------------------------------------------------------------------
# ``armicro validate sources``: the HR network on all sources of a data folder at once.
#
# One table by source, and one by class within it, and the features of all in two
# dimensions, as in the paper's Fig. 7: a network that generalises puts lesions of every
# source together, one that learned laboratories parts the sources.


CROP_SCALES = "herlev=0.201,sipakmed=0.13"


@dataclass(frozen=True, slots=True)
class SourceTask:
    """Which cells of a data folder to look at."""

    data: Path
    split: str
    scales: dict[str, float]


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of sources."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of sources")
    parser.add_argument("--split", choices=("val", "train"), default="val")
    parser.add_argument(
        "--crop-scales",
        default=CROP_SCALES,
        metavar="NAME=UM,...",
        help=f"µm/px of sources of crops (default: {CROP_SCALES})",
    )


def look_at_sources(hr: Engine, args: argparse.Namespace) -> dict[str, Looked]:
    """Run the HR network on the held-out cells of each source.

    A source without any is left out, with a note on stderr.

    Raises:
        SourceError: the folder has no source, none has such cells, or the scale of one
            is not given.
    """
    task = SourceTask(args.data, args.split, read_scales(args.crop_scales))
    tables = sorted(task.data.glob("*/cells.csv"))
    if not tables:
        raise SourceError(
            f"{task.data}: found no source; expected sub-folders with cells.csv"
        )
    sources = {}
    for path in tables:
        looked = look_at_source(hr, path, task)
        if looked is not None:
            sources[path.parent.name] = looked
            continue
        note = f"{path}: no cell is of split {task.split!r}; the source is left out"
        tqdm.write(note, file=sys.stderr)
    if not sources:
        raise SourceError(
            f"{task.data}: no source has cells of split {task.split!r}; expected them "
            "in one at least; choose another --split, or mark fields in fields.csv"
        )
    return sources


def look_at_source(hr: Engine, cells: Path, task: SourceTask) -> Looked | None:
    """Run the HR network on the cells of one source, None where the split has none."""
    if (cells.parent / "fields.csv").exists():
        return look_at_source_fields(hr, cells, task)
    name = cells.parent.name
    crops = [
        crop for crop in read_crops(cells) if split_of_crop(crop, name) == task.split
    ]
    if not crops:
        return None
    if name not in task.scales:
        raise SourceError(
            f"{cells}: its scale is not known; give --crop-scales {name}=UM_PER_PX"
        )
    bar = tqdm(crops, desc=name, disable=None)
    return look_at_crops(hr, bar, task.scales[name])


def look_at_source_fields(hr: Engine, cells: Path, task: SourceTask) -> Looked | None:
    """Run the HR network on the nuclei of a split's fields, None where it has none."""
    every = read_annotated(cells.parent / "fields.csv", cells)
    wanted = [one for one in every if one[0].split == task.split and one[1]]
    if not wanted:
        return None
    bar = tqdm([field for field, _ in wanted], desc=cells.parent.name, disable=None)
    return look_at_cells(hr, bar, [cell for _, found in wanted for cell in found])


def read_scales(text: str) -> dict[str, float]:
    """Return the scales of sources, µm/px.

    >>> read_scales("herlev=0.201,other=0.25")
    {'herlev': 0.201, 'other': 0.25}

    Raises:
        SourceError: the text is none, or a scale is not above 0.
    """
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        scales = {name: float(value) for name, value in pairs}
    except ValueError as error:
        raise SourceError(
            f"--crop-scales is {text!r}; expected NAME=UM_PER_PX with commas"
        ) from error
    return {
        name: require_scale(scale, f"--crop-scales: {name}")
        for name, scale in scales.items()
    }


def join(sources: dict[str, Looked]) -> Looked:
    """Return all sources as one; classes and groups carry their source's name."""

    def named(part: str) -> np.ndarray[Any, np.dtype[np.str_]]:
        return np.concatenate(
            [
                np.char.add(f"{name}/", getattr(looked.judged, part))
                for name, looked in sources.items()
            ]
        )

    every = list(sources.values())
    judged = Judged(
        np.concatenate([looked.judged.score for looked in every]),
        np.concatenate([looked.judged.lesion for looked in every]),
        named("group"),
        named("category"),
    )
    features = np.concatenate([looked.features for looked in every])
    names = [f"{key}/{one}" for key, looked in sources.items() for one in looked.name]
    return Looked(judged, features, tuple(names))


def source_tables(sources: dict[str, Looked]) -> dict[str, Any]:
    """Return figures with intervals by source, and counts by class within it."""
    return {
        name: judge(looked.judged, OF_CELLS) | {"by_class": by_category(looked.judged)}
        for name, looked in sources.items()
    }


def draw_sources(sources: dict[str, Looked], path: Path) -> None:
    """Draw the features of all sources, a colour a source, rings for normals."""
    whole = join(sources)
    label = np.repeat(list(sources), [len(looked.name) for looked in sources.values()])
    plot_features(
        whole.features, whole.judged, path, "HR features by source", label=label
    )
