"""INT8 as shipped against PyTorch fp32, a tile, turn and turn about in one run.

python tests/benchmarks/bench_int8.py --threads 2 --rounds 15

Wall time, both sides with the same number of threads, whatever that number is: with
several threads, CPU time would count their waiting for one another as work. Nothing
else may use the cores: PyTorch's threads wait for one another after every layer, so a
neighbour slows that side many times more (HR 15 times, seen beside a training) and the
ratio flatters INT8. What others use is measured first, and a busy machine is said so.

HR is compared twice: with the part of the tile that the shipped network looks at, and
with the whole tile, as the paper's network looks at it.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import psutil
import torch

from armicro.engine.registry import open_set
from armicro.train.networks import HighResolution, LowResolution
from armicro.train.recipe import FOVEA_PX

BUSY_PERCENT = 10.0
"""Of all cores, used by others: from here on the ratios are no measurement."""
LEAST_RATIO = {"lr": 5.0, "hr": 6.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default="cervical-r50")
    parser.add_argument("--threads", type=int, default=2, help="of each side")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    others = psutil.cpu_percent(interval=2)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(1)
    sides = {"lr": 512, "hr": 256}
    tiles = {
        name: rng.integers(0, 256, (args.batch, side, side, 3), np.uint8)
        for name, side in sides.items()
    }
    networks = {
        "lr": LowResolution(),
        "hr": HighResolution(fovea_px=FOVEA_PX),
        "hr whole": HighResolution(fovea_px=256),
    }
    with (
        open_set(args.engines, threads=args.threads) as shipped,
        torch.inference_mode(),
    ):
        ways: dict[str, Callable[[], object]] = {
            "lr int8": lambda: shipped.lr.infer({"tiles": tiles["lr"]}),
            "hr int8": lambda: shipped.hr.infer({"tiles": tiles["hr"]}),
        }
        for name, network in networks.items():
            network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            batch = torch.from_numpy(tiles[name[:2]])
            ways[f"{name} torch"] = lambda n=network, b=batch: n(b)  # type: ignore[misc]
        ms = measure(ways, args.rounds, args.batch)
    print(f"threads of each side: {args.threads}; wall time, median (10-90 %)")
    busy = "BUSY, no measurement" if others > BUSY_PERCENT else "ok"
    print(f"others use {others:.0f} % of the cores: {busy}")
    for way, times in ms.items():
        low, high = np.percentile(times, [10, 90])
        print(
            f"{way:16} {statistics.median(times):8.1f} ms a tile ({low:.1f}-{high:.1f})"
        )
    for name in networks:
        ratio = statistics.median(ms[f"{name} torch"]) / statistics.median(
            ms[f"{name[:2]} int8"]
        )
        print(f"{name:9} {ratio:.1f} times (wanted {LEAST_RATIO[name[:2]]:.0f})")


def measure(
    ways: dict[str, Callable[[], object]], rounds: int, batch: int
) -> dict[str, list[float]]:
    """Return wall milliseconds a tile, a value a round; the first call does not count.

    The ways take turns inside a round, so a slow spell of the machine meets them all.
    """
    ms: dict[str, list[float]] = {way: [] for way in ways}
    for run in ways.values():
        run()
    for _ in range(rounds):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            ms[way].append((time.perf_counter() - start) * 1000 / batch)
    return ms


if __name__ == "__main__":
    main()
