"""``armicro phantom``: make a slide whose every cell is known."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from armicro.console import add_json, show
from armicro.errors import SourceError
from armicro.file import same_file
from armicro.phantom import (
    STAINS,
    UM_PER_PX,
    ConstructedSpec,
    PhantomSpec,
    ScannerOptics,
    Truth,
    lesions_that_fit,
    size_px,
    truth_paths,
    write_constructed,
    write_phantom,
)

EXAMPLE = """\
examples:
  armicro phantom slide.tif --megapixels 100 --lesions 12 --seed 3
  armicro phantom blue.tif --megapixels 1000 --stain blue --defocus 2 --vignetting 0.15
  armicro phantom negative.tif --megapixels 40 --lesions 0 \\
      --fields cric/fields.csv --cells cric/cells.csv --split val

OUT.truth.csv and OUT.truth.geojson (for QuPath) say where the cells are. Neither a
drawn nor a constructed slide is a specimen; figures from one say so.
"""

DEFAULT_LESIONS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument("out", metavar="OUT.tif", type=Path, help="slide to write")
    parser.add_argument(
        "--megapixels",
        metavar="N",
        type=float,
        required=True,
        help=f"size in millions of pixels of {UM_PER_PX} µm",
    )
    parser.add_argument(
        "--lesions",
        metavar="K",
        type=int,
        help=f"exactly so many lesion cells; 0 makes a negative slide (default: "
        f"{DEFAULT_LESIONS}, or as many as a small slide holds)",
    )
    parser.add_argument(
        "--seed", metavar="S", type=int, default=0, help="another one, another slide"
    )
    parser.add_argument(
        "--stain",
        metavar="STYLE",
        help=f"of a drawn slide: {', '.join(STAINS)} (default: classic)",
    )
    optics = parser.add_argument_group("the pretended scanner")
    optics.add_argument(
        "--defocus",
        metavar="PX",
        type=float,
        default=0.0,
        help="largest blur in pixels; focus drifts between sharp and this (default: 0)",
    )
    optics.add_argument(
        "--vignetting",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="share of light lost in the corners of its fields (default: 0)",
    )
    real = parser.add_argument_group("a constructed slide, from annotated real fields")
    real.add_argument(
        "--fields",
        metavar="FIELDS.csv",
        type=Path,
        help="columns image,um_per_px,slide_group[,split]; images in images/ beside it",
    )
    real.add_argument(
        "--cells",
        metavar="CELLS.csv",
        type=Path,
        help="columns image,bethesda,x_px,y_px; every class but NILM is a lesion",
    )
    real.add_argument("--split", metavar="NAME", help="take only this split's fields")
    real.add_argument(
        "--group", metavar="NAME", help="take this slide_group (default: by the seed)"
    )
    add_json(parser, "print what was made")


def run(args: argparse.Namespace) -> int:
    """Write the slide and say what is on it."""
    _check_use(args)
    width_px, height_px = size_px(args.megapixels)
    with tqdm(
        total=width_px * height_px / 1e6,
        unit="Mpx",
        desc=args.out.name,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} Mpx",
        disable=args.json or not sys.stderr.isatty(),
    ) as bar:

        def advance(pixels: int) -> None:
            bar.update(pixels / 1e6)

        make = _construct if args.fields else _draw
        truth, made = make(args, (width_px, height_px), advance)
    table, shapes = truth_paths(args.out)
    answer = {
        "kind": "constructed" if args.fields else "drawn",
        "slide": args.out,
        "truth_csv": table,
        "truth_geojson": shapes,
        "width_px": width_px,
        "height_px": height_px,
        "um_per_px": UM_PER_PX,
        "megapixels": round(width_px * height_px / 1e6, 3),
        "cells": len(truth),
        "lesions": truth.count(lesion=True),
    }
    answer |= made
    answer |= {
        "seed": args.seed,
        "optics": ScannerOptics(args.defocus, args.vignetting),
    }
    words = (
        f"{args.out}: {answer['kind']} slide, {width_px} x {height_px} px, "
        f"{answer['cells']} known cells, {answer['lesions']} of them lesions"
    )
    if args.fields:
        of = made["material"]
        words += (
            f"; {of.whole_fields} fields and {of.cutouts} cut-outs of group "
            f"{of.group}, {of.background_share:.0%} background"
        )
    show(answer, words, as_json=args.json)
    return 0


def _check_use(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        SourceError: half of a constructed slide's material, its options alone, or a
            table that would be written over.
    """
    if bool(args.fields) != bool(args.cells):
        raise SourceError(
            "one of --fields and --cells alone: expected both for a constructed slide, "
            "or neither for a drawn one; give the other too"
        )
    if not args.fields and (args.split or args.group):
        raise SourceError(
            "--split or --group on a drawn slide: expected them with --fields and "
            "--cells; give these too"
        )
    if args.fields and args.stain:
        raise SourceError(
            "--stain on a constructed slide: expected none, it has the stain of its "
            "fields; use --group to choose among them"
        )
    for table in filter(None, (args.fields, args.cells)):
        if any(same_file(out, table) for out in (args.out, *truth_paths(args.out))):
            raise SourceError(
                f"{args.out}: {table} would be written over, which is read; choose "
                "another name"
            )


def _draw(
    args: argparse.Namespace,
    size_wh_px: tuple[int, int],
    advance: Callable[[int], None],
) -> tuple[Truth, dict[str, Any]]:
    lesions = args.lesions
    if lesions is None:
        lesions = min(DEFAULT_LESIONS, lesions_that_fit(*size_wh_px))
    spec = PhantomSpec(
        *size_wh_px,
        seed=args.seed,
        lesions=lesions,
        stain=args.stain or "classic",
        optics=ScannerOptics(args.defocus, args.vignetting),
    )
    return write_phantom(args.out, spec, progress=advance), {"stain": spec.stain}


def _construct(
    args: argparse.Namespace,
    size_wh_px: tuple[int, int],
    advance: Callable[[int], None],
) -> tuple[Truth, dict[str, Any]]:
    width_px, height_px = size_wh_px
    spec = ConstructedSpec(
        fields_csv=args.fields,
        cells_csv=args.cells,
        width_px=width_px,
        height_px=height_px,
        seed=args.seed,
        lesions=DEFAULT_LESIONS if args.lesions is None else args.lesions,
        split=args.split or "",
        group=args.group or "",
        optics=ScannerOptics(args.defocus, args.vignetting),
    )
    truth, account = write_constructed(args.out, spec, progress=advance)
    return truth, {"split": spec.split, "material": account}
