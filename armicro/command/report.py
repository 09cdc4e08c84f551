"""``armicro report``: write a session's files again from its journal.

For a session that crashed, that still runs, or that an older armicro wrote. Nothing is
computed anew: networks and slide are not needed.
"""

import argparse
import sys
from pathlib import Path

from armicro.errors import SourceError
from armicro.processes.session import write_all
from armicro.session.output import JOURNAL, encode_summary, summarise
from armicro.session.record import Session
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
    parser.add_argument("--json", action="store_true", help="print slide.json of each")


def run(args: argparse.Namespace) -> int:
    """Write the files of each session.

    Raises:
        SourceError: a folder holds no journal, or one that cannot be read.
    """
    # All are looked up first: a misspelt last folder must not leave half the work.
    folders = [_folder(path) for path in args.sessions]
    for folder in folders:
        with Journal(folder / JOURNAL, must_exist=True) as journal:
            session = write_all(folder, journal, quiet=args.json)
        if args.json:
            sys.stdout.write(encode_summary(summarise(session)).decode())
        else:
            sys.stdout.write(f"{_sentence(session)} -> {folder / 'report.html'}\n")
    return 0


def _folder(path: Path) -> Path:
    folder = path.parent if path.name == JOURNAL else path
    if not (folder / JOURNAL).is_file():
        raise SourceError(
            f"{path}: holds no {JOURNAL}; expected a folder that armicro replay, demo "
            "or live wrote"
        )
    return folder


def _sentence(session: Session) -> str:
    """One line for people: what was read and what came of it."""
    state = "" if session.finished else ", not finished"
    return (
        f"{session.slide.name or 'unnamed slide'}: {session.verdict}, "
        f"{len(session.findings)} findings in {len(session.reports)} fields{state}"
    )
