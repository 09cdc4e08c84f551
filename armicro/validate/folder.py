"""The folder that each kind of validation writes: figures, what was judged, plots."""

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from armicro import __version__
from armicro.engine.registry import NetworkSet
from armicro.metrics import Judged
from armicro.validate.plot import plot_scores

CHOSEN_BY = ("split", "held_out_percent")
"""Options that choose what is judged: figures mean nothing without them."""


def engine_of(networks: NetworkSet) -> dict[str, str]:
    """Return what the figures will say about the set that made them."""
    return {
        "set": networks.manifest.name,
        "hash": networks.sha256,
        "backend": networks.backend,
        "precision": networks.precision,
    }


def write_folder(
    args: argparse.Namespace,
    engine: Mapping[str, str],
    judged: Judged,
    columns: Mapping[str, Sequence[object]],
    figures: Mapping[str, Any],
    *,
    plots: Sequence[str] = (),
) -> dict[str, Any]:
    """Write ``metrics.json``, ``scores.csv`` and the plots; return the metrics.

    Args:
        args: of the command.
        engine: what made the scores, from ``engine_of``.
        judged: what was scored; without any there is nothing to plot.
        columns: of ``scores.csv``: ``name``, and what its kind adds at the end.
        figures: of ``metrics.json``.
        plots: those that are wanted; none: the usual four.
    """
    name, *others = columns
    args.out.mkdir(parents=True, exist_ok=True)
    metrics = {
        **figures,
        "kind": args.kind,
        **{name: vars(args)[name] for name in CHOSEN_BY if name in vars(args)},
        "engine": dict(engine),
        "version": __version__,
        "command": " ".join(["armicro", "validate", *sys.argv[2:]]),
    }
    text = json.dumps(metrics, indent=2, ensure_ascii=False)
    (args.out / "metrics.json").write_text(text, encoding="utf-8")
    with (args.out / "scores.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([name, "group", "class", "lesion", "score", *others])
        for row in zip(
            columns[name],
            judged.group.tolist(),
            judged.category.tolist(),
            judged.lesion.astype(np.int64).tolist(),
            np.round(judged.score, 5).tolist(),
            *(columns[other] for other in others),
            strict=True,
        ):
            writer.writerow(row)
    if not args.no_plots and len(judged.score):
        over = f"\n{metrics['scored_over']}" if "scored_over" in metrics else ""
        title = f"armicro validate {args.kind}{over}"
        plot_scores(judged, args.out, title, kinds=plots)
    return metrics
