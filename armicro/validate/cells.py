"""Tile-level assessment: the HR network on single cells, in crops and in fields."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from armicro.cascade.screen import look_at
from armicro.cascade.tile import cut_centred, find_cells, tile_of_crop
from armicro.engine import Engine
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.metrics import OF_CELLS, Judged, by_category, judge
from armicro.picture import read_picture
from armicro.table import (
    AnnotatedRow,
    CellRow,
    CropRow,
    read_annotated,
    read_crops,
    require_scale,
    split_of_crop,
)
from armicro.validate.folder import plot_features
from armicro.verdict import HR_TILE_PX, HR_UM_PER_PX

# ---------------------------------------------------------------------------
# HR tiles as the cascade would cut them, for cells whose place is given.


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


@dataclass(frozen=True, slots=True, eq=False)
class HrJudgement:
    """What the HR network said of cells, and its features."""

    judged: Judged
    features: NDArray[np.float32]
    name: tuple[str, ...]


def look_at_crops(
    hr: Engine, crops: Sequence[CropRow], um_per_px: float, *, name: str = "crops"
) -> HrJudgement:
    """Run the HR network on each crop; ``name`` is of the progress bar.

    Raises:
        SourceError: a picture cannot be read.
        EngineError: the engine failed.
    """
    bar = tqdm(crops, desc=name, disable=None)
    tiles = (tile_of_crop(read_picture(crop.path), um_per_px) for crop in bar)
    names = [crop.file for crop in crops]
    return _look(hr, tiles, crops, groups=[crop.group for crop in crops], names=names)


def look_at_cells(
    hr: Engine, annotated: Sequence[AnnotatedRow], *, name: str = "fields"
) -> HrJudgement:
    """Run the HR network on the tile around each nucleus of fields.

    Raises:
        SourceError: no field has a nucleus, or a picture cannot be read.
        EngineError: the engine failed.
    """
    cells = [cell for _, own in annotated for cell in own]
    if not cells:
        raise SourceError(
            "no cell of CELLS.csv lies in a field of FIELDS.csv; their `image` columns "
            "must name the same files"
        )

    def tiles() -> Iterator[Pixels]:
        for field, own in tqdm(annotated, desc=name, disable=None):
            if own:
                points = [(cell.x_px, cell.y_px) for cell in own]
                pixels = read_picture(field.path)
                yield from tiles_of_points(pixels, field.um_per_px, points)

    names = [f"{cell.image}:{cell.x_px:g},{cell.y_px:g}" for cell in cells]
    groups = [cell.image for cell in cells]
    return _look(hr, tiles(), cells, groups=groups, names=names)


def _look(
    hr: Engine,
    tiles: Iterable[Pixels],
    rows: Sequence[CropRow | CellRow],
    *,
    groups: Sequence[str],
    names: Sequence[str],
) -> HrJudgement:
    """Run the network on a stream of tiles; a row each."""
    scores, features = look_at(hr, tiles)
    judged = Judged(
        scores,
        np.array([row.lesion for row in rows], bool),
        np.array(groups),
        np.array([row.category for row in rows]),
    )
    return HrJudgement(judged, features, tuple(names))


# ---------------------------------------------------------------------------
# ``armicro validate sources``: the HR network on all sources of a data folder at once.
#
# One table by source, and one by class within it, and the features of all in two
# dimensions, as in the paper's Fig. 7: a network that generalises puts lesions of every
# source together, one that learned laboratories parts the sources.

CROP_SCALES = "herlev=0.201,sipakmed=0.13"


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


def look_at_sources(hr: Engine, args: argparse.Namespace) -> dict[str, HrJudgement]:
    """Run the HR network on the held-out cells of each source.

    A source without any is left out, with a note on stderr.

    Raises:
        SourceError: the folder has no source, none has such cells, or the scale of one
            is not given.
    """
    tables = sorted(args.data.glob("*/cells.csv"))
    if not tables:
        raise SourceError(
            f"{args.data}: found no source; expected sub-folders with cells.csv"
        )
    scales = read_scales(args.crop_scales)
    sources = {}
    for path in tables:
        looked = look_at_source(hr, path, args.split, scales)
        if looked is not None:
            sources[path.parent.name] = looked
            continue
        note = f"{path}: no cell is of split {args.split!r}; the source is left out"
        tqdm.write(note, file=sys.stderr)
    if not sources:
        raise SourceError(
            f"{args.data}: no source has cells of split {args.split!r}; expected them "
            "in one at least; choose another --split, or mark fields in fields.csv"
        )
    return sources


def look_at_source(
    hr: Engine, cells: Path, split: str, scales: Mapping[str, float]
) -> HrJudgement | None:
    """Run the HR network on the cells of one source, None where the split has none."""
    name, fields = cells.parent.name, cells.parent / "fields.csv"
    if fields.exists():
        every = read_annotated(fields, cells)
        wanted = [one for one in every if one[0].split == split and one[1]]
        return look_at_cells(hr, wanted, name=name) if wanted else None
    crops = [crop for crop in read_crops(cells) if split_of_crop(crop, name) == split]
    if crops and name not in scales:
        raise SourceError(
            f"{cells}: its scale is not known; give --crop-scales {name}=UM_PER_PX"
        )
    return look_at_crops(hr, crops, scales[name], name=name) if crops else None


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


def join(sources: dict[str, HrJudgement]) -> HrJudgement:
    """Return all sources as one; classes and groups carry their source's name."""
    every = list(sources.values())
    groups = [np.char.add(f"{k}/", one.judged.group) for k, one in sources.items()]
    classes = [np.char.add(f"{k}/", one.judged.category) for k, one in sources.items()]
    judged = Judged(
        np.concatenate([looked.judged.score for looked in every]),
        np.concatenate([looked.judged.lesion for looked in every]),
        np.concatenate(groups),
        np.concatenate(classes),
    )
    features = np.concatenate([looked.features for looked in every])
    names = [f"{key}/{one}" for key, looked in sources.items() for one in looked.name]
    return HrJudgement(judged, features, tuple(names))


def source_tables(sources: dict[str, HrJudgement]) -> dict[str, Any]:
    """Return figures with intervals by source, and counts by class within it."""
    return {
        name: judge(looked.judged, OF_CELLS) | {"by_class": by_category(looked.judged)}
        for name, looked in sources.items()
    }


def draw_sources(sources: dict[str, HrJudgement], path: Path) -> None:
    """Draw the features of all sources, a colour a source, rings for normals."""
    whole, sizes = join(sources), [len(looked.name) for looked in sources.values()]
    label, title = np.repeat(list(sources), sizes), "HR features by source"
    plot_features(whole.features, whole.judged, path, title, label=label)
