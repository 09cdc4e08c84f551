"""``armicro calibrate latency``: how late what is drawn comes."""

import argparse
import csv
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from armicro.calibrate.certificate import Instrument
from armicro.calibrate.latency import (
    FEWEST_CHANGES,
    Blinks,
    Delay,
    blink_times,
    delay_of,
    find_blink,
    simulate_blinks,
    solve_delay,
)
from armicro.calibrate.procedure import measure_latency
from armicro.certificate import begun_for, now, read_certificate
from armicro.command.calibrate.picture import (
    add_result_arguments,
    camera_of,
    keep,
    tell,
)
from armicro.errors import CalibrationError
from armicro.field import Field
from armicro.rig import read_rig
from armicro.session.record import Leg, legs_of
from armicro.source import SourceCard
from armicro.source.identity import instrument_of

Row = TypeVar("Row")
PAINTED = "painted.csv"
_CELLS_WH = (32, 26)
_SIMULATED_MS = 48.0
_LAST_S = 1.2
_LONGEST_MS = 3_600_000.0
"""A field that is painted an hour late is none."""

EXAMPLE = """\
examples:
  armicro calibrate latency --session out/2026-11-24_101500
  armicro calibrate latency --rig rig.toml --screen 1 \\
      --session out/2026-11-24_101500 --certificate certificates/20x.toml
  armicro calibrate latency --simulated 7

A session with a window measures the software, from the end of exposure to painted. The
rig measures what no program knows: from painted to light, and back through the camera.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--session", type=Path, metavar="DIR", help="folder that armicro live wrote"
    )
    parser.add_argument("--screen", type=int, default=0, help="number of the display")
    parser.add_argument(
        "--changes", type=int, default=120, help="blinks of the display (default: 120)"
    )
    parser.add_argument(
        "--simulated",
        type=int,
        metavar="SEED",
        help=f"a pretended display and camera of {_SIMULATED_MS:g} ms",
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure what there is to measure."""
    if args.certificate and not args.session:
        raise CalibrationError(
            "latency: a certificate needs the software's part too; run armicro live "
            "with a window, then give its folder as --session"
        )
    if args.certificate and not args.rig:
        read_certificate(args.certificate)
    software, legs = _read_session(args.session) if args.session else (None, [])
    light, card = _measure_light(args)
    outcome = measure_latency(software, light, now())
    if args.certificate:
        keep(args.certificate, _instrument(args, card), outcome, by=args.by)
    stations = [
        f"  {leg.start} to {leg.end}: {leg.p50_ms:.1f} ms, {leg.p95_ms:.1f} ms"
        for leg in legs
    ]
    lines = [outcome.account, *stations, outcome.words]
    tell(args, outcome.numbers | {"stations": legs}, "\n".join(lines))
    return 0


def _read_session(folder: Path) -> tuple[Delay, list[Leg]]:
    """Grab to painted, and the stations on the way to the findings."""
    painted = _rows(folder / PAINTED, _painted_ms)
    stations = folder / "latency.csv"
    legs = legs_of(_rows(stations, _stations)) if stations.exists() else []
    # A percentile of a few fields is none.
    return delay_of(painted), [leg for leg in legs if leg.fields >= FEWEST_CHANGES]


def _rows(path: Path, of: Callable[[dict[str, str]], Row]) -> list[Row]:
    """What each row of a table says.

    Raises:
        CalibrationError: it is missing, or not what a session writes.
    """
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows.extend(of(_whole(row)) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        where = f"line {len(rows) + 2}: {error}"
        seen = error.strerror if isinstance(error, OSError) else where
        raise CalibrationError(
            f"{path}: {seen}; expected the folder of a session that ran with a window "
            "and has ended"
        ) from error
    return rows


def _whole(row: dict[str, str]) -> dict[str, str]:
    if None in row or None in row.values():
        raise ValueError("a row has another length than the first")
    return row


def _painted_ms(row: dict[str, str]) -> float:
    value = float(row["grab_to_painted_ms"])
    if not 0 <= value <= _LONGEST_MS:
        raise ValueError(f"{value:g} ms, expected 0 to {_LONGEST_MS:g}")
    return value


def _stations(row: dict[str, str]) -> tuple[int, dict[str, int]]:
    passed = {
        name.removesuffix("_ns"): int(value)
        for name, value in row.items()
        if name != "seq" and value
    }
    return int(row["seq"]), passed


def _measure_light(args: argparse.Namespace) -> tuple[Delay | None, SourceCard | None]:
    """From painted to light on the display, and back through the camera."""
    if args.simulated is not None:
        blinks = simulate_blinks(
            args.simulated, delay_ms=_SIMULATED_MS, changes=args.changes
        )
        return _solve(blinks, exposure_ms=5.0), None
    if not args.rig:
        return None, None
    rig = read_rig(args.rig)
    with camera_of(rig) as (card, fields):
        if args.certificate:
            begun_for(args.certificate, instrument_of(rig, card))
        blinks = _blink(args, fields)
    return _solve(blinks, exposure_ms=(rig.camera.exposure_us or 0.0) / 1000), card


def _solve(blinks: Blinks, *, exposure_ms: float) -> Delay:
    lit = find_blink(blinks.cells)
    return solve_delay(blinks.changes_ns, lit, blinks.taken_ns, exposure_ms=exposure_ms)


def _blink(args: argparse.Namespace, fields: Iterator[Field]) -> Blinks:
    """Blink with the display while the camera looks."""
    # Qt is loaded only where a window opens.
    from armicro.overlay.application import FullScreen

    watch = _Watch(fields)
    with watch, FullScreen(args.screen) as screen:
        width, height = screen.size_px
        dark, white = (np.full((height, width, 3), v, np.uint8) for v in (0, 255))
        screen.show_picture(dark)
        time.sleep(_LAST_S)
        changes = []
        pauses = blink_times(time.monotonic_ns(), args.changes)
        for number, pause_ms in enumerate(tqdm(pauses, unit="blink")):
            changes.append(screen.show_picture(dark if number % 2 else white))
            time.sleep(pause_ms / 1000)
        time.sleep(_LAST_S)
    return Blinks(changes, watch.taken_ns, np.array(watch.cells))


class _Watch:
    """Reads the camera in a thread of its own, so that no picture waits for Qt."""

    def __init__(self, fields: Iterator[Field]) -> None:
        self.taken_ns: list[int] = []
        self.cells: list[NDArray[np.float32]] = []
        self._fields, self._ended = fields, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        for field in self._fields:
            green = np.ascontiguousarray(field.pixels[::2, ::2, 1])
            small = cv2.resize(green, _CELLS_WH, interpolation=cv2.INTER_AREA)
            self.taken_ns.append(field.taken_ns)
            self.cells.append(small.astype(np.float32).ravel())
            if self._ended.is_set():
                return


def _instrument(args: argparse.Namespace, card: SourceCard | None) -> Instrument:
    if card is not None:
        return instrument_of(read_rig(args.rig), card)
    # A session alone says nothing of the camera: the certificate's is meant.
    return read_certificate(args.certificate).instrument
