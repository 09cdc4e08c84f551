"""What a 15 MB field costs between two processes, by shared memory and by tcp.

    python tests/benchmarks/bench_wire.py [--seconds 4] [--json]

``asked`` is a reader that asks for field after field as infer does: fields a second.
``quick`` and ``slow`` are readers of a 30-a-second view that work 5 and 100 ms on each
field: the time from exposure until the pixels are in the reader's hands (for the ring a
copy of its own, 50th and 95th percentile), and how many of the fields it saw. Time on
the core for each field (of the writer and of the reader) is what a busy machine cannot
blur.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from armicro.field import Field
from armicro.wire.keys import make_keys
from armicro.wire.link import Answerer, Asker, Publisher, Subscriber, new_key_pair
from armicro.wire.ring import Ring
from armicro.wire.topic import Ask, Shot, View

WIDTH_PX, HEIGHT_PX, CAMERA_HZ = 2448, 2048, 30
READERS = {"asked": 0, "quick": 5, "slow": 100}
"""Milliseconds of work on each field."""
Child = subprocess.Popen[bytes]
WARM_UP = 5
"""Fields that a reader does not count."""


@dataclass(frozen=True)
class Way:
    """How the pixels travel."""

    name: str
    address: str
    keys: str
    ring: Ring | None


@dataclass
class Seen:
    """What a reader saw."""

    ages_ms: list[float] = field(default_factory=list)
    begun: float = 0.0
    begun_cpu: float = 0.0

    def take(self, shot: Shot, pixels: object) -> None:
        """Note a field that is in the reader's hands now."""
        if pixels is None:
            return
        self.begun = self.begun or time.monotonic()
        self.begun_cpu = self.begun_cpu or time.process_time()
        self.ages_ms.append((time.monotonic_ns() - shot.head.taken_ns) / 1e6)

    def summary(self) -> dict[str, float]:
        """Fields a second, and percentiles of their age."""
        ages = np.array(self.ages_ms[WARM_UP:] or [np.nan])
        p50, p95 = np.percentile(ages, (50, 95))
        return {
            "fields_per_s": round(
                len(self.ages_ms) / (time.monotonic() - self.begun), 1
            ),
            "reader_cpu_ms": round(
                (time.process_time() - self.begun_cpu) * 1e3 / len(self.ages_ms or [0]),
                1,
            ),
            "age_p50_ms": round(float(p50), 1),
            "age_p95_ms": round(float(p95), 1),
        }


def read(reader: str, address: str, keys: str, handle: str, seconds: float) -> None:
    """Be the other process; print what was seen."""
    seen = Seen()
    with ExitStack() as stack:
        ring = stack.enter_context(Ring.attach(handle)) if handle else None
        end = time.monotonic() + seconds
        if reader == "asked":
            asker = stack.enter_context(Asker(address, "fields", keys=keys))
            after = -1
            while time.monotonic() < end:
                parcel = asker.ask(Ask("bench", after), timeout_ms=100)
                if parcel is not None and isinstance(parcel.message, Shot):
                    shot = parcel.message
                    seen.take(shot, ring.read(shot) if ring else parcel.pixels)
                    after = shot.head.seq
        else:
            view = stack.enter_context(Subscriber(address, "view", keys=keys))
            while time.monotonic() < end:
                parcel = view.newest_parcel(timeout_ms=100)
                message = parcel.message if parcel is not None else None
                if parcel is not None and isinstance(message, View) and message.shot:
                    pixels = ring.read(message.shot) if ring else parcel.pixels
                    seen.take(message.shot, pixels)
                    time.sleep(READERS[reader] / 1e3)
    print(json.dumps(seen.summary()))


class Camera:
    """Fields of one picture, put on their way."""

    def __init__(self, way: Way) -> None:
        self._ring = way.ring
        rng = np.random.default_rng(0)
        self._pixels = rng.integers(0, 255, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
        self._seq = -1
        self._begun_cpu = time.process_time()
        self.pixels = None if way.ring else self._pixels
        """What must travel with the message."""

    def cpu_ms(self) -> float:
        """Time on the core for each field, of all threads of this process."""
        spent = time.process_time() - self._begun_cpu
        return round(spent * 1e3 / max(1, self._seq + 1), 1)

    def expose(self) -> Shot:
        """Take a field, and put it into the ring where there is one."""
        self._seq += 1
        taken = Field(0.25, self._seq, time.monotonic_ns(), pixels=self._pixels)
        spot = self._ring.put(taken) if self._ring else None
        return Shot(taken.head, time.monotonic_ns(), *(spot or ()))


def measure(way: Way, reader: str, seconds: float) -> dict[str, float]:
    """Be capture while the other process reads."""
    camera = Camera(way)
    with ExitStack() as stack:
        if reader == "asked":
            answerer = Answerer(way.address, "fields", keys=way.keys)
            stack.enter_context(answerer)
            child = stack.enter_context(start(way, reader, answerer.address, seconds))
            answer_asks(answerer, camera, child)
        else:
            publisher = Publisher(way.address, "view", keys=way.keys)
            stack.enter_context(publisher)
            child = stack.enter_context(start(way, reader, publisher.address, seconds))
            publish_views(publisher, camera, child)
        summary: dict[str, float] = json.loads(child.communicate()[0])
    return summary | {"writer_cpu_ms": camera.cpu_ms()}


def start(way: Way, reader: str, address: str, seconds: float) -> Child:
    """Start the other process."""
    handle = way.ring.handle if way.ring else ""
    told = [reader, address, way.keys, handle, "--seconds", str(seconds)]
    return subprocess.Popen(
        [sys.executable, __file__, "--read", *told],
        stdout=subprocess.PIPE,
        pass_fds=way.ring.pass_fds if way.ring else (),
    )


def answer_asks(answerer: Answerer, camera: Camera, child: Child) -> None:
    """Give a field whenever one is asked for."""
    while child.poll() is None:
        for peer, _ in answerer.receive(timeout_ms=20):
            answerer.reply(peer, camera.expose(), camera.pixels)


def publish_views(publisher: Publisher, camera: Camera, child: Child) -> None:
    """Show a field 30 times a second."""
    due = time.monotonic()
    while child.poll() is None:
        publisher.send(View(camera.expose()), camera.pixels)
        due += 1 / CAMERA_HZ
        time.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def ways() -> Iterator[list[Way]]:
    """The two ways that pixels can travel."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Ring.create(4, slot_bytes=WIDTH_PX * HEIGHT_PX * 3) as ring,
    ):
        keys = Path(folder) / "keys"
        make_keys(keys, ("server", "client"), new_key_pair)
        yield [
            Way("ring", f"ipc://{folder}/end", "", ring),
            Way("tcp", "tcp://127.0.0.1:*", str(keys), None),
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        reader, address, keys, handle = args.read
        read(reader, address, keys, handle, args.seconds)
        return
    rows = []
    with ways() as all_ways:
        for way in all_ways:
            for reader in READERS:
                row = measure(way, reader, args.seconds)
                rows.append({"way": way.name, "reader": reader} | row)
                if not args.json:
                    print(
                        f"{way.name:11} {reader:6} {row['fields_per_s']:6.1f} fields/s,"
                        f" age {row['age_p50_ms']:6.1f} ms median,"
                        f" {row['age_p95_ms']:6.1f} p95; on the core"
                        f" {row['writer_cpu_ms']:.1f} + {row['reader_cpu_ms']:.1f} ms",
                        flush=True,
                    )
    if args.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
