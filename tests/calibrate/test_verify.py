"""Fresh measurements against a certificate, with differences that are known."""

import msgspec
import pytest

from armicro.calibrate.certificate import (
    Certificate,
    Colour,
    Instrument,
    Light,
    Measurement,
    Scale,
)
from armicro.calibrate.verify import compare

SCALE = Scale(measured_at="", um_per_px=0.25, standard_error=0.0001)
LIGHT = Light(
    measured_at="", flat="", flat_sha256="", corner_before=0.7, corner_after=1.0
)
COLOUR = Colour(measured_at="", white_rgb=(240, 236, 228), gains_rgb=(1, 1, 1))
HELD = Certificate(
    instrument=Instrument(width_px=64, height_px=48),
    made_at="",
    expires_at="",
    scale=SCALE,
    light=LIGHT,
    colour=COLOUR,
)
change = msgspec.structs.replace


@pytest.mark.parametrize(
    ("fresh", "unfit"),
    [
        (SCALE, []),
        (change(SCALE, um_per_px=0.2507), []),
        (change(SCALE, um_per_px=0.2512), ["scale"]),
        # A poor measurement proves little.
        (change(SCALE, um_per_px=0.2512, standard_error=0.0006), []),
        (LIGHT, []),
        (change(LIGHT, corner_before=0.62), ["corners"]),
        (COLOUR, []),
        (change(COLOUR, white_rgb=(200, 197, 190)), ["light"]),
        (change(COLOUR, white_rgb=(240, 236, 200)), ["white point"]),
    ],
)
def test_only_what_differs_by_more_than_its_error_does_not_fit(
    fresh: Measurement, unfit: list[str]
) -> None:
    assert [line.name for line in compare(HELD, [fresh]) if not line.fits] == unfit


def test_what_was_never_measured_is_not_compared() -> None:
    assert compare(change(HELD, scale=None), [SCALE]) == []
