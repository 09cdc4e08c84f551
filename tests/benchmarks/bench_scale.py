"""Drawn micrometers of known scale, hard on purpose, and pictures that are no ruler.

Run:  python tests/benchmarks/bench_scale.py [--cases 200] [--first 0] [--refusals N]

Prints how many of the seeded cases are within 0.3 %, how many are refused, how many
wrong (over 1 %) without a refusal; how errors compare with the stated standard error;
and how many of what is no ruler (drawn stripes and text; fields below $ARMICRO_DATA)
are refused. ``tests/calibrate/micrometer.py`` draws the cases.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.scale import measure_ruler
from armicro.errors import CalibrationError, SourceError
from armicro.picture import read_picture
from tests.calibrate.micrometer import case, draw, not_rulers, stripes


def bench_rulers(first: int, count: int) -> None:
    errors: list[float] = []
    pulls: list[float] = []
    seconds: list[float] = []
    wrong: list[tuple[int, float]] = []
    refused: list[tuple[int, str]] = []
    for seed in range(first, first + count):
        design, view = case(seed)
        picture = draw(design, view)
        begun = time.perf_counter()
        try:
            reading = measure_ruler(picture, division_um=10)
        except CalibrationError as error:
            refused.append((seed, str(error)))
            continue
        finally:
            seconds.append(time.perf_counter() - begun)
        off = reading.um_per_px / view.um_per_px - 1
        errors.append(abs(off))
        pulls.append(off * view.um_per_px / reading.standard_error)
        if abs(off) > 0.01:
            wrong.append((seed, off))
    _print(first, errors, np.abs(pulls), wrong, refused)
    print(f"seconds a picture          median {np.median(seconds):.2f}")


def _print(
    first: int,
    errors: list[float],
    size: NDArray[np.float64],
    wrong: list[tuple[int, float]],
    refused: list[tuple[int, str]],
) -> None:
    count = len(errors) + len(refused)
    good = int(np.sum(np.array(errors) <= 0.003))
    print(f"cases                      {count}, seeds {first} to {first + count - 1}")
    print(f"error at most 0.3 %        {good} ({good / count:.1%})")
    print(f"refused                    {len(refused)}")
    print(f"wrong by more than 1 %     {len(wrong)} {wrong}")
    print(f"error, median and worst    {np.median(errors):.4%} {max(errors):.4%}")
    print(f"error / standard error     within 1: {np.mean(size < 1):.0%}, within 2: "
          f"{np.mean(size < 2):.0%}, within 3: {np.mean(size < 3):.0%}, worst "
          f"{size.max():.1f}")  # fmt: skip
    for seed, words in refused:
        print(f"  refused {seed}: {words}")


def bench_refusals(each: int) -> None:
    taken: list[str] = []
    seconds: list[tuple[float, str]] = []
    for name, picture in _others(each):
        begun = time.process_time()
        try:
            reading = measure_ruler(picture, division_um=10)
        except CalibrationError:
            seconds.append((time.process_time() - begun, name))
            continue
        taken.append(f"{name} ({reading.um_per_px:.3f} µm/px)")
    count = len(seconds) + len(taken)
    print(f"no rulers                  {count}, taken for one: {len(taken)} {taken}")
    slowest, name = max(seconds)
    print(f"slowest refusal            {slowest:.1f} s of CPU: {name}")


def _others(each: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    yield from not_rulers()
    # A camera's 12 megapixels, the pattern as fine as it was.
    for name, picture in islice(stripes(4000, 3000), 0, None, 2):
        yield f"{name}, 4000x3000", picture
    for name, picture in islice(not_rulers(), 0, None, 8):
        yield f"{name}, tiled to 4000x3000", np.tile(picture, (5, 5, 1))
    folder = os.environ.get("ARMICRO_DATA", "")
    for inner in ("cric/images", "focus_stack", "overlap_chain/images"):
        files = sorted((Path(folder) / inner).glob("*.*")) if folder else []
        for file in files[:: max(1, len(files) // each)]:
            with contextlib.suppress(SourceError):
                yield file.name, read_picture(file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--refusals", type=int, default=12, help="fields of each set")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.cases:
        bench_rulers(args.first, args.cases)
    if args.refusals:
        bench_refusals(args.refusals)


if __name__ == "__main__":
    main()
