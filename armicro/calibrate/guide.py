"""The way through the procedures, one step after the other: a state machine, no more.

A step says what to put under the objective, judges every field (in focus, enough ticks,
light in range), and when the operator asks turns some fields into a measurement or a
refusal. The operator accepts, repeats or leaves it out. Windows and terminals only show
``Guide`` and press its buttons; cameras, files and stages are their host's.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import Measurement
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels

Specimen = Literal["micrometer", "glass", "cells", "pattern"]
Phase = Literal["looking", "measuring", "measured", "refused", "finished"]


class Check(NamedTuple):
    """One thing that must be right before it is measured."""

    name: str
    ok: bool
    value: str
    advice: str = ""
    """What to do; empty when it is right."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What was measured."""

    tables: tuple[Measurement, ...]
    """The certificate's: ``Scale``, ``Light``..."""
    words: str
    """The result in one line."""
    picture: Pixels | None = None
    """How it was found, to be looked at before it is accepted."""
    flat: NDArray[np.float32] | None = None
    """The map of the light, which is kept beside the certificate."""
    numbers: dict[str, object] = dataclasses.field(default_factory=dict)
    """All that was found, with its errors, as programs are told."""
    account: str = ""
    """The result at length, in lines."""
    refusal: str = ""
    """Why it must not be kept, though its picture may be looked at; empty: it may."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One procedure."""

    name: str
    """For accounts and commands; unique."""
    title: str
    instruction: str
    """What to put under the objective, and how."""
    specimen: Specimen
    check: Callable[[Field], Sequence[Check]]
    measure: Callable[[Sequence[Field]], Outcome] | None = None
    """May raise CalibrationError; None: its host moves the stage, and measures."""
    fields: int = 1
    """How many fields are measured together."""


class Guide:
    """Where the operator is on the way."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Start at the first step.

        Raises:
            ValueError: there is none.
        """
        if not steps:
            raise ValueError("a guide needs at least one step")
        self.steps = tuple(steps)
        self.index = 0
        self.phase: Phase = "looking"
        self.checks: tuple[Check, ...] = ()
        self.outcome: Outcome | None = None
        self.refusal = ""
        self.accepted: dict[str, Outcome] = {}
        self._fields: list[Field] = []

    @property
    def step(self) -> Step:
        """The present step; the last one when all is finished."""
        return self.steps[min(self.index, len(self.steps) - 1)]

    @property
    def ready(self) -> bool:
        """Whether every check of the newest field is right."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def wants_host(self) -> bool:
        """Whether the host must measure now, and call ``finish`` or ``refuse``."""
        return self.phase == "measuring" and self.step.measure is None

    def see(self, field: Field) -> None:
        """Judge a field; while measuring, take it, and measure with the last one."""
        if self.phase not in ("looking", "measuring"):
            return
        self.checks = tuple(self.step.check(field))
        if self.phase == "looking" or self.step.measure is None:
            return
        self._fields.append(field)
        if len(self._fields) < self.step.fields:
            return
        try:
            self.finish(self.step.measure(self._fields))
        except CalibrationError as error:
            self.refuse(str(error))

    def start(self) -> None:
        """Measure from the next field on, if what is seen is right."""
        if self.phase == "looking" and self.ready:
            self._enter("measuring")

    def finish(self, outcome: Outcome) -> None:
        """Take a measurement, which the operator now accepts or repeats."""
        if outcome.refusal:
            self.refuse(outcome.refusal)
        else:
            self._enter("measured", outcome=outcome)

    def refuse(self, why: str) -> None:
        """Take it that nothing could be measured."""
        self._enter("refused", refusal=why)

    def accept(self) -> Outcome | None:
        """Keep the measurement and go on; return it."""
        if self.phase != "measured" or self.outcome is None:
            return None
        outcome = self.accepted[self.step.name] = self.outcome
        self._go_on()
        return outcome

    def repeat(self) -> None:
        """Throw the measurement away and look again."""
        if self.phase in ("measured", "refused"):
            self._enter("looking")

    def skip(self) -> None:
        """Leave this step out."""
        if self.phase != "finished":
            self._go_on()

    def _go_on(self) -> None:
        self.index += 1
        self._enter("looking" if self.index < len(self.steps) else "finished")

    def _enter(
        self, phase: Phase, *, outcome: Outcome | None = None, refusal: str = ""
    ) -> None:
        self.phase, self.outcome, self.refusal = phase, outcome, refusal
        self._fields = []
        if phase == "looking":
            self.checks = ()
