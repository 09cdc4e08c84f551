"""Dirt on the sensor: texture that stays in the picture while the slide moves.

A running mean over fields of different places forgets the cells and keeps the dirt. No
field counts for more than its usual deviation, and only what stands out from chance is
taken away: a mean of few fields is a ghost of them, which would register on itself.
"""

import numpy as np

from armicro.align.look import Plane

_LEAST_FIELDS = 6
_MEMORY_FIELDS = 60
"""The mean follows dirt that moves on the sensor within about so many fields."""
_SIGNIFICANT = 4.0
_FIRST_SPREAD = 0.05
"""Of the logarithm of light, until the fields tell."""


class Dirt:
    """The still part of a camera's picture, in its own coordinates."""

    def __init__(self) -> None:
        self._mean: Plane | None = None
        self._spread: Plane | None = None
        self._fields = 0
        self._still: Plane | None = None

    def clean(self, texture: Plane) -> Plane:
        """Return texture (height, width) without what is known to be dirt."""
        if self._still is None or self._still.shape != texture.shape:
            return texture
        return texture - self._still

    def update(self, texture: Plane) -> None:
        """Learn from a field, as it was before ``clean``, that lies elsewhere."""
        if self._mean is None or self._mean.shape != texture.shape:
            # Another camera or another objective.
            self._mean = np.zeros_like(texture)
            self._spread = np.full_like(texture, _FIRST_SPREAD)
            self._fields, self._still = 0, None
        assert self._spread is not None  # noqa: S101 (set beside the mean)
        self._fields = min(self._fields + 1, _MEMORY_FIELDS)
        share = 1.0 / self._fields
        limit = 3.0 * self._spread
        away = texture - self._mean
        if self._fields > 1:
            away = np.clip(away, -limit, limit)
        self._mean += share * away
        self._spread += share * (np.abs(away) - self._spread)
        if self._fields >= _LEAST_FIELDS:
            # The mean deviation of a Gaussian is 0.8 of its standard deviation.
            error = self._spread * (1.25 * self._fields**-0.5)
            known = np.abs(self._mean) > _SIGNIFICANT * error
            self._still = np.where(known, self._mean, np.float32(0.0))
