"""``armicro validate KIND``: figures of a network set, with what proves them.

Each writes ``metrics.json`` (figures, intervals, counts, set and command), a CSV with
one row a thing judged, and plots, so that every figure can be traced to what it came
from.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from armicro.cascade.screen import Choice, confirming
from armicro.console import add_json, add_kind, show
from armicro.engine.registry import DEFAULT_SET, NetworkSet, open_set
from armicro.errors import SourceError, one_line
from armicro.file import why_no_folder
from armicro.metrics import (
    OF_CELLS,
    by_category,
    calibration,
    calibration_error,
    judge,
)
from armicro.table import read_annotated, read_crops, require_scale, split_of_group
from armicro.validate.cells import (
    HrJudgement,
    add_source_arguments,
    draw_sources,
    join,
    look_at_cells,
    look_at_crops,
    look_at_sources,
    source_tables,
)
from armicro.validate.fields import (
    SeenField,
    add_drawn_arguments,
    field_figures,
    judge_fields,
    screen_drawn,
    screen_field,
)
from armicro.validate.folder import plot_features, require_plots, write_folder
from armicro.validate.slides import add_slide_arguments, run_slides

# ---------------------------------------------------------------------------
# Arguments of the kinds of ``armicro validate`` that read a table of cells.


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


def add_annotated(parser: argparse.ArgumentParser) -> None:
    """Arguments of fields with nuclei."""
    parser.add_argument("cells", type=Path, metavar="CELLS.csv")
    parser.add_argument("--fields", type=Path, required=True, metavar="FIELDS.csv")
    parser.add_argument("--split", default="", help="only fields of this split")


def add_cells(parser: argparse.ArgumentParser) -> None:
    """Arguments of cells."""
    add_annotated(parser)
    parser.add_argument("--tsne", action="store_true", help="plot the features too")


def add_fields(parser: argparse.ArgumentParser) -> None:
    """Arguments of fields."""
    add_annotated(parser)
    rules = ("peaks", "crowd", "release")
    parser.add_argument("--candidates", choices=rules, default="crowd")
    parser.add_argument("--lr-mode", choices=("tiles", "whole"), default="tiles")


# ---------------------------------------------------------------------------
# The command.

EXAMPLES = """examples:
  armicro validate crops data/herlev/cells.csv --um-per-px 0.201 \\
      --held-out-percent 25 --out out/herlev
  armicro validate cells data/cric/cells.csv --fields data/cric/fields.csv \\
      --split val --out out/cells
  armicro validate sources data --out out/sources
  armicro validate fields data/cric/cells.csv --fields data/cric/fields.csv \\
      --split val --out out/fields
  armicro validate slides SLIDES.csv --out out/slides
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``armicro validate``."""
    parser.epilog = EXAMPLES
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, (text, add, _) in KINDS.items():
        kind = add_kind(kinds, name, text, description=text, epilog=EXAMPLES)
        add(kind)
        folder = "folder to write into"
        kind.add_argument("--out", type=Path, required=True, help=folder)
        kind.add_argument(
            "--engines", default=DEFAULT_SET, help="network set or folder"
        )
        kind.add_argument("--backend", default="auto", help="auto, openvino, tensorrt")
        kind.add_argument("--precision", default="native", help="native, bf16 or fp32")
        kind.add_argument("--threads", type=int, default=0, help="0: all cores")
        kind.add_argument("--no-plots", action="store_true", help="figures only")
        add_json(kind, "print metrics.json")


def run(args: argparse.Namespace) -> int:
    """Validate, write the folder and print the figures; 1 where one has no score.

    Raises:
        SourceError: a table or picture cannot be used, or plots cannot be drawn.
        EngineError: the set cannot be used.
    """
    plots = not args.no_plots
    tsne = getattr(args, "tsne", args.kind == "sources" and plots)
    if plots or tsne:
        require_plots(features=tsne)
    fault = why_no_folder(args.out)
    if fault:
        # Before the work: it may take hours.
        raise SourceError(
            f"--out {args.out}: {fault}; expected a folder to write into; choose "
            "another"
        )
    metrics = KINDS[args.kind][2](args)
    show(metrics, summary(metrics), as_json=args.json)
    return 1 if metrics.get("n_not_scored") else 0


def summary(metrics: Mapping[str, Any]) -> str:
    """Return the figures that have an interval, a line each, and those by source."""
    lines = [
        f"{name:32} {value}  ({limits_of(name, metrics)})"
        for name, value in metrics.items()
        if f"{name}_low" in metrics
    ]
    lines += [
        f"recall at {row['false_per_field']:<5g} false boxes a field {row['recall']}  "
        f"({limits_of('recall', row)}), from {row['from_probability']} on"
        for row in metrics.get("froc", ())
    ]
    lines.append(f"{metrics['n_positive']} positive, {metrics['n_negative']} negative")
    if "scored_over" in metrics:
        lines.append(metrics["scored_over"])
    if "n_not_scored" in metrics:
        lines.append(f"{metrics['n_not_scored']} not scored, and in no figure")
    lines += [
        f"  {one_line(each.get('slide') or each['field'])}: {each['reason']}"
        for each in metrics.get("not_scored", ())
    ]
    for source, figures in metrics.get("by_source", {}).items():
        lines.append(f"\n{source}\n{summary(figures)}")
    return "\n".join(lines)


def limits_of(name: str, metrics: Mapping[str, Any]) -> str:
    """Return the interval of a figure in words, or why it has none."""
    low, high = metrics[f"{name}_low"], metrics[f"{name}_high"]
    if low is None or high is None:
        return str(metrics.get(f"{name}_interval", "not known of these rows"))
    return f"{low} - {high}"


def open_networks(args: argparse.Namespace) -> NetworkSet:
    """Open the set that the arguments name."""
    return open_set(
        args.engines,
        backend=args.backend,
        precision=args.precision,
        threads=args.threads,
    )


def run_crops(args: argparse.Namespace) -> dict[str, Any]:
    """Judge crops of single cells.

    Raises:
        SourceError: the scale is not above 0, or no crop was held out.
    """
    um_per_px = require_scale(args.um_per_px, "--um-per-px")
    crops = read_crops(args.cells)
    held = args.held_out_percent
    if held:
        crops = [crop for crop in crops if split_of_group(crop.group, held) == "val"]
    if not crops:
        raise SourceError(
            f"{args.cells}: no crop is of the {held} % of groups held out; expected "
            "one at least; give the --held-out-percent of training, or leave it out"
        )
    with open_networks(args) as networks:
        looked = look_at_crops(confirming(networks), crops, um_per_px)
        return write_cells(looked, args, networks)


def run_cells(args: argparse.Namespace) -> dict[str, Any]:
    """Judge nuclei of fields."""
    annotated = read_annotated(args.fields, args.cells, split=args.split)
    with open_networks(args) as networks:
        looked = look_at_cells(confirming(networks), annotated)
        return write_cells(looked, args, networks)


def run_sources(args: argparse.Namespace) -> dict[str, Any]:
    """Judge the held-out cells of every source of a data folder."""
    with open_networks(args) as networks:
        sources = look_at_sources(confirming(networks), args)
        looked = join(sources)
        figures = judge(looked.judged, OF_CELLS) | {"by_source": source_tables(sources)}
        metrics = write_looked(looked, args, networks, figures)
    if not args.no_plots:
        draw_sources(sources, args.out / "features_tsne.png")
    return metrics


def run_fields(args: argparse.Namespace) -> dict[str, Any]:
    """Run the cascade on fields."""
    fields = read_annotated(args.fields, args.cells, split=args.split)
    choice = Choice(candidates=args.candidates, lr_mode=args.lr_mode)
    with open_networks(args) as networks:
        seen = [
            screen_field(networks, choice, row, cells)
            for row, cells in tqdm(fields, desc="fields", disable=None)
        ]
        return write_fields(seen, args, networks)


def run_drawn(args: argparse.Namespace) -> dict[str, Any]:
    """Run the cascade on drawn fields."""
    with open_networks(args) as networks:
        drawn = screen_drawn(networks, args)
        bar = tqdm(drawn, total=args.fields, desc="drawn fields", disable=None)
        return write_fields(list(bar), args, networks)


def write_fields(
    seen: Sequence[SeenField], args: argparse.Namespace, networks: NetworkSet
) -> dict[str, Any]:
    """Write the folder of fields that went through the cascade."""
    looked = [field for field in seen if not field.refused]
    missing = [{"field": f.name, "reason": f.refused} for f in seen if f.refused]
    judged = judge_fields(looked)
    figures = judge(judged) | field_figures(looked)
    figures |= {
        "fields": len(seen),
        "n_not_scored": len(missing),
        "not_scored": missing,
    }
    areas = ("auc", "auc_low", "auc_high", "auc_interval")
    figures |= {f"field_{name}": figures[name] for name in areas if name in figures}
    names = {"name": [field.name for field in looked]}
    return write_folder(args, networks.provenance, judged, names, figures)


def write_cells(
    looked: HrJudgement, args: argparse.Namespace, networks: NetworkSet
) -> dict[str, Any]:
    """Write the folder of crops or cells; t-SNE only where it was asked for."""
    rows = calibration(looked.judged)
    extra = {
        "by_class": by_category(looked.judged),
        "calibration": rows,
        "calibration_error": calibration_error(rows),
    }
    figures = judge(looked.judged, OF_CELLS) | extra
    metrics = write_looked(looked, args, networks, figures)
    if args.tsne:
        path = args.out / "features_tsne.png"
        plot_features(looked.features, looked.judged, path, f"HR features, {args.kind}")
    return metrics


def write_looked(
    looked: HrJudgement,
    args: argparse.Namespace,
    networks: NetworkSet,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the folder of single cells."""
    columns = {"name": looked.name}
    return write_folder(args, networks.provenance, looked.judged, columns, figures)


Adder = Callable[[argparse.ArgumentParser], None]
Runner = Callable[[argparse.Namespace], dict[str, Any]]
KINDS: Mapping[str, tuple[str, Adder, Runner]] = {
    "crops": ("the HR network on pictures of single cells", add_crops, run_crops),
    "cells": ("the HR network on nuclei of fields", add_cells, run_cells),
    "sources": (
        "the HR network on the held-out cells of every source of a data folder",
        add_source_arguments,
        run_sources,
    ),
    "fields": ("the whole cascade on each field", add_fields, run_fields),
    "drawn": (
        "the whole cascade on drawn fields of unseen seeds and stains (not real cells)",
        add_drawn_arguments,
        run_drawn,
    ),
    "slides": ("replay of whole slides", add_slide_arguments, run_slides),
}
