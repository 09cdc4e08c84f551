"""The thread that waits for the source, so that capture never does, and whom it trusts.

In replay fields queue two deep and the source waits for the slide's pipeline; in live
only the newest field is kept. A camera that goes away is opened again until it is back,
and ``seq`` goes on from where it was. At its opening, and while it runs, it is asked
whether its fields may be believed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace

from armicro.calibrate.drift import DriftWatch, Verdict
from armicro.certificate import now
from armicro.errors import SourceError, SourceLostError
from armicro.field import Field
from armicro.processes.job import Job
from armicro.rig import Camera, Rig
from armicro.source import Source, SourceCard
from armicro.source.identity import why_void
from armicro.source.open import open_source
from armicro.verdict import MEASURE_AGAIN, mended, state_text

REOPEN_S = 0.5

Opener = Callable[[], Source]


def open_job_source(job: Job) -> Source:
    """Open the source that a job names."""
    return open_source(
        job.rig,
        slide=Path(job.slide) if job.slide else None,
        um_per_px=job.um_per_px,
        region_px=job.region_px,
    )


class Trust:
    """The rig's certificate, held against what the camera is and shows."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._drift: DriftWatch | None = None
        self._void = ""
        self._ends = False
        self.warning = ""
        """What the operator should see to, though boxes may stay."""

    def opened(self, card: SourceCard) -> None:
        """Judge a camera that was opened: what comes back may be another."""
        why = why_void(self._rig, card, now())
        self._void = mended(why, MEASURE_AGAIN) if why else ""
        self._ends = card.ends
        # What a file plays was not taken by this instrument.
        watched = not card.ends and not self._void
        self._drift = DriftWatch(self._rig.calibration) if watched else None

    def judged(self, field: Field) -> Field:
        """The field, with the reason why its scale is not to be trusted."""
        if not self._ends and self._is_of_another_size(field):
            return _of_another_size(field, self._rig.camera)
        verdict = self._drift.update(field) if self._drift else Verdict()
        self.warning = verdict.warning
        voided = field.voided or self._void or verdict.void
        return replace(field, voided=voided) if voided else field

    def _is_of_another_size(self, field: Field) -> bool:
        """Whether a camera's picture is not of the size for which its scale holds."""
        held, camera = self._rig.calibration, self._rig.camera
        made_for = camera if held is None else held.instrument
        wh_px = made_for.width_px, made_for.height_px
        # The ring's slots have the rig's size.
        fits = field.pixels.size <= 3 * camera.width_px * camera.height_px
        return field.pixels.shape[1::-1] != wh_px or not fits


def _of_another_size(field: Field, camera: Camera) -> Field:
    """A camera's field that may be binned or resized: shown, within the rig's size."""
    height_px, width_px = field.pixels.shape[:2]
    # Its scale may be another.
    voided = state_text(
        "another_size",
        seen=f"{width_px}x{height_px}",
        expected=f"{camera.width_px}x{camera.height_px}",
    )
    pixels = field.pixels
    share = min(camera.width_px / width_px, camera.height_px / height_px)
    if share < 1:
        size_px = max(1, int(width_px * share)), max(1, int(height_px * share))
        shrunk = cv2.resize(pixels, size_px, interpolation=cv2.INTER_AREA)
        pixels = np.asarray(shrunk, np.uint8)
    return replace(field, pixels=pixels, voided=field.voided or voided)


class Reader:
    """Fields of a source, read ahead in a thread."""

    def __init__(
        self,
        opener: Opener,
        *,
        done: Container[int] = (),
        newest: bool = False,
        interval_s: float = 0.0,
        judge: Trust | None = None,
    ) -> None:
        self._opener = opener
        self._judge = judge
        self._done = done
        self._first_seq = 0
        self._newest = newest
        self._interval_s = interval_s
        self._depth = 1 if newest else 2
        self._queue: list[Field] = []
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._source: Source | None = None
        self.problem = state_text("source_opening")
        """Why there are no fields now; empty when there are."""
        self.error: Exception | None = None
        """What ended the reading for good."""
        self.exhausted = False
        self.grabbed = 0
        self.planned: int | None = None
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def take(self, *, timeout_s: float) -> Field | None:
        """Next field (replay) or the newest (live); None when there is none yet.

        Raises:
            SourceError: the source cannot be used; in replay also when it is lost.
            Exception: whatever else ended the thread, which must not pass in silence.
        """
        with self._changed:
            if not self._queue:
                self._changed.wait(timeout_s)
            if self._queue:
                field = self._queue.pop(0)
                self._changed.notify_all()
                return field
        if self.error is not None:
            raise self.error
        return None

    @property
    def finished(self) -> bool:
        """Whether every field was read and taken."""
        with self._changed:
            return self.exhausted and not self._queue

    def close(self) -> None:
        """Stop reading and close the source."""
        self._ended.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                try:
                    self._read()
                    break
                except SourceError as error:
                    # A camera that was there once comes back; until then there is none.
                    gone = self.grabbed or isinstance(error, SourceLostError)
                    if not (self._newest and gone):
                        raise
                    self.problem = str(error)
                    self._ended.wait(REOPEN_S)
        # Any error of this thread is the process's: ``take`` raises it.
        except Exception as error:  # noqa: BLE001
            self.error = error
        with self._changed:
            self.exhausted = self.error is None
            self._changed.notify_all()

    def _read(self) -> None:
        with contextlib.closing(self._opener()) as source:
            self.planned = source.card.fields_planned
            if self._judge is not None:
                self._judge.opened(source.card)
            first, due = self._first_seq, time.monotonic()
            for field in source.fields(done=self._done):
                self.problem = ""
                self.grabbed += 1
                judged = self._judge.judged(field) if self._judge else field
                self._put(replace(judged, seq=first + field.seq) if first else judged)
                self._first_seq = first + field.seq + 1 if self._newest else first
                due = max(due + self._interval_s, time.monotonic())
                if self._ended.wait(max(0.0, due - time.monotonic())):
                    return

    def _put(self, field: Field) -> None:
        with self._changed:
            while len(self._queue) >= self._depth and not self._ended.is_set():
                if self._newest:
                    self._queue.clear()
                    break
                self._changed.wait(0.2)
            self._queue.append(field)
            self._changed.notify_all()
