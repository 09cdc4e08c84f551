"""Incremental against field by field: LR tiles, time, agreement and memory.

    python tests/benchmarks/bench_incremental.py --engines cervical-r50

A drawn slide is read over paths of several overlaps in both modes. "top" is how many of
the ten most suspicious cells of the field mode are in the top ten of the incremental.
"""

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np

from armicro.cascade.choice import Choice
from armicro.engine.registry import NetworkSet, open_set
from armicro.field import Field, Pixels, Place
from armicro.pipeline import Pipeline
from armicro.report import Finding
from armicro.source.phantom import paint_field

UM_PER_PX = 0.243
FIELD_PX = 2448, 2048
PATHS = (
    # name, overlap along a row, overlap of rows (None: one row)
    ("pan, 80 % overlap", 0.8, None),
    ("serpentine, 80 % overlap", 0.8, 0.8),
    ("serpentine, 50 % overlap", 0.5, 0.5),
    ("serpentine, 10 % overlap", 0.1, 0.1),
)
SAME_UM = 15.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default="cervical-r50")
    parser.add_argument("--size-um", type=float, nargs=2, default=(1400.0, 960.0))
    parser.add_argument("--lesions", type=int, default=10)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--passes", type=int, default=4)
    args = parser.parse_args()
    width_px, height_px = (round(um / UM_PER_PX) for um in args.size_um)
    pixels, _ = paint_field(
        seed=args.seed, width_px=width_px, height_px=height_px, lesions=args.lesions
    )
    with open_set(args.engines, threads=1) as networks:
        print(
            f"{'path':26} {'fields':>6} {'tiles':>11} {'share':>6} "
            f"{'seconds':>13} {'coverage':>13} {'findings':>9} {'top':>6}"
        )
        for name, along, across in PATHS:
            compare(name, networks, pixels, (along, across))
        passes(networks, pixels, args.passes)


def compare(
    name: str,
    networks: NetworkSet,
    pixels: Pixels,
    overlaps: tuple[float, float | None],
) -> None:
    field, incremental = (
        read(networks, path(pixels, overlaps), mode)
        for mode in ("field", "incremental")
    )
    ours, theirs = (top(run.pipeline.findings()) for run in (incremental, field))
    agreed = sum(any(apart_um(a, b) < SAME_UM for b in ours) for a in theirs)
    scores = field.pipeline.score(), incremental.pipeline.score()
    print(
        f"{name:26} {field.fields:6} {field.tiles:5} {incremental.tiles:5} "
        f"{incremental.tiles / field.tiles:6.0%} "
        f"{field.seconds:6.1f} {incremental.seconds:6.1f} "
        f"{scores[0].coverage:6.3f} {scores[1].coverage:6.3f} "
        f"{scores[0].findings:4} {scores[1].findings:4} {agreed:3}/{len(theirs)}"
    )


class Run:
    """One reading of a path."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.fields = self.tiles = 0
        self.seconds = 0.0


def read(networks: NetworkSet, fields: Iterator[Field], mode: str) -> Run:
    choice = Choice(mode=mode)  # type: ignore[arg-type]
    run = Run(Pipeline(networks, choice))
    tiles: dict[int, int] = {}
    begun = time.process_time()
    for account in run.pipeline.read(fields):
        tiles[account.report.seq] = account.report.lr_tiles
    run.seconds = time.process_time() - begun
    run.fields, run.tiles = len(tiles), sum(tiles.values())
    return run


def path(pixels: Pixels, overlaps: tuple[float, float | None]) -> Iterator[Field]:
    """A serpentine over the drawn slide."""
    height, width = pixels.shape[:2]
    steps = [
        round(side * (1 - (overlap or 0.0)))
        for side, overlap in zip(FIELD_PX, overlaps, strict=True)
    ]
    ys = range(0, height - FIELD_PX[1] + 1, steps[1])
    seq = 0
    for row, y in enumerate(ys if overlaps[1] is not None else ys[:1]):
        xs = range(0, width - FIELD_PX[0] + 1, steps[0])
        for x in reversed(xs) if row % 2 else xs:
            cut = pixels[y : y + FIELD_PX[1], x : x + FIELD_PX[0]]
            place = Place(x * UM_PER_PX, y * UM_PER_PX, 0.1, "slide_file")
            yield Field(np.ascontiguousarray(cut), UM_PER_PX, seq, seq, place)
            seq += 1


def top(findings: tuple[Finding, ...]) -> list[Finding]:
    """The ten most suspicious that lie apart."""
    chosen: list[Finding] = []
    for finding in findings:
        if all(apart_um(finding, other) >= 200 for other in chosen):
            chosen.append(finding)
    return chosen[:10]


def apart_um(one: Finding, other: Finding) -> float:
    return float(np.hypot(one.x_um - other.x_um, one.y_um - other.y_um))


def passes(networks: NetworkSet, pixels: Pixels, count: int) -> None:
    """Read the same path again and again: nothing may grow."""
    pipeline = Pipeline(networks, Choice(mode="incremental"))
    for number in range(count):
        tiles = 0
        for field in path(pixels, (0.5, 0.5)):
            tiles += pipeline.step(field)[0].lr_tiles
        pipeline.flush()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        score = pipeline.score()
        print(
            f"pass {number + 1}: {tiles} tiles, {score.findings} findings, "
            f"score {score.score}, at most {peak_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
