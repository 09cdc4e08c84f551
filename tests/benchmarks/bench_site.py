"""What a laboratory's decisions are worth: false boxes against their number.

    python tests/benchmarks/bench_site.py DATA/cric --split val

Decisions are drawn from half of the fields that a set never trained on, the truth
being their annotation, and ``armicro train site`` is judged on the annotated cells of
the other half. ``--boxes`` draws from cells that HR draws a box at, as in a session;
``--foreign`` shows every tile in another stain, through a softer lens and a flatter
camera, as a laboratory might that is further away. ``--keep`` keeps the features.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from armicro.cascade.screen import confirming, look_at
from armicro.engine.registry import DEFAULT_SET, open_set
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.metrics import auc
from armicro.picture import read_picture
from armicro.table import AnnotatedRow, read_annotated
from armicro.train.construct import logit_of
from armicro.train.correction import (
    DecidedCells,
    choose,
    compare,
    false_at,
    held_out,
    require_enough,
    require_help,
)
from armicro.train.site import NORMALS_BOXED
from armicro.validate.cells import tiles_of_points

COUNTS = (30, 50, 100, 200, 400)
RECALL = 0.85


def foreign_of(tile: Pixels) -> Pixels:
    """The tile with its channels turned, blurred by 0.5 µm, with 0.65 of contrast."""
    turned = cv2.GaussianBlur(tile[..., [1, 2, 0]].astype(np.float32), (0, 0), 2.0)
    return np.asarray(np.clip(235 - (235 - turned) * 0.65, 0, 255), np.uint8)


def tiles(rows: list[AnnotatedRow], *, foreign: bool) -> Iterator[Pixels]:
    """HR tiles of all nuclei."""
    for field, cells in rows:
        points = [(cell.x_px, cell.y_px) for cell in cells]
        pixels = read_picture(field.path)
        for tile in tiles_of_points(pixels, field.um_per_px, points):
            yield foreign_of(tile) if foreign else tile


def look(args: argparse.Namespace) -> DecidedCells:
    """All annotated cells of a split."""
    rows = read_annotated(
        args.source / "fields.csv", args.source / "cells.csv", split=args.split
    )
    if args.keep and args.keep.exists():
        with np.load(args.keep) as kept:
            probability, features = kept["probability"], kept["features"]
    else:
        with open_set(args.engines) as networks:
            probability, features = look_at(
                confirming(networks), tiles(rows, foreign=args.foreign)
            )
        if args.keep:
            np.savez(args.keep, probability=probability, features=features)
    every = [cell for _, cells in rows for cell in cells]
    return DecidedCells(
        logit_of(probability.astype(np.float32)),
        features,
        np.array([cell.lesion for cell in every]),
        np.array([cell.image for cell in every]),
    )


def figures(logit: np.ndarray, lesion: np.ndarray, recall: float) -> list[float]:
    """The columns of the table."""
    return [
        auc(logit, lesion),
        false_at(logit, lesion, RECALL),
        false_at(logit, lesion, recall),
        100 * float((logit[~lesion] >= 0).mean()),
        float((logit[lesion] >= 0).mean()),
    ]


def draw(
    cells: DecidedCells, count: int, seed: int, *, boxes: bool
) -> tuple[list[float], list[float], bool] | None:
    """Old and new figures on unseen fields, and whether the new set is written."""
    rng = np.random.default_rng(seed)
    fields = rng.permutation(np.unique(cells.group))
    own = np.isin(cells.group, fields[: len(fields) // 2])
    shown = np.flatnonzero(own & (cells.logit >= 0) if boxes else own)
    if len(shown) < count:
        return None
    mask = np.zeros(len(own), bool)
    mask[rng.permutation(shown)[:count]] = True
    decided, unseen = cells.take(mask), cells.take(~own)
    if boxes:
        decided = DecidedCells(
            decided.logit, decided.features, decided.lesion, decided.group,
            NORMALS_BOXED,
        )  # fmt: skip
    recall = float((unseen.logit[unseen.lesion] >= 0).mean())
    old = figures(unseen.logit, unseen.lesion, recall)
    if not count:
        return old, old, False
    try:
        require_enough(decided, "fields")
    except SourceError:
        return None
    made = choose(decided).logits(unseen.logit, unseen.features)
    new = figures(made, unseen.lesion, recall)
    try:
        require_help(compare(decided, held_out(decided)))
    except SourceError:
        return old, new, False
    return old, new, True


def main() -> None:
    """Print a row for each number of decisions: mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of fields.csv and cells.csv")
    parser.add_argument("--split", default="val")
    parser.add_argument("--engines", default=DEFAULT_SET)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--boxes", action="store_true")
    parser.add_argument("--foreign", action="store_true")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    cells = look(args)
    print(
        "| decisions | AUC | false per 100 normals at recall 0.85 "
        "| at the old recall | at 0.5 | recall at 0.5 | written |"
    )
    print("|" + " --- |" * 7)
    for count in (0, *COUNTS):
        drawn = [
            draw(cells, count, seed, boxes=args.boxes) for seed in range(args.draws)
        ]
        told = [one for one in drawn if one is not None]
        if not told:
            continue
        table = np.array([new for _, new, _ in told])
        written = f"{sum(one[2] for one in told)} of {len(told)}" if count else "–"
        parts = [
            f"{mean:.{digits}f} ± {spread:.{digits}f}"
            for mean, spread, digits in zip(
                table.mean(0), table.std(0), (3, 1, 1, 1, 2), strict=True
            )
        ]
        print(f"| {count} | {' | '.join(parts)} | {written} |", flush=True)


if __name__ == "__main__":
    main()
