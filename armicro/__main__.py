"""The commands: one table, one file a command, loaded only when it is called."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from armicro import __version__
from armicro.errors import DISK_REMEDY, ArmicroError, missing_extra, one_line


class Command(NamedTuple):
    """Where a command lives and what it does, in one line."""

    module: str
    summary: str


COMMANDS = {
    "demo": Command("armicro.command.demo", "draw a small slide and read it"),
    "replay": Command("armicro.command.replay", "read slides through the stream"),
    "live": Command("armicro.command.live", "assist at a microscope"),
    "review": Command("armicro.command.review", "go through a session's cells again"),
    "report": Command("armicro.command.report", "write a session's files again"),
    "calibrate": Command(
        "armicro.command.calibrate", "measure scale, stage, display, light, latency"
    ),
    "phantom": Command("armicro.command.phantom", "draw a slide with known truth"),
    "engine": Command("armicro.command.engine", "list, check, build, time networks"),
    "train": Command("armicro.train.command", "train a network set"),
    "validate": Command("armicro.validate.command", "measure a network set"),
    "keys": Command("armicro.command.keys", "make keys for a second machine"),
    "doctor": Command("armicro.command.doctor", "say what this machine has"),
}

NOTICE = "Research use only: not a diagnostic device."


class _Parser(argparse.ArgumentParser):
    """Says wrong use in one line, as every other error; its subcommands too."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status is 0 done, 1 failed, 2 wrong use or bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = _choose(given)
    try:
        # Loading takes a second or two: Ctrl-C may come there as well.
        return _run(name, given[1:])
    except ArmicroError as error:
        sys.stderr.write(f"armicro {name}: {error}\n")
        return error.exit_status
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if not missing:
            raise
        sys.stderr.write(f"armicro {name}: {missing}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"armicro {name}: stopped\n")
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (``| head``): that is its right.
        return 0
    except OSError as error:
        # A disk may fill up at any write; where more can be said, it was said.
        place = f"{error.filename}: " if error.filename else ""
        said = one_line(f"{place}{error.strerror or error}")
        sys.stderr.write(f"armicro {name}: {said}; {DISK_REMEDY}\n")
        return 1


def _run(name: str, given: Sequence[str]) -> int:
    module = importlib.import_module(COMMANDS[name].module)
    return int(module.run(parser_of(name).parse_args(given)))


def parser_of(name: str) -> argparse.ArgumentParser:
    """What a command takes."""
    module = importlib.import_module(COMMANDS[name].module)
    parser = _Parser(
        prog=f"armicro {name}",
        description=f"{COMMANDS[name].summary.capitalize()}. {NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _choose(given: Sequence[str]) -> str:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {k:{width}}  {v.summary}" for k, v in COMMANDS.items())
    parser = _Parser(
        prog="armicro",
        description="Streaming augmented-reality microscope assistant for cervical "
        f"cytology.\n{NOTICE}",
        epilog=f"commands:\n{listing}\n\nexample:\n  armicro demo --out out\n"
        "  armicro replay --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "command", choices=COMMANDS, metavar="COMMAND", help="one of the list below"
    )
    return str(parser.parse_args(given[:1]).command)


if __name__ == "__main__":
    sys.exit(main())
