"""capture's thread that stitches fields into the mosaic, and never holds it up.

In live the newest field replaces one that still waits: what matters is where the stage
stands. In a replay every field is stitched, and capture waits for it. A mosaic that
cannot be written ends, with a reason; the session goes on.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Literal

import cv2
import structlog

from armicro.errors import ArmicroError
from armicro.field import Field
from armicro.processes.job import Job
from armicro.session.stitcher import Stitcher
from armicro.slide.mosaic_file import MOSAIC
from armicro.source.recording import is_recording

_NICENESS = 10
_IDLE_S = 0.05
_TILES_A_TURN = 4
"""Written after a field: about 40 ms."""


def keeps_map(job: Job) -> bool:
    """Whether a session's fields are stitched; a slide file is a map already."""
    if not job.rig.map.keep:
        return False
    no_file = job.mode == "live" or (job.slide and is_recording(Path(job.slide)))
    return job.map or bool(no_file)


class Keeper:
    """The thread that stitches.

    Args:
        path: the mosaic's file.
        newest: drop a field that waits when a newer one comes (live).
    """

    def __init__(self, path: Path, *, newest: bool) -> None:
        self._path, self._newest = path, newest
        self._waiting: Field | None = None
        self._changed = threading.Condition()
        self._ended = False
        self.dropped = 0
        """Fields that were replaced by newer ones before they were stitched."""
        self.problem = ""
        """Why nothing is stitched any more; empty while all is well."""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def put(self, field: Field) -> None:
        """Hand a field over; its pixels are not copied."""
        with self._changed:
            if not self._newest:
                self._changed.wait_for(lambda: self._waiting is None or self.problem)
            if self.problem:
                return
            self.dropped += self._waiting is not None
            self._waiting = field
            self._changed.notify_all()

    def close(self) -> None:
        """Stitch what waits, write all, end."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(10.0)

    def _run(self) -> None:
        if sys.platform == "linux":
            # Of this thread alone: stitching takes what the others leave.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        try:
            with contextlib.closing(Stitcher(self._path)) as stitcher:
                self._stitch(stitcher)
        except (ArmicroError, OSError, cv2.error) as error:
            structlog.get_logger().warning("no map is kept", reason=str(error))
            with self._changed:
                self.problem = str(error)
                self._changed.notify_all()

    def _stitch(self, stitcher: Stitcher) -> None:
        while True:
            with self._changed:
                if self._waiting is None and not self._ended:
                    self._changed.wait(_IDLE_S)
                field, self._waiting = self._waiting, None
                self._changed.notify_all()
                if field is None and self._ended:
                    return
            if field is not None:
                stitcher.update(field)
            stitcher.write(_TILES_A_TURN, all_tiles=field is None)


def open_keeper(job: Job, process: Literal["capture", "infer"]) -> Keeper | None:
    """The keeper of a job; None where this process keeps no map.

    Capture sees every field, but the session's folder is where infer runs.
    """
    keeper = "capture" if job.part == "all" else "infer"
    if not keeps_map(job) or process != keeper:
        return None
    return Keeper(job.folder / MOSAIC, newest=job.mode == "live")
