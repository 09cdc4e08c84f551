"""Tile-level assessment: the HR network on single cells, in crops and in fields."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.engine import Engine
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.metrics import Judged
from armicro.picture import read_picture
from armicro.source.table import CellRow, CropRow, FieldRow
from armicro.validate.tiles import tile_of_crop, tiles_of_points

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
