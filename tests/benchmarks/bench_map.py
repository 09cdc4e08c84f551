"""The stitched slide against the slide that its fields were cut from.

    python tests/benchmarks/bench_map.py [--megapixels 20] [--cascade]

A drawn slide is walked over in a serpentine with 20 % overlap; fields lie between its
pixels. Once all is ideal; once places have an error of 0.2 µm (standard deviation),
light falls off to the corners by 10 %, and there is sensor noise. Prints what a field
and a tile cost on one core, the memory, the likeness of ``slide.tif`` to the drawn
slide as OpenSlide shows both (PSNR), the mean difference at seams and beside them, and
how far lesions lie from where they were drawn. With ``--cascade`` both slides are read
by the default network set, and their top findings compared.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import openslide
import psutil
from numpy.typing import NDArray

from armicro.engine.registry import open_set
from armicro.field import Field, Pixels, Place
from armicro.mosaic import MOSAIC
from armicro.overlay.guide import top
from armicro.phantom import PhantomSpec, Truth, size_px, write_phantom
from armicro.pipeline import Pipeline
from armicro.report import Finding
from armicro.rig import Rig
from armicro.session.record import MapCard
from armicro.session.slide_file import Stitcher, write_slide
from armicro.slide.journal import Journal
from armicro.source.slide import SlideSource

UM_PER_PX = 0.243
FIELD_PX = 2448, 2048
OVERLAP = 0.2
LESIONS = 30
PATCH_PX, SEARCH_PX = 64, 24


@dataclass(frozen=True, slots=True)
class Harm:
    """What stands between the slide and its fields."""

    name: str
    place_um: float = 0.0
    vignetting: float = 0.0
    noise: float = 0.0


def pixels_of(path: Path) -> Pixels:
    """The largest level, as OpenSlide shows it."""
    with openslide.OpenSlide(str(path)) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]


def fields(slide: Pixels, harm: Harm) -> Iterator[Field]:
    """A serpentine over the slide."""
    rng = np.random.default_rng(1)
    light = _light(harm.vignetting)
    height, width = slide.shape[:2]
    columns, rows = (
        _starts(length, side)
        for length, side in ((width, FIELD_PX[0]), (height, FIELD_PX[1]))
    )
    seq = 0
    for number, y in enumerate(rows):
        for x in columns[:: 1 if number % 2 == 0 else -1]:
            corner = np.array([x, y]) + rng.uniform(0, 1, 2) * (x > 0, y > 0)
            shift = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]])
            pixels = cv2.warpAffine(
                slide,
                shift,
                FIELD_PX,
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            if harm.vignetting or harm.noise:
                grain = rng.normal(0.0, 255 * harm.noise, pixels.shape)
                pixels = np.clip(pixels * light + grain, 0, 255).astype(np.uint8)
            x_um, y_um = rng.normal(corner * UM_PER_PX, harm.place_um).tolist()
            yield Field(
                UM_PER_PX,
                seq,
                seq,
                Place(x_um, y_um, 0.3, "image_registration"),
                pixels=np.asarray(pixels, np.uint8),
            )
            seq += 1


def _light(vignetting: float) -> NDArray[np.float32]:
    x, y = (np.linspace(-1, 1, side, dtype=np.float32) for side in FIELD_PX)
    light = 1 - vignetting * (x[None, :] ** 2 + y[:, None] ** 2) / 2
    return np.asarray(light[..., None], np.float32)


def _starts(length: int, side: int) -> list[float]:
    step = side * (1 - OVERLAP)
    count = max(1, int(np.ceil((length - side) / step)) + 1)
    return [min(n * step, max(0.0, length - side - 1)) for n in range(count)]


def stitch(slide: Pixels, harm: Harm, folder: Path) -> MapCard:
    """Stitch, assemble, and print what it cost."""
    stitcher = Stitcher(folder / MOSAIC)
    process = psutil.Process()
    field_ms, tile_ms, most = [], [], 0
    for field in fields(slide, harm):
        before_ns = time.thread_time_ns()
        stitcher.update(field)
        field_ms.append((time.thread_time_ns() - before_ns) / 1e6)
        more = True
        while more:
            before_ns = time.thread_time_ns()
            more = stitcher.write(1)
            tile_ms.append((time.thread_time_ns() - before_ns) / 1e6)
        most = max(most, process.memory_info().rss)
    stitcher.close()
    begun = time.perf_counter()
    with Journal(folder / "session.sqlite") as journal:
        card = write_slide(folder, journal)
    took_s = time.perf_counter() - begun
    if card is None:
        raise SystemExit("nothing was stitched")
    area = card.width_px * card.height_px / 1e6
    median_ms, p95_ms = np.percentile(field_ms, (50, 95))
    print(
        f"  a field of {FIELD_PX[0]}x{FIELD_PX[1]}: median {median_ms:.0f} ms, p95 "
        f"{p95_ms:.0f}; a tile to disk {np.median(tile_ms):.1f} ms; assembled "
        f"{area / took_s:.0f} Mpx/s; process at most {most / 1e6:.0f} MB"
    )
    return card


def compare(true: Pixels, folder: Path, card: MapCard, truth: Truth) -> None:
    """Print how like the stitched slide is."""
    height, width = true.shape[:2]
    left, top_px = (round(-um / card.um_per_px) for um in (card.x_um, card.y_um))
    seen = pixels_of(folder / "slide.tif")
    seen = seen[top_px : top_px + height, left : left + width]
    height, width = seen.shape[:2]
    true = true[:height, :width]
    wrong = seen.astype(np.float32) - true
    inner = wrong[4:-4, 4:-4]
    psnr = 10 * np.log10(255**2 / np.mean(inner**2))
    seam, beside = (np.zeros((height, width), bool) for _ in range(2))
    for axis, length in ((1, width), (0, height)):
        side = FIELD_PX[1 - axis]
        for first, second in pairwise(_starts(length, side)):
            at = round((first + side + second) / 2)
            for mask, near, far in ((seam, 0, 12), (beside, 24, 60)):
                lines = [*range(at - far, at - near), *range(at + near, at + far)]
                mask[(slice(None), lines) if axis == 1 else (lines, slice(None))] = True
    error = np.abs(wrong).mean(axis=2)
    off_um = [_off_um(true, seen, spot) for spot in _lesions(truth)]
    apart = [off for off in off_um if off is not None]
    print(
        f"  PSNR {psnr:.1f} dB; mean difference at seams {error[seam].mean():.2f}, "
        f"beside them {error[beside].mean():.2f} of 255; {len(apart)} lesions off by "
        f"median {np.median(apart):.2f}, largest {max(apart):.2f} µm"
    )


def _lesions(truth: Truth) -> list[tuple[int, int]]:
    return [
        (round(x / UM_PER_PX), round(y / UM_PER_PX))
        for x, y, lesion in zip(truth.x_um, truth.y_um, truth.lesion, strict=True)
        if lesion
    ]


def _off_um(true: Pixels, seen: Pixels, spot: tuple[int, int]) -> float | None:
    """How far what was drawn at a spot lies from it in the stitched slide."""
    x, y = spot
    reach = PATCH_PX // 2 + SEARCH_PX
    height, width = true.shape[:2]
    if not (reach <= x < width - reach and reach <= y < height - reach):
        return None
    half = PATCH_PX // 2
    patch = true[y - half : y + half, x - half : x + half]
    around = seen[y - reach : y + reach, x - reach : x + reach]
    match = cv2.matchTemplate(around, patch, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(match.argmax()), match.shape)
    return float(np.hypot(column - SEARCH_PX, row - SEARCH_PX)) * UM_PER_PX


def read_slide(path: Path) -> tuple[Finding, ...]:
    """The findings of a slide by the default network set."""
    rig = Rig()
    with (
        open_set(rig.network.set) as networks,
        contextlib.closing(SlideSource(path, rig)) as source,
    ):
        pipeline = Pipeline(networks, rig.cascade)
        for field in source.fields():
            pipeline.step(field)
        return pipeline.findings()


def compare_findings(drawn: Path, stitched: Path, card: MapCard) -> None:
    """Print how many of the top ten are the same cells."""
    first, second = top(read_slide(drawn))[:10], read_slide(stitched)
    suspicious = [two for two in second if two.hr_probability >= 0.5]
    ranked = top(second)[:10]
    kept, likewise = (
        sum(_is_among(one, others, card) for one in first)
        for others in (suspicious, ranked)
    )
    print(
        f"  of the top {len(first)} findings of the drawn slide {kept} are suspicious "
        f"in slide.tif too, {likewise} in its top ten"
    )


def _is_among(one: Finding, others: Sequence[Finding], card: MapCard) -> bool:
    return any(
        np.hypot(two.x_um + card.x_um - one.x_um, two.y_um + card.y_um - one.y_um) < 15
        for two in others
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=20.0)
    parser.add_argument("--cascade", action="store_true", help="read both slides")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    harms = (Harm("ideal"), Harm("harmed", 0.2, 0.1, 0.01))
    with tempfile.TemporaryDirectory(prefix="armicro-bench-") as scratch:
        drawn = Path(scratch) / "drawn.tif"
        spec = PhantomSpec(*size_px(args.megapixels), lesions=LESIONS, seed=5)
        truth = write_phantom(drawn, spec)
        slide = pixels_of(drawn)
        print(f"drawn slide of {slide.shape[1]}x{slide.shape[0]} px")
        for harm in harms:
            print(f"{harm.name}:")
            folder = Path(scratch) / harm.name
            folder.mkdir()
            card = stitch(slide, harm, folder)
            compare(slide, folder, card, truth)
            if args.cascade:
                compare_findings(drawn, folder / "slide.tif", card)


if __name__ == "__main__":
    main()
