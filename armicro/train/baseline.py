"""The reference to beat: ImageNet features of the same tiles and a logistic regression.

Same cells, same tiles, same held-out split as the HR network; only the features were
never trained on a cell. ``armicro train baseline`` writes ``OUT/baseline.json``: for
each source the figures of ``armicro validate``, with 95 % intervals, so that the two
stand side by side. They are worked out here since training may not import validation.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from armicro.train.assemble import look_through
from armicro.train.backbone import load_backbone
from armicro.train.calibrate import STILL
from armicro.train.checkpoint import read_checkpoint
from armicro.train.data import Dataset
from armicro.train.export import export_onnx
from armicro.train.finds import Look
from armicro.train.networks import HighResolution
from armicro.train.sample import Sample, cut_tile, list_samples

REGULARISATION = 0.001
"""C of the regression: 2,048 features, a few thousand cells."""
RESAMPLES = 1000
SEED = 95
"""As ``armicro validate`` draws them."""

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
Figures = dict[str, float | int | None]


def measure_baseline(
    dataset: Dataset, weights: Path, *, fovea_px: int, backbone: str
) -> dict[str, Any]:
    """Return under ``sources`` what each source's validation cells say."""
    network = HighResolution(backbone, fovea_px=fovea_px)
    load_backbone(network.backbone, read_checkpoint(weights).tensors)
    look = look_through(export_onnx(network))
    train = list_samples(dataset.split("train"), areas=False)
    val = list_samples(dataset.split("val"), areas=False)
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=300),
    )
    model.fit(features_of(train, look), [sample.lesion for sample in train])
    score = model.predict_proba(features_of(val, look))[:, 1]
    source = np.array([sample.source for sample in val])
    lesion = np.array([sample.lesion for sample in val])
    group = np.array([sample.group for sample in val])
    owns = {name: source == name for name in sorted(set(source.tolist()))}
    return {
        "method": "ImageNet features, logistic regression",
        "sources": {
            name: judge(score[own], lesion[own], group[own])
            for name, own in owns.items()
        },
    }


def auc_of(score: Scores, lesion: Labels) -> float:
    """Return the area under the ROC curve; NaN without both classes."""
    if lesion.all() or not lesion.any():
        return float("nan")
    return float(roc_auc_score(lesion, score))


def share_of(called: Labels) -> float:
    """Return the share of true values; NaN of none."""
    return float(called.mean()) if len(called) else float("nan")


FIGURES: Mapping[str, Callable[[Scores, Labels], float]] = {
    "auc": auc_of,
    "sensitivity": lambda score, lesion: share_of(score[lesion] >= 0.5),
    "specificity": lambda score, lesion: share_of(score[~lesion] < 0.5),
}


def judge(score: Scores, lesion: Labels, group: NDArray[np.str_]) -> Figures:
    """Return AUC, sensitivity and specificity at 0.5 with intervals, and counts.

    Intervals are the 2.5 and 97.5 percentiles over resamples of whole groups: cells of
    one field share stain and patient. What the cells do not allow is None.

    Args:
        score: (n,) probability of a lesion, 0-1.
        lesion: (n,)
        group: (n,) field or case.
    """
    draws = resample_groups(group)
    table: Figures = {}
    for name, figure in FIGURES.items():
        values = np.array([figure(score[rows], lesion[rows]) for rows in draws])
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan,) * 2
        numbers = {"": figure(score, lesion), "_low": low, "_high": high}
        for end, number in numbers.items():
            finite = np.isfinite(number)
            table[f"{name}{end}"] = round(float(number), 4) if finite else None
    counts = {"n_positive": int(lesion.sum()), "n_negative": int((~lesion).sum())}
    return table | counts


def resample_groups(group: NDArray[np.str_]) -> list[NDArray[np.int64]]:
    """Return the rows of each resample: as many groups as there are, some twice."""
    names, place = np.unique(group, return_inverse=True)
    members = [np.flatnonzero(place == number) for number in range(len(names))]
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, len(names), (RESAMPLES, len(names)))
    return [np.concatenate([members[number] for number in row]) for row in drawn]


def features_of(samples: Sequence[Sample], look: Look) -> NDArray[np.float32]:
    """Return the pooled features (n, channels) of unaugmented tiles."""
    rng = np.random.default_rng(0)
    parts = []
    for start in tqdm(range(0, len(samples), 16), desc="features", mininterval=10):
        part = samples[start : start + 16]
        tiles = np.stack([cut_tile(sample, STILL, rng) for sample in part])
        parts.append(look(tiles)[1])
    return np.concatenate(parts)
