"""Making probabilities mean what they say: temperature and offset on validation data.

A network trained with balanced draws and smoothed labels is not calibrated. A logit is
divided by a temperature and shifted (Platt scaling), fitted on validation samples with
each class weighing a half, since no data set here has a slide's real prior. HR's shown
probability then counts a missed lesion as four false ones: one half is what the overlay
draws a box at, and a box too many costs a look. The LR gate is set for recall alone, as
in the paper.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from armicro.train.networks import Head, HighResolution
from armicro.train.sample import Sample, TilePlan, cut_tile
from armicro.verdict import HR_UM_PER_PX

Values = NDArray[np.float64]

MISS_COST = 4.0
"""False boxes that a missed lesion is as bad as, in HR's probability."""

STILL = TilePlan(256, HR_UM_PER_PX, 0.0, augmented=False)
"""HR tiles as they are."""


def fit_platt(
    logits: Values, wanted: NDArray[np.bool_], *, miss_cost: float = 1.0
) -> tuple[float, float]:
    """Return (temperature, offset) so that sigmoid(logit / temperature + offset) fits.

    The classes weigh ``miss_cost`` to 1, positives first, however many there are.

    >>> temperature, offset = fit_platt(np.array([-2.0, -1, 1, 2]),
    ...                                 np.array([False, True, False, True]))
    >>> temperature > 1, abs(offset) < 0.01
    (True, True)
    """
    x, y = torch.from_numpy(logits), torch.from_numpy(wanted.astype(np.float64))
    share = float(wanted.mean())
    high, low = miss_cost / (1 + miss_cost), 1 / (1 + miss_cost)
    weight = torch.where(y > 0, high / max(share, 1e-9), low / max(1 - share, 1e-9))
    gain = torch.ones(1, dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([gain, offset], max_iter=100)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        # The small penalty keeps the gain finite when the classes part completely.
        loss = (
            functional.binary_cross_entropy_with_logits(
                x * gain + offset, y, weight=weight
            )
            + 1e-3 * (gain.square() + offset.square()).sum()
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return 1 / max(float(gain.detach()), 0.05), float(offset.detach())


def recall_offset(
    logits: Values, wanted: NDArray[np.bool_], temperature: float, *, recall: float
) -> float:
    """Return the offset at which a gate of 0.5 passes ``recall`` of the positives."""
    return -float(np.quantile(logits[wanted] / temperature, 1 - recall))


def set_calibration(head: Head, temperature: float, offset: float) -> None:
    """Bake temperature and offset into a head."""
    head.temperature.fill_(temperature)
    head.offset.fill_(offset)


@torch.no_grad()
def calibrate_hr(
    network: HighResolution, samples: Sequence[Sample]
) -> dict[str, float]:
    """Fit and bake the HR head's temperature and offset; return them."""
    set_calibration(network.head, 1.0, 0.0)
    network.eval()
    rng = np.random.default_rng(0)
    logits = []
    for start in tqdm(range(0, len(samples), 8), desc="HR calibration", mininterval=10):
        part = samples[start : start + 8]
        tiles = np.stack([cut_tile(sample, STILL, rng) for sample in part])
        middle = network.middle(torch.from_numpy(tiles))
        logits.append(network.logits(middle)[0].double().numpy())
    wanted = np.array([sample.lesion for sample in samples])
    with torch.enable_grad():
        temperature, offset = fit_platt(
            np.concatenate(logits), wanted, miss_cost=MISS_COST
        )
    set_calibration(network.head, temperature, offset)
    return {"hr_temperature": temperature, "hr_offset": offset}
