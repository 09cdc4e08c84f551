"""Arguments of the kinds of ``armicro validate`` that read a table of cells."""

import argparse
from pathlib import Path


def add_crops(parser: argparse.ArgumentParser) -> None:
    """Arguments of crops."""
    parser.add_argument("cells", type=Path, metavar="CELLS.csv")
    parser.add_argument("--um-per-px", type=float, required=True, help="scale of crops")
    parser.add_argument(
        "--held-out-percent",
        type=int,
        default=0,
        help="only the groups that training held out: its validation share in percent "
        "(15 for SIPaKMeD, 25 for Herlev)",
    )
    parser.add_argument("--tsne", action="store_true", help="plot the features too")


def add_cells(parser: argparse.ArgumentParser) -> None:
    """Arguments of cells."""
    parser.add_argument("cells", type=Path, metavar="CELLS.csv")
    parser.add_argument("--fields", type=Path, required=True, metavar="FIELDS.csv")
    parser.add_argument("--split", default="", help="only fields of this split")
    parser.add_argument("--tsne", action="store_true", help="plot the features too")


def add_fields(parser: argparse.ArgumentParser) -> None:
    """Arguments of fields."""
    parser.add_argument("cells", type=Path, metavar="CELLS.csv")
    parser.add_argument("--fields", type=Path, required=True, metavar="FIELDS.csv")
    parser.add_argument("--split", default="", help="only fields of this split")
    parser.add_argument(
        "--candidates", choices=("peaks", "crowd", "release"), default="crowd"
    )
    parser.add_argument("--lr-mode", choices=("tiles", "whole"), default="tiles")
