"""The path of the emulated stage: smooth, endless, and over the whole image."""

import math

_ROWS_PER_WINDOW = 0.7
"""Share of the window's height that a row of the path lies below the last."""

_NEVER_CLOSES = 0.0618
"""Makes the next round run beside the last, so that in time all is seen."""


def pan_xy(
    travelled_px: float, range_wh_px: tuple[int, int], window_h_px: int
) -> tuple[int, int]:
    """Where the window's corner is after so long a way.

    It swings from side to side like a pendulum, each swing a row further down and in
    the end up again, so neither place nor speed ever jumps. In the middle of a row it
    moves as fast as ``travelled_px`` grows, elsewhere slower.

    Args:
        travelled_px: speed times time.
        range_wh_px: how far the corner can move to the right and down.
        window_h_px: height of the window.

    >>> pan_xy(0.0, (1000, 500), 200)
    (0, 0)
    >>> pan_xy(math.pi / 2 * 1000, (1000, 500), 200)[0]
    1000
    """
    width, height = range_wh_px
    swings = travelled_px / (math.pi / 2 * max(width, height, 1))
    rows = max(1.0, height / (_ROWS_PER_WINDOW * window_h_px)) + _NEVER_CLOSES
    x = width * (1 - math.cos(math.pi * swings)) / 2
    y = height * (1 - math.cos(math.pi * swings / rows)) / 2
    return round(x), round(y)
