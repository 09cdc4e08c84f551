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

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import Measurement
from armicro.calibrate.light import (
    glass_levels,
    unevenness,
    why_not_empty,
    why_not_lit,
)
from armicro.cascade.tile import find_cells
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels

Specimen = Literal["micrometer", "glass", "cells", "pattern"]
Phase = Literal["looking", "measuring", "measured", "refused", "finished"]


class FieldCheck(NamedTuple):
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
class GuideStep:
    """One procedure."""

    name: str
    """For accounts and commands; unique."""
    title: str
    instruction: str
    """What to put under the objective, and how."""
    specimen: Specimen
    check: Callable[[Field], Sequence[FieldCheck]]
    measure: Callable[[Sequence[Field]], Outcome] | None = None
    """May raise CalibrationError; None: its host moves the stage, and measures."""
    fields: int = 1
    """How many fields are measured together."""


class Guide:
    """Where the operator is on the way."""

    def __init__(self, steps: Sequence[GuideStep]) -> None:
        """Start at the first step.

        Raises:
            ValueError: there is none.
        """
        if not steps:
            raise ValueError("a guide needs at least one step")
        self.steps = tuple(steps)
        self.index = 0
        self.phase: Phase = "looking"
        self.checks: tuple[FieldCheck, ...] = ()
        self.outcome: Outcome | None = None
        self.refusal = ""
        self.accepted: dict[str, Outcome] = {}
        self._fields: list[Field] = []

    @property
    def step(self) -> GuideStep:
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


# ---------------------------------------------------------------------------
# Is a field fit to be measured? What the guide says while the operator adjusts.
#
# Each check is of milliseconds and says what to do, not what a number means.


WIDEST_EDGE_UM, WIDEST_EDGE_PX = 0.9, 3.0
"""Standard deviation of the blur of the sharpest edges."""
LEAST_CELLS = 0.05
LEAST_CONTRAST = 0.15
LEAST_TICKS = 12
_TICK_SEARCH_PX = 1000
_LEAST_COHERENCE = 0.4
"""Of the structure tensor: 1 where lines run one way, 0 where they run every way."""
_TICK_DEPTH = 0.35


def check_light(field: Field, *, empty: bool = False) -> FieldCheck:
    """Is the light of glass, or of empty glass, neither too little nor too much?"""
    fault = why_not_lit([field.pixels], empty=empty)
    if fault is not None:
        return FieldCheck("light", False, fault.seen, fault.remedy)
    return FieldCheck(
        "light", True, f"glass at {max(glass_levels(field.pixels))} of 255"
    )


def check_focus(field: Field) -> FieldCheck:
    """Are the sharpest edges sharp?"""
    blur_px = edge_blur_px(_green(field))
    if blur_px is None:
        return FieldCheck(
            "focus", False, "no edge", "focus on the lines; turn up contrast"
        )
    widest_px = max(WIDEST_EDGE_PX, WIDEST_EDGE_UM / field.um_per_px)
    ok = blur_px <= widest_px
    value = f"edges {blur_px:.1f} px wide, at most {widest_px:.1f}"
    return FieldCheck("focus", ok, value, "" if ok else "turn the fine focus")


def check_empty(field: Field) -> FieldCheck:
    """Is there nothing but glass?"""
    fault = why_not_empty([field.pixels])
    if fault is not None:
        return FieldCheck("empty glass", False, fault.seen, fault.remedy)
    return FieldCheck(
        "empty glass", True, f"{100 * unevenness([field.pixels]):.1f} % uneven"
    )


def check_cells(field: Field) -> FieldCheck:
    """Is there enough to see how the picture moves?"""
    share = find_cells(field.pixels, field.um_per_px).share
    ok = share >= LEAST_CELLS
    value = f"{share:.0%} of the field".replace("%", " %")
    return FieldCheck(
        "cells", ok, value, "" if ok else "move to a place with more cells"
    )


def edge_blur_px(grey: NDArray[np.uint8]) -> float | None:
    """Standard deviation of the blur of a picture's sharpest edges, in pixels.

    A step of height h blurred by s has the slope h / (s √2π) at its middle. None where
    there is no edge.
    """
    low, high = np.percentile(grey[::2, ::2], (1, 99))
    if high - low < LEAST_CONTRAST * 255:
        return None
    smooth = cv2.GaussianBlur(grey, (0, 0), 0.7).astype(np.float32)
    across, down = cv2.Sobel(smooth, -1, 1, 0), cv2.Sobel(smooth, -1, 0, 1)
    # Sobel's kernel weighs a slope of one by eight, and takes it over two pixels.
    slope = float(np.percentile(cv2.magnitude(across, down)[::2, ::2], 99.5)) / 8.0
    blur_px = float(high - low) / (max(slope, 1e-3) * np.sqrt(2 * np.pi))
    return float(np.sqrt(max(0.0, blur_px**2 - 0.7**2 - 1 / 3)))


def _green(field: Field) -> NDArray[np.uint8]:
    return np.ascontiguousarray(field.pixels[..., 1])


def check_ticks(field: Field) -> FieldCheck:
    """Is there a ruler with enough ticks?"""
    ticks = count_ticks(_green(field))
    ok = ticks >= LEAST_TICKS
    advice = "" if ok else "bring the ruler into view; focus on its lines"
    return FieldCheck("ticks", ok, f"about {ticks}, at least {LEAST_TICKS}", advice)


def count_ticks(grey: NDArray[np.uint8]) -> int:
    """About how many parallel dark lines there are; 0 where lines run every way.

    Quick, for live feedback; ``scale`` measures.
    """
    shrink = max(1.0, max(grey.shape) / _TICK_SEARCH_PX)
    size = round(grey.shape[1] / shrink), round(grey.shape[0] / shrink)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = cv2.Sobel(small, -1, 1, 0), cv2.Sobel(small, -1, 0, 1)
    xx, yy, xy = (float(np.mean(v)) for v in (across**2, down**2, across * down))
    coherence = np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-6)
    if coherence < _LEAST_COHERENCE:
        return 0
    angle_deg = float(np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)))
    centre = size[0] / 2, size[1] / 2
    turn = cv2.getRotationMatrix2D(centre, angle_deg, 1.0)
    level = float(np.median(small))
    upright = np.asarray(
        cv2.warpAffine(small, turn, size, borderValue=level), np.float32
    )
    busy = np.abs(np.diff(upright, axis=1)).mean(axis=1)
    rows = upright[busy >= np.percentile(busy, 90)]
    dark = np.median(rows, axis=0) < level - _TICK_DEPTH * (level - rows.min())
    return int(np.count_nonzero(np.diff(dark.astype(np.int8)) == 1))
