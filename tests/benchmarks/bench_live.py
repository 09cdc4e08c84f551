"""Live at an emulated camera: painted frames, age, and memory, while the cascade runs.

    python tests/benchmarks/bench_live.py --seconds 600

pylon's emulated camera pans a 2448×2048 window over a drawn picture at 30 frames a
second (constructed with --image); capture, infer and display run as in `armicro live`,
the window painted offscreen. Needs the extra `camera`.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import psutil

from armicro.mosaic import MOSAIC, MosaicFile
from armicro.phantom import paint_field
from armicro.processes.job import Job
from armicro.processes.session import begin
from armicro.processes.supervisor import Supervisor
from armicro.rig import Camera, Map, Network, Rig
from armicro.wire.topic import Beat

SETTLE_S = 10.0
"""Left out of every figure: processes start and networks compile."""
WARM_S = 600.0
"""After this every cache has been full for a while: memory that grows on is a leak."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engines", default="cervical-r50")
    parser.add_argument("--image", type=Path, help="picture to pan over (else drawn)")
    parser.add_argument(
        "--no-map", action="store_true", help="stitch no slide, to see what it costs"
    )
    parser.add_argument(
        "--record", action="store_true", help="keep every analysed field, as --record"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="armicro-bench-") as folder:
        image = args.image or draw(Path(folder) / "drawn.bmp")
        rig = Rig(
            camera=Camera(
                driver="basler",
                um_per_px=0.243,
                emulated_image=str(image),
                emulated_pan_um_per_s=60.0,
            ),
            network=Network(set=args.engines),
            map=Map(keep=not args.no_map),
        )
        out = str(Path(folder) / "live")
        job = Job(session="", mode="live", rig=rig, out=out, display="offscreen")
        run(msgspec.structs.replace(job, record=args.record), args)


def draw(path: Path) -> Path:
    pixels, _ = paint_field(seed=5, width_px=6144, height_px=6144, lesions=60)
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return path


def run(job: Job, args: argparse.Namespace) -> None:
    names = "capture", "infer", "display", "keeper"
    beats: dict[str, list[Beat]] = {name: [] for name in names}
    core: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[tuple[float, float]]] = {name: [] for name in beats}
    begun = time.monotonic()

    def on_beat(beat: Beat) -> None:
        if beat.state == "starting" or time.monotonic() < begun + SETTLE_S:
            return
        try:
            process = psutil.Process(beat.pid)
            spent = process.cpu_times()
            # Unique to the process: the ring's pages are shared by all of them.
            own = process.memory_full_info().uss
        except psutil.NoSuchProcess:
            # Killed since it said this; the restarts are printed.
            return
        beats[beat.process].append(beat)
        core[beat.process].append(spent.user + spent.system)
        memory[beat.process].append((time.monotonic() - begun, own))

    supervisor = Supervisor(begin(job), on_beat=on_beat, seconds=args.seconds)
    supervisor.run()
    say(beats, core)
    for name, readings in memory.items():
        if readings:
            say_memory(name, np.array(readings))
    print(f"restarts: {len(supervisor.events)}")
    if (job.folder / MOSAIC).exists():
        with MosaicFile(job.folder / MOSAIC) as mosaic:
            print(f"stitched: {len(mosaic.spots())} tiles")


def say_memory(name: str, readings: np.ndarray) -> None:
    """Print what a process has of its own, and what it gained once it was warm.

    Args:
        name: of the process.
        readings: (n, 2) seconds since the start and bytes.
    """
    at_s, own = readings.T
    slope = np.polyfit(at_s, own, 1)[0] * 60 / 1e6
    text = f"{name:9} {own[-1] / 1e6:5.0f} MB of its own, {slope:+.1f} MB/min"
    warm = own[at_s >= WARM_S]
    if len(warm) >= 20:
        # Medians of the first and last tenth: single readings catch fields in flight.
        tenth = len(warm) // 10
        first, last = np.median(warm[:tenth]), np.median(warm[-tenth:])
        text += f"; after {WARM_S / 60:.0f} min {(last / first - 1):+.1%}"
        text += f", at most {(warm.max() / first - 1):+.1%}"
    print(text)


def say(beats: dict[str, list[Beat]], core: dict[str, list[float]]) -> None:
    for name, unit in (
        ("capture", "grabbed"),
        ("display", "painted"),
        ("infer", "analysed"),
        ("keeper", "stitched"),
    ):
        if not beats[name]:
            print(f"{name}: not running")
            continue
        first, last = beats[name][0], beats[name][-1]
        seconds = (last.sent_ns - first.sent_ns) / 1e9
        rate = (last.fields - first.fields) / seconds
        busy = (core[name][-1] - core[name][0]) / seconds
        print(
            f"{unit:9} {rate:6.2f} fields/s over {seconds:.0f} s, "
            f"{busy:.2f} cores, {busy / rate * 1e3:.1f} ms of a core a field"
        )
    p50, p95 = re.findall(r"p\d+=([\d.]+)", beats["display"][-1].text)
    print(f"grab to painted: median {p50} ms, 95th percentile {p95} ms")


if __name__ == "__main__":
    main()
