"""Writers and readers are killed in mid-work; the others go on and nothing is left."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import armicro
from armicro.errors import WireError
from armicro.field import Field
from armicro.wire.ring import Ring
from tests.patience import PATIENCE_S, descriptors, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PEER = Path(__file__).with_name("peer.py")
SLOT_BYTES = 1_024 * 1_224 * 3


class Process:
    """A child of which every line can be waited for."""

    def __init__(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        root = Path(armicro.__file__).parents[1]
        self._process = subprocess.Popen(
            [sys.executable, str(PEER), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
            env=os.environ | {"PYTHONPATH": str(root)},
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def line(self) -> str:
        line = self._lines.get(timeout=PATIENCE_S)
        assert line is not None, f"ended with status {self._process.wait()}"
        return line

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start children that do not outlive the test."""
    with contextlib.ExitStack() as stack:

        def begin(role: str, ring: Ring) -> Process:
            address = f"ipc://{tmp_path}/fields"
            child = Process(role, ring.handle, address, pass_fds=ring.pass_fds)
            stack.callback(child.kill)
            assert child.line() == "started"
            return child

        yield begin


def shared_files() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if "armicro" in path.name}


def whole(reader: Process, count: int) -> int:
    """Wait for whole fields; no other word than "overwritten" may come between."""
    seen = 0
    while seen < count:
        word = reader.line()
        assert word in {"whole", "overwritten"}
        seen += word == "whole"
    return seen


def test_each_side_goes_on_when_the_other_is_killed(
    start: Callable[..., Process],
) -> None:
    files = shared_files()
    with Ring.create(3, slot_bytes=SLOT_BYTES) as ring:
        before = descriptors()
        writer, reader = start("write", ring), start("read", ring)
        assert whole(reader, 20)
        for _ in range(3):
            writer.kill()
            writer = start("write", ring)
            # The answer in flight may have been the dead writer's last.
            assert whole(reader, 20)
        reader.kill()
        reader = start("read", ring)
        assert whole(reader, 20)
        reader.kill()
        writer.kill()
        assert descriptors() <= before
    assert shared_files() == files


def test_a_ring_has_one_writer_at_a_time(
    start: Callable[..., Process], make_field: Callable[..., Field]
) -> None:
    with Ring.create(3, slot_bytes=SLOT_BYTES) as ring:
        writer, reader = start("write", ring), start("read", ring)
        whole(reader, 1)
        with pytest.raises(WireError, match="another process still writes"):
            ring.put(make_field(0))
        writer.kill()
        assert ring.put(make_field(0)) is not None


def test_memory_goes_with_the_last_process_however_it_ends(tmp_path: Path) -> None:
    files = shared_files()
    supervisor = Process("supervise", f"ipc://{tmp_path}/fields")
    pids = [supervisor.pid, *map(int, supervisor.line().split())]
    name = f"armicro-ring-{supervisor.pid}"
    try:
        wait_until(lambda: holders(name) == set(pids), pause_s=0.1)
        supervisor.kill()
        # Its children still hold the memory and go on: nothing is taken from them.
        assert holders(name) == set(pids[1:])
    finally:
        supervisor.kill()
        for pid in pids[1:]:
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not holders(name), pause_s=0.1)
    assert shared_files() == files


def holders(name: str) -> set[int]:
    """Processes that have a mapping of that name."""
    found, mapped = set(), re.compile(rf"{name}\b")
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mapped.search((folder / "maps").read_text()):
                    found.add(int(folder.name))
    return found
