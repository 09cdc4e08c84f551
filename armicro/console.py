"""What commands share: their kinds, ``--json``, and how a result is shown."""

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np

Number = TypeVar("Number", int, float)


def add_kind(
    kinds: Any, name: str, summary: str, *, description: str = "", epilog: str
) -> argparse.ArgumentParser:
    """Add a command of a command to what ``add_subparsers`` gave; examples at its end.

    Its description is the summary, where no other is given.
    """
    kind: argparse.ArgumentParser = kinds.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return kind


def add_json(
    parser: argparse.ArgumentParser, what: str = "print the result as JSON"
) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help=what)


def number(
    least: float, most: float, what: str, *, of: Callable[[str], Number]
) -> Callable[[str], Number]:
    """Return the type of an argument: a number within bounds, ``what`` for people."""

    def read(text: str) -> Number:
        with contextlib.suppress(ValueError):
            if least <= of(text) <= most:
                return of(text)
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {what}: expected {least:g} to {most:g}"
        )

    return read


def name_up_to(longest: int) -> Callable[[str], str]:
    """Return the type of an argument: a name of 1 to ``longest`` printable letters."""

    def read(text: str) -> str:
        name = text.strip()
        if not name or len(name) > longest or not name.isprintable():
            raise argparse.ArgumentTypeError(
                f"{text!r:.80} is no name; expected 1 to {longest} printable letters"
            )
        return name

    return read


def show(answer: object, words: str, *, as_json: bool) -> None:
    """Print a result: all of it as JSON, or what a person reads of it."""
    sys.stdout.write(json_text(answer) if as_json else f"{words}\n")


def json_text(answer: object) -> str:
    """Return indented JSON: frozen data as its fields, NaN as null, paths as text."""
    encoded = msgspec.json.encode(answer, enc_hook=_plain)
    return f"{msgspec.json.format(encoded, indent=2).decode()}\n"


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
