"""``armicro phantom``: make a slide whose every cell is known."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from armicro.errors import SourceError
from armicro.phantom import (
    STAINS,
    UM_PER_PX,
    ConstructedSpec,
    Optics,
    PhantomSpec,
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
    parser.add_argument("--json", action="store_true", help="print what was made")


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
        result = make(args, width_px, height_px, advance)
    if args.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        sys.stdout.write(_in_words(result) + "\n")
    return 0


def _check_use(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        SourceError: half of a constructed slide's material, or its options alone.
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


def _draw(
    args: argparse.Namespace,
    width_px: int,
    height_px: int,
    advance: Callable[[int], None],
) -> dict[str, object]:
    lesions = args.lesions
    if lesions is None:
        lesions = min(DEFAULT_LESIONS, lesions_that_fit(width_px, height_px))
    spec = PhantomSpec(
        width_px=width_px,
        height_px=height_px,
        seed=args.seed,
        lesions=lesions,
        stain=args.stain or "classic",
        optics=Optics(args.defocus, args.vignetting),
    )
    truth = write_phantom(args.out, spec, progress=advance)
    made = {"stain": spec.stain, "seed": spec.seed, "optics": asdict(spec.optics)}
    return _result("drawn", args.out, (width_px, height_px), truth) | made


def _construct(
    args: argparse.Namespace,
    width_px: int,
    height_px: int,
    advance: Callable[[int], None],
) -> dict[str, object]:
    lesions = DEFAULT_LESIONS if args.lesions is None else args.lesions
    spec = ConstructedSpec(
        fields_csv=args.fields,
        cells_csv=args.cells,
        width_px=width_px,
        height_px=height_px,
        seed=args.seed,
        lesions=lesions,
        split=args.split or "",
        group=args.group or "",
        optics=Optics(args.defocus, args.vignetting),
    )
    truth, account = write_constructed(args.out, spec, progress=advance)
    made = {"split": spec.split, "seed": spec.seed, "optics": asdict(spec.optics)}
    result = _result("constructed", args.out, (width_px, height_px), truth)
    return result | made | {"material": asdict(account)}


def _result(
    kind: str, out: Path, size: tuple[int, int], truth: Truth
) -> dict[str, object]:
    table, shapes = truth_paths(out)
    return {
        "kind": kind,
        "slide": str(out),
        "truth_csv": str(table),
        "truth_geojson": str(shapes),
        "width_px": size[0],
        "height_px": size[1],
        "um_per_px": UM_PER_PX,
        "megapixels": round(size[0] * size[1] / 1e6, 3),
        "cells": len(truth),
        "lesions": truth.count(lesion=True),
    }


def _in_words(result: dict[str, object]) -> str:
    words = (
        f"{result['slide']}: {result['kind']} slide, {result['width_px']} x "
        f"{result['height_px']} px, {result['cells']} known cells, "
        f"{result['lesions']} of them lesions"
    )
    material = result.get("material")
    if isinstance(material, dict):
        words += (
            f"; {material['whole_fields']} fields and {material['cutouts']} cut-outs "
            f"of group {material['group']}, "
            f"{material['background_share']:.0%} background"
        )
    return words
