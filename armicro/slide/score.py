"""The slide's score: six recurrent networks over the features of the top findings."""

from collections.abc import Sequence

import numpy as np

from armicro.cascade.locate import FUSIONS, TOP_COUNT, scores_of
from armicro.engine import Engine, Features
from armicro.report import Observation


def top_features(top: Sequence[Observation]) -> Features:
    """Features of the top list, (1, 30, 2048), zero rows where there are fewer."""
    features = np.zeros((1, TOP_COUNT, 2048), np.float32)
    for row, seen in enumerate(top[:TOP_COUNT]):
        features[0, row] = seen.features
    return features


def score_slide(
    rnn: Engine, top: Sequence[Observation], *, tops: Sequence[int], fusion: str
) -> tuple[float, dict[str, tuple[float, float]]]:
    """Score the top list: the fused score and the six that it is made of.

    Raises:
        EngineError: the network failed.
    """
    row = rnn.infer({"features": top_features(top)})["scores"][0]
    scores = scores_of([float(value) for value in row], tops)
    return FUSIONS[fusion](scores), scores
