"""From a camera's stamps to the computer's clock."""

import numpy as np

from armicro.source.basler import Shutter


def test_frame_that_waited_in_a_buffer_keeps_its_time() -> None:
    shutter = Shutter()
    assert shutter.taken_ns(1_000_000, 51_000_000) == 51_000_000
    # The second frame came 10 ms later but waited another 7 ms.
    assert abs(shutter.taken_ns(11_000_000, 68_000_000) - 61_000_000) < 5_000


def test_camera_without_stamps_gets_the_time_of_arrival_less_the_cable() -> None:
    assert Shutter(transfer_ns=9).taken_ns(0, 100) == 91


def test_drifting_clocks_are_followed() -> None:
    shutter = Shutter()
    rng = np.random.default_rng(0)
    error = 0.0
    for frame in range(20_000):
        true_ns = frame * 33_000_000
        stamp_ns = round(true_ns * (1 - 50e-6)) + 7
        waited_ns = int(rng.integers(0, 20_000_000))
        taken_ns = shutter.taken_ns(stamp_ns, true_ns + waited_ns)
        error = abs(taken_ns - true_ns) if frame > 100 else 0.0
        assert taken_ns <= true_ns + waited_ns
    assert error < 2_000_000
