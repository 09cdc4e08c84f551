"""How long a network takes for a tile, by backend, precision and batch, side by side.

Backends and batch sizes take turns within a round, so that whatever else the machine
does meets all of them alike; the median of the rounds is the figure.
"""

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from armicro.engine import Array
from armicro.engine.manifest import INPUTS
from armicro.engine.registry import NetworkSet, open_set
from armicro.errors import EngineError

Way = tuple[str, str]
"""Backend and precision."""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One network in one way at one batch size."""

    network: str
    backend: str
    precision: str
    batch: int
    ms_per_sample: float
    """Median over the rounds."""
    ms_least: float
    ms_most: float


@dataclass(frozen=True, slots=True)
class BenchResult:
    """All rows, and the ways that could not be opened with the reason."""

    name: str
    machine: str
    runs: int
    threads: int
    rows: tuple[BenchRow, ...]
    refused: dict[str, str]

    def __str__(self) -> str:
        """Table for people: a line a network and batch, a column a way."""
        ways = list(dict.fromkeys((row.backend, row.precision) for row in self.rows))
        cells = {
            (row.network, row.batch, (row.backend, row.precision)): row
            for row in self.rows
        }
        lines = [
            f"{self.name}, median of {self.runs} rounds, ms a sample; {self.machine}",
            f"{'network':<9}{'batch':>5}" + "".join(f"{'/'.join(w):>20}" for w in ways),
        ]
        for network, batch in dict.fromkeys((r.network, r.batch) for r in self.rows):
            figures = (cells[network, batch, way].ms_per_sample for way in ways)
            lines.append(
                f"{network:<9}{batch:>5}" + "".join(f"{ms:>20.2f}" for ms in figures)
            )
        lines += [f"not run, {way}: {why}" for way, why in self.refused.items()]
        return "\n".join(lines)


def bench_set(
    name: str | Path,
    *,
    ways: Sequence[Way],
    batches: Sequence[int],
    runs: int,
    threads: int,
    networks: Sequence[str],
) -> BenchResult:
    """Time the networks of a set; a way that is not there is named, not fatal.

    Raises:
        EngineError: the set cannot be opened in any of the ways.
    """
    opened: dict[Way, NetworkSet] = {}
    refused: dict[str, str] = {}
    for backend, precision in ways:
        try:
            opened[backend, precision] = open_set(
                name, backend=backend, precision=precision, threads=threads
            )
        except EngineError as error:
            refused[f"{backend}/{precision}"] = str(error)
    if not opened:
        raise EngineError("; ".join(refused.values()))
    cases = [(network, batch) for network in networks for batch in batches]
    taken: dict[tuple[str, int, Way], list[float]] = {}
    for _ in tqdm(range(runs + 1), desc="rounds", disable=None, leave=False):
        for network, batch in cases:
            for way, networks_set in opened.items():
                ms = _time(networks_set, network, batch)
                taken.setdefault((network, batch, way), []).append(ms)
    for networks_set in opened.values():
        networks_set.close()
    rows = tuple(
        BenchRow(
            network,
            *way,
            batch,
            # The first round compiles, fills caches and captures graphs.
            statistics.median(times[1:]),
            min(times[1:]),
            max(times[1:]),
        )
        for (network, batch, way), times in taken.items()
    )
    first = next(iter(opened.values())).manifest.name
    machine = f"{platform.machine()}, {platform.processor() or platform.system()}"
    return BenchResult(first, machine, runs, threads, rows, refused)


def _time(networks: NetworkSet, network: str, batch: int) -> float:
    """Milliseconds a sample of one call."""
    name, array = INPUTS[network][0], _samples(networks, network, batch)
    engine = {"lr": networks.lr, "hr": networks.hr, "rnn": networks.rnn}[network]
    start_ns = time.perf_counter_ns()
    engine.infer({name: array})
    return (time.perf_counter_ns() - start_ns) / 1e6 / batch


def _samples(networks: NetworkSet, network: str, batch: int) -> Array:
    """Return pixels or features that no network can take a short way through."""
    rng = np.random.default_rng(batch)
    if network == "rnn":
        return rng.random((batch, *networks.rnn_shape), np.float32)
    manifest = networks.manifest
    side = manifest.lr.tile_px if network == "lr" else manifest.hr.tile_px
    return rng.integers(0, 256, (batch, side, side, 3), np.uint8)
