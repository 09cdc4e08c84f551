"""``armicro report``: write a session's files again from its journal.

For a session that crashed, that still runs, or that an older armicro wrote. Nothing is
computed anew: networks and slide are not needed.
"""

import argparse
from pathlib import Path

from armicro.console import add_json, show
from armicro.errors import SourceError
from armicro.processes.session import write_all
from armicro.session.output import JOURNAL, summarise
from armicro.slide.journal import Journal

EXAMPLE = """\
examples:
  armicro report out/slide
  armicro report out/slide --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "sessions", nargs="+", metavar="SESSION", type=Path, help="session folder"
    )
    add_json(parser, "print slide.json of each")


def run(args: argparse.Namespace) -> int:
    """Write the files of each session.

    Raises:
        SourceError: a folder holds no journal, or one that cannot be read.
    """
    # All are looked up first: a misspelt last folder must not leave half the work.
    folders = [folder_of(path) for path in args.sessions]
    for folder in folders:
        with Journal(folder / JOURNAL, must_exist=True) as journal:
            session = write_all(folder, journal, quiet=args.json)
        state = "" if session.finished else ", not finished"
        words = (
            f"{session.slide.name or 'unnamed slide'}: {session.verdict}, "
            f"{len(session.findings)} findings in {len(session.reports)} fields{state} "
            f"-> {folder / 'report.html'}"
        )
        show(summarise(session), words, as_json=args.json)
    return 0


def folder_of(path: Path) -> Path:
    """Return the session folder that a path names, itself or by its journal.

    Raises:
        SourceError: it is none.
    """
    folder = path.parent if path.name == JOURNAL else path
    if not (folder / JOURNAL).is_file():
        raise SourceError(
            f"{path}: holds no {JOURNAL}; expected a folder that armicro replay, demo "
            "or live wrote"
        )
    return folder
