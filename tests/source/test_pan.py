"""The path of the emulated stage."""

import numpy as np

from armicro.source.simulated import pan_xy


def test_stage_never_jumps_nor_leaves_the_image_nor_outruns_its_speed() -> None:
    travelled = np.arange(0, 60_000, 5.0)
    path = np.array([pan_xy(way, (3000, 2000), 1000) for way in travelled])
    assert path.min() >= 0
    assert (path.max(axis=0) <= (3000, 2000)).all()
    # Rounding to whole pixels adds up to one.
    assert np.abs(np.diff(path, axis=0)).max() <= 5 + 1


def test_stage_sees_the_whole_image() -> None:
    seen = np.zeros((300, 400), bool)
    for way in range(0, 400_000, 50):
        x, y = pan_xy(way, (3000, 2000), 1000)
        seen[y // 10 : (y + 1000) // 10, x // 10 : (x + 1000) // 10] = True
    assert seen.mean() > 0.995


def test_image_as_large_as_the_window_stands_still() -> None:
    assert pan_xy(123.0, (0, 0), 1000) == (0, 0)
