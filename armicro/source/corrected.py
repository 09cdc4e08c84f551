"""A source whose fields are even and white: dark, flat field and white balance.

All three become one gain a pixel and one level a colour, so a field costs one pass:
8-bit times 8-bit in fixed point, saturating, into new pixels. The map's step is a
255th of its largest gain, under a level for usual lamps. Both flat field and balance
are factors, so they hold for a camera with a gamma curve as well.
"""

from collections.abc import Container, Iterator

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.calibrate.light import enlarge
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels
from armicro.source import Card, Source

LARGEST_GAIN = 4.0
"""More would show the steps of an 8-bit map, and a lamp that is out of place."""
_DARK_FROM = 0.5
"""A dark level below half a level changes nothing."""
_STRIP_ROWS = 32
"""Rows at once, so that what is between two steps stays in the core's cache."""


class Correction:
    """Turns a camera's pixels into even, white ones."""

    def __init__(
        self,
        gains: NDArray[np.float32],
        *,
        dark_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Prepare the map.

        Args:
            gains: (height, width, 3), 1 or more, of the field's size.
            dark_rgb: what the camera reads without light.

        Raises:
            CalibrationError: a gain is not within 1 to 4.
        """
        largest = float(gains.max())
        if not (gains.min() >= 0.999 and largest <= LARGEST_GAIN):
            raise CalibrationError(
                f"light: gains of {gains.min():.2f} to {largest:.2f}, expected 1 to "
                f"{LARGEST_GAIN:.0f}; centre the lamp and measure the light again"
            )
        self._scale = largest / 255
        # Rounded up or down by chance, the same at every start: plain rounding would
        # draw rings on empty glass. One chance for all colours leaves no tint.
        chance = np.random.default_rng(0).random((*gains.shape[:2], 1), np.float32)
        self._map = np.minimum(gains / self._scale + chance, 255).astype(np.uint8)
        # OpenCV takes four numbers, whatever the picture has.
        self._dark = np.append(np.rint(dark_rgb), 0.0)
        self._subtracts = max(dark_rgb) >= _DARK_FROM

    def apply(self, pixels: Pixels) -> Pixels:
        """Correct a field.

        Args:
            pixels: (height, width, 3), which are not changed.

        Returns:
            New pixels.

        Raises:
            CalibrationError: the field has another size than the map.
        """
        if pixels.shape != self._map.shape:
            height, width = self._map.shape[:2]
            raise CalibrationError(
                f"field of {pixels.shape[1]}x{pixels.shape[0]} px: light was measured "
                f"for {width}x{height}; set the camera as it was, or measure again"
            )
        even = np.empty_like(pixels)
        if not self._subtracts:
            cv2.multiply(pixels, self._map, even, self._scale)
            return even
        for top in range(0, len(pixels), _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            lit = cv2.subtract(pixels[rows], self._dark)
            cv2.multiply(lit, self._map[rows], even[rows], self._scale)
        return even


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
