"""The colour of suspicion, chosen for Pap stains and for every pair of eyes.

From ivory over yellow to vermilion: lightness falls steadily, so the order survives
deuteranopia, protanopia and a grey print, and a dark outline lifts each step from pink,
orange and blue cytoplasm. The number beside a box says the same again.
"""

import numpy as np

Rgb = tuple[int, int, int]

STALE: Rgb = (206, 212, 218)
_AT = (0.0, 0.5, 0.75, 0.9, 1.0)
_STEPS = (
    (228, 232, 236),
    (255, 250, 214),
    (255, 214, 10),
    (255, 140, 0),
    (255, 64, 24),
)


_TABLE = np.stack(
    [
        np.interp(np.arange(101) / 100, _AT, channel)
        for channel in zip(*_STEPS, strict=True)
    ],
    axis=1,
)
_SHADES: list[Rgb] = [(round(r), round(g), round(b)) for r, g, b in _TABLE.tolist()]


def suspicion_rgb(probability: float) -> Rgb:
    """The colour of a probability, in steps of 0.01 as it is written.

    >>> suspicion_rgb(0.5), suspicion_rgb(1.0)
    ((255, 250, 214), (255, 64, 24))
    """
    return _SHADES[round(100 * min(1.0, max(0.0, probability)))]


def luminance(rgb: Rgb) -> float:
    """Relative luminance, 0-1 (WCAG 2.1)."""
    linear = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in rgb)
    )
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
