"""A stage's encoder as one witness among others: right nearly, and not always.

What is estimated is the offset of the encoder's coordinates against the slide's. The
longer the way without a picture that confirms it, and at every turn of the stage, the
less it is trusted; a reading far from what a picture proves moves the offset at once.
"""

import math
from typing import NamedTuple

from armicro.field import Place
from armicro.slide.choice import RegisterChoice

_GATE = 4.0
"""Standard errors beyond which encoder and picture contradict each other."""
_UNKNOWN_UM = 1000.0
"""Error of the offset against a map of an earlier run."""


Xy = tuple[float, float]


class Estimate(NamedTuple):
    """A place and its standard error along each axis, in micrometres."""

    x_um: float
    y_um: float
    standard_error_xy_um: Xy = (0.0, 0.0)

    @property
    def standard_error_um(self) -> float:
        """The larger one: what is told of a field."""
        return max(self.standard_error_xy_um)


def add_errors(a: Xy, b: Xy) -> Xy:
    """Standard errors of a sum, of two that know nothing of each other."""
    return math.hypot(a[0], b[0]), math.hypot(a[1], b[1])


class Encoder:
    """The offset between encoder and slide, and its error."""

    def __init__(self, choice: RegisterChoice, *, mapped: bool) -> None:
        """Start with no offset; with ``mapped`` it may be any."""
        self._choice = choice
        turn = math.radians(-choice.rotation_deg)
        self._cos, self._sin = math.cos(turn), math.sin(turn)
        self._offset = 0.0, 0.0
        unknown = _UNKNOWN_UM if mapped else 0.0
        self._error: Xy = unknown, unknown
        """Of the offset."""
        self._last: Xy | None = None
        self._move = 0.0, 0.0

    def guess(self, reading: Place) -> Estimate:
        """What a reading says of the place; call once a field."""
        at = self._turned(reading)
        if self._last is not None:
            move = at[0] - self._last[0], at[1] - self._last[1]
            way = math.hypot(*move)
            drift = self._choice.encoder_error_share * way
            if move[0] * self._move[0] < 0 or move[1] * self._move[1] < 0:
                drift = math.hypot(drift, self._choice.backlash_um)
            self._error = add_errors(self._error, (drift, drift))
            if way > 1.0:
                self._move = move
        self._last = at
        error = max(reading.standard_error_um, self._choice.encoder_error_um)
        return Estimate(
            at[0] + self._offset[0],
            at[1] + self._offset[1],
            add_errors((error, error), self._error),
        )

    def learn(self, guess: Estimate, seen: Estimate) -> Estimate:
        """Correct the offset by what a picture proves; return the two fused."""
        away = seen.x_um - guess.x_um, seen.y_um - guess.y_um
        guessed, known = guess.standard_error_xy_um, seen.standard_error_xy_um
        total = add_errors(guessed, known)
        if math.hypot(away[0] / total[0], away[1] / total[1]) > _GATE:
            # Somebody turned the stage by hand, or lost steps: the picture is right.
            self._move_offset(away)
            jump = math.hypot(*away) / 2
            self._error = add_errors(known, (jump, jump))
            return seen
        gain = self._error[0] / total[0], self._error[1] / total[1]
        self._move_offset((gain[0] ** 2 * away[0], gain[1] ** 2 * away[1]))
        left = (1.0 - gain[0] ** 2, 1.0 - gain[1] ** 2)
        self._error = self._error[0] * left[0] ** 0.5, self._error[1] * left[1] ** 0.5
        trust = guessed[0] / total[0], guessed[1] / total[1]
        return Estimate(
            guess.x_um + trust[0] ** 2 * away[0],
            guess.y_um + trust[1] ** 2 * away[1],
            (trust[0] * known[0], trust[1] * known[1]),
        )

    def _move_offset(self, by: Xy) -> None:
        self._offset = self._offset[0] + by[0], self._offset[1] + by[1]

    def _turned(self, reading: Place) -> Xy:
        x, y = reading.x_um, reading.y_um
        return x * self._cos - y * self._sin, x * self._sin + y * self._cos
