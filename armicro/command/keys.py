"""``armicro keys``: make the keys that two machines need to trust each other."""

import argparse
from pathlib import Path

from armicro.console import add_json, show
from armicro.wire.keys import SERVER, make_keys
from armicro.wire.link import new_key_pair

EXAMPLE = """\
examples:
  armicro keys keys                    a server and a client, to copy to both machines
  armicro keys keys --client teaching  one more client, which can be shut out alone
"""

ADVICE = """\
Copy the folder to the other machine over a safe way (scp, a USB stick) and set
keys = "DIR" under [wire] in the rigs of both. Each machine needs one client's secret.
To shut a client out, delete its NAME.public where the server is, and restart.\
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder for the keys")
    named = "only add a client of that name"
    parser.add_argument("--client", metavar="NAME", help=named)
    add_json(parser, "print the paths as JSON")


def run(args: argparse.Namespace) -> int:
    """Make the keys and say what to do with them."""
    names = (args.client,) if args.client else (SERVER, "client")
    written = make_keys(args.folder, names, new_key_pair)
    words = "\n".join([*(f"wrote {path}" for path in written), ADVICE])
    show(written, words, as_json=args.json)
    return 0
