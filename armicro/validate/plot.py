"""Plots of a validation as PNG; matplotlib comes with the extra ``train``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.validate.metrics import Judged, auc, calibration, curve

TSNE_MOST = 1500


def open_figure(title: str) -> tuple[Any, Any]:
    """Return a figure and its axes, drawn without a screen.

    Raises:
        SourceError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SourceError(
            "plots need matplotlib, which is not installed; "
            "pip install 'armicro[train]', or give --no-plots"
        ) from error
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def plot_roc(judged: Judged, path: Path, title: str) -> None:
    """Draw the ROC curve."""
    figure, axes = open_figure(title)
    false_rate, true_rate, _ = curve(judged)
    area = auc(judged.score, judged.lesion)
    axes.plot(
        np.append(0, false_rate), np.append(0, true_rate), label=f"AUC {area:.3f}"
    )
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def plot_precision_recall(judged: Judged, path: Path, title: str) -> None:
    """Draw precision against recall."""
    figure, axes = open_figure(title)
    _, true_rate, precision = curve(judged)
    axes.plot(true_rate, precision)
    axes.axhline(judged.lesion.mean(), linestyle="--", color="grey", linewidth=0.8)
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    figure.savefig(path, dpi=120)


def plot_calibration(judged: Judged, path: Path, title: str) -> None:
    """Draw the share of lesions against the probability shown."""
    figure, axes = open_figure(title)
    rows = calibration(judged)
    axes.plot(
        [row["mean_score"] for row in rows], [row["share_lesion"] for row in rows], "o-"
    )
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    axes.set(xlabel="probability shown", ylabel="share of lesions")
    figure.savefig(path, dpi=120)


def plot_histogram(judged: Judged, path: Path, title: str) -> None:
    """Draw the scores of lesions and normals."""
    figure, axes = open_figure(title)
    bins = np.linspace(0, 1, 21).tolist()
    for wanted, label in ((False, "normal"), (True, "lesion")):
        own = judged.score[judged.lesion == wanted]
        axes.hist(own, bins=bins, alpha=0.6, label=label)
    axes.set(xlabel="score", ylabel="count")
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_features(
    features: NDArray[np.float32], judged: Judged, path: Path, title: str
) -> None:
    """Draw the features in two dimensions by t-SNE, as in the paper's Fig. 7.

    Raises:
        SourceError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise SourceError(
            "t-SNE needs scikit-learn; pip install 'armicro[train]'"
        ) from error
    rng = np.random.default_rng(7)
    count = min(TSNE_MOST, len(features))
    chosen = np.sort(rng.choice(len(features), count, replace=False))
    perplexity = min(30.0, max(2.0, count / 4))
    flat = TSNE(perplexity=perplexity, init="pca", random_state=7).fit_transform(
        features[chosen]
    )
    figure, axes = open_figure(title)
    part = judged.take(chosen)
    for name in sorted(set(part.category.tolist())):
        own = part.category == name
        marker = "o" if part.lesion[own][0] else "."
        axes.scatter(flat[own, 0], flat[own, 1], s=9, marker=marker, label=name)
    axes.legend(fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.savefig(path, dpi=120)


def plot_scores(
    judged: Judged, folder: Path, title: str, *, kinds: Sequence[str] = ()
) -> None:
    """Draw the usual four plots, or only those named, into a folder."""
    for name, draw in PLOTS.items():
        if not kinds or name in kinds:
            draw(judged, folder / f"{name}.png", title)


PLOTS = {
    "roc": plot_roc,
    "precision_recall": plot_precision_recall,
    "calibration": plot_calibration,
    "histogram": plot_histogram,
}
