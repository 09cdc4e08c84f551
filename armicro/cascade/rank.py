"""Order of findings and fusion of the six slide scores."""

from collections.abc import Iterable, Mapping, Sequence

from armicro.report import Finding
from armicro.verdict import SUSPICIOUS

TOP_COUNT = 30
"""Findings that the slide's score and the gallery look at (Cheng et al. 2021)."""
TOP_APART_UM = 200.0
"""A finding nearer than this to a higher one is not in the top list (release)."""

MOST_CANDIDATES = 1200
"""Findings that a slide keeps, and all that reached ``SUSPICIOUS`` beside them. The
release has this limit before HR and by LR probability, which drops lesions on large
slides; here HR has judged."""
LEAST_CANDIDATES = 600
"""So many a slide keeps at least, where it has them (release)."""

Scores = Mapping[str, tuple[float, float]]


def order(finding: Finding) -> tuple[float, ...]:
    """Sort key, most suspicious first; ties fall to values, never to arrival."""
    return (
        -finding.hr_probability,
        -finding.lr_probability,
        finding.y_um,
        finding.x_um,
        finding.field_seq,
    )


def kept_of(probabilities: Iterable[float], most: int) -> int:
    """How many findings, most suspicious first, a limit leaves.

    Args:
        probabilities: of HR, highest first.
        most: the limit, which falls below ``SUSPICIOUS`` only.

    >>> kept_of([0.9, 0.5, 0.4, 0.3], 1), kept_of([0.9, 0.5, 0.4, 0.3], 3)
    (2, 3)
    """
    return max(most, sum(share >= SUSPICIOUS for share in probabilities))


def fuse_mean(scores: Scores) -> float:
    """Mean of the six RNNs (default).

    >>> fuse_mean({"10": (0.2, 0.4), "20": (0.6, 0.8), "30": (0.9, 0.7)})
    0.6
    """
    values = [value for pair in scores.values() for value in pair]
    return round(sum(values) / len(values), 9)


def fuse_release(scores: Scores) -> float:
    """The release's fusion, with its slip: what it calls "std" is a minimum.

    Means of the pairs are taken first. With their minimum above 0.15 the answer is
    their mean; else their minimum when the mean is below 0.15; else their maximum
    (``synthesize_wsi_clf_scores`` in the authors' repository).

    >>> fuse_release({"10": (0.1, 0.1), "20": (0.6, 0.8), "30": (0.9, 0.7)})
    0.8
    """
    means = [sum(pair) / len(pair) for pair in scores.values()]
    mean = sum(means) / len(means)
    slip = min(means)
    if slip > 0.15:
        return mean
    return min(means) if mean < 0.15 else max(means)


FUSIONS = {"mean": fuse_mean, "release": fuse_release}


def scores_of(
    row: Sequence[float], tops: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """Name the six outputs of the RNN graph: {"10": (a, b), "20": ..., "30": ...}."""
    return {
        str(top): (float(row[2 * i]), float(row[2 * i + 1]))
        for i, top in enumerate(tops)
    }
