"""The optics: display, light, correction, findings under a bad lamp, latency.

    python tests/benchmarks/bench_optics.py [display|light|speed|findings|latency ...]

Everything is drawn or simulated with known truth; ``light`` and ``findings`` also take
real fields (CRIC) where ARMICRO_DATA names the data, and lay a known fall-off over
them. One thread.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.display import (
    draw_pattern,
    error_um,
    find_pattern,
    judge,
    solve_display,
)
from armicro.calibrate.latency import find_blink, simulate_blinks, solve_delay
from armicro.calibrate.light import (
    Correction,
    Lamp,
    gains_of,
    lamp_of_fields,
    lamp_of_glass,
)
from armicro.calibrate.simulated_path import SimulatedPath, draw_path
from armicro.cascade.screen import Choice, Screen
from armicro.engine.registry import open_set
from armicro.field import Field, Pixels, Place
from armicro.phantom import paint_field
from armicro.report import Finding

UM_PER_PX = 0.243
CORNER = 0.6
MATCH_UM = 20.0
Floats = NDArray[np.float64]


def falloff(width: int, height: int) -> Floats:
    """(height, width, 1) share of light: 1 in the middle, 0.6 in the corners."""
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    r2 = (x[None] ** 2 + y[:, None] ** 2) / 2
    return np.asarray(1 - (1 - CORNER) * r2)[..., None]


def lit(picture: NDArray[np.float64] | Pixels, light: Floats, seed: int) -> Pixels:
    """A picture under a lamp, with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0, 1.5, picture.shape)
    return np.asarray(np.clip(np.rint(picture * light + noise), 0, 255), np.uint8)


def cric(count: int, *, group: str = "", split: str = "") -> list[tuple[Pixels, float]]:
    """Real fields and their scales; none without the data."""
    root = Path(os.environ.get("ARMICRO_DATA", "")) / "cric"
    if not (root / "fields.csv").exists():
        return []
    with (root / "fields.csv").open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if group in row["slide_group"] and split in row["split"]
        ][:count]
    read = [(cv2.imread(str(root / "images" / row["image"])), row) for row in rows]
    return [
        (np.ascontiguousarray(p[..., ::-1]), float(row["um_per_px"]))
        for p, row in read
        if p is not None
    ]


def display(cases: int) -> Iterator[str]:
    """Pretended eyepiece paths: error over the whole field, against the truth."""
    boards = [draw_pattern(1920, 1080, verify=verify) for verify in (False, True)]
    rms, largest, held_out, terms = [], [], [], []
    for seed in range(cases):
        path = draw_path(seed)
        first, second = (
            find_pattern(path.show(board, seed=seed), path.display_wh_px, verify=verify)
            for verify, board in zip((False, True), boards, strict=True)
        )
        mapping = solve_display(first, path.camera_wh_px)
        held_out.append(judge(mapping, second, um_per_px=UM_PER_PX).rms_um)
        camera, shown = _truth(path)
        off_um = error_um(mapping, camera, shown, um_per_px=UM_PER_PX)
        rms.append(float(np.sqrt((off_um**2).mean())))
        largest.append(float(off_um.max()))
        terms.append(len(mapping.distortion))
    yield f"{cases} paths, 1-5 degrees, tilt, distortion, half of them mirrored"
    for name, values in (
        ("RMS over the field", rms),
        ("largest in the field", largest),
        ("RMS of verification", held_out),
    ):
        yield f"{name:22} median {np.median(values):.3f}, worst {max(values):.3f} um"
    yield f"lens terms: {np.bincount(terms, minlength=3).tolist()} with 0, 1, 2"


def _truth(path: SimulatedPath) -> tuple[Floats, Floats]:
    axes = [np.linspace(0, side - 1, 60) for side in path.camera_wh_px]
    camera = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    shown = path.to_display(camera)
    inside = ((shown >= 0) & (shown <= np.array(path.display_wh_px) - 1)).all(axis=1)
    return camera[inside], shown[inside]


def light(_: int) -> Iterator[str]:
    """Corner over centre before and after, from glass and from fields of cells."""
    width, height = 1224, 1024
    share = falloff(width, height)
    glass = np.full((height, width, 3), (236.0, 228.0, 205.0))
    yield _left("one picture of glass", lamp_of_glass([lit(glass, share, 0)]), share)
    drawn = [
        lit(_drawn(seed, (width, height), 2 * UM_PER_PX), share, seed)
        for seed in range(48)
    ]
    for count in (12, 24, 48):
        yield _left(f"{count} drawn fields", lamp_of_fields(drawn[:count]), share)
    real = [
        np.asarray(cv2.resize(picture, (1280, 960)), np.uint8)
        for picture, _ in cric(48, group="cric-2")
    ]
    share = falloff(1280, 960)
    for count in (12, 24, 48):
        if len(real) < count:
            continue
        own = lamp_of_fields(real[:count]).at(1280, 960)
        seen = [lit(picture, share, n) for n, picture in enumerate(real[:count])]
        lamp = lamp_of_fields(seen)
        # Their own light is not known, so what was laid over them is asked for.
        yield _left(f"{count} real fields", lamp, share * own)


def _drawn(seed: int, size: tuple[int, int], um_per_px: float) -> Pixels:
    return paint_field(
        seed=seed,
        width_px=size[0],
        height_px=size[1],
        um_per_px=um_per_px,
        lesions=4,
        library_seed=1,
    )[0]


def _left(name: str, lamp: Lamp, share: Floats) -> str:
    height, width = share.shape[:2]
    left = np.broadcast_to(share / lamp.at(width, height), (height, width, 3))
    y, x = height // 2, width // 2
    left = left / left[y - 8 : y + 8, x - 8 : x + 8].mean(axis=(0, 1))
    corner = min(left[row, column].mean() for row in (0, -1) for column in (0, -1))
    off = np.abs(left - 1)
    return (
        f"{name:22} corner {CORNER:.3f} -> {corner:.4f}, anywhere off by "
        f"{off.max():.2%} at most, {np.sqrt((off**2).mean()):.2%} RMS"
    )


def speed(_: int) -> Iterator[str]:
    """Milliseconds a field of 2448x2048, beside a plain copy."""
    picture = np.random.default_rng(0).integers(0, 256, (2048, 2448, 3), np.uint8)
    gains = gains_of(falloff(2448, 2048).astype(np.float32), (1.0, 1.05, 1.15))
    ways: dict[str, Callable[[], Pixels]] = {
        "plain copy": picture.copy,
        "corrected": lambda: even.apply(picture),
        "corrected, with dark": lambda: darker.apply(picture),
    }
    even, darker = Correction(gains), Correction(gains, dark_rgb=(3.0, 3.0, 3.0))
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _turn in range(41):
        # In turns, so that a busy moment meets all of them.
        for name, way in ways.items():
            begun, core = time.perf_counter(), time.process_time()
            way()
            del begun
            spent[name].append((time.process_time() - core) * 1e3)
    for name, times in spent.items():
        yield (
            f"{name:22} {np.median(times):.2f} ms median, "
            f"{min(times):.2f} least (core time)"
        )


def findings(fields: int) -> Iterator[str]:
    """The cascade on a field as it is, under a bad lamp, and corrected."""
    drawn = [
        (_drawn(100 + n, (1600, 1300), UM_PER_PX), UM_PER_PX) for n in range(fields)
    ]
    with open_set("cervical-r50") as networks:
        screen = Screen(networks, Choice())
        for kind, pictures in (
            ("drawn", drawn),
            ("real (CRIC val)", cric(4 * fields, split="val")),
        ):
            if pictures:
                yield from _agree(screen, kind, pictures)


def _agree(
    screen: Screen, kind: str, pictures: list[tuple[Pixels, float]]
) -> Iterator[str]:
    seen: dict[str, list[tuple[list[Finding], list[Finding]]]] = {}
    for seed, (picture, um_per_px) in enumerate(pictures):
        height, width = picture.shape[:2]
        share = falloff(width, height)
        glass = lit(np.full(picture.shape, 235.0), share, 10_000 + seed)
        correction = Correction(gains_of(lamp_of_glass([glass]).at(width, height)))
        dim = lit(picture, share, seed)
        plain = _find(screen, picture, um_per_px)
        again = lit(picture, np.ones((1, 1, 1)), seed)
        for name, other in (
            ("noise alone", again),
            ("vignetted", dim),
            ("corrected", correction.apply(dim)),
        ):
            seen.setdefault(name, []).append((plain, _find(screen, other, um_per_px)))
    total = sum(len(plain) for plain, _ in seen["corrected"])
    yield f"{kind}: {len(pictures)} fields, {total} findings at 0.5 or above"
    for name, pairs in seen.items():
        there = [_matches(plain, other) for plain, other in pairs]
        back = [_matches(other, plain) for plain, other in pairs]
        gaps = np.abs(np.concatenate([gap for _, gap in there]))
        found = sum(count for count, _ in there)
        others = sum(len(other) for _, other in pairs)
        yield (
            f"  {name:12} has {found}/{total} of them, "
            f"{others - sum(count for count, _ in back)} more; HR probability off by "
            f"{gaps.mean():.3f} mean, {gaps.max(initial=0):.3f} at most"
        )


def _find(screen: Screen, picture: Pixels, um_per_px: float) -> list[Finding]:
    place = Place(0.0, 0.0, 0.0, "slide_file")
    field = Field(um_per_px, seq=0, taken_ns=0, place=place, pixels=picture)
    report, _ = screen.analyse(screen.prepare(field))
    return [f for f in report.findings if f.hr_probability >= 0.5]


def _matches(one: list[Finding], two: list[Finding]) -> tuple[int, Floats]:
    """How many of one are in two, and their difference in probability."""
    gaps = []
    for finding in one:
        near = [
            other
            for other in two
            if np.hypot(finding.x_um - other.x_um, finding.y_um - other.y_um)
            <= MATCH_UM
        ]
        if near:
            best = min(
                near, key=lambda f: abs(f.hr_probability - finding.hr_probability)
            )
            gaps.append(best.hr_probability - finding.hr_probability)
    return len(gaps), np.array(gaps, np.float64)


def latency(cases: int) -> Iterator[str]:
    """Pretended displays with a known delay, seen 30 times a second."""
    off, tail = [], []
    for seed in range(cases):
        rng = np.random.default_rng(seed)
        truth, jitter = float(rng.uniform(20, 200)), float(rng.choice([0.5, 3, 8]))
        blinks = simulate_blinks(seed, delay_ms=truth, jitter_ms=jitter, changes=120)
        lit_now = find_blink(blinks.cells)
        delay = solve_delay(
            blinks.changes_ns, lit_now, blinks.taken_ns, exposure_ms=5.0
        )
        off.append(abs(delay.median_ms - truth))
        tail.append(abs(delay.p95_ms - truth - 1.645 * jitter))
    yield f"{cases} displays of 20-200 ms, 120 blinks each (48 s)"
    for name, values in (("median", off), ("95th percentile", tail)):
        yield f"{name} off by {np.median(values):.2f} ms, {max(values):.2f} at most"


SECTIONS: dict[str, tuple[Callable[[int], Iterator[str]], int]] = {
    "display": (display, 50),
    "light": (light, 0),
    "speed": (speed, 0),
    "findings": (findings, 2),
    "latency": (latency, 50),
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", choices=[*SECTIONS, []]
    )
    parser.add_argument("--cases", type=int, help="fewer or more than usual")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for name in args.sections or SECTIONS:
        section, cases = SECTIONS[name]
        sys.stdout.write(f"{name}\n")
        for line in section(args.cases or cases):
            sys.stdout.write(f"  {line}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
