"""Records a live session beside it: compressing must not hold up the camera.

One field at a time is compressed on a thread of its own. A field that comes while it is
busy is not recorded, and counted: the recording then has the gap in ``seq`` that
everything live has. PNG compression runs outside Python's lock.
"""

import threading
from pathlib import Path
from typing import Self

from armicro.errors import SourceError
from armicro.field import Field
from armicro.source import Card
from armicro.source.recording import RecordingWriter


class Recorder:
    """Takes what it has time for of the fields that are offered."""

    def __init__(self, folder: Path, card: Card) -> None:
        """Start a recording, or go on with one; see ``RecordingWriter``."""
        self._writer = RecordingWriter(folder, card)
        self._changed = threading.Condition()
        self._field: Field | None = None
        self._closed = False
        self._error: SourceError | None = None
        self.recorded = 0
        self.skipped = 0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def offer(self, field: Field) -> bool:
        """Hand over a field; its pixels must not change afterwards.

        Returns:
            Whether it will be recorded.

        Raises:
            SourceError: an earlier field could not be written.
        """
        with self._changed:
            if self._error is not None:
                raise self._error
            if self._field is not None or self._closed:
                self.skipped += 1
                return False
            self._field = field
            self._changed.notify_all()
            return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._field is not None or self._closed)
                field = self._field
            if field is None:
                return
            try:
                self._writer.write(field)
            except SourceError as error:
                with self._changed:
                    self._error = error
            with self._changed:
                self._field = None
                self.recorded += self._error is None

    def close(self) -> None:
        """Finish the field in hand and end the recording; may be called twice.

        Raises:
            SourceError: a field could not be written.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._writer.close()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
