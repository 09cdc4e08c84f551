"""infer's thread that writes the journal while the engine works on the next field."""

import contextlib
import queue
import threading
import time

from armicro.report import Account, Shown
from armicro.slide.journal import Journal

Stations = dict[str, int]
Facts = dict[str, object]
Item = tuple[Account, Account | None, Stations, Facts] | Shown


class Writer:
    """The thread that writes the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=4)
        self.error: Exception | None = None
        self.kept = 0
        """Number of the newest ``Shown`` that is in the journal."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def put(
        self,
        account: Account,
        late: Account | None,
        stations: Stations,
        facts: Facts,
    ) -> None:
        """Hand over a field, and what it caused to be found in the one before.

        Waits when the disk is slower than the engine.
        """
        self._put((account, late, stations, facts))

    def pass_by(self, shown: Shown) -> None:
        """Hand over what was shown, as ``put``."""
        self._put(shown)

    def close(self) -> None:
        """Write all that is queued, then end; may be called twice.

        Raises:
            DiskError: something of it, or before it, is not kept.
            Exception: whatever else ended the thread.
        """
        self._put(None)
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _put(self, item: Item | None) -> None:
        # With a limit: a thread that has failed meanwhile never makes room.
        while self.error is None:
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.2)
                return

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Shown):
                    self._journal.pass_by(item)
                    self.kept = item.number
                    continue
                (report, news), late, stations, facts = item
                stations["written"] = time.monotonic_ns()
                self._journal.write(report, news, stations, facts, late=late)
        # Any error of this thread is the process's: the main thread raises it.
        except Exception as error:  # noqa: BLE001
            self.error = error
