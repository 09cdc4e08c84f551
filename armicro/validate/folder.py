"""The folder that each kind of validation writes: figures, what was judged, plots."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armicro import __version__
from armicro.console import json_text
from armicro.errors import SourceError, missing_extra
from armicro.file import csv_text, write_whole, written
from armicro.metrics import Judged, auc, calibration, curve, share_bounds

# ---------------------------------------------------------------------------
# Plots of a validation as PNG; matplotlib comes with the extra ``train``.

TSNE_MOST = 1500


def require_plots(*, features: bool) -> None:
    """Say before the work that its plots cannot be drawn.

    Args:
        features: t-SNE is wanted too.

    Raises:
        SourceError: matplotlib or scikit-learn is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401

        if features:
            import sklearn.manifold  # noqa: F401
    except ModuleNotFoundError as error:
        raise SourceError(
            f"plots: {missing_extra(error) or error}; or give --no-plots and no --tsne"
        ) from error


@contextlib.contextmanager
def figure_in(path: Path, title: str) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes, drawn without a screen; write it as PNG after."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    yield figure, axes
    with written(path) as file:
        figure.savefig(file, dpi=120, format="png")


def draw_roc(axes: Any, judged: Judged) -> None:
    """Draw the ROC curve."""
    false_rate, true_rate, _ = curve(judged)
    label = f"AUC {auc(judged.score, judged.lesion):.3f}"
    axes.plot(np.append(0, false_rate), np.append(0, true_rate), label=label)
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right")


def draw_precision_recall(axes: Any, judged: Judged) -> None:
    """Draw precision against recall."""
    _, true_rate, precision = curve(judged)
    axes.plot(true_rate, precision)
    axes.axhline(judged.lesion.mean(), linestyle="--", color="grey", linewidth=0.8)
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))


def draw_calibration(axes: Any, judged: Judged) -> None:
    """Draw the share of lesions against the probability shown."""
    rows = calibration(judged)
    shown = np.array([row["mean_score"] for row in rows])
    share = np.array([row["share_lesion"] for row in rows])
    bounds = [share_bounds(row["share_lesion"], int(row["n"])) for row in rows]
    beyond = np.abs(np.array(bounds).reshape(-1, 2).T - share)
    axes.errorbar(shown, share, yerr=beyond, fmt="o-", elinewidth=0.8)
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    axes.set(xlabel="probability shown", ylabel="share of lesions")


def draw_histogram(axes: Any, judged: Judged) -> None:
    """Draw the scores of lesions and normals."""
    bins = np.linspace(0, 1, 21).tolist()
    for wanted, label in ((False, "normal"), (True, "lesion")):
        own = judged.score[judged.lesion == wanted]
        axes.hist(own, bins=bins, alpha=0.6, label=label)
    axes.set(xlabel="score", ylabel="count")
    axes.legend()


PLOTS: Mapping[str, Callable[[Any, Judged], None]] = {
    "roc": draw_roc,
    "precision_recall": draw_precision_recall,
    "calibration": draw_calibration,
    "histogram": draw_histogram,
}


def plot_scores(
    judged: Judged, folder: Path, title: str, *, kinds: Sequence[str] = tuple(PLOTS)
) -> None:
    """Draw the usual four plots, or only those named, into a folder."""
    for name in kinds:
        with figure_in(folder / f"{name}.png", title) as (_, axes):
            PLOTS[name](axes, judged)


def plot_features(
    features: NDArray[np.float32],
    judged: Judged,
    path: Path,
    title: str,
    *,
    label: NDArray[np.str_] | None = None,
) -> None:
    """Draw the features in two dimensions by t-SNE, as in the paper's Fig. 7.

    A colour a label (default: the class); lesions are discs, normals are rings.
    """
    from sklearn.manifold import TSNE

    label = judged.category if label is None else label
    chosen = choose_evenly(label, TSNE_MOST)
    perplexity = min(30.0, max(2.0, len(chosen) / 4))
    flat = TSNE(perplexity=perplexity, init="pca", random_state=7).fit_transform(
        features[chosen]
    )
    label, lesion = label[chosen], judged.lesion[chosen]
    with figure_in(path, title) as (figure, axes):
        for number, name in enumerate(sorted(set(label.tolist()))):
            colour = f"C{number % 10}"
            for wanted, kind in ((False, "normal"), (True, "lesion")):
                own = (label == name) & (lesion == wanted)
                if own.any():
                    axes.scatter(
                        *flat[own].T,
                        s=12,
                        linewidths=0.7,
                        facecolors=colour if wanted else "none",
                        edgecolors=colour,
                        alpha=0.8,
                        label=f"{name}, {kind}",
                    )
        figure.legend(loc="outside lower center", ncols=3, fontsize=7)
        axes.set_xticks([])
        axes.set_yticks([])


def choose_evenly(label: NDArray[np.str_], most: int) -> NDArray[np.int64]:
    """Return at most ``most`` rows, of each label as many as there are or its share.

    >>> choose_evenly(np.array(["a", "b", "a", "a"]), 2).tolist()
    [1, 3]
    """
    rng = np.random.default_rng(7)
    names = sorted(set(label.tolist()))
    parts = []
    for name in names:
        own = np.flatnonzero(label == name)
        count = min(len(own), max(1, most // len(names)))
        parts.append(rng.choice(own, count, replace=False))
    return np.sort(np.concatenate(parts)).astype(np.int64)


# ---------------------------------------------------------------------------
# The folder.

CHOSEN_BY = ("split", "held_out_percent")
"""Options that choose what is judged: figures mean nothing without them."""


def write_folder(
    args: argparse.Namespace,
    engine: Mapping[str, str],
    judged: Judged,
    columns: Mapping[str, Sequence[object]],
    figures: Mapping[str, Any],
    *,
    plots: Sequence[str] = tuple(PLOTS),
) -> dict[str, Any]:
    """Write ``metrics.json``, ``scores.csv`` and the plots; return the metrics.

    Args:
        args: of the command.
        engine: what made the scores, from ``NetworkSet.provenance``.
        judged: what was scored; without any there is nothing to plot.
        columns: of ``scores.csv``: ``name``, and what its kind adds at the end.
        figures: of ``metrics.json``.
        plots: those that are wanted.
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
    write_whole(args.out / "metrics.json", json_text(metrics).encode())
    header = (name, "group", "class", "lesion", "score", *others)
    rows = zip(
        columns[name],
        judged.group.tolist(),
        judged.category.tolist(),
        judged.lesion.astype(np.int64).tolist(),
        np.round(judged.score, 5).tolist(),
        *(columns[other] for other in others),
        strict=True,
    )
    write_whole(args.out / "scores.csv", csv_text(header, rows).encode())
    if not args.no_plots and len(judged.score):
        over = f"\n{metrics['scored_over']}" if "scored_over" in metrics else ""
        title = f"armicro validate {args.kind}{over}"
        plot_scores(judged, args.out, title, kinds=plots)
    return metrics
