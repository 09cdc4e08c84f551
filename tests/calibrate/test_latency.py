"""Delays, from blinks with a known one."""

import tracemalloc

import numpy as np
import pytest

from armicro.calibrate.latency import (
    Blinks,
    Delay,
    blink_times,
    chain,
    delay_of,
    find_blink,
    simulate_blinks,
    solve_delay,
)
from armicro.errors import CalibrationError

EXPOSURE_MS = 5.0


def solve(blinks: Blinks) -> Delay:
    lit = find_blink(blinks.cells)
    return solve_delay(blinks.changes_ns, lit, blinks.taken_ns, exposure_ms=EXPOSURE_MS)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("delay_ms", [25.0, 90.0, 210.0])
def test_delay_is_found_far_finer_than_the_camera_s_period(
    seed: int, delay_ms: float
) -> None:
    blinks = simulate_blinks(
        seed, delay_ms=delay_ms, changes=120, exposure_ms=EXPOSURE_MS
    )
    delay = solve(blinks)
    assert delay.trials == 120
    assert delay.median_ms == pytest.approx(delay_ms, abs=4)
    assert delay.p95_ms == pytest.approx(delay_ms + 1.645 * 3, abs=8)


@pytest.mark.parametrize("frames_per_second", [8.0, 30.0])
@pytest.mark.parametrize("delay_ms", [300.0, 600.0, 800.0, 950.0])
def test_a_delay_longer_than_a_pause_is_not_taken_for_a_short_one(
    delay_ms: float, frames_per_second: float
) -> None:
    blinks = simulate_blinks(
        2, delay_ms=delay_ms, changes=120, frames_per_second=frames_per_second
    )
    delay = solve(blinks)
    assert delay.trials >= 118
    assert delay.median_ms == pytest.approx(delay_ms, abs=5)


def test_a_delay_too_long_to_be_used_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"about 1[45]\d\d ms late"):
        solve(simulate_blinks(2, delay_ms=1500, changes=120))


@pytest.mark.parametrize("hertz", [1.0, 2.3, 4.0])
def test_a_lamp_that_blinks_by_itself_has_no_delay(hertz: float) -> None:
    blinks = simulate_blinks(1, delay_ms=50, changes=120)
    lit = (np.array(blinks.taken_ns) * hertz / 1e9) % 1 < 0.5
    with pytest.raises(CalibrationError, match="something else blinks"):
        solve_delay(blinks.changes_ns, lit, blinks.taken_ns)


def test_many_changes_need_no_more_memory_than_their_pictures() -> None:
    tracemalloc.start()
    simulate_blinks(1, delay_ms=48, changes=1000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 50e6


def test_changes_that_no_picture_showed_are_dropped() -> None:
    blinks = simulate_blinks(1, delay_ms=50, changes=60)
    lit = find_blink(blinks.cells)
    taken = np.array(blinks.taken_ns)
    gap = (taken > blinks.changes_ns[20]) & (taken < blinks.changes_ns[26])
    delay = solve_delay(blinks.changes_ns, lit[~gap], taken[~gap].tolist())
    assert delay.dropped >= 4
    assert delay.median_ms == pytest.approx(52.5, abs=5)


def test_a_field_that_does_not_blink_is_refused() -> None:
    noise = 90 + np.random.default_rng(0).normal(0, 1.0, (400, 24))
    with pytest.raises(CalibrationError, match="nothing in the field blinks"):
        find_blink(noise)


def test_a_blink_that_is_not_the_display_s_is_refused() -> None:
    blinks = simulate_blinks(1, delay_ms=50, changes=60)
    lit = find_blink(blinks.cells)
    later = [ns + 60_000_000_000 for ns in blinks.changes_ns]
    with pytest.raises(CalibrationError, match="follow the display"):
        solve_delay(later, lit, blinks.taken_ns)


def test_pauses_are_longer_than_a_delay_and_never_a_rhythm() -> None:
    pauses = blink_times(3, 200)
    assert pauses.min() >= 260
    assert np.std(pauses) > 50


def test_delays_add_up() -> None:
    whole = chain(Delay(20, 23, 100), Delay(40, 44, 50))
    assert (whole.median_ms, whole.p95_ms, whole.trials) == (60, 65, 50)
    with pytest.raises(CalibrationError, match="longer session"):
        delay_of([1.0] * 5)
