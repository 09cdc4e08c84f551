"""What scale an objective, an adapter and a sensor make by their names."""

import re

_POWER = re.compile(r"(\d+(?:[.,]\d+)?)\s*[x×]", re.IGNORECASE)
_EYEPIECE = re.compile(r"\s*(?:eyepiece|ocular|WF|oculars)\b", re.IGNORECASE)


def nominal_um_per_px(objective: str, pixel_um: float) -> float | None:
    """Sensor pixel over all powers between slide and sensor; None: no power is named.

    Args:
        objective: such as "20x/0.45 with 0.5x C-mount adapter"; every power counts but
            that of an eyepiece, which the camera does not look through.
        pixel_um: side of a sensor pixel in micrometres.

    >>> round(nominal_um_per_px("20x/0.45 with 0.5x C-mount adapter", 3.45), 4)
    0.345
    >>> round(nominal_um_per_px("UPLXAPO 40X/0.95", 3.45), 5)
    0.08625
    >>> nominal_um_per_px("Plan achromat", 3.45) is None
    True
    """
    power = 1.0
    found = False
    for match in _POWER.finditer(objective):
        if _EYEPIECE.match(objective, match.end()):
            continue
        power *= float(match[1].replace(",", "."))
        found = True
    return pixel_um / power if found and power > 0 else None
