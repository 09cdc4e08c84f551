"""How fast a phantom is drawn on one core, and in how much memory.

    python tests/benchmarks/bench_phantom.py 100 1000

For each number of megapixels a fresh process draws a slide and prints one line. CPU
time counts drawing the sprites, the slide, JPEG, the pyramid and the truth; the target
is 20 Mpx/s of CPU time. With ``--fields`` and ``--cells`` a constructed slide is built.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from armicro.phantom import (
    ConstructedSpec,
    PhantomSpec,
    size_px,
    write_constructed,
    write_phantom,
)


def measure(megapixels: float, tables: list[Path]) -> str:
    """Draw one slide in this process and say what it took."""
    cv2.setNumThreads(1)
    width_px, height_px = size_px(megapixels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        if tables:
            built = ConstructedSpec(tables[0], tables[1], width_px, height_px)
            truth, _ = write_constructed(path, built)
        else:
            truth = write_phantom(path, PhantomSpec(width_px, height_px))
        cpu_s = time.process_time() - cpu_s
        wall_s = time.perf_counter() - wall_s
        size_mb = path.stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        f"{megapixels:8.0f} Mpx: {megapixels / cpu_s:6.1f} Mpx/s of one core "
        f"({cpu_s:.1f} s CPU, {wall_s:.1f} s wall), peak memory {peak / 1024:.0f} MiB "
        f"({(peak - before) / 1024:.0f} above the imports), file {size_mb:.0f} MB, "
        f"{len(truth)} cells"
    )


def main() -> int:
    """Measure each size in a process of its own, so that peaks do not mix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megapixels", nargs="*", type=float, default=[100.0])
    parser.add_argument("--fields", type=Path)
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--here", action="store_true", help="one size, this process")
    args = parser.parse_args()
    tables = [args.fields, args.cells] if args.fields else []
    if args.here:
        sys.stdout.write(measure(args.megapixels[0], tables) + "\n")
        return 0
    options = ["--fields", *map(str, tables[:1]), "--cells", *map(str, tables[1:])]
    for megapixels in args.megapixels:
        command = [sys.executable, __file__, str(megapixels), "--here"]
        subprocess.run(command + (options if tables else []), check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
