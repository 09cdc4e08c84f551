"""A child's signals: many at once, as a killed supervisor's threads send them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

CHILD = """
import sys, time
from pathlib import Path
from armicro.processes.job import Job
from armicro.processes.life import Life
from armicro.rig import Rig

folder = Path(sys.argv[1])
job = Job(
    session="",
    mode="replay",
    rig=Rig(),
    out=str(folder),
    addresses={"health": f"ipc://{folder}/health"},
    supervisor_pid=int(sys.argv[2]),
)
life = Life("capture", job, folder=folder)
print("ready", flush=True)
while not life.stopping:
    pass
until = time.monotonic() + 0.5
while time.monotonic() < until:
    assert life.stopping
life.close()
"""


def test_a_burst_of_signals_ends_a_child_as_one_does(short_folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(short_folder), str(os.getpid())],
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        for _ in range(20_000):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        # A handler that waits for a lock hangs here, and for ever.
        assert child.wait(timeout=30) == 0
