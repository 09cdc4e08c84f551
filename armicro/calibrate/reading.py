"""What one picture says of the scale, and what several say together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import LARGEST_SHARE_OFF
from armicro.errors import CalibrationError
from armicro.field import Pixels

# ---------------------------------------------------------------------------
# What scale an objective, an adapter and a sensor make by their names.


_POWER = re.compile(r"(\d+(?:[.,]\d+)?)\s*[x×]", re.IGNORECASE)
_EYEPIECE = re.compile(r"\s*(?:eyepiece|ocular|WF|oculars)\b", re.IGNORECASE)


def nominal_um_per_px(objective: str, pixel_um: float) -> float | None:
    """Sensor pixel over all powers between slide and sensor; None: no power is named.

    Args:
        objective: such as "20x/0.45 with 0.5x C-mount adapter"; every power counts but
            that of an eyepiece, which the camera does not look through.
        pixel_um: side of a sensor pixel in micrometres.

    >>> round(nominal_um_per_px("20x/0.45 with 0.5x C-mount adapter", 3.45), 4)
    0.345
    >>> round(nominal_um_per_px("UPLXAPO 40X/0.95", 3.45), 5)
    0.08625
    >>> nominal_um_per_px("Plan achromat", 3.45) is None
    True
    """
    power = 1.0
    found = False
    for match in _POWER.finditer(objective):
        if _EYEPIECE.match(objective, match.end()):
            continue
        power *= float(match[1].replace(",", "."))
        found = True
    return pixel_um / power if found and power > 0 else None


# ---------------------------------------------------------------------------
# One picture, and several.


Doubles = NDArray[np.float64]
OBJECTIVE_UM_PER_PX = (0.01, 100.0)
"""From 100x on small pixels to a lens that photographs a board."""
AGREE_ERRORS = 3.0
AGREE_SHARE = 1e-3
"""Beside their errors two scales may differ by so much: the makers' own tolerance."""


@dataclass(frozen=True, slots=True, eq=False)
class ScaleReading:
    """The scale of one picture."""

    um_per_px: float
    standard_error: float
    """Of ``um_per_px``, in µm/px."""
    rotation_deg: float
    """Of the ruler against the picture's rows, clockwise on the screen, in [0, 180)."""
    divisions: int
    division_um: float
    residual_um: float
    """RMS distance of a tick from the fitted ruler."""
    method: str
    """ruler, grid, dots or charuco."""
    marks_xy_px: Doubles
    """(n, 2, 2): both ends of every tick that was used, in pixels of the picture."""
    residuals_um: Doubles
    """(n,) of the same ticks, along the ruler."""
    bend: float = 0.0
    """By how much the scale changes from end to end, as a share; 0: not measurably."""
    every: int = 0
    """One in so many ticks is longer; 0: all alike."""
    anisotropy: float | None = None
    """Scale along y over that along x, less 1; None: one direction was seen."""


def combine(readings: Sequence[ScaleReading]) -> ScaleReading:
    """One scale from several pictures of the same instrument, in any directions.

    The first one's ticks are kept. Pictures share their errors of optics and reading,
    so many do not make a much smaller error than the best.

    Raises:
        CalibrationError: two of them disagree beyond their errors.
    """
    scales = np.array([reading.um_per_px for reading in readings])
    errors = np.array([reading.standard_error for reading in readings])
    for i in range(len(readings)):
        for j in range(i):
            _check_agree(readings[j], readings[i])
    weights = 1 / errors**2
    mean = float(np.sum(weights * scales) / weights.sum())
    scatter = float(np.std(scales)) / np.sqrt(len(scales))
    return replace(
        readings[0],
        um_per_px=mean,
        standard_error=max(float(errors.min()) / np.sqrt(2), scatter)
        if len(readings) > 1
        else readings[0].standard_error,
        anisotropy=_anisotropy(readings),
    )


def check_axes(scales: Doubles, errors: Doubles) -> None:
    """Refuse when x and y disagree.

    Args:
        scales: (2,) µm per pixel along the two axes of a target.
        errors: (2,) their standard errors.

    Raises:
        CalibrationError: they differ by more than their errors.
    """
    if abs(scales[1] - scales[0]) > _allowed(scales.mean(), *errors):
        raise CalibrationError(
            f"x and y disagree: {scales[0]:.5f} ± {errors[0]:.5f} and {scales[1]:.5f} "
            f"± {errors[1]:.5f} µm/px; expected the same; lay the target flat, look "
            "straight at it, and see that the camera's picture is not stretched"
        )


def check_expected(um_per_px: float, expected: float | None) -> None:
    """Refuse a scale that objective and camera cannot make.

    Raises:
        CalibrationError: no objective gives it, or it is more than 25 % off.
    """
    least, most = OBJECTIVE_UM_PER_PX
    if not least <= um_per_px <= most:
        raise CalibrationError(
            f"implausible scale: measured {um_per_px:.3g} µm/px, objectives give "
            f"{least:g} to {most:g}; check --division-um (in micrometres)"
        )
    if expected is None or abs(um_per_px / expected - 1) <= LARGEST_SHARE_OFF:
        return
    raise CalibrationError(
        f"implausible scale: measured {um_per_px:.4f} µm/px, expected about "
        f"{expected:.4f} µm/px of this objective and camera; check which objective is "
        "in the light path, the adapter, --division-um and the camera's binning"
    )


def _check_agree(one: ScaleReading, two: ScaleReading) -> None:
    allowed = _allowed(one.um_per_px, one.standard_error, two.standard_error)
    if abs(one.um_per_px - two.um_per_px) > allowed:
        raise CalibrationError(
            f"pictures disagree: {one.um_per_px:.5f} ± {one.standard_error:.5f} µm/px "
            f"at {one.rotation_deg:.0f}° and {two.um_per_px:.5f} ± "
            f"{two.standard_error:.5f} µm/px at {two.rotation_deg:.0f}°; expected the "
            "same; use one objective and camera setting, and focus each picture"
        )


def _allowed(scale: float, one: float, two: float) -> float:
    return float(AGREE_ERRORS * np.hypot(one, two) + AGREE_SHARE * scale)


def _anisotropy(readings: Sequence[ScaleReading]) -> float | None:
    """Of pictures in two directions about at right angles."""
    first = readings[0]
    for other in readings[1:]:
        apart = abs((other.rotation_deg - first.rotation_deg) % 180 - 90)
        if apart < 20:
            x, y = (first, other) if _is_x(first) else (other, first)
            return y.um_per_px / x.um_per_px - 1
    return first.anisotropy


def _is_x(reading: ScaleReading) -> bool:
    return abs((reading.rotation_deg + 90) % 180 - 90) < 45


# ---------------------------------------------------------------------------
# A picture with what was measured drawn in, to be looked at before it is believed.


TICK_RGB = (0, 220, 60)
OFF_RGB = (255, 40, 40)
OFF_SHARE = 0.03
INK_RGB = (255, 255, 255)
PLATE_RGB = (20, 20, 20)


def draw_reading(pixels: Pixels, reading: ScaleReading) -> Pixels:
    """Every tick used as a line over its length, and the result in words.

    Red are those that lie more than 3 RMS and 3 % of a division off their place.

    Args:
        pixels: (height, width, 3) RGB; stays as it is.
        reading: of these pixels.
    """
    picture = np.ascontiguousarray(pixels).copy()
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    size = max(picture.shape[:2]) / 1200
    width = max(1, round(2 * size))
    limit = max(3 * reading.residual_um, OFF_SHARE * reading.division_um)
    for ends, residual in zip(reading.marks_xy_px, reading.residuals_um, strict=True):
        colour = OFF_RGB if abs(residual) > limit else TICK_RGB
        # Sixteenths of a pixel, so that the line lies where the tick was found.
        start, end = np.rint(ends * 16).astype(int).tolist()
        cv2.line(picture, start, end, colour, width, cv2.LINE_AA, 4)
    words = (
        f"{reading.um_per_px:.5f} +- {reading.standard_error:.5f} um/px, "
        f"{reading.divisions} x {reading.division_um:g} um, "
        f"{round(reading.rotation_deg, 2) % 180:.2f} deg"
    )
    _write(picture, words, size)
    return np.asarray(picture, np.uint8)


def _write(picture: Pixels, words: str, size: float) -> None:
    scale, thick = 0.75 * size, max(1, round(1.6 * size))
    (width, height), base = cv2.getTextSize(
        words, cv2.FONT_HERSHEY_SIMPLEX, scale, thick
    )
    pad = round(10 * size)
    far = (width + 2 * pad, height + base + 2 * pad)
    cv2.rectangle(picture, (0, 0), far, PLATE_RGB, -1)
    cv2.putText(
        picture, words, (pad, pad + height), cv2.FONT_HERSHEY_SIMPLEX, scale, INK_RGB,
        thick, cv2.LINE_AA,
    )  # fmt: skip
