"""Registration against hidden truth: accuracy, honesty, speed, and a baseline.

The slide knows where each field lies, the register does not. Three slides (drawn,
constructed of CRIC fields, the real Aperio slide), two paths, overlaps of 15 to 90 %,
300 fields each, then one degradation at a time. "Content allows" is decided on the
clean picture and the truth: the field shares texture with the map or the field before.

    python tests/benchmarks/bench_register.py [--fields 300] [--part accuracy]
        [--folder DIR]

Parts: turned, chance, strangers, edges, accuracy, loops, degraded, speed, recall.
ARMICRO_DATA adds the real slides.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.field import Field, Pixels
from armicro.phantom import (
    ConstructedSpec,
    PhantomSpec,
    write_constructed,
    write_phantom,
)
from armicro.place.agree import BLOCK_PX, ShiftFit, fit, is_found, is_near, search
from armicro.place.atlas import Keyframe, MapFile, MemoryStore, find_landmarks
from armicro.place.look import look_at, reduce_light
from armicro.place.overlap import find_overlap
from armicro.place.register import Register
from armicro.rig import Camera, Rig, Scan
from armicro.source.slide import SlideSource
from armicro.verdict import NEW_MAPS
from tests.cells import cut, cut_turned, draw_cells, draw_line

WRONG_UM = 10.0
Degrade = Callable[[int, Pixels], Pixels]


@dataclass
class Tally:
    """What came out of one run."""

    errors: list[tuple[float, float]] = field(default_factory=list)
    claimed: list[tuple[float, float]] = field(default_factory=list)
    """Standard errors along x and y."""
    placed_at: list[int] = field(default_factory=list)
    allowed: int = 0
    missed: int = 0
    unflagged: int = 0
    fields: int = 0
    cpu_ms: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)

    def row(self, name: str) -> str:
        """One line of the table."""
        errors = np.array(self.errors)
        away = np.hypot(*errors.T)
        claimed = np.maximum(np.array(self.claimed), 0.02)
        x, y = np.sqrt(np.mean((errors[1:] / claimed[1:]) ** 2, axis=0))
        share = 1 - self.missed / max(1, self.allowed)
        baseline = np.array(self.baseline)
        return (
            f"{name:34s} {self.fields:5d} {len(errors):6d} {100 * share:7.1f} "
            f"{np.sqrt((away**2).mean()):6.2f} {away.max():6.2f} {away[-1]:6.2f} "
            f"{self.unflagged:5d} {x:4.2f} {y:4.2f} {np.median(self.cpu_ms):5.1f} "
            f"{np.sqrt((baseline**2).mean()):9.1f}"
        )


HEAD = (
    f"{'slide, path, overlap':34s} fields placed allow_% rms_um max_um end_um wrong "
    "  z_x  z_y   ms baseline_rms_um"
)


def fields_of(slide: Path, rig: Rig, count: int) -> Iterator[Field]:
    """Yield fields of a slide, over and over along the path."""
    source = SlideSource(slide, rig)
    over = itertools.chain.from_iterable(source.fields() for _ in itertools.count())
    yield from itertools.islice(over, count)


def texture_of(pixels: Pixels, um_per_px: float) -> NDArray[np.bool_]:
    """Blocks of 16 µm whose light varies by more than 2 %."""
    light = reduce_light(pixels, um_per_px)
    rows, columns = (side // BLOCK_PX for side in light.shape)
    blocks = light[: rows * BLOCK_PX, : columns * BLOCK_PX]
    blocks = blocks.reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return np.asarray(blocks.std(axis=(1, 3)) > 0.02)


def shared_blocks(
    texture: NDArray[np.bool_], at: NDArray[np.float64], other: NDArray[np.float64]
) -> int:
    """Textured blocks of a field that another field of that size sees too."""
    rows, columns = np.nonzero(texture)
    x, y = (columns + 0.5) * BLOCK_PX + at[0], (rows + 0.5) * BLOCK_PX + at[1]
    width, height = texture.shape[1] * BLOCK_PX, texture.shape[0] * BLOCK_PX
    margin = BLOCK_PX
    inside = (x > other[0] + margin) & (x < other[0] + width - margin)
    inside &= (y > other[1] + margin) & (y < other[1] + height - margin)
    return int(inside.sum())


def run(
    fields: Iterator[Field], *, degrade: Degrade | None = None, timed: bool = False
) -> Tally:
    """Register fields without their place, and compare with it."""
    trial = _Trial(timed=timed)
    for index, truth in enumerate(fields):
        pixels = truth.pixels if degrade is None else degrade(index, truth.pixels)
        trial.show(index, truth, pixels)
    return trial.tally


class _Trial:
    def __init__(self, *, timed: bool) -> None:
        self.tally = Tally()
        self._store = MemoryStore()
        self._register = Register(self._store, timed=timed)
        self._origins: dict[str, NDArray[np.float64]] = {}
        """Where each map lies on the slide, by the origin of its places."""
        self._before: NDArray[np.float64] | None = None
        self._phase = Phase()

    def show(self, index: int, truth: Field, pixels: Pixels) -> None:
        """Show the register one field, and judge what it says."""
        assert truth.place is not None
        at = np.array([truth.place.x_um, truth.place.y_um])
        hidden = replace(truth, pixels=pixels, place=None, taken_ns=index * 33_333_333)
        tally = self.tally
        tally.fields += 1
        tally.baseline.append(self._phase.error(hidden, at))
        allowed = self._allows(truth, at)
        begun = time.process_time()
        found = self._register.update(hidden).place
        tally.cpu_ms.append(1e3 * (time.process_time() - begun))
        tally.allowed += allowed
        tally.missed += allowed and found is None
        self._before = at if found is not None else None
        if found is None:
            return
        claimed = np.array([found.x_um, found.y_um])
        on_map = found.origin if found.origin in NEW_MAPS else ""
        error = self._origins.setdefault(on_map, at - claimed) + claimed - at
        tally.errors.append((float(error[0]), float(error[1])))
        assert self._register.last is not None
        tally.claimed.append(self._register.last.standard_error_xy_um)
        tally.placed_at.append(index)
        flagged = found.standard_error_um > WRONG_UM
        tally.unflagged += bool(np.hypot(*error) > WRONG_UM and not flagged)

    def _allows(self, truth: Field, at: NDArray[np.float64]) -> bool:
        """Whether the field shares texture with the map or the field before."""
        frames = self._store.keyframes()
        # What lies on another map is far away by the origin of this one.
        seen = [
            np.array([k.x_um, k.y_um]) + origin
            for k in frames
            for origin in self._origins.values()
        ]
        seen += [] if self._before is None else [self._before]
        texture = texture_of(truth.pixels, truth.um_per_px)
        most = max((shared_blocks(texture, at, other) for other in seen), default=0)
        return most >= 8


class Phase:
    """The published baseline: phase correlation from each field to the next."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._sum = np.zeros(2)
        self._first: NDArray[np.float64] | None = None

    def error(self, field: Field, at: NDArray[np.float64]) -> float:
        """Distance of the summed shifts from the truth."""
        light = reduce_light(field.pixels, field.um_per_px)
        if self._last is None or self._first is None:
            self._first = at
        else:
            window = cv2.createHanningWindow(light.shape[::-1], cv2.CV_32F)
            shift, _ = cv2.phaseCorrelate(light, self._last, window)
            self._sum += shift
        self._last = light
        return float(np.hypot(*(self._first + self._sum - at)))


def slides(folder: Path) -> dict[str, tuple[Path, Camera]]:
    """Slides by name, each with the camera that looks at it."""
    made = {}
    seed = CHOSEN.seed
    drawn = folder / f"drawn{seed}.tif"
    if not drawn.exists() and CHOSEN.slide in (None, "drawn"):
        write_phantom(drawn, PhantomSpec(17000, 12500, seed=seed, lesions=20))
    made["drawn"] = (drawn, Camera(width_px=1600, height_px=1300))
    data = Path(os.environ.get("ARMICRO_DATA", ""))
    if (data / "cric").is_dir():
        built = folder / f"built{seed}.tif"
        cric = data / "cric"
        tables = cric / "fields.csv", cric / "cells.csv"
        if not built.exists() and CHOSEN.slide in (None, "constructed"):
            spec = ConstructedSpec(*tables, 11500, 8600, seed=seed, lesions=140)
            write_constructed(built, spec)
        small = Camera(width_px=1224, height_px=1024, um_per_px=0.486)
        made["constructed"] = (built, small)
    svs = data / "wsi" / "cmu-1-small-region.svs"
    if svs.is_file():
        made["aperio"] = (svs, Camera(width_px=800, height_px=640, um_per_px=0.499))
    return {name: made[name] for name in made if CHOSEN.slide in (None, name)}


CHOSEN = argparse.Namespace(slide=None, seed=5, row="")


def accuracy(folder: Path, count: int) -> None:
    """Every slide, path and overlap."""
    print(HEAD)
    for name, (slide, camera) in slides(folder).items():
        for path in ("serpentine", "freehand"):
            for overlap in (0.15, 0.3, 0.5, 0.9):
                scan = Scan(
                    path=path,
                    overlap=overlap,
                    fields=count,
                    noise=0.01,
                    seed=CHOSEN.seed,
                )
                row = f"{name}, {path}, {overlap:.0%}"
                if CHOSEN.row not in row:
                    continue
                rig = Rig(camera=camera, scan=scan)
                tally = run(fields_of(slide, rig, count))
                print(tally.row(row), flush=True)


def loops(folder: Path, count: int) -> None:
    """The same loop again and again: does the error grow?"""
    slide, camera = slides(folder)["drawn"]
    scan = Scan(path="serpentine", overlap=0.3, noise=0.01)
    region = (0, 0, 6000, 4500)
    source = SlideSource(slide, Rig(camera=camera, scan=scan), region_px=region)
    once = source.card.fields_planned or 1
    over = itertools.chain.from_iterable(source.fields() for _ in itertools.count())
    tally = run(itertools.islice(over, count))
    errors, at = np.hypot(*np.array(tally.errors).T), np.array(tally.placed_at) // once
    print(f"loops of {once} fields; rms error of each, µm:")
    rms = [np.sqrt((errors[at == k] ** 2).mean()) for k in range(count // once)]
    print(" ".join(f"{value:.3f}" for value in rms))


def degradations() -> dict[str, Degrade]:
    """What can be wrong with a picture, one thing at a time."""
    rng = np.random.default_rng(3)
    spots = [
        (rng.random(2), rng.uniform(4, 25), rng.uniform(0.4, 0.9)) for _ in range(60)
    ]
    veil: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def noise(index: int, pixels: Pixels) -> Pixels:
        return _lit(pixels, np.float32(1), 0.05, index)

    def exposure(index: int, pixels: Pixels) -> Pixels:
        return _lit(pixels, np.float32(0.75 + 0.3 * np.sin(index)), 0.01, index)

    def vignetting(index: int, pixels: Pixels) -> Pixels:
        y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in pixels.shape[:2])
        fall = 1 - 0.3 * (x[None, :] ** 2 + y[:, None] ** 2)
        return _lit(pixels, fall[..., None], 0.01, index)

    def dirt(index: int, pixels: Pixels) -> Pixels:
        shape = pixels.shape[:2]
        if shape not in veil:
            plane = np.ones(shape, np.float32)
            for (x, y), radius, pale in spots:
                centre = round(x * shape[1]), round(y * shape[0])
                cv2.circle(plane, centre, round(radius), pale, -1)
            veil[shape] = np.asarray(cv2.GaussianBlur(plane, (0, 0), 4.0))
        return _lit(pixels, veil[shape][..., None], 0.01, index)

    def focus(index: int, pixels: Pixels) -> Pixels:
        sigma = 0.3 + 5.0 * np.sin(index / 40) ** 2
        blurred = cv2.GaussianBlur(pixels, (0, 0), sigma)
        return _lit(np.asarray(blurred, np.uint8), np.float32(1), 0.01, index)

    return {
        "noise 5 %": noise,
        "exposure 45-105 %": exposure,
        "vignetting 60 %": vignetting,
        "60 spots of dirt": dirt,
        "focus drift to 1.3 um blur": focus,
    }


def _lit(
    pixels: Pixels, gain: np.float32 | NDArray[np.float32], noise: float, seed: int
) -> Pixels:
    rng = np.random.default_rng(seed)
    light = np.asarray(pixels.astype(np.float32) * gain, np.float32)
    light += rng.standard_normal(light.shape, np.float32) * (255 * noise)
    return np.asarray(np.clip(light, 0, 255), np.uint8)


def degraded(folder: Path, count: int) -> None:
    """One degradation at a time, and moves beyond one field."""
    print(HEAD)
    for name, (slide, camera) in slides(folder).items():
        scan = Scan(path="freehand", overlap=0.3, fields=count, seed=2)
        rig = Rig(camera=camera, scan=scan)
        for what, degrade in degradations().items():
            tally = run(fields_of(slide, rig, count), degrade=degrade)
            print(tally.row(f"{name}: {what}"), flush=True)
        kept = (f for i, f in enumerate(fields_of(slide, rig, count)) if i % 50 < 40)
        print(run(kept).row(f"{name}: 10 of 50 fields skipped"), flush=True)


def speed(folder: Path, count: int) -> None:
    """A hand that pans at 30 fields/s over full fields."""
    slide = folder / "speed.tif"
    write_phantom(slide, PhantomSpec(9000, 6000, seed=5, lesions=5))
    camera = Camera()
    source = SlideSource(slide, Rig(camera=replace_size(camera, 9000, 6000)))
    whole = next(iter(source.fields())).pixels
    for speed_um in (0.0, 100.0, 500.0):
        register, wall, cpu = Register(MemoryStore()), [], []
        for index in range(count):
            way = speed_um * index / 30 / camera.um_per_px
            x = round(3200 * (1 - np.cos(way / 3200)))
            y = round(1700 * (1 - np.cos(way / 9000)))
            pixels = np.ascontiguousarray(whole[y : y + 2048, x : x + 2448])
            each = Field(camera.um_per_px, index, index * 33_333_333, pixels=pixels)
            begun, spent = time.perf_counter(), time.process_time()
            register.update(each)
            cpu.append(1e3 * (time.process_time() - spent))
            wall.append(1e3 * (time.perf_counter() - begun))
        print(
            f"pan at {speed_um:.0f} µm/s: {np.median(cpu):.1f} ms CPU median, "
            f"{np.quantile(cpu, 0.95):.1f} 95 %, {np.median(wall):.1f} wall median"
        )


def replace_size(camera: Camera, width_px: int, height_px: int) -> Camera:
    """The same camera with another field."""
    return Camera(width_px=width_px, height_px=height_px, um_per_px=camera.um_per_px)


def recall(folder: Path, count: int) -> None:
    """Lost on a map of 2,000 keyframes on disk: how long until found?

    The keyframes are fields of 595 by 498 µm at 1 µm/px, each of twelve patches of real
    or drawn cells, drawn by lot, turned and mirrored: no two are alike in as much as a
    quarter. The asked ones are one third outside, darker and noisier; strange ones are
    of patches that the map has nowhere.
    """
    size, rng = 2000, np.random.default_rng(CHOSEN.seed)
    patches = [_patches(slide, camera) for slide, camera in slides(folder).values()]
    pool = np.concatenate(patches)
    store = MapFile(folder / f"map{time.time_ns()}.sqlite")
    kept = _fill(store, pool[::2], rng, size)[:count]
    cpu, found, wrong, lost = [], 0, 0, []
    for index, light in enumerate(kept):
        # A capture that starts anew on the slide knows nothing but its map.
        register = Register(store)
        shown = _lit(light[120:, 160:], np.float32(0.9), 0.01, index)
        shown = np.pad(shown, ((0, 120), (0, 160)), mode="wrap")
        shown[-120:], shown[:, -160:] = 235, 235
        begun = time.process_time()
        place = register.update(Field(1.0, 0, 0, pixels=shown)).place
        cpu.append(1e3 * (time.process_time() - begun))
        number = 5 + 67 * index
        true = np.array([number % 50 * 360.0 + 160, number // 50 * 300.0 + 120])
        found += place is not None
        if place is not None:
            wrong += bool(np.hypot(*(true - (place.x_um, place.y_um))) > WRONG_UM)
        for _ in range(3):
            strange = Field(1.0, 1, 0, pixels=_quilt(pool[1::2], rng))
            begun = time.process_time()
            wrong += register.update(strange).place is not None
            lost.append(1e3 * (time.process_time() - begun))
    print(
        f"lost on {size} keyframes of {len(pool)} patches: {np.median(cpu):.0f} ms CPU "
        f"median, {max(cpu):.0f} most; {found} of {len(kept)} found, {wrong} wrongly; "
        f"{len(lost)} strange fields: {np.median(lost):.0f} ms, {max(lost):.0f} most"
    )


def _fill(
    store: MapFile, pool: NDArray[np.uint8], rng: np.random.Generator, size: int
) -> list[NDArray[np.uint8]]:
    """Make keyframes, and return every 67th field."""
    kept = []
    for number in range(size):
        light = _quilt(pool, rng)
        look = look_at(light, 1.0)
        x, y = number % 50 * 360.0, number // 50 * 300.0
        box = float(look.fine.shape[1]), float(look.fine.shape[0])
        store.add(Keyframe(x, y, (0.1, 0.1), box, find_landmarks(look)), look)
        if number % 67 == 5:
            kept.append(light)
    return kept


def _patches(slide: Path, camera: Camera) -> NDArray[np.uint8]:
    """Grey squares of 150 µm of a slide, those with texture."""
    scan = Scan(path="serpentine", overlap=0.0, fields=80, noise=0.0)
    made = []
    # Once only: a patch that is there twice would be known where it should not.
    fields = SlideSource(slide, Rig(camera=camera, scan=scan)).fields()
    for each in itertools.islice(fields, 60):
        grey = cv2.cvtColor(each.pixels, cv2.COLOR_RGB2GRAY)
        scale = each.um_per_px
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        made += [
            grey[y : y + 150, x : x + 150]
            for y in range(0, grey.shape[0] - 150, 150)
            for x in range(0, grey.shape[1] - 150, 150)
        ]
    return np.array([patch for patch in made if patch.std() > 4], np.uint8)


def _quilt(pool: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A field of 600 by 450 px of patches drawn by lot."""
    rows = []
    for _ in range(3):
        row = []
        for _ in range(4):
            patch = np.rot90(pool[rng.integers(len(pool))], int(rng.integers(4)))
            row.append(patch[:, ::-1] if rng.random() < 0.5 else patch)
        rows.append(np.hstack(row))
    return np.ascontiguousarray(np.vstack(rows))


def chance(folder: Path, count: int) -> None:
    """The best shifts between real fields of different places: is any believed?"""
    del folder
    files = sorted((Path(os.environ.get("ARMICRO_DATA", "")) / "cric/images").glob("*"))
    rng = np.random.default_rng(CHOSEN.seed)
    looks = []
    for number in rng.permutation(len(files))[: min(count, 60)]:
        bgr = cv2.imread(str(files[number]))
        assert bgr is not None
        pixels = np.asarray(bgr[:800, :1000, ::-1], np.uint8)
        gain = np.float32(rng.uniform(0.6, 1.05))
        noise = float(rng.choice([0.004, 0.016, 0.031]))
        looks.append(look_at(_lit(pixels, gain, noise, int(number)), 0.2757))
    pairs = list(itertools.permutations(looks, 2))
    fits = [fit(a, b, shift) for a, b in pairs for shift in search(a, b)]
    made = [found for found in fits if found is not None]
    alike = [found.beyond for found in made if found.share >= 0.85]
    print(
        f"{len(pairs)} pairs, {len(fits)} shifts: {sum(map(is_found, made))} found; "
        f"{len(alike)} with a share of 0.85, their most evidence beyond one spot "
        f"{max(alike, default=0.0):.1f}"
    )


def strangers(folder: Path, count: int) -> None:
    """Pairs of real fields of different places, live and by find_overlap: any found?

    ``count`` pairs (1,000 take some twenty minutes): by turns of CRIC fields, of one
    with a field of another preparation, and of parts of two of that preparation; half
    of them small pictures as a user may give.
    """
    del folder
    data = Path(os.environ.get("ARMICRO_DATA", ""))
    cric, lbc = (sorted((data / n / "images").glob("*")) for n in ("cric", "lbc_nilm"))
    # It shows a part of nl-1-1.
    lbc = [file for file in lbc if file.name != "nl-1-2.jpg"]
    rng = np.random.default_rng(CHOSEN.seed)
    live = found = 0
    for number in range(count):
        kinds = ((cric, cric), (cric, lbc), (lbc, lbc))[number % 3]
        # Where there are two kinds, the second has few.
        one, two = rng.choice(len(kinds[1]), 2, replace=False)
        if kinds[0] is not kinds[1]:
            one = rng.integers(len(kinds[0]))
        side = 600 if number % 4 < 2 else 1280
        a, b = (_part(kinds[0][one], side, rng), _part(kinds[1][two], side, rng))
        scale = min(1.0, 700 / max(*a.shape, *b.shape))
        look_a, look_b = look_at(a, scale), look_at(b, scale)
        fits = [fit(look_a, look_b, shift) for shift in search(look_a, look_b)]
        live += any(is_found(each) or is_near(each) for each in fits if each)
        found += find_overlap(a, b).found
    print(f"{count} pairs: {live} believed live, {found} by find_overlap")


def _part(file: Path, side_px: int, rng: np.random.Generator) -> Pixels:
    bgr = cv2.imread(str(file))
    assert bgr is not None
    y, x = (int(rng.integers(max(1, size - side_px))) for size in bgr.shape[:2])
    return np.asarray(bgr[y : y + side_px, x : x + side_px, ::-1], np.uint8)


def edges(folder: Path, count: int) -> None:
    """Straight edges slid along themselves, alone and beside cells: any believed?

    Every proposal of the search is judged, and the shift 0, as a guess would be.
    """
    del folder
    print(
        "kind, cells: fits, believed, of these wrong; least aperture; z along x and y"
    )
    kinds = ("edge", "hair", "two hairs", "fringes", "arc of 3 mm")
    for kind, cells in itertools.product(kinds, (0, 20, 60)):
        made = [f for k in range(min(count, 60)) for f in _slid(kind, cells, k)]
        sure = [(found, away) for found, away in made if is_near(found)]
        ends = [found.slopes.ends for found, _ in sure]
        least = min((low / high for low, high, _ in ends), default=0.0)
        wrong = sum(np.hypot(*away) > WRONG_UM for _, away in sure)
        ratios = np.array([away / found.standard_error_xy_px for found, away in sure])
        x, y = np.sqrt((ratios.reshape(-1, 2) ** 2).sum(axis=0) / max(1, len(sure)))
        print(
            f"{kind}, {cells}: {len(made)}, {len(sure)}, {wrong}; {least:.3f}; "
            f"{x:.2f} {y:.2f}",
            flush=True,
        )


def _slid(
    kind: str, cells: int, seed: int
) -> Iterator[tuple[ShiftFit, NDArray[np.float64]]]:
    """Fits of two fields along an edge, and how far from the truth along x and y."""
    rng = np.random.default_rng(seed)
    scene, along = draw_line(seed, kind, cells=cells)
    dx, dy = (round(rng.uniform(-150, 150) * part) for part in along)
    noise = float(rng.choice([1.0, 3.0, 6.0]))
    a = look_at(cut(scene, 500, 400, noise=noise), 1.0)
    b = look_at(cut(scene, 500 + dx, 400 + dy, noise=noise, seed=1), 1.0)
    for shift in [(0.0, 0.0), *search(a, b)]:
        found = fit(a, b, shift)
        if found is not None:
            yield found, np.array([found.dx_px - dx, found.dy_px - dy])


def turned(folder: Path, count: int) -> None:
    """A camera turned in mid-session: is any field placed wrongly, is it told?

    Rows of drawn cells at 1 µm/px, ``count`` fields a row at most; a field counts as
    wrong where it lies more than 10 µm off on the map that its place names.
    """
    del folder
    print("cells, overlap, turn: fields after it, on the new map, lost, wrong, told")
    for cells, overlap, turn_deg in itertools.product(
        (120, 250, 570), (0.15, 0.3, 0.6, 0.8), (0.0, 1.5, 3.0, 10.0, 90.0)
    ):
        scene = draw_cells(CHOSEN.seed, width=2200, height=1700, cells=cells)
        row = np.arange(250, 1950, 400 * (1 - overlap))
        path = [(x, 250.0) for x in row]
        path += [(x, 250.0 + 320 * (1 - overlap)) for x in row[::-1]]
        path = path[:count]
        origins, wrong = _after_turn(scene, path, turn_deg)
        new, lost = origins.count("turned_camera"), origins.count("lost")
        print(
            f"{cells}, {overlap:.0%}, {turn_deg:g}°: {len(origins)}, {new}, {lost}, "
            f"{wrong}, {'yes' if new else 'no'}",
            flush=True,
        )


def _after_turn(
    scene: Pixels, path: list[tuple[float, float]], turn_deg: float
) -> tuple[list[str], int]:
    """Origins of the fields after a turn at half the path, and how many are wrong."""
    register, half = Register(MemoryStore(), timed=False), len(path) // 2
    began: dict[bool, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    origins, wrong = [], 0
    for seq, middle in enumerate(path):
        angle = turn_deg if seq >= half else 0.0
        pixels = cut_turned(scene, middle, angle, seed=seq)
        place = register.update(Field(1.0, seq, seq, pixels=pixels)).place
        if seq >= half:
            origins.append(place.origin if place else "lost")
        if place is None:
            continue
        on_new = place.origin == "turned_camera"
        here, there = np.array([place.x_um, place.y_um]), np.array(middle)
        first = began.setdefault(on_new, (here, there))
        turn = np.deg2rad(turn_deg if on_new else 0.0)
        cos, sin = np.cos(turn), np.sin(turn)
        way = np.array([[cos, -sin], [sin, cos]]) @ (there - first[1])
        off = float(np.hypot(*(here - first[0] - way)))
        wrong += seq >= half and off > WRONG_UM >= place.standard_error_um
    return [str(origin) for origin in origins], wrong


PARTS = {
    "turned": turned,
    "chance": chance,
    "strangers": strangers,
    "edges": edges,
    "accuracy": accuracy,
    "loops": loops,
    "degraded": degraded,
    "speed": speed,
    "recall": recall,
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=300)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--slide", help="only this one")
    parser.add_argument("--row", default="", help="only rows of accuracy with this")
    parser.add_argument("--seed", type=int, default=5, help="of slides and paths")
    parser.add_argument("--folder", type=Path, help="keep the drawn slides there")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    CHOSEN.slide, CHOSEN.seed, CHOSEN.row = args.slide, args.seed, args.row
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if args.part in (None, name):
                print(f"== {name}")
                part(args.folder or Path(folder), args.fields)


if __name__ == "__main__":
    main()
