"""``python -m armicro.processes NAME JOB``: one child of a supervisor."""

import sys
from pathlib import Path
from typing import get_args

from armicro.processes.life import main
from armicro.wire.topic import ProcessName

if __name__ == "__main__":
    _, given, job_path = sys.argv
    (chosen,) = (name for name in get_args(ProcessName) if name == given)
    sys.exit(main(chosen, Path(job_path)))
