"""May this camera's fields be believed? Asked at its opening, and while it runs."""

from dataclasses import replace

from armicro.calibrate.drift import Drift, Verdict
from armicro.certificate import now
from armicro.field import Field
from armicro.rig import Rig
from armicro.source import Card
from armicro.source.identity import why_void


class Trust:
    """The rig's certificate, held against what the camera is and shows."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._drift: Drift | None = None
        self._void = ""
        self.warning = ""
        """What the operator should see to, though boxes may stay."""

    def opened(self, card: Card) -> None:
        """Judge a camera that was opened: what comes back may be another."""
        self._void = why_void(self._rig, card, now())
        # What a file plays was not taken by this instrument.
        watched = card.fields_planned is None and not self._void
        self._drift = Drift(self._rig.calibration) if watched else None

    def judged(self, field: Field) -> Field:
        """The field, with the reason why its scale is not to be trusted."""
        verdict = self._drift.update(field) if self._drift else Verdict()
        self.warning = verdict.warning
        voided = field.voided or self._void or verdict.void
        return replace(field, voided=voided) if voided else field
