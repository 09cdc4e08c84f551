"""``armicro review``: go through a session's cells again, and decide.

For a second reader, or later: neither slide, microscope nor networks are needed, since
the journal keeps each cell's best view. Each reader sees his own decisions only.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from armicro.command.replay import add_reader
from armicro.command.report import folder_of
from armicro.console import add_json, show
from armicro.errors import SourceError
from armicro.field import Pixels, Place
from armicro.overlay import why_no_screen
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.overlay.view import cut_out
from armicro.processes.display import JournalNotebook, reader_of
from armicro.processes.job import alone
from armicro.report import Finding, SlideReport
from armicro.session.output import JOURNAL, summarise, write_outputs
from armicro.session.record import overview_of, read_session
from armicro.slide.journal import Journal

EXAMPLE = """\
examples:
  armicro review out/slide
  armicro review out/slide --reader "Dr. B. Second"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument("session", metavar="SESSION", type=Path, help="session folder")
    add_reader(parser)
    add_json(parser, "print slide.json at the end")


def run(args: argparse.Namespace) -> int:
    """Show the session until its window is closed, then write its files again.

    Raises:
        SourceError: there is no screen, no journal, or a session still runs there.
    """
    folder = folder_of(args.session)
    if why := why_no_screen(os.environ):
        raise SourceError(f"review needs a screen: {why}")
    from armicro.overlay.application import run_window

    with alone(folder), Journal(folder / JOURNAL, must_exist=True) as journal:
        kept = KeptSession(journal, reader_of(args.reader or ""))
        run_window(kept, folder=folder, notebook=kept)
        session = write_outputs(folder, journal)
    words = f"{session.slide.name}: {session.decided_text or 'nothing decided'}"
    show(summarise(session), f"{words} -> {folder}/report.html", as_json=args.json)
    return 0


class KeptSession(JournalNotebook):
    """A session as its journal keeps it: the window's feed and notebook in one."""

    def __init__(self, journal: Journal, reader: str) -> None:
        super().__init__(journal, reader)
        session = read_session(journal)
        told = SlideReport(
            session.slide.name,
            session.score,
            findings=session.findings,
            fields_dropped=session.fields_dropped,
            finished=True,
        )
        state = SlideState(**msgspec.structs.asdict(told), heard_ns=time.monotonic_ns())
        self._picked = 0
        self._snapshot = Snapshot(
            slide=state,
            source="kept session",
            overview=overview_of(journal),
            finished=True,
        )

    def poll(self) -> Snapshot:
        """The picked cell's surroundings, and the slide as it was at its end."""
        return self._snapshot

    def painted(self, seq: int, painted_ns: int) -> None:
        """Nothing: no picture here is live."""

    def crop(self, finding: Finding) -> Pixels | None:
        """The best view of a finding's cell, which becomes the field as well."""
        pixels = super().crop(finding)
        if pixels is None:
            return None
        self._picked += 1
        height_px, width_px = pixels.shape[:2]
        corner = (
            finding.x_um - finding.width_um / 2,
            finding.y_um - finding.height_um / 2,
        )
        field = LiveField(
            um_per_px=finding.width_um / width_px,
            seq=self._picked,
            taken_ns=time.monotonic_ns(),
            place=Place(*corner, 0.0, "slide_file"),
            width_px=width_px,
            height_px=height_px,
            render=lambda cut: cut_out(pixels, cut),
        )
        self._snapshot = replace(self._snapshot, field=field)
        return pixels
