"""The steps of the guide, in the order in which one stands on the other.

Scale first, since all else is judged in micrometres; light and white on empty glass;
then how pictures move with the stage, and where the display lies.
"""

from collections.abc import Sequence
from functools import partial

import cv2
import msgspec
import numpy as np

from armicro.calibrate.certificate import Colour, Display, Light, Scale
from armicro.calibrate.colour import white_of
from armicro.calibrate.display import (
    FEWEST_POINTS,
    LEAST_COVERED,
    covered_share,
    judge,
    solve_display,
)
from armicro.calibrate.guide import Check, Outcome, Step
from armicro.calibrate.light import corner_ratio, gains_of, lamp_of_glass
from armicro.calibrate.mark import draw_reading
from armicro.calibrate.pattern import Seen, find_pattern
from armicro.calibrate.reading import Reading
from armicro.calibrate.ready import (
    check_cells,
    check_empty,
    check_focus,
    check_light,
    check_ticks,
)
from armicro.calibrate.scale import measure_ruler
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels

GLASS_FIELDS = 8
LARGEST_DISPLAY_UM = 2.0
_INK = (255, 64, 48)


class Setting(msgspec.Struct, frozen=True):
    """What the steps need to know of the instrument and the day."""

    nominal_um_per_px: float
    """By the names on objective, adapter and camera."""
    division_um: float
    """Of the micrometer."""
    measured_at: str
    """ISO 8601, UTC."""


def course(
    setting: Setting,
    *,
    has_stage: bool = False,
    display_wh_px: tuple[int, int] | None = None,
) -> list[Step]:
    """The steps for an instrument.

    Args:
        setting: of the day.
        has_stage: it can be moved by its host.
        display_wh_px: of a display that the camera can see; None: there is none.
    """
    steps = [
        Step(
            "scale",
            "Scale",
            "Put the stage micrometer under the objective, its lines across the "
            f"picture ({setting.division_um:g} µm apart), long and short ticks in "
            "view. Focus on the lines.",
            "micrometer",
            lambda field: (check_light(field), check_focus(field), check_ticks(field)),
            partial(measure_scale, setting=setting),
        ),
        Step(
            "light",
            "Light and white",
            "Move to empty glass with a cover glass: no cell, no dust, no ink. Set "
            "condenser and lamp as for reading, and leave them so.",
            "glass",
            lambda field: (check_light(field), check_empty(field)),
            partial(measure_glass, setting=setting),
            fields=GLASS_FIELDS,
        ),
    ]
    if has_stage:
        steps.append(
            Step(
                "stage",
                "Stage",
                "Put a slide with many cells under the objective and focus. The stage "
                "will move by itself: keep hands and oil away.",
                "cells",
                lambda field: (check_light(field), check_cells(field)),
            )
        )
    if display_wh_px is not None:
        steps.append(
            Step(
                "display",
                "Display",
                "Leave empty glass in place, dim the lamp and draw the analyser out. "
                "The display shows a pattern that the camera reads.",
                "pattern",
                partial(check_pattern, display_wh_px=display_wh_px),
                partial(measure_display, setting=setting, display_wh_px=display_wh_px),
            )
        )
    return steps


def measure_scale(fields: Sequence[Field], *, setting: Setting) -> Outcome:
    """Measure the micrometer.

    Raises:
        CalibrationError: it is no ruler, or not beyond doubt.
    """
    pixels = fields[-1].pixels
    reading = measure_ruler(
        pixels,
        division_um=setting.division_um,
        expected=setting.nominal_um_per_px,
    )
    off = reading.um_per_px / setting.nominal_um_per_px - 1.0
    words = (
        f"{reading.um_per_px:.4f} ± {reading.standard_error:.4f} µm/px over "
        f"{reading.divisions} divisions; {off:+.1%} from the rig's arithmetic"
    ).replace("%", " %")
    table = scale_table(reading, measured_at=setting.measured_at)
    return Outcome((table,), words, draw_reading(pixels, reading))


def scale_table(reading: Reading, *, measured_at: str) -> Scale:
    """The certificate's table of a reading."""
    return Scale(
        measured_at=measured_at,
        um_per_px=reading.um_per_px,
        standard_error=reading.standard_error,
        rotation_deg=reading.rotation_deg,
        divisions=reading.divisions,
        division_um=reading.division_um,
        residual_um=reading.residual_um,
        method=reading.method,
    )


def measure_glass(fields: Sequence[Field], *, setting: Setting) -> Outcome:
    """Measure light and white point on empty glass.

    Raises:
        CalibrationError: too dark, too bright, or no empty glass.
    """
    pictures = [field.pixels for field in fields]
    white_rgb, gains_rgb = white_of(pictures)
    # The other half judges the correction, where there is more than one.
    fitted, others = (pictures[::2], pictures[1::2] or pictures)
    lamp = lamp_of_glass(fitted)
    height, width = pictures[0].shape[:2]
    gain = gains_of(lamp.at(width, height))
    even = np.mean(others, axis=0) * gain
    light = Light(
        measured_at=setting.measured_at,
        flat="",
        flat_sha256="",
        corner_before=corner_ratio(lamp.share),
        corner_after=corner_ratio(even),
        fields=len(pictures),
    )
    colour = Colour(
        measured_at=setting.measured_at, white_rgb=white_rgb, gains_rgb=gains_rgb
    )
    white = "/".join(f"{level:.0f}" for level in white_rgb)
    words = (
        f"corners {light.corner_before:.2f} of the centre, {light.corner_after:.3f} "
        f"after correction; white {white}"
    )
    return Outcome((light, colour), words, _map_of(lamp.share), lamp.share)


def _map_of(share: np.ndarray) -> Pixels:
    """The light as a picture: its brightest place white, half of that black."""
    level = np.clip(2.0 * share / share.max() - 1.0, 0.0, 1.0) * 255.0
    return np.asarray(cv2.resize(level.astype(np.uint8), (960, 800)), np.uint8)


def check_pattern(field: Field, *, display_wh_px: tuple[int, int]) -> list[Check]:
    """Does the camera see enough of the display's pattern?"""
    seen = find_pattern(field.pixels, display_wh_px)
    height, width = field.pixels.shape[:2]
    count = len(seen.camera_xy)
    covered = covered_share(seen.camera_xy, (width, height)) if count > 2 else 0.0
    enough, wide = count >= 2 * FEWEST_POINTS, covered >= LEAST_COVERED
    return [
        Check(
            "pattern",
            enough,
            f"{count} corners, at least {2 * FEWEST_POINTS}",
            "" if enough else "dim the lamp, focus the display, open the analyser",
        ),
        Check(
            "room",
            wide,
            f"over {covered:.0%} of the field".replace("%", " %"),
            "" if wide else "centre the display's picture",
        ),
    ]


def measure_display(
    fields: Sequence[Field], *, setting: Setting, display_wh_px: tuple[int, int]
) -> Outcome:
    """Map camera to display on every other corner, and judge it on the rest.

    Raises:
        CalibrationError: the pattern is not seen well enough.
    """
    pixels = fields[-1].pixels
    height, width = pixels.shape[:2]
    seen = find_pattern(pixels, display_wh_px)
    fitted, held_out = (
        Seen(seen.camera_xy[i::2], seen.display_xy[i::2], seen.mirrored) for i in (0, 1)
    )
    mapping = solve_display(fitted, (width, height))
    residual = judge(mapping, held_out, um_per_px=setting.nominal_um_per_px)
    if residual.rms_um > LARGEST_DISPLAY_UM:
        raise CalibrationError(
            f"display: corners that took no part are off by {residual.rms_um:.1f} µm, "
            f"expected at most {LARGEST_DISPLAY_UM:g}; focus the display and repeat"
        )
    rows = (mapping.homography / mapping.homography[2, 2]).tolist()
    table = Display(
        measured_at=setting.measured_at,
        homography=tuple((a, b, c) for a, b, c in rows),
        distortion=mapping.distortion,
        width_px=display_wh_px[0],
        height_px=display_wh_px[1],
        residual_um=residual.rms_um,
        points=len(fitted.camera_xy),
    )
    words = (
        f"off by {residual.rms_um:.2f} µm on {residual.points} corners that took no "
        f"part{', with a lens term' if mapping.distortion else ''}"
    )
    drawn = pixels.copy()
    radius = max(3, width // 200)
    for x, y in seen.camera_xy.tolist():
        cv2.circle(drawn, (round(x), round(y)), radius, _INK, max(2, radius // 3))
    return Outcome((table,), words, drawn)
