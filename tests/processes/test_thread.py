"""The writer's thread on a disk that fails."""

import threading
import time
from typing import cast

from armicro.errors import SourceError
from armicro.processes.thread import Writer
from armicro.report import Account, FieldReport
from armicro.slide.journal import Journal
from tests.patience import PATIENCE_S

FULL = "session.sqlite: database or disk is full"


class FullDisk:
    """A journal whose first write takes a while and then fails."""

    def write(self, *_: object, **__: object) -> bool:
        time.sleep(0.5)
        raise SourceError(FULL)


def test_close_says_what_was_not_kept_when_the_disk_fails_under_it() -> None:
    writer = Writer(cast(Journal, FullDisk()))
    for seq in range(5):
        writer.put(Account(FieldReport(seq, "blank"), []), None, {}, {})
    caught: list[SourceError] = []

    def close() -> None:
        for _ in range(2):
            try:
                writer.close()
            except SourceError as error:
                caught.append(error)

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert [str(error) for error in caught] == [FULL, FULL]
