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
    names: Sequence[str],
    figures: Mapping[str, Any],
    *,
    plots: Sequence[str] = (),
) -> dict[str, Any]:
    """Write ``metrics.json``, ``scores.csv`` and the plots; return the metrics.

    ``plots`` names those that are wanted; none: the usual four.
    """
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
        writer.writerow(["name", "group", "class", "lesion", "score"])
        for row in zip(
            names,
            judged.group.tolist(),
            judged.category.tolist(),
            judged.lesion.astype(np.int64).tolist(),
            np.round(judged.score, 5).tolist(),
            strict=True,
        ):
            writer.writerow(row)
    if not args.no_plots:
        plot_scores(judged, args.out, f"armicro validate {args.kind}", kinds=plots)
    return metrics
