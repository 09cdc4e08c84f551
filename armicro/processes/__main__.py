"""Where a child process begins: ``python -m armicro.processes NAME JOB``."""

import contextlib
import importlib
import sys
from pathlib import Path
from typing import get_args

import msgspec
import structlog

from armicro.errors import ArmicroError, missing_extra
from armicro.processes.job import read_job
from armicro.processes.life import Life, Name
from armicro.processes.log import set_up_logging

PROCESSES: dict[Name, str] = {
    "capture": "armicro.processes.capture",
    "infer": "armicro.processes.infer",
    "display": "armicro.processes.display",
    "keeper": "armicro.processes.keeper",
}
"""One module a process, each with ``run(job, life)``: loaded only where it runs."""


def main(name: Name, path: Path) -> int:
    """Run one process; what it could not do is left beside the job for the parent."""
    set_up_logging(name)
    job = read_job(path)
    with contextlib.closing(Life(name, job, folder=path.parent)) as life:
        life.beat("starting", at_once=True)
        try:
            importlib.import_module(PROCESSES[name]).run(job, life)
        except ArmicroError as error:
            return _leave_word(path.with_name(f"{name}.error"), error)
        # The supervisor restarts what fails; the log keeps why.
        except Exception as error:  # noqa: BLE001
            missing = missing_extra(error)
            if missing:
                # No restart installs it.
                said = ArmicroError(missing)
                return _leave_word(path.with_name(f"{name}.error"), said)
            structlog.get_logger().exception("process failed")
            return 70
        return 0


def _leave_word(path: Path, error: ArmicroError) -> int:
    """Leave the supervisor what ends the session; the status to end with."""
    said = {"message": str(error), "exit_status": error.exit_status}
    # Without a supervisor the folder is gone, and nobody reads it.
    with contextlib.suppress(FileNotFoundError):
        path.write_bytes(msgspec.json.encode(said))
    return error.exit_status


if __name__ == "__main__":
    _, given, job_path = sys.argv
    (chosen,) = (name for name in get_args(Name) if name == given)
    sys.exit(main(chosen, Path(job_path)))
