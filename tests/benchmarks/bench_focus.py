"""Focus: cost, the real stack, blur by stain, and what blur costs the cascade.

    ARMICRO_DATA=... python tests/benchmarks/bench_focus.py --recall 24 --looks 30

``--recall N``: lesion recall of the whole cascade on N held-out CRIC fields, blurred
or smeared by known amounts: where the rig's ``least_focus`` and ``most_smear_um``
come from. ``--looks N``: likeness of HR features, of a cell and of two: ``SAME_LOOK``.
"""

import argparse
import csv
import os
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from armicro.cascade.screen import Choice, Screen
from armicro.cascade.tile import cut_centred, resample
from armicro.engine.registry import NetworkSet, open_set
from armicro.field import Field, Pixels, Place
from armicro.slide.focus import measure_focus
from armicro.source.scan import motion_kernel

BLURS_UM = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
SMEARS_UM = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
HALF_TILE_UM = 256 * 0.243 / 2
Rows = list[dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recall", type=int, default=0)
    parser.add_argument("--looks", type=int, default=0)
    parser.add_argument("--engines", default="cervical-r50")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    data = Path(os.environ["ARMICRO_DATA"])
    fields = rows_of(data / "cric" / "fields.csv")
    cost(read(data, fields[3]))
    stack(data / "focus_stack")
    stains(data, fields)
    held_out = [row for row in fields if row["split"] == "val"]
    order = np.random.default_rng(1).permutation(len(held_out))
    held_out = [held_out[i] for i in order]
    if args.recall:
        with open_set(args.engines, threads=1) as networks:
            recall(data, held_out, networks, count=args.recall)
    if args.looks:
        with open_set(args.engines, threads=1) as networks:
            looks(data, held_out[: args.looks], networks)


def rows_of(path: Path) -> Rows:
    with path.open() as file:
        return list(csv.DictReader(file))


def read(data: Path, row: dict[str, str]) -> Pixels:
    bgr = cv2.imread(str(data / "cric" / "images" / row["image"]))
    return np.ascontiguousarray(np.asarray(bgr, np.uint8)[..., ::-1])


def blur(pixels: Pixels, sigma_px: float) -> Pixels:
    if not sigma_px:
        return pixels
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), np.uint8)


def cost(pixels: Pixels) -> None:
    big = np.asarray(cv2.resize(pixels, (2448, 2048)), np.uint8)
    best = min(timed(big) for _ in range(50))
    print(f"2448×2048: {best * 1e3:.2f} ms on one core, the best of 50")


def timed(pixels: Pixels) -> float:
    begun = time.perf_counter()
    measure_focus(pixels, 0.243)
    return time.perf_counter() - begun


def stack(folder: Path) -> None:
    for um_per_px in (0.15, 0.25, 0.35, 0.5):
        told = [
            measure_focus(np.stack([cv2.imread(str(path), 0)] * 3, 2), um_per_px) or 0.0  # type: ignore[list-item]
            for path in sorted(folder.glob("*.jpg"))
        ]
        peak = int(np.argmax(told))
        steps = np.diff(told)
        once = bool((steps[:peak] > 0).all() and (steps[peak:] < 0).all())
        print(
            f"stack taken as {um_per_px} µm/px: peak at plane {peak}, strictly once: "
            f"{once}; " + " ".join(f"{value:.2f}" for value in told)
        )


def stains(data: Path, fields: Rows) -> None:
    groups = sorted({row["slide_group"] for row in fields})
    print("blur added, µm: focus median (5 %, 95 %) over 8 fields a stain")
    chosen = [
        row
        for group in groups
        for row in [r for r in fields if r["slide_group"] == group][:8]
    ]
    told = np.array([focus_by_blur(data, row) for row in chosen])
    for blur_um, column in zip(BLURS_UM, told.T, strict=True):
        low, middle, high = np.quantile(column, (0.05, 0.5, 0.95))
        print(f"  {blur_um:4.2f}: {middle:.2f} ({low:.2f}, {high:.2f})")
    ordered = (np.diff(told, axis=1) < 0).all(axis=1).mean()
    print(f"  fields whose blurs are all in order: {ordered:.0%} of {len(chosen)}")


def focus_by_blur(data: Path, row: dict[str, str]) -> list[float]:
    pixels, um_per_px = read(data, row), float(row["um_per_px"])
    return [
        measure_focus(blur(pixels, um / um_per_px), um_per_px) or 0.0 for um in BLURS_UM
    ]


def recall(data: Path, rows: Rows, networks: NetworkSet, *, count: int) -> None:
    lesions = points_of(data, lesion=True)
    rows = [row for row in rows if lesions[row["image"]]][:count]
    screen = Screen(networks, Choice(least_focus=0.0))
    conditions = [("blur", um) for um in BLURS_UM] + [("smear", um) for um in SMEARS_UM]
    for kind, amount_um in conditions:
        hit = total = found = 0
        focus = []
        for row in rows:
            um_per_px = float(row["um_per_px"])
            pixels = read(data, row)
            if kind == "blur":
                pixels = blur(pixels, amount_um / um_per_px)
            else:
                kernel = motion_kernel(*[amount_um / um_per_px / 2**0.5] * 2)
                pixels = np.asarray(cv2.filter2D(pixels, -1, kernel), np.uint8)
            focus.append(measure_focus(pixels, um_per_px) or 0.0)
            field = Field(um_per_px, 0, 0, Place(0, 0, 0, "slide_file"), pixels=pixels)
            report, _ = screen.analyse(screen.prepare(field))
            called = [f for f in report.findings if f.hr_probability >= 0.5]
            found += len(called)
            for x_px, y_px in lesions[row["image"]]:
                x_um, y_um = x_px * um_per_px, y_px * um_per_px
                total += 1
                hit += any(
                    max(abs(f.x_um - x_um), abs(f.y_um - y_um)) <= HALF_TILE_UM
                    for f in called
                )
        print(
            f"{kind} {amount_um:4.2f} µm: recall {hit / total:.3f} of {total} lesions, "
            f"{found / len(rows):.2f} findings a field, focus {np.median(focus):.2f}",
            flush=True,
        )


def points_of(data: Path, *, lesion: bool) -> dict[str, list[tuple[float, float]]]:
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows_of(data / "cric" / "cells.csv"):
        if not lesion or row["bethesda"] != "NILM":
            points[row["image"]].append((float(row["x_px"]), float(row["y_px"])))
    return points


def looks(data: Path, rows: Rows, networks: NetworkSet) -> None:
    cells, lesions = points_of(data, lesion=False), points_of(data, lesion=True)
    rng = np.random.default_rng(2)
    told: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        um_per_px = float(row["um_per_px"])
        pixels = read(data, row)
        # The second view is a little brighter and has its own noise.
        noise = rng.normal(0, 2, pixels.shape)
        again = np.clip(pixels * 1.04 + noise, 0, 255).astype(np.uint8)
        for cell in lesions[row["image"]][:4]:
            one = features(networks, pixels, cell, um_per_px)
            for off_um in (0.0, 3.0, 6.0, 9.0):
                angle = rng.uniform(0, 2 * np.pi)
                step = off_um / um_per_px * np.array([np.cos(angle), np.sin(angle)])
                moved = float(cell[0] + step[0]), float(cell[1] + step[1])
                other = features(networks, again, moved, um_per_px)
                told[f"one cell, {off_um:.0f} µm off"].append(float(one @ other))
            for other_cell in cells[row["image"]]:
                apart_um = float(np.hypot(*np.subtract(cell, other_cell))) * um_per_px
                if 15 <= apart_um < 45:
                    other = features(networks, again, other_cell, um_per_px)
                    name = f"two cells, {apart_um // 10 * 10:.0f}+ µm apart"
                    told[name].append(float(one @ other))
    for name, values in sorted(told.items()):
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
        print(f"{name}: {middle:.3f} ({low:.3f}, {high:.3f}) of {len(values)}")


def features(
    networks: NetworkSet, pixels: Pixels, at_px: tuple[float, float], um_per_px: float
) -> np.ndarray:
    side_px = round(256 * 0.243 / um_per_px)
    crop = cut_centred(pixels, at_px, side_px, (230, 230, 230))
    tile = resample(crop, from_um_per_px=256, to_um_per_px=side_px)
    found = networks.hr.infer({"tiles": tile[None]})["features"][0]
    return np.asarray(found / np.linalg.norm(found))


if __name__ == "__main__":
    main()
