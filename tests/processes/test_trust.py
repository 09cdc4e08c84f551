"""The watch over a camera while it runs."""

import numpy as np
import pytest

from armicro.calibrate.certificate import Certificate, Colour, Instrument, Scale
from armicro.calibrate.drift import LOOK_NS
from armicro.field import Field
from armicro.processes.reader import Trust
from armicro.rig import Camera, Rig
from armicro.source import SourceCard

CARD = SourceCard("acA2440 4711", 0.25, 64, 48)
CERTIFICATE = Certificate(
    instrument=Instrument(camera="acA2440 4711", width_px=64, height_px=48),
    made_at="2026-11-01T00:00:00+00:00",
    expires_at="2999-01-01T00:00:00+00:00",
    scale=Scale(measured_at="", um_per_px=0.25, standard_error=1e-4),
    colour=Colour(measured_at="", white_rgb=(240, 238, 230), gains_rgb=(1, 1, 1)),
)


def glass(share: float, seq: int) -> Field:
    pixels = np.full((48, 64, 3), np.array([240, 238, 230]) * share, np.uint8)
    return Field(0.25, seq, (seq + 1) * LOOK_NS, pixels=pixels)


def after(trust: Trust, share: float, fields: int = 12) -> Field:
    return [trust.judged(glass(share, seq)) for seq in range(fields)][-1]


def test_lamp_that_dims_is_warned_of_and_one_that_fails_turns_boxes_off() -> None:
    trust = Trust(Rig(calibration=CERTIFICATE))
    trust.opened(CARD)
    assert (after(trust, 1.0).voided, trust.warning) == ("", "")
    assert after(trust, 0.7).voided == ""
    assert "70 % of the light" in trust.warning
    assert "30 % of the light" in after(trust, 0.3).voided
    # And comes back with the lamp.
    assert (after(trust, 1.0).voided, trust.warning) == ("", "")


def test_another_camera_after_a_loss_is_not_trusted() -> None:
    trust = Trust(Rig(calibration=CERTIFICATE))
    trust.opened(CARD)
    assert trust.judged(glass(1.0, 0)).voided == ""
    trust.opened(SourceCard("acA2440 4712", 0.25, 64, 48))
    assert "connected is acA2440 4712" in trust.judged(glass(1.0, 1)).voided


def test_what_a_recording_says_of_its_fields_stands() -> None:
    trust = Trust(Rig())
    trust.opened(
        SourceCard("recording", 0.25, 64, 48, fields_planned=3, simulated=True)
    )
    pixels = np.zeros((48, 64, 3), np.uint8)
    field = Field(0.25, 0, 1, voided="certificate expired on 2020-06-29", pixels=pixels)
    assert trust.judged(field).voided == field.voided


@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("wh_px", [(32, 24), (128, 96), (64, 40), (40, 96)])
def test_camera_that_sends_another_size_gets_no_boxes_and_fits_the_ring(
    wh_px: tuple[int, int], certified: bool
) -> None:
    camera = Camera(driver="video", width_px=64, height_px=48, uncalibrated=True)
    rig = Rig(camera=camera, calibration=CERTIFICATE if certified else None)
    trust = Trust(rig)
    trust.opened(CARD)
    pixels = np.full((wh_px[1], wh_px[0], 3), 200, np.uint8)
    judged = trust.judged(Field(0.25, 0, 0, pixels=pixels))
    assert f"the camera gives {wh_px[0]}x{wh_px[1]} px" in judged.voided
    assert judged.pixels.shape[0] <= 48
    assert judged.pixels.shape[1] <= 64
    usual = trust.judged(Field(0.25, 1, 0, pixels=np.full((48, 64, 3), 200, np.uint8)))
    assert "the camera gives" not in usual.voided
