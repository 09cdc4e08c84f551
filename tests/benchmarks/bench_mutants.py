"""Read many damaged slides and pictures, each in a child with bounds.

A slide is opened as a replay opens it: overview, then every field; a picture is read.
Whatever is in the file, it is read, refused in one line, or its fields are marked
unreadable. A traceback, a signal, a child over its memory or its time is a failure, and
is printed with the kind and seed that make it again (tests/mutants.py).

    python -m tests.benchmarks.bench_mutants --each 80
"""

import argparse
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from armicro.errors import ArmicroError
from armicro.picture import read_picture
from armicro.rig import Camera, Rig
from armicro.source.slide import SlideSource
from tests.mutants import KINDS, PICTURES, mutant

LIMIT_BYTES = 1536 << 20
"""Of address space: the libraries alone take half of it."""
LIMIT_S = 20
RIG = Rig(camera=Camera(width_px=400, height_px=320, um_per_px=0.25))
FAILED = "FAILED"


def look(path: Path, kind: str) -> str:
    """Read a file; return what became of it.

    Raises:
        Exception: whatever the code lets through, which is the failure looked for.
    """
    try:
        if kind in PICTURES:
            read_picture(path)
            return "read"
        with contextlib.closing(SlideSource(path, RIG)) as source:
            faults = [field.fault for field in source.fields()]
    except ArmicroError as error:
        return FAILED + " of lines" if "\n" in str(error) else "refused in one line"
    return "marked unreadable" if any(faults) else "read"


def look_in_child(path: Path, kind: str) -> tuple[str, int]:
    """``look`` with bounds on memory and time; and the peak of its memory in MB."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        signal.alarm(LIMIT_S)
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            said = look(path, kind)
        except BaseException as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{FAILED}: {error!r:.120} at {where.filename}:{where.lineno}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        os.write(writing, f"{peak} {said}".encode("utf-8", "replace")[:1000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if status or not text:
        return f"{FAILED}: signal {os.WTERMSIG(status)}", 0
    peak_mb, said = text.split(" ", 1)
    return said, int(peak_mb)


def main() -> int:
    """Read them all; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=80, help="mutants of each kind")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    args = parser.parse_args()
    failed, peak_mb, slowest_s = 0, 0, 0.0
    for kind in KINDS:
        counts: Counter[str] = Counter()
        for seed in range(args.first, args.first + args.each):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / kind
                path.write_bytes(mutant(kind, seed))
                start = time.monotonic()
                said, peak = look_in_child(path, kind)
            slowest_s = max(slowest_s, time.monotonic() - start)
            peak_mb = max(peak_mb, peak)
            if said.startswith(FAILED):
                print(f"  {kind} seed {seed}: {said}")
                failed += 1
                said = FAILED
            counts[said] += 1
        print(f"{kind}: " + ", ".join(f"{n} {said}" for said, n in counts.items()))
    print(
        f"{args.each * len(KINDS)} mutants: {failed} failed; peak {peak_mb} MB, "
        f"slowest {slowest_s:.1f} s"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
