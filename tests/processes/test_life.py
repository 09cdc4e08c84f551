"""A child's signals: many at once, as a killed supervisor's threads send them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

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
        assert child.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("driver", "module", "raised", "said"),
    [
        (
            "basler",
            "pypylon",
            "ModuleNotFoundError(name='pypylon')",
            "is not installed",
        ),
        ("basler", "pypylon", "OSError('no libusb')", "cannot be loaded (no libusb)"),
        ("micromanager", "pymmcore", "ImportError('old')", "(old)"),
    ],
)
def test_a_driver_that_a_child_lacks_is_one_line_and_status_two(
    driver: str, module: str, raised: str, said: str, tmp_path: Path, tiny_set: Path
) -> None:
    package = tmp_path / "lib" / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise {raised}\n")
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'[camera]\ndriver = "{driver}"\n[micromanager]\nlines = ["a"]\n'
        f'[network]\nset = "{tiny_set}"\nthreads = 1\n'
    )
    path = os.pathsep.join([str(package.parent), *sys.path])
    options = ["--rig", str(rig), "--headless", "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-m", "armicro", "live", *options],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert f"{module} " in last
    assert said in last
    assert "; expected the extra " in last
    assert "Traceback" not in ended.stderr
