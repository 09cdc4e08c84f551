"""Incremental against field by field: LR tiles, agreement, time and memory.

    python tests/benchmarks/bench_incremental.py --engines cervical-r50

A drawn slide is read over paths of several overlaps in both modes. How many tiles a
path costs does not depend on the networks, so the table of tiles is made without; then
one path is read with them, and the ten most suspicious cells of both are compared.
Each lesion cell lies alone: in a cluster the top list holds one, and which one is the
first by a hair differs between any two views.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from armicro.cascade.screen import Choice
from armicro.engine import Array
from armicro.engine.registry import NetworkSet, open_set
from armicro.field import Field, Pixels, Place
from armicro.phantom import paint_field
from armicro.pipeline import Pipeline
from armicro.report import Finding

UM_PER_PX = 0.243
FIELD_PX = 2448, 2048
Overlaps = tuple[float, float | None]
PATHS: Mapping[str, Overlaps] = {
    # overlap along a row, and of rows (None: one row)
    "pan, 80 % overlap": (0.8, None),
    "pan, 50 % overlap": (0.5, None),
    "serpentine, 80 % overlap": (0.8, 0.8),
    "serpentine, 50 % overlap": (0.5, 0.5),
    "serpentine, 10 % overlap": (0.1, 0.1),
}
SAME_UM = 15.0


class NothingThere:
    """An LR network that finds nothing."""

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(inputs["tiles"])
        return {
            "probability": np.zeros((count, 1, 1), np.float32),
            "location": np.zeros((count, 16, 16), np.float32),
        }

    def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default="cervical-r50")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--path", choices=PATHS, default="serpentine, 50 % overlap")
    parser.add_argument("--no-table", action="store_true")
    args = parser.parse_args()
    pixels = drawn(args.seed)
    with open_set(args.engines, threads=1) as networks:
        print(f"{'path':26} fields  tiles: field, incremental, share; coverage of both")
        empty = replace(networks, lr=NothingThere())
        for name, overlaps in () if args.no_table else PATHS.items():
            print(tiles_of(name, *both(empty, pixels, overlaps)), flush=True)
        print(f"with {args.engines} over the {args.path}:")
        field, incremental = both(networks, pixels, PATHS[args.path])
        agreement(field, incremental)
        again(incremental, pixels, PATHS[args.path])


def drawn(seed: int) -> Pixels:
    """A slide of 2.1 by 0.84 mm with ten lesion cells, each alone in its square."""
    side_px = round(420 / UM_PER_PX)
    squares = [
        paint_field(
            seed=seed + i,
            width_px=side_px,
            height_px=side_px,
            lesions=1,
            library_seed=seed,
        )[0]
        for i in range(10)
    ]
    rows = [np.concatenate(squares[i : i + 5], axis=1) for i in (0, 5)]
    return np.concatenate(rows, axis=0)


def both(
    networks: NetworkSet, pixels: Pixels, overlaps: Overlaps
) -> tuple["Run", "Run"]:
    fields = path(pixels, overlaps)
    field = Run(networks, "field").read(fields)
    return field, Run(networks, "incremental").read(path(pixels, overlaps))


def tiles_of(name: str, field: "Run", incremental: "Run") -> str:
    shares = [f"{run.pipeline.score().coverage:.3f}" for run in (field, incremental)]
    return (
        f"{name:26} {field.fields:6}  {field.tiles:5} {incremental.tiles:5} "
        f"{incremental.tiles / field.tiles:5.0%}  {' '.join(shares)}"
    )


def agreement(field: "Run", incremental: "Run") -> None:
    ours, theirs = (top(run.pipeline.findings()) for run in (incremental, field))
    agreed = sum(any(apart_um(a, b) < SAME_UM for b in ours) for a in theirs)
    for name, run, best in (
        ("field", field, theirs),
        ("incremental", incremental, ours),
    ):
        score = run.pipeline.score()
        print(
            f"{name:12} {run.tiles:5} tiles, {run.seconds / run.fields:5.2f} core s a "
            f"field, {score.findings} findings, score {score.score:.4f}, top "
            + " ".join(f"{finding.hr_probability:.3f}" for finding in best)
        )
    print(f"top: {agreed} of {len(theirs)} agree")


def again(run: "Run", pixels: Pixels, overlaps: Overlaps) -> None:
    """Read the same path again and again: nothing may grow."""
    for number in range(3):
        tiles = run.tiles
        run.read(path(pixels, overlaps))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        score = run.pipeline.score()
        print(
            f"pass {number + 2}: {run.tiles - tiles} tiles, {score.findings} findings, "
            f"score {score.score:.4f}, at most {peak_mb:.0f} MB"
        )


class Run:
    """Readings by one pipeline."""

    def __init__(self, networks: NetworkSet, mode: str) -> None:
        self.pipeline = Pipeline(networks, Choice(mode=mode))  # type: ignore[arg-type]
        self.fields = self.tiles = 0
        self.seconds = 0.0

    def read(self, fields: Iterator[Field]) -> "Run":
        tiles: dict[int, int] = {}
        begun = time.process_time()
        for field in fields:
            account, late, _ = self.pipeline.step(field)
            for report in (late and late.report, account.report):
                if report:
                    tiles[report.seq] = report.lr_tiles
        rest = self.pipeline.flush()
        if rest is not None:
            tiles[rest.report.seq] = rest.report.lr_tiles
        self.seconds += time.process_time() - begun
        self.fields += len(tiles)
        self.tiles += sum(tiles.values())
        return self


def path(pixels: Pixels, overlaps: Overlaps) -> Iterator[Field]:
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
            yield Field(UM_PER_PX, seq, seq, place, pixels=np.ascontiguousarray(cut))
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


if __name__ == "__main__":
    main()
