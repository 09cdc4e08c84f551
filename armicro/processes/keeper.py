"""keeper: stitches what a live camera shows into the mosaic, beside all the others.

A process of its own, at low priority, fed by capture's newest word and the ring: a
thread in capture that stitches, and holds the interpreter while the system has no core
for it, was seen to hold up fields by a tenth of a second. In a replay infer stitches
every field that it takes, before the field counts as done. A mosaic that cannot be
written ends, with a reason; the session goes on.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import cv2
import structlog

from armicro.errors import ArmicroError
from armicro.field import Field
from armicro.mosaic import MOSAIC
from armicro.processes.job import Job
from armicro.processes.life import Life
from armicro.session.slide_file import Stitcher
from armicro.source.recording import is_recording
from armicro.wire.codec import field_from_shot
from armicro.wire.link import Subscriber
from armicro.wire.ring import Ring
from armicro.wire.topic import Shot, View

NICENESS = 10
INTERVAL_S = 0.1
"""A stage that moves by half a field in that time smears what it shows."""
_TURN_MS = 50
_TILES_A_TURN = 8


def keeps_map(job: Job) -> bool:
    """Whether a session's fields are stitched; a slide file is a map already."""
    if not job.rig.map.keep:
        return False
    asked = job.map or job.mode == "live" or job.rig.scan.hide_place
    return asked or (bool(job.slide) and is_recording(Path(job.slide)))


def stitches_beside(job: Job) -> bool:
    """Whether this process does it; else infer does, where the session's folder is."""
    return keeps_map(job) and job.mode == "live" and job.part == "all"


class Keeper:
    """A mosaic that may fail, but not its session."""

    def __init__(self, path: Path) -> None:
        self._stitcher: Stitcher | None = None
        self.problem = ""
        """Why nothing is stitched any more; empty while all is well."""
        with self._told():
            self._stitcher = Stitcher(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, field: Field, *, at_once: bool = False) -> None:
        """Stitch a field; with ``at_once`` all of it is on disk on return."""
        with self._told():
            if self._stitcher is not None:
                self._stitcher.update(field)
                while self._stitcher.write(_TILES_A_TURN, all_tiles=at_once):
                    pass

    def rest(self) -> bool:
        """Write a little of what lies under the newest field; False: nothing left."""
        with self._told():
            if self._stitcher is not None:
                return self._stitcher.write(1, all_tiles=True)
        return False

    def close(self) -> None:
        """Write all and close the file; may be called twice."""
        with self._told():
            stitcher, self._stitcher = self._stitcher, None
            if stitcher is not None:
                stitcher.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ArmicroError, OSError, cv2.error) as error:
            structlog.get_logger().warning("no map is kept", reason=str(error))
            self.problem = f"no whole map is kept: {error}"
            self._stitcher = None


def run(job: Job, life: Life) -> None:
    """Run the process until it is told to end."""
    life.beat("starting", at_once=True)
    if sys.platform != "win32":
        os.nice(NICENESS)
    cv2.setNumThreads(1)
    with (
        Ring.attach(job.ring) as ring,
        Subscriber(job.addresses["view"], "view", keys=job.rig.wire.keys) as view,
        Keeper(job.folder / MOSAIC) as keeper,
    ):
        fields = 0
        while not life.stopping:
            begun = time.monotonic()
            message = view.newest(timeout_ms=_TURN_MS)
            field = _field(message, ring) if isinstance(message, View) else None
            if field is not None:
                keeper.take(field)
                fields += 1
            while keeper.rest() and time.monotonic() < begun + INTERVAL_S:
                pass
            life.beat(
                text=keeper.problem,
                fields=fields,
                messages_dropped=view.dropped.total() + ring.dropped,
            )
            time.sleep(max(0.0, begun + INTERVAL_S - time.monotonic()))


def _field(message: View, ring: Ring) -> Field | None:
    """The newest field, out of the ring; None when it was overwritten meanwhile."""
    shot: Shot | None = message.shot
    if shot is None or shot.head.place is None:
        return None
    pixels = ring.read(shot)
    return None if pixels is None else field_from_shot(shot, pixels)
