"""``armicro validate sources``: the HR network on all sources of a data folder at once.

One table by source, and one by class within it, and the features of all in two
dimensions, as in the paper's Fig. 7: a network that generalises puts lesions of every
source together, one that learned laboratories parts the sources.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from armicro.engine import Engine
from armicro.errors import SourceError
from armicro.metrics import Judged, by_category, judge
from armicro.source.table import (
    read_annotated,
    read_crops,
    require_scale,
    split_of_crop,
)
from armicro.validate.cells import Looked, look_at_cells, look_at_crops
from armicro.validate.plot import plot_features

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
        name: judge(looked.judged) | {"by_class": by_category(looked.judged)}
        for name, looked in sources.items()
    }


def draw_sources(sources: dict[str, Looked], path: Path) -> None:
    """Draw the features of all sources, a colour a source, rings for normals."""
    whole = join(sources)
    label = np.repeat(list(sources), [len(looked.name) for looked in sources.values()])
    plot_features(
        whole.features, whole.judged, path, "HR features by source", label=label
    )
