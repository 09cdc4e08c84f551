"""A source whose fields are even and white: dark, flat field and white balance."""

from collections.abc import Container, Iterator

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.calibrate.light import Correction, enlarge
from armicro.field import Field
from armicro.source import Card, Source


class CorrectedSource:
    """Another source, seen through its instrument's light and white point."""

    def __init__(
        self,
        source: Source,
        gains: NDArray[np.float32],
        *,
        dark_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Wrap a source.

        Args:
            source: gives the fields; closed with this one.
            gains: (rows, columns, 3), a map of any size over the field.
            dark_rgb: what the camera reads without light.

        Raises:
            CalibrationError: the gains cannot be used.
        """
        self._source = source
        card = source.card
        whole = np.maximum(enlarge(gains, card.width_px, card.height_px), 1.0)
        self._correction = Correction(whole, dark_rgb=dark_rgb)

    @property
    def card(self) -> Card:
        """What the source is."""
        return self._source.card

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield the source's fields, corrected; see ``Source``.

        A field of another size than the source said is left as it is: it gets no box.
        """
        size_px = self.card.height_px, self.card.width_px
        for field in self._source.fields(done=done):
            if field.fault or field.pixels.shape[:2] != size_px:
                yield field
                continue
            yield replace(field, pixels=self._correction.apply(field.pixels))

    def close(self) -> None:
        """Close the source."""
        self._source.close()
