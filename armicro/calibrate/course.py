"""The steps of the guide, in the order in which one stands on the other.

Scale first, since all else is judged in micrometres; light and white on empty glass;
then how pictures move with the stage, and where the display lies.
"""

from collections.abc import Sequence
from functools import partial

from armicro.calibrate.display import (
    FEWEST_POINTS,
    LEAST_COVERED,
    covered_share,
    find_pattern,
)
from armicro.calibrate.guide import (
    FieldCheck,
    GuideStep,
    Outcome,
    check_cells,
    check_empty,
    check_focus,
    check_light,
    check_ticks,
)
from armicro.calibrate.procedure import (
    GLASS_FIELDS,
    ProcedureSettings,
    measure_display,
    measure_glass,
    measure_scale,
)
from armicro.field import Field


def course(
    setting: ProcedureSettings,
    *,
    has_stage: bool = False,
    display_wh_px: tuple[int, int] | None = None,
) -> list[GuideStep]:
    """The steps for an instrument.

    Args:
        setting: of the day.
        has_stage: it can be moved by its host.
        display_wh_px: of a display that the camera can see; None: there is none.
    """
    steps = [
        GuideStep(
            "scale",
            "Scale",
            "Put the stage micrometer under the objective, its lines across the "
            f"picture ({setting.division_um:g} µm apart), long and short ticks in "
            "view. Focus on the lines.",
            "micrometer",
            lambda field: (check_light(field), check_focus(field), check_ticks(field)),
            lambda fields: measure_scale([fields[-1].pixels], setting),
        ),
        GuideStep(
            "light",
            "Light and white",
            "Move to empty glass with a cover glass: no cell, no dust, no ink. Set "
            "condenser and lamp as for reading, and leave them so.",
            "glass",
            lambda field: (check_light(field, empty=True), check_empty(field)),
            lambda fields: measure_glass(
                [field.pixels for field in fields], setting.measured_at
            ),
            fields=GLASS_FIELDS,
        ),
    ]
    if has_stage:
        steps.append(
            GuideStep(
                "stage",
                "Stage",
                "Put a slide with many cells under the objective and focus. The stage "
                "will move by itself: keep hands and oil away.",
                "cells",
                lambda field: (check_light(field), check_cells(field)),
            )
        )
    if display_wh_px is not None:
        steps.append(_display_step(setting, display_wh_px))
    return steps


def _display_step(
    setting: ProcedureSettings, display_wh_px: tuple[int, int]
) -> GuideStep:
    def measure(fields: Sequence[Field]) -> Outcome:
        field = fields[-1]
        return measure_display(
            field.pixels,
            (find_pattern(field.pixels, display_wh_px), None),
            display_wh_px=display_wh_px,
            um_per_px=field.um_per_px,
            measured_at=setting.measured_at,
        )

    return GuideStep(
        "display",
        "Display",
        "Leave empty glass in place, dim the lamp and draw the analyser out. "
        "The display shows a pattern that the camera reads.",
        "pattern",
        partial(check_pattern, display_wh_px=display_wh_px),
        measure,
    )


def check_pattern(field: Field, *, display_wh_px: tuple[int, int]) -> list[FieldCheck]:
    """Does the camera see enough of the display's pattern?"""
    seen = find_pattern(field.pixels, display_wh_px)
    height, width = field.pixels.shape[:2]
    count = len(seen.camera_xy)
    covered = covered_share(seen.camera_xy, (width, height)) if count > 2 else 0.0
    enough, wide = count >= 2 * FEWEST_POINTS, covered >= LEAST_COVERED
    return [
        FieldCheck(
            "pattern",
            enough,
            f"{count} corners, at least {2 * FEWEST_POINTS}",
            "" if enough else "dim the lamp, focus the display, open the analyser",
        ),
        FieldCheck(
            "room",
            wide,
            f"over {covered:.0%} of the field".replace("%", " %"),
            "" if wide else "centre the display's picture",
        ),
    ]
