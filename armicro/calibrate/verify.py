"""A fresh measurement against the certificate's: still the same instrument?

Both have errors; what is allowed is three times their combined one, and at least what
matters to nobody.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from armicro.calibrate.certificate import (
    Certificate,
    Colour,
    Light,
    Measurement,
    Scale,
)

SIGMAS = 3.0
LEAST_SCALE_SHARE = 0.003
"""Less than this nobody notices, whatever the standard errors say."""
CORNERS = 0.04
LEVEL = 0.1
TINT = 0.04


class Comparison(NamedTuple):
    """One number, then and now."""

    name: str
    held: str
    fresh: str
    off: str
    allowed: str
    fits: bool


def compare(held: Certificate, fresh: Sequence[Measurement]) -> list[Comparison]:
    """Compare what was measured now with what the certificate holds of its kind.

    What one of them lacks is left out.
    """
    found: list[Comparison] = []
    for table in fresh:
        if isinstance(table, Scale) and held.scale is not None:
            found += compare_scale(held.scale, table)
        elif isinstance(table, Light) and held.light is not None:
            found.append(_corners(held.light, table))
        elif isinstance(table, Colour) and held.colour is not None:
            found += compare_white(held.colour, table)
    return found


def compare_scale(held: Scale, fresh: Scale) -> list[Comparison]:
    """Compare two scales by their standard errors.

    >>> one = Scale(measured_at="", um_per_px=0.2430, standard_error=0.0001)
    >>> two = Scale(measured_at="", um_per_px=0.2450, standard_error=0.0002)
    >>> compare_scale(one, two)[0][1:]
    ('0.2430 µm/px', '0.2450 µm/px', '0.82 %', '0.30 %', False)
    """
    errors = math.hypot(held.standard_error, fresh.standard_error)
    allowed = max(SIGMAS * errors / held.um_per_px, LEAST_SCALE_SHARE)
    seen = tuple(f"{scale.um_per_px:.4f} µm/px" for scale in (held, fresh))
    off = abs(fresh.um_per_px / held.um_per_px - 1.0)
    return [_judged("scale", seen, off, allowed, shown="{:.2%}")]


def compare_white(held: Colour, fresh: Colour) -> list[Comparison]:
    """Compare how bright and how white empty glass is."""
    before, after = held.white_rgb, fresh.white_rgb
    dimmer = abs(sum(after) / sum(before) - 1.0)
    tint = max(
        abs((after[i] / after[1]) / (before[i] / before[1]) - 1.0) for i in (0, 2)
    )
    seen = held.level, fresh.level
    return [
        _judged("light", seen, dimmer, LEVEL),
        _judged("white point", seen, tint, TINT),
    ]


def _corners(held: Light, fresh: Light) -> Comparison:
    seen = tuple(f"{light.corner_before:.2f}" for light in (held, fresh))
    off = abs(fresh.corner_before - held.corner_before)
    return _judged("corners", seen, off, CORNERS, shown="{:.2f}")


def _judged(
    name: str,
    seen: tuple[str, ...],
    off: float,
    allowed: float,
    *,
    shown: str = "{:.0%}",
) -> Comparison:
    held, fresh = seen
    is_off, may_be = (shown.format(v).replace("%", " %") for v in (off, allowed))
    return Comparison(name, held, fresh, is_off, may_be, off <= allowed)
