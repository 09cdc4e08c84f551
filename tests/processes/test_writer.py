"""The writer's thread on a disk that fails."""

import threading
import time
from typing import cast

from armicro.errors import SourceError
from armicro.processes.writer import Writer
from armicro.report import Account, FieldReport
from armicro.slide.journal import Journal


class FullDisk:
    """A journal whose first write takes a while and then fails."""

    def write(self, *_: object, **__: object) -> bool:
        time.sleep(0.5)
        raise SourceError("session.sqlite: database or disk is full")


def test_close_returns_when_the_disk_fails_under_it() -> None:
    writer = Writer(cast(Journal, FullDisk()))
    for seq in range(5):
        writer.put(Account(FieldReport(seq, "blank"), []), None, {}, {})
    closing = threading.Thread(target=writer.close, daemon=True)
    closing.start()
    closing.join(5.0)
    assert not closing.is_alive()
    assert isinstance(writer.error, SourceError)
