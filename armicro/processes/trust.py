"""May this camera's fields be believed? Asked at its opening, and while it runs."""

import cv2
import numpy as np
from msgspec.structs import replace

from armicro.calibrate.drift import Drift, Verdict
from armicro.certificate import now
from armicro.field import Field
from armicro.rig import Camera, Rig
from armicro.source import Card
from armicro.source.identity import why_void
from armicro.verdict import MEASURE_AGAIN, mended, state_text


class Trust:
    """The rig's certificate, held against what the camera is and shows."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._drift: Drift | None = None
        self._void = ""
        self._ends = False
        self.warning = ""
        """What the operator should see to, though boxes may stay."""

    def opened(self, card: Card) -> None:
        """Judge a camera that was opened: what comes back may be another."""
        why = why_void(self._rig, card, now())
        self._void = mended(why, MEASURE_AGAIN) if why else ""
        self._ends = card.ends
        # What a file plays was not taken by this instrument.
        watched = not card.ends and not self._void
        self._drift = Drift(self._rig.calibration) if watched else None

    def judged(self, field: Field) -> Field:
        """The field, with the reason why its scale is not to be trusted."""
        if not self._ends and self._is_of_another_size(field):
            return _of_another_size(field, self._rig.camera)
        verdict = self._drift.update(field) if self._drift else Verdict()
        self.warning = verdict.warning
        voided = field.voided or self._void or verdict.void
        return replace(field, voided=voided) if voided else field

    def _is_of_another_size(self, field: Field) -> bool:
        """Whether a camera's picture is not of the size for which its scale holds."""
        held, camera = self._rig.calibration, self._rig.camera
        made_for = camera if held is None else held.instrument
        wh_px = made_for.width_px, made_for.height_px
        # The ring's slots have the rig's size.
        fits = field.pixels.size <= 3 * camera.width_px * camera.height_px
        return field.pixels.shape[1::-1] != wh_px or not fits


def _of_another_size(field: Field, camera: Camera) -> Field:
    """A camera's field that may be binned or resized: shown, within the rig's size."""
    height_px, width_px = field.pixels.shape[:2]
    # Its scale may be another.
    voided = state_text(
        "another_size",
        seen=f"{width_px}x{height_px}",
        expected=f"{camera.width_px}x{camera.height_px}",
    )
    pixels = field.pixels
    share = min(camera.width_px / width_px, camera.height_px / height_px)
    if share < 1:
        size_px = max(1, int(width_px * share)), max(1, int(height_px * share))
        shrunk = cv2.resize(pixels, size_px, interpolation=cv2.INTER_AREA)
        pixels = np.asarray(shrunk, np.uint8)
    return replace(field, pixels=pixels, voided=field.voided or voided)
