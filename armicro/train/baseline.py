"""The reference to beat: ImageNet features of the same tiles and a logistic regression.

Same cells, same tiles, same held-out split as the HR network; only the features were
never trained on a cell. ``armicro train baseline`` writes ``OUT/baseline.json``: for
each source the figures of ``armicro validate``, with 95 % intervals, so that the two
stand side by side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from armicro.metrics import Judged, judge
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
    judged = Judged(score, lesion, group, source)
    return {
        "method": "ImageNet features, logistic regression",
        "sources": {
            name: judge(judged.take(source == name))
            for name in sorted(set(source.tolist()))
        },
    }


def features_of(samples: Sequence[Sample], look: Look) -> NDArray[np.float32]:
    """Return the pooled features (n, channels) of unaugmented tiles."""
    rng = np.random.default_rng(0)
    parts = []
    for start in tqdm(range(0, len(samples), 16), desc="features", mininterval=10):
        part = samples[start : start + 16]
        tiles = np.stack([cut_tile(sample, STILL, rng) for sample in part])
        parts.append(look(tiles)[1])
    return np.concatenate(parts)
