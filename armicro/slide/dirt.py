"""Dirt on the sensor: texture that stays in the picture while the slide moves.

Dirt is what has the same sign in nearly every field of another place; cells come and
go. Where it lies nothing is known of the slide: it is left out of the texture, of the
contrast around it and of what is asked to agree (``align.agree``), in the fields that
were kept before it was known too. To take its mean away is not enough: a mean of few
fields is a ghost of them, which would register on itself, and what dark dirt leaves of
the light is noise.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.align.look import Plane

_LEAST_FIELDS = 12
_MEMORY_FIELDS = 60
"""The mean follows dirt that moves on the sensor within about so many fields."""
_EVERY_FIELDS = 6
"""Known dirt is looked at again after so many: each time kept pictures change."""
_CONSTANT = 0.7
"""Share of fields, less those of the other sign, from which texture is dirt."""
_VISIBLE = 0.01
"""Of the logarithm of light: less is noise."""
_LEAST_PX = 3
"""A speck that is smaller is chance."""
_AROUND_PX = 5
"""Dirt's own edge is blurred, and less constant than its middle."""


class Dirt:
    """The still part of a camera's picture, in its own coordinates."""

    def __init__(self) -> None:
        self._sign: Plane | None = None
        """Mean of -1, 0, 1."""
        self._fields = 0
        self._learnt = 0
        self._clean: Plane | None = None

    def clean(self, texture: Plane) -> Plane | None:
        """Return 0 where dirt is known, 1 elsewhere; None where none is.

        Args:
            texture: (height, width), as the camera shows it.
        """
        clean = self._clean
        return None if clean is None or clean.shape != texture.shape else clean

    def update(self, texture: Plane) -> Plane | None:
        """Learn from a field with its dirt, that lies elsewhere.

        Returns:
            What ``clean`` returns from now on, when that changes; else None.
        """
        if self._sign is None or self._sign.shape != texture.shape:
            # Another camera or another objective.
            self._sign = np.zeros_like(texture)
            self._fields, self._learnt, self._clean = 0, 0, None
        self._fields = min(self._fields + 1, _MEMORY_FIELDS)
        self._learnt += 1
        sign = np.sign(texture) * (np.abs(texture) > _VISIBLE)
        self._sign[...] += np.float32(1.0 / self._fields) * (sign - self._sign)
        if self._fields < _LEAST_FIELDS or self._learnt % _EVERY_FIELDS:
            return None
        constant = (np.abs(self._sign) > _CONSTANT).astype(np.uint8)
        specks = cv2.morphologyEx(constant, cv2.MORPH_OPEN, _square(_LEAST_PX))
        known = bool(specks.any())
        if not known and self._clean is None:
            return None
        dirt = cv2.dilate(specks, _square(_AROUND_PX))
        clean = np.asarray(1 - dirt, np.float32)
        self._clean = clean if known else None
        return clean


def _square(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), np.uint8)
