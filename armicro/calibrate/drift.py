"""Does the instrument still do what its certificate says? Watched while it works.

A look every half second, of a few milliseconds. Three things can be seen without
stopping anybody:

- *scale and rotation*: between two fields that overlap, the encoder says how far the
  stage went and the pictures say how far they moved; their ratio is the scale's error,
  the angle between them a camera that was turned.
- *light*: empty glass is as bright as when it was measured.
- *white point*: and as white.

One pair of fields may be wrong (a cell that floats, a field without glass), so a
verdict needs several that agree, and goes away when they agree no more.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import Certificate
from armicro.calibrate.shift import shift_between, soften
from armicro.cascade.tile import find_cells
from armicro.field import Field
from armicro.verdict import state_text

LOOK_NS = 500_000_000
SIDE_PX = 256
"""Longer side of the picture whose shift is measured: 0.1 of its pixels is 0.04 %."""
LEAST_MOVE, LARGEST_MOVE = 0.08, 0.4
"""Of a field's side: shorter says little, longer leaves too little in common."""
LEAST_LIKENESS = 0.8
"""Of what both pictures show; below it they do not show the same."""
MOVES, LOOKS = 9, 12
"""How many of the last moves and looks are asked."""
LEAST_MOVES, LEAST_LOOKS = 5, 6
STANDS_STILL = -0.5
"""Of the way beyond which a picture did not go along: it is what lies on the sensor
(dust, the corners' shade), unless cells fill ``LEAST_FILLED`` of it: 20 specks fill
0.13, drawn fields 0.17 to 0.75, real ones 0.35 to 0.85."""
LEAST_FILLED = 0.15
_BLOCK_PX, _SLOW_PX = 16, 12.0
_LEAST_TEXTURE = 0.02
"""Standard deviation of a block that holds something, of the light of the field."""
LARGEST_SCALE_SHARE = 0.02
LARGEST_TURN_DEG = 1.5
DARKER, BRIGHTER, FAR_DARKER = 0.75, 1.2, 0.5
"""Of the certificate's light: warned of beyond the first two, boxes off below the
last."""
LARGEST_TINT = 0.08
"""Change of red or blue against green that is warned of."""


class Verdict(NamedTuple):
    """What the last looks say; both empty when all is as it was measured."""

    void: str = ""
    """Why no boxes may be drawn."""
    warning: str = ""
    """What the operator should see to."""


class _Move(NamedTuple):
    share: float
    """Way in the picture over the encoder's way, minus 1."""
    turn_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    grey: NDArray[np.float32]
    place_xy_um: NDArray[np.float64]


class DriftWatch:
    """The watch over one camera, from its opening on."""

    def __init__(self, certificate: Certificate | None) -> None:
        """Take what is held to be true; without a certificate only scale is watched."""
        colour = certificate.colour if certificate else None
        # Fields come after the balance of ``source.corrected``.
        self._white = (
            np.array(colour.white_rgb) * np.array(colour.gains_rgb) if colour else None
        )
        self._moves: deque[_Move] = deque(maxlen=MOVES)
        self._glass: deque[NDArray[np.float64]] = deque(maxlen=LOOKS)
        self._before: _Look | None = None
        self._due_ns = -LOOK_NS
        self.verdict = Verdict()

    def update(self, field: Field) -> Verdict:
        """Look at a field if it is time; return what the last looks say."""
        if field.fault or abs(field.taken_ns - self._due_ns) < LOOK_NS:
            return self.verdict
        self._due_ns = field.taken_ns
        self._look_at_move(field)
        if self._white is not None:
            glass = find_cells(field.pixels, field.um_per_px).background
            self._glass.append(np.array(glass, np.float64))
        lamp = why_light_drifted(self._glass, self._white)
        self.verdict = Verdict(
            why_scale_drifted(self._moves) or lamp.void, lamp.warning
        )
        return self.verdict

    def _look_at_move(self, field: Field) -> None:
        place = field.place
        if place is None or place.origin != "stage_encoder":
            self._before = None
            return
        look = _Look(_shrunk(field), np.array([place.x_um, place.y_um]))
        before, self._before = self._before, look
        if before is None or before.grey.shape != look.grey.shape:
            return
        way_um = look.place_xy_um - before.place_xy_um
        share = float(np.max(np.abs(way_um) / field.size_um))
        if share < LEAST_MOVE:
            # Keeps the older look, until the stage has gone far enough from it.
            self._before = before
        elif share <= LARGEST_MOVE:
            shrink = field.pixels.shape[1] / look.grey.shape[1]
            move = _measure(before, look, way_um / (field.um_per_px * shrink))
            if move is None:
                return
            if move.share > STANDS_STILL or _filled(look) >= LEAST_FILLED:
                self._moves.append(move)


def why_scale_drifted(moves: Sequence[_Move]) -> str:
    """Why the scale or the camera's angle is not what was measured; or nothing.

    >>> why_scale_drifted([_Move(0.031, 0.1)] * 5)
    'scale drifted: pictures go 3.1 % further than the stage (limit 2 %); \
calibrate it'
    >>> why_scale_drifted([_Move(0.031, 0.1)] * 4)
    ''
    """
    if len(moves) < LEAST_MOVES:
        return ""
    table = np.array(moves)
    share, turn_deg = np.median(table, axis=0)
    # Agree: half of them lie within half of the limit of what is said.
    spread = np.median(np.abs(table - (share, turn_deg)), axis=0)
    if abs(share) > LARGEST_SCALE_SHARE and spread[0] < LARGEST_SCALE_SHARE / 2:
        return state_text(
            "scale_drifted",
            share=f"{100 * abs(share):.1f} %",
            way="further" if share > 0 else "less",
            limit=f"{100 * LARGEST_SCALE_SHARE:.0f} %",
        )
    if abs(turn_deg) > LARGEST_TURN_DEG and spread[1] < LARGEST_TURN_DEG / 2:
        return state_text(
            "stage_angle_drifted", turn_deg=abs(turn_deg), limit_deg=LARGEST_TURN_DEG
        )
    return ""


def why_light_drifted(
    glass_rgb: Sequence[NDArray[np.float64]], white_rgb: NDArray[np.float64] | None
) -> Verdict:
    """What lamp and filters do that they did not when they were measured.

    The brighter half of the last looks counts: a field full of cells has no glass.

    >>> glass = [np.array([120.0, 118.0, 110.0])] * 6
    >>> why_light_drifted(glass, np.array([240.0, 238.0, 230.0])).void
    'glass has 49 % of the light of the calibration: check lamp, condenser and exposure'
    """
    if white_rgb is None or len(glass_rgb) < LEAST_LOOKS:
        return Verdict()
    table = np.array(glass_rgb)
    order = np.argsort(table.mean(axis=1))
    glass = np.median(table[order[len(order) // 2 :]], axis=0)
    level = float(glass.mean() / white_rgb.mean())
    said = state_text("light_drifted", share=f"{100 * level:.0f} %")
    if level < FAR_DARKER:
        return Verdict(void=said)
    if not DARKER <= level <= BRIGHTER:
        return Verdict(warning=said)
    tint = (glass / glass[1]) / (white_rgb / white_rgb[1]) - 1.0
    worst = int(np.argmax(np.abs(tint)))
    if abs(tint[worst]) <= LARGEST_TINT:
        return Verdict()
    name = ("red", "green", "blue")[worst]
    way = "more" if tint[worst] > 0 else "less"
    share = f"{100 * abs(tint[worst]):.0f} %"
    return Verdict(
        warning=state_text("white_drifted", share=share, way=way, colour=name)
    )


def _shrunk(field: Field) -> NDArray[np.float32]:
    height, width = field.pixels.shape[:2]
    shrink = max(1.0, max(height, width) / SIDE_PX)
    # Every second pixel of green is a quarter of the way through memory, and enough.
    step = 2 if shrink >= 4.0 else 1
    green = np.ascontiguousarray(field.pixels[::step, ::step, 1])
    size = round(width / shrink), round(height / shrink)
    small = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
    return soften(small.astype(np.float32))


def _filled(look: _Look) -> float:
    """Share of the blocks that hold texture, slow changes of the light taken off."""
    texture = look.grey - cv2.GaussianBlur(look.grey, (0, 0), _SLOW_PX)
    rows, columns = (n // _BLOCK_PX for n in texture.shape)
    texture = texture[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    blocks = texture.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).std(axis=(1, 3))
    return float((blocks > _LEAST_TEXTURE * max(float(look.grey.mean()), 1.0)).mean())


def _measure(
    before: _Look, after: _Look, expected_px: NDArray[np.float64]
) -> _Move | None:
    """Compare the pictures' way with the expected one; None where none is sure."""
    shift = shift_between(before.grey, after.grey)
    if shift is None or shift.likeness < LEAST_LIKENESS:
        return None
    way = float(np.hypot(*expected_px))
    share = float(np.hypot(shift.x_px, shift.y_px)) / way - 1.0
    turn = np.arctan2(shift.y_px, shift.x_px)
    turn -= np.arctan2(expected_px[1], expected_px[0])
    turn_deg = (np.degrees(turn) + 180.0) % 360.0 - 180.0
    return _Move(share, float(turn_deg))
