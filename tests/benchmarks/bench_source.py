"""Sources on their own: reading a slide, recording, the emulated camera.

    python tests/benchmarks/bench_source.py

Draws a phantom, then reads it at its own scale, near it and coarser; records its fields
and plays them; lets pylon's emulated camera pan over it at 30 frames a second. One
thread. Core time is this process's, which a busy machine stretches less than the clock
on the wall; the emulated camera's own work is in its figure.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from armicro.field import Field, Pixels
from armicro.phantom.drawn import write_phantom
from armicro.phantom.specification import PhantomSpec
from armicro.rig import Camera, Rig
from armicro.source import SourceCard
from armicro.source.open import open_source
from armicro.source.recording import RecordingSource, RecordingWriter

PHANTOM_UM_PER_PX = 0.243
Figures = dict[str, float]


class Stopwatch:
    """Milliseconds a field, on the wall and on the core."""

    def __init__(self) -> None:
        self._wall, self._core = time.perf_counter(), time.process_time()

    def read(self, fields: int) -> Figures:
        wall = time.perf_counter() - self._wall
        core = time.process_time() - self._core
        return {
            "wall_ms": round(wall / fields * 1e3, 1),
            "core_ms": round(core / fields * 1e3, 1),
            "fields_per_s": round(fields / wall, 1),
        }


def take(fields: Iterator[Field], count: int) -> Figures:
    """Time fields after the first, which pays for what the others find ready."""
    next(fields)
    watch = Stopwatch()
    taken = sum(1 for _ in islice(fields, count))
    return watch.read(max(1, taken))


def read_slide(slide: Path, um_per_px: float) -> Figures:
    """Walk over a slide at a scale."""
    rig = Rig(camera=Camera(um_per_px=um_per_px))
    with contextlib.closing(open_source(rig, slide=slide)) as source:
        return take(iter(source.fields()), 100)


def write_recording(pixels: list[Pixels], folder: Path) -> Figures:
    """Record fields with the noise of a camera, which costs the most."""
    height, width = pixels[0].shape[:2]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2, pixels[0].shape)
    noisy = [np.clip(p + noise, 0, 255).astype(np.uint8) for p in pixels]
    card = SourceCard("benchmark", PHANTOM_UM_PER_PX, width, height)
    watch = Stopwatch()
    with RecordingWriter(folder, card) as writer:
        for seq, picture in enumerate(noisy):
            writer.write(Field(PHANTOM_UM_PER_PX, seq, seq, pixels=picture))
    figures = watch.read(len(noisy))
    size = sum(file.stat().st_size for file in (folder / "pixels").iterdir())
    return figures | {"megabytes": round(size / len(noisy) / 1e6, 2)}


def pan_camera(picture: Path, count: int) -> Figures:
    """Let the emulated camera look at a picture that moves."""
    camera = Camera(
        driver="basler",
        um_per_px=PHANTOM_UM_PER_PX,
        emulated_image=str(picture),
        emulated_pan_um_per_s=300.0,
    )
    with contextlib.closing(open_source(Rig(camera=camera))) as source:
        return take(iter(source.fields()), count)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=100.0)
    parser.add_argument("--frames", type=int, default=150)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    side = round((args.megapixels * 1e6) ** 0.5)
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as name:
        slide, picture = Path(name) / "phantom.tif", Path(name) / "picture.bmp"
        write_phantom(slide, PhantomSpec(side, side))
        for scale in (PHANTOM_UM_PER_PX, 0.25, 0.3):
            results[f"slide read at {scale} µm/px"] = read_slide(slide, scale)
        rig = Rig(camera=Camera(um_per_px=PHANTOM_UM_PER_PX))
        with contextlib.closing(open_source(rig, slide=slide)) as source:
            pixels = [field.pixels for field in islice(source.fields(), 10)]
        folder = Path(name) / "recording"
        results["recording written"] = write_recording(pixels, folder)
        played = RecordingSource(folder)
        results["recording played"] = take(iter(played.fields()), len(pixels))
        whole = np.asarray(cv2.imread(str(slide)))
        cv2.imwrite(str(picture), whole[:8192, :8192])
        results["emulated camera"] = pan_camera(picture, args.frames)
    sys.stdout.write(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
