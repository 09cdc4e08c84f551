"""A picture of a stage's calibration: where its moves missed, and what its play is."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from armicro.calibrate.stage import Array, Walked, rms
from armicro.field import Pixels

_FINE = 3
"""Drawn so much larger and shrunk, since Pillow draws with hard edges."""
_WIDTH, _HEIGHT = 1020, 484
_PANEL = 380
"""Side of the two square panels."""
_TOP = 56
_PAPER, _INK, _FAINT = (255, 255, 255), (33, 37, 41), (206, 212, 218)
_FIT, _HELD_OUT = (34, 113, 178), (213, 94, 0)
_LONGEST = 0.09
"""Longest arrow as a share of the panel."""


def draw_stage(walked: Walked, *, um_per_px: float) -> Pixels:
    """Draw errors where they were made, and all on one target.

    Returns:
        (484, 1020, 3) RGB.
    """
    sheet = _Sheet()
    _map_panel(sheet, walked)
    _target_panel(sheet, walked, um_per_px)
    play = walked.backlash.mean(axis=0)
    sheet.text(
        (40, _HEIGHT - 22),
        f"{len(walked.shifts_px)} moves fitted, rms "
        f"{rms(walked.matrix.residuals_px):.3f} px · held out "
        f"{rms(walked.held_out_px):.3f} px · rotation "
        f"{walked.matrix.rotation_deg:z.3f}° · play x {play[0]:z.2f}, y {play[1]:z.2f} "
        "steps",
        size=14,
    )
    return sheet.pixels()


def _map_panel(sheet: "_Sheet", walked: Walked) -> None:
    """Each move's error as an arrow at its place in the picture."""
    x0 = 40
    reach = 1.2 * float(np.abs(walked.shifts_px).max())
    longest = float(np.hypot(*walked.matrix.residuals_px.T).max())
    factor = _round_down(_LONGEST * 2 * reach / longest) if longest > 1e-3 else 1.0
    enlarged = f", {factor:,.0f} times enlarged" if factor > 1 else ""
    sheet.text((x0, 22), f"Error of each move{enlarged}", size=15)
    sheet.box(x0, _TOP)

    def at(shift: Array) -> tuple[float, float]:
        return (
            x0 + _PANEL / 2 * (1 + shift[0] / reach),
            _TOP + _PANEL / 2 * (1 + shift[1] / reach),
        )

    for shift, error in zip(walked.shifts_px, walked.matrix.residuals_px, strict=True):
        sheet.dot(at(shift - error), 2.5, _FAINT)
        sheet.line(at(shift - error), at(shift - error + factor * error), _FIT)
        sheet.dot(at(shift - error + factor * error), 2.5, _FIT)


def _target_panel(sheet: "_Sheet", walked: Walked, um_per_px: float) -> None:
    """All errors from one middle, with rings."""
    x0 = 480
    everything = np.concatenate((walked.matrix.residuals_px, walked.held_out_px))
    reach = max(0.6, 1.15 * float(np.hypot(*everything.T).max()))
    ring = _round_down(reach / 1.1)
    sheet.text((x0, 22), "Errors on one target", size=15)
    sheet.box(x0, _TOP)
    middle = x0 + _PANEL / 2, _TOP + _PANEL / 2
    for share in (0.5, 1.0):
        sheet.ring(middle, share * ring / reach * _PANEL / 2)
    for errors, colour in (
        (walked.matrix.residuals_px, _FIT),
        (walked.held_out_px, _HELD_OUT),
    ):
        for x, y in errors / reach * _PANEL / 2:
            sheet.dot((middle[0] + float(x), middle[1] + float(y)), 4, colour)
    right = x0 + _PANEL + 24
    for row, (colour, text) in enumerate(((_FIT, "fitted"), (_HELD_OUT, "held out"))):
        sheet.dot((right, _TOP + 12 + 24 * row), 4, colour)
        sheet.text((right + 12, _TOP + 12 + 24 * row), text, size=14)
    sheet.text((right - 4, _TOP + 72), f"outer ring {ring:g} px", size=14)
    sheet.text((right - 4, _TOP + 94), f"{ring * um_per_px:.3g} micrometres", size=14)


def _round_down(value: float) -> float:
    """The next smaller number of the kind 1, 2, 5, 10.

    >>> _round_down(0.73), _round_down(38.0)
    (0.5, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(value))
    lead = next(lead for lead in (5, 2, 1) if lead * power <= value * (1 + 1e-9))
    return round(lead * power, 12)


class _Sheet:
    """A drawing in units of the finished picture's pixels."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (_WIDTH * _FINE, _HEIGHT * _FINE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: tuple[float, float], text: str, *, size: int) -> None:
        """Write from the left, centred in height."""
        font = ImageFont.load_default(size * _FINE)
        self._draw.text(_fine(at), text, fill=_INK, font=font, anchor="lm")

    def box(self, x: float, y: float) -> None:
        """The frame of a panel."""
        corners = *_fine((x, y)), *_fine((x + _PANEL, y + _PANEL))
        self._draw.rectangle(corners, outline=_FAINT, width=_FINE)

    def dot(
        self, at: tuple[float, float], radius: float, colour: tuple[int, int, int]
    ) -> None:
        """A filled circle."""
        self._draw.circle(_fine(at), radius * _FINE, fill=colour)

    def ring(self, at: tuple[float, float], radius: float) -> None:
        """An open circle."""
        self._draw.circle(_fine(at), radius * _FINE, outline=_FAINT, width=_FINE)

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        colour: tuple[int, int, int],
    ) -> None:
        """A straight line."""
        self._draw.line((*_fine(start), *_fine(end)), fill=colour, width=2 * _FINE)

    def pixels(self) -> Pixels:
        """The finished picture."""
        small = self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        return np.asarray(small, np.uint8)


def _fine(at: tuple[float, float]) -> tuple[float, float]:
    return at[0] * _FINE, at[1] * _FINE
