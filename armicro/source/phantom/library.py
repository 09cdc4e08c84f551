"""The sprites of one seed, each drawn when it is first asked for."""

import functools
from collections.abc import Callable

import numpy as np

from armicro.errors import SourceError
from armicro.source.phantom.cell import draw_cell
from armicro.source.phantom.litter import (
    draw_debris,
    draw_dust,
    draw_erythrocyte,
    draw_film,
    draw_lymphocyte,
    draw_neutrophil,
    draw_strand,
)
from armicro.source.phantom.plan import PLANS
from armicro.source.phantom.sprite import Sprite
from armicro.source.phantom.stain import Stain, stain_named

Draw = Callable[[Stain, np.random.Generator], Sprite]

LITTER: dict[str, Draw] = {
    "film": draw_film,
    "strand": draw_strand,
    "dust": draw_dust,
    "erythrocyte": draw_erythrocyte,
    "neutrophil": draw_neutrophil,
    "lymphocyte": draw_lymphocyte,
    "debris": draw_debris,
}

KINDS: tuple[str, ...] = (*LITTER, *PLANS)
"""Every kind of sprite; a stamp names its kind by the index here."""

SPRITES_OF: dict[str, int] = {
    "film": 12,
    "strand": 32,
    "dust": 16,
    "erythrocyte": 24,
    "neutrophil": 48,
    "lymphocyte": 32,
    "debris": 48,
    "superficial": 72,
    "intermediate": 80,
    "parabasal": 40,
    "enlarged": 48,
    "high_nc": 56,
    "koilocyte": 40,
}
"""How many there are of a kind; each is turned, mirrored and toned when stamped."""


class Library:
    """Sprites by kind and number; equal seeds and stains give equal sprites."""

    def __init__(self, seed: int, stain: str) -> None:
        """Open the library; nothing is drawn yet.

        Raises:
            SourceError: there is no such stain, or the seed is negative.
        """
        if seed < 0:
            raise SourceError(f"seed {seed}: expected 0 or more; choose another")
        self.stain = stain_named(stain)
        self._seed = seed
        self._drawn: dict[tuple[int, int], Sprite] = {}

    def sprite(self, kind_index: int, number: int) -> Sprite:
        """Sprite ``number`` of kind ``KINDS[kind_index]``."""
        key = (kind_index, number)
        if key not in self._drawn:
            self._drawn[key] = self._draw(kind_index, number)
        return self._drawn[key]

    def _draw(self, kind_index: int, number: int) -> Sprite:
        rng = np.random.default_rng([self._seed, kind_index, number])
        kind = KINDS[kind_index]
        if kind in PLANS:
            return draw_cell(kind, self.stain, rng)
        return LITTER[kind](self.stain, rng)


@functools.lru_cache(maxsize=4)
def library_of(seed: int, stain: str) -> Library:
    """A library kept for the next field of the same seed and stain."""
    return Library(seed, stain)
