"""The thread that waits for the source, so that capture never does.

In replay fields queue two deep and the source waits for the slide's pipeline; in live
only the newest field is kept. A camera that goes away is opened again until it is back,
and ``seq`` goes on from where it was.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Container
from typing import Protocol

from msgspec.structs import replace

from armicro.errors import SourceError, SourceLostError
from armicro.field import Field
from armicro.source import Card, Source
from armicro.verdict import state_text

REOPEN_S = 0.5

Opener = Callable[[], Source]


class Judge(Protocol):
    """Says of fields whether their scale is to be trusted."""

    def opened(self, card: Card) -> None:
        """A source was opened; after a loss it may be another camera."""

    def judged(self, field: Field) -> Field:
        """The field with the reason why not, where there is one."""


class Reader:
    """Fields of a source, read ahead in a thread."""

    def __init__(
        self,
        opener: Opener,
        *,
        done: Container[int] = (),
        newest: bool = False,
        interval_s: float = 0.0,
        judge: Judge | None = None,
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
