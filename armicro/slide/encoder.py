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


class Estimate(NamedTuple):
    """A place and its standard error along each axis, in micrometres."""

    x_um: float
    y_um: float
    standard_error_um: float


class Encoder:
    """The offset between encoder and slide, and its error."""

    def __init__(self, choice: RegisterChoice, *, mapped: bool) -> None:
        """Start with no offset; with ``mapped`` it may be any."""
        self._choice = choice
        turn = math.radians(-choice.rotation_deg)
        self._cos, self._sin = math.cos(turn), math.sin(turn)
        self._offset = 0.0, 0.0
        self._variance = _UNKNOWN_UM**2 if mapped else 0.0
        self._last: tuple[float, float] | None = None
        self._move = 0.0, 0.0

    def guess(self, reading: Place) -> Estimate:
        """What a reading says of the place; call once a field."""
        at = self._turned(reading)
        if self._last is not None:
            move = at[0] - self._last[0], at[1] - self._last[1]
            way = math.hypot(*move)
            self._variance += (self._choice.encoder_error_share * way) ** 2
            if move[0] * self._move[0] < 0 or move[1] * self._move[1] < 0:
                self._variance += self._choice.backlash_um**2
            if way > 1.0:
                self._move = move
        self._last = at
        error = max(reading.standard_error_um, self._choice.encoder_error_um)
        return Estimate(
            at[0] + self._offset[0],
            at[1] + self._offset[1],
            math.hypot(error, math.sqrt(self._variance)),
        )

    def learn(self, guess: Estimate, seen: Estimate) -> Estimate:
        """Correct the offset by what a picture proves; return the two fused."""
        dx, dy = seen.x_um - guess.x_um, seen.y_um - guess.y_um
        total = guess.standard_error_um**2 + seen.standard_error_um**2
        if dx * dx + dy * dy > _GATE**2 * total:
            # Somebody turned the stage by hand, or lost steps: the picture is right.
            self._offset = self._offset[0] + dx, self._offset[1] + dy
            self._variance = seen.standard_error_um**2 + (dx * dx + dy * dy) / 4
            return seen
        gain = self._variance / total
        self._offset = self._offset[0] + gain * dx, self._offset[1] + gain * dy
        self._variance *= 1.0 - gain
        trust = guess.standard_error_um**2 / total
        return Estimate(
            guess.x_um + trust * dx,
            guess.y_um + trust * dy,
            guess.standard_error_um * seen.standard_error_um / math.sqrt(total),
        )

    def _turned(self, reading: Place) -> tuple[float, float]:
        x, y = reading.x_um, reading.y_um
        return x * self._cos - y * self._sin, x * self._sin + y * self._cos
