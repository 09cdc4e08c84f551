"""Where fields were seen, packed for the display's map."""

import struct

from armicro.pipeline import SEEN, Pipeline
from armicro.report import MOST_SEEN, FieldReport
from armicro.slide.coverage import BIN_UM


class SeenFields:
    """Where fields were seen, as the display is told: each place once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.rows = b""
        self._pipeline = pipeline
        self._known: set[tuple[int, ...]] = set()
        self._last: FieldReport | None = None

    def add(self, report: FieldReport) -> None:
        """Take a field's place; one that differs by less than a bin is not news."""
        # A moving or blurred field tells nothing of the slide that would last.
        if report.place is None or report.state in ("moving", "out_of_focus"):
            return
        # What waited in the field before may have been seen since.
        if self._last is not None:
            self._add(self._last)
        self._add(report)
        self._last = report

    def _add(self, report: FieldReport) -> None:
        readable = report.state in SEEN
        for box in self._pipeline.seen_boxes(report):
            key = (*(round(value / BIN_UM) for value in box), int(readable))
            if key not in self._known and len(self._known) < MOST_SEEN:
                self._known.add(key)
                self.rows += struct.pack("<5f", *box, readable)
