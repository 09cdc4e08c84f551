"""How a test waits: for what happens, never for seconds to pass.

The machine may be busy with others: a process that is there in a second may take half a
minute, and a thread may find no core for one. So a limit here says "it hangs", not "it
is slow", and who waits for a process is told at once that it has died.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 240.0
"""What has not happened by then does not happen."""
PATIENCE_MS = int(1e3 * PATIENCE_S)
_TRIES = 5


def wait_until(
    holds: Callable[[], object],
    *,
    child: subprocess.Popen[bytes] | None = None,
    pause_s: float = 0.01,
) -> None:
    """Wait until it holds; what ``holds`` does itself may be what moves it on.

    Args:
        holds: asked again and again.
        child: who is to bring it about; dead, it fails the test with what it said.
        pause_s: between two looks.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if child is not None and child.poll() is not None and not holds():
            raise AssertionError(f"ended with {child.returncode}: {_said(child)}")
        assert time.monotonic() < deadline, f"not in {PATIENCE_S} s"
        time.sleep(pause_s)


def is_quicker(seconds: float, attempt: Callable[[], float]) -> bool:
    """Whether it can be done in less time: a core that others held proves nothing.

    Args:
        seconds: what it may take.
        attempt: does it, from the beginning, and returns the seconds that it took.
    """
    return any(attempt() < seconds for _ in range(_TRIES))


def descriptors() -> set[str]:
    """What this process has open, each by its own name: a new socket has a new one."""
    held = set()
    for link in Path("/proc/self/fd").iterdir():
        # The folder itself is listed too.
        with contextlib.suppress(OSError):
            held.add(f"{link.name} {link.readlink()}")
    return held


def _said(child: subprocess.Popen[bytes]) -> str:
    return child.communicate()[0].decode() if child.stdout is not None else ""
