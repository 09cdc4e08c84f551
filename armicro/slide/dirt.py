"""Dirt on the sensor: texture that stays in the picture while the slide moves.

Dirt is what has the same sign in nearly every field of another place; cells come and
go. Only then is its mean taken away: a mean of few fields is a ghost of them, which
would register on itself.
"""

from typing import NamedTuple

import numpy as np

from armicro.align.look import Plane

_LEAST_FIELDS = 12
_MEMORY_FIELDS = 60
"""The mean follows dirt that moves on the sensor within about so many fields."""
_CONSTANT = 0.8
"""Share of fields, less those of the other sign, from which texture is dirt."""
_VISIBLE = 0.01
"""Of the logarithm of light: less is noise."""


class _Memory(NamedTuple):
    mean: Plane
    sign: Plane
    """Mean of -1, 0, 1."""


class Dirt:
    """The still part of a camera's picture, in its own coordinates."""

    def __init__(self) -> None:
        self._memory: _Memory | None = None
        self._fields = 0
        self._still: Plane | None = None

    def clean(self, texture: Plane) -> Plane:
        """Return texture (height, width) without what is known to be dirt."""
        if self._still is None or self._still.shape != texture.shape:
            return texture
        return texture - self._still

    def update(self, texture: Plane) -> None:
        """Learn from a field, as it was before ``clean``, that lies elsewhere."""
        memory = self._memory
        if memory is None or memory.mean.shape != texture.shape:
            # Another camera or another objective.
            memory = _Memory(np.zeros_like(texture), np.zeros_like(texture))
            self._memory, self._fields, self._still = memory, 0, None
        self._fields = min(self._fields + 1, _MEMORY_FIELDS)
        share = np.float32(1.0 / self._fields)
        sign = np.sign(texture) * (np.abs(texture) > _VISIBLE)
        memory.mean[...] += share * (texture - memory.mean)
        memory.sign[...] += share * (sign - memory.sign)
        if self._fields >= _LEAST_FIELDS:
            constant = np.abs(memory.sign) > _CONSTANT
            self._still = np.where(constant, memory.mean, np.float32(0.0))
