"""The scale bar: a round length that fits."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ruler:
    """A scale bar."""

    length_um: float
    length_px: float
    text: str


def rule(um_per_px: float, widest_px: float) -> Ruler:
    """The longest bar of 1, 2 or 5 times a power of ten that fits.

    >>> rule(0.5, 150).text, rule(0.004, 150).text, rule(9.0, 150).text
    ('50 µm', '0.5 µm', '1 mm')
    """
    widest_um = um_per_px * widest_px
    decade = 10.0 ** math.floor(math.log10(widest_um))
    fitting = (m * decade for m in (1, 2, 5) if m * decade <= widest_um)
    length_um = max(fitting, default=decade)
    text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    return Ruler(length_um, length_um / um_per_px, text)
