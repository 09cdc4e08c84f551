"""The procedures: pictures go in, an outcome comes out.

Command line, guide and verification all measure here, so that a limit, a table of the
certificate and a sentence are told once. Where pictures come from, and where outcomes
go, is theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np

from armicro.calibrate.certificate import Colour, Display, Latency, Light, Scale
from armicro.calibrate.colour import (
    ColourFit,
    Floats,
    apply_matrix,
    fit_matrix,
    linear_of_srgb,
    read_patches,
    white_of,
)
from armicro.calibrate.display import (
    FoundCorners,
    Mapping,
    covered_share,
    judge,
    solve_display,
)
from armicro.calibrate.guide import Outcome
from armicro.calibrate.latency import Delay, chain
from armicro.calibrate.lattice import measure_charuco, measure_dots
from armicro.calibrate.light import (
    FEWEST_FIELDS,
    LARGEST_LEVEL,
    Correction,
    corner_ratio,
    gains_of,
    lamp_of_fields,
    lamp_of_glass,
)
from armicro.calibrate.reading import (
    ScaleReading,
    check_expected,
    combine,
    draw_reading,
)
from armicro.calibrate.scale import measure_grid, measure_ruler
from armicro.calibrate.stage import (
    StageWalk,
    draw_stage,
    rms,
    scale_from_moves,
    table_of,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.picture import apply_gains

DIVISION_UM = 10.0
"""Of the usual stage micrometer: 1 mm in 100 parts."""
NO_DARK = (0.0, 0.0, 0.0)
"""Level of a camera without light, where nobody measured it."""
GLASS_FIELDS = 8
"""Of empty glass that a camera takes."""
LARGEST_LEFT = 0.02
"""The corners may differ from the centre by so much after correction."""
LARGEST_RMS_UM = 2.0
"""Of the display's corners that took no part in the fit."""
_SHEET_PX, _SHOWN_PX = 900, 700
"""Heights of pictures that are shown side by side."""


class ProcedureSettings(msgspec.Struct, frozen=True):
    """What the procedures need to know of the instrument and the day."""

    nominal_um_per_px: float | None
    """By the names on objective, adapter and camera; None: they do not say."""
    division_um: float
    """Of the micrometer."""
    measured_at: str
    """ISO 8601, UTC."""


# ---------------------------------------------------------------------------
# Scale.

TARGETS: dict[str, Callable[[Pixels, float, float | None], ScaleReading]] = {
    "ruler": lambda pixels, um, near: measure_ruler(
        pixels, division_um=um, expected=near
    ),
    "grid": lambda pixels, um, _: measure_grid(pixels, division_um=um),
    "dots": lambda pixels, um, _: measure_dots(pixels, pitch_um=um),
    "charuco": lambda pixels, um, _: measure_charuco(pixels, square_um=um),
}
"""What is known to measure, by its name: pixels, its divisions' length, µm/px."""


def measure_scale(
    pictures: Sequence[Pixels],
    setting: ProcedureSettings,
    *,
    target: str = "ruler",
    names: Sequence[str] = (),
) -> Outcome:
    """Measure micrometres a pixel in pictures of one instrument.

    Args:
        pictures: (height, width, 3) of the target, in any directions.
        setting: of the day.
        target: of ``TARGETS``.
        names: of the pictures, for refusals; empty: there is one.

    Raises:
        CalibrationError: it is no such target, not beyond doubt, pictures disagree, or
            the instrument cannot have such a scale.
    """
    expected = setting.nominal_um_per_px
    readings = []
    for name, pixels in zip(names or [""], pictures, strict=True):
        try:
            readings.append(TARGETS[target](pixels, setting.division_um, expected))
        except CalibrationError as error:
            raise CalibrationError(
                f"{name}: {error}" if name else str(error)
            ) from error
    reading = combine(readings)
    check_expected(reading.um_per_px, expected)
    words = (
        f"{reading.um_per_px:.4f} ± {reading.standard_error:.4f} µm/px over "
        f"{reading.divisions} divisions"
    )
    if expected is not None:
        off = f"{reading.um_per_px / expected - 1.0:+.1%}".replace("%", " %")
        words += f"; {off} from the rig's arithmetic"
    drawn = [draw_reading(p, r) for p, r in zip(pictures, readings, strict=True)]
    shared: dict[str, Any] = _named(
        reading,
        *("um_per_px", "standard_error", "rotation_deg"),
        *("divisions", "division_um", "residual_um"),
    )
    return Outcome(
        (Scale(measured_at=setting.measured_at, method=reading.method, **shared),),
        words,
        drawn[0] if len(drawn) == 1 else _beside(drawn, _SHEET_PX),
        numbers=shared
        | _named(reading, "bend", "anisotropy")
        | {
            "longer_every": reading.every,
            "pattern": reading.method,
            "expected_um_per_px": expected,
            "each_um_per_px": [one.um_per_px for one in readings],
        },
        account=_scale_account(reading),
    )


def _scale_account(reading: ScaleReading) -> str:
    line = (
        f"{reading.um_per_px:.5f} ± {reading.standard_error:.5f} µm/px over "
        f"{reading.divisions} divisions of {reading.division_um:g} µm, rotated "
        f"{round(reading.rotation_deg, 2) % 180:.2f}°, residual "
        f"{reading.residual_um:.3f} µm"
    )
    if reading.anisotropy is not None:
        line += f"\ny differs from x by {reading.anisotropy:+.3%}"
    return line


# ---------------------------------------------------------------------------
# Light and white.


def measure_light(
    pictures: Sequence[Pixels],
    measured_at: str,
    *,
    dark_rgb: tuple[float, float, float] = NO_DARK,
    retrospect: bool = False,
) -> Outcome:
    """Measure how evenly the lamp lights the field.

    Args:
        pictures: (height, width, 3) of empty glass.
        measured_at: ISO 8601, UTC.
        dark_rgb: level of the camera without light.
        retrospect: they are of whatever lies on the slide, at different places.

    Raises:
        CalibrationError: too dark, too bright, too few, or no empty glass.
    """
    solve = lamp_of_fields if retrospect else lamp_of_glass
    # Those that judge took no part, where there are enough for both.
    split = len(pictures) >= 2 * (FEWEST_FIELDS if retrospect else 1)
    fitted, others = (pictures[::2], pictures[1::2]) if split else (pictures, pictures)
    lamp = solve(fitted, dark_rgb=dark_rgb)
    height, width = pictures[0].shape[:2]
    gains = np.maximum(gains_of(lamp.at(width, height)), 1.0)
    correction = Correction(gains, dark_rgb=dark_rgb)
    even = [correction.apply(picture) for picture in others]
    # On glass as the pictures themselves have it, without a fit.
    after = corner_ratio(solve(even).share if retrospect else np.median(even, axis=0))
    light = Light(
        measured_at=measured_at,
        flat="",
        flat_sha256="",
        dark_rgb=dark_rgb,
        corner_before=round(corner_ratio(lamp.share), 4),
        corner_after=round(after, 4),
        fields=lamp.fields,
    )
    where = (
        "on pictures that took no part"
        if split
        else "on the pictures that it was made of, which proves nothing: give more"
    )
    refusal = (
        f"light: the corners are at {after:.1%} of the centre after correction, "
        f"expected within {LARGEST_LEFT:.0%} of it; give more fields, or empty glass"
    )
    return Outcome(
        (light,),
        f"corners {light.corner_before:.2f} of the centre, {light.corner_after:.3f} "
        "after correction",
        _beside((others[-1], even[-1]), _SHOWN_PX, gap_px=12),
        lamp.share,
        numbers=_named(light, "corner_before", "corner_after", "fields", "dark_rgb")
        | {
            "held_out": split,
            "roughness": round(lamp.roughness, 5),
            "level_rgb": [round(v, 1) for v in lamp.level_rgb],
        },
        account=f"corners at {light.corner_before:.3f} of the centre, "
        f"{light.corner_after:.3f} after correction "
        f"({light.fields} {'fields' if retrospect else 'of empty glass'}), {where}",
        refusal=refusal if abs(after - 1) > LARGEST_LEFT else "",
    )


class ColourTarget(NamedTuple):
    """A colour target before the camera."""

    picture: Pixels
    corners_xy: Floats
    """(4, 2): see ``read_patches``."""
    grid: tuple[int, int]
    """Patches across and down."""
    reference_lab: Floats
    """(n, 3) CIELAB under D65."""
    linear: bool = False
    """The camera has no gamma curve."""


def measure_colour(
    glass: Sequence[Pixels], measured_at: str, *, target: ColourTarget | None = None
) -> Outcome:
    """Measure the white point on empty glass, and the matrix on a colour target.

    Raises:
        CalibrationError: no empty glass, over- or underexposed, or not that target.
    """
    white, gains = white_of(glass)
    colour = Colour(measured_at=measured_at, white_rgb=white, gains_rgb=gains)
    numbers: dict[str, object] = {
        "white_rgb": [round(v, 2) for v in white],
        "gains_rgb": [round(v, 4) for v in gains],
    }
    words, how = colour.words()
    account = f"glass {colour.level}, {how}"
    if target is None:
        shown = _before_after(glass[0], lambda pixels: apply_gains(pixels, gains))
        return Outcome((colour,), words, shown, numbers=numbers, account=account)
    fit, marked = _fit_target(target, gains)
    matrix = fit.matrix.round(6)
    rows = tuple((a, b, c) for a, b, c in matrix.tolist())
    numbers |= {
        "matrix": rows,
        "ciede2000_before": round(fit.before, 3),
        "ciede2000": round(fit.residual, 3),
        "ciede2000_held_out": round(fit.held_out, 3),
        "patches": len(target.reference_lab),
    }
    shown = _before_after(
        marked,
        lambda p: apply_matrix(apply_gains(p, gains), matrix, linear=target.linear),
    )
    residual = round(fit.residual, 4)
    colour = msgspec.structs.replace(colour, matrix=rows, residual=residual)
    return Outcome(
        (colour,),
        words,
        shown,
        numbers=numbers,
        account=f"{account}\ntarget: {fit.before:.2f} before, {fit.residual:.2f} "
        f"after, {fit.held_out:.2f} on held-out patches (mean CIEDE2000 of "
        f"{len(target.reference_lab)})",
    )


def _fit_target(
    target: ColourTarget, gains: tuple[float, float, float]
) -> tuple[ColourFit, Pixels]:
    """The matrix, and the target with the places that were read."""
    patches = read_patches(target.picture, target.corners_xy, target.grid)
    if patches.levels.max() > LARGEST_LEVEL:
        raise CalibrationError(
            "colour: the target's brightest patch is at the top of the scale; expose "
            "it shorter"
        )
    balanced = patches.levels * np.asarray(gains)
    light = balanced / 255 if target.linear else linear_of_srgb(balanced)
    marked = target.picture.copy()
    for x, y in patches.centres_xy:
        for colour, size, thick in ((255, 24, 3), (0, 20, 1)):
            at, rgb = (round(x), round(y)), (colour, colour, colour)
            cv2.drawMarker(marked, at, rgb, cv2.MARKER_CROSS, size, thick)
    return fit_matrix(light, target.reference_lab), marked


def measure_glass(pictures: Sequence[Pixels], measured_at: str) -> Outcome:
    """Measure light and white point on empty glass, as both above."""
    light = measure_light(pictures, measured_at)
    white = measure_colour(pictures, measured_at)
    words = f"{light.words}; {white.words}"
    return replace(light, tables=light.tables + white.tables, words=words)


# ---------------------------------------------------------------------------
# Display.


def measure_display(
    picture: Pixels,
    boards: tuple[FoundCorners, FoundCorners | None],
    *,
    display_wh_px: tuple[int, int],
    um_per_px: float,
    measured_at: str,
) -> Outcome:
    """Map camera to display on a board's corners, and judge it on those of another.

    Args:
        picture: (height, width, 3) in which the first board was found.
        boards: corners of the first and of the other; None: every other corner of the
            first is held out instead.
        display_wh_px: of the display.
        um_per_px: of the picture at the slide.
        measured_at: ISO 8601, UTC.

    Raises:
        CalibrationError: the pattern is not seen well enough.
    """
    fitted, held_out = boards
    if held_out is None:
        what, remedy = "corners that took no part are", "focus the display and repeat"
        fitted, held_out = (
            FoundCorners(
                fitted.camera_xy[i::2], fitted.display_xy[i::2], fitted.mirrored
            )
            for i in (0, 1)
        )
    else:
        what = "the verification pattern is"
        remedy = (
            "did camera or display move between the pictures? fix both and take them "
            "again"
        )
    height, width = picture.shape[:2]
    mapping = solve_display(fitted, (width, height))
    residual = judge(mapping, held_out, um_per_px=um_per_px)
    rows = (mapping.homography / mapping.homography[2, 2]).tolist()
    table = Display(
        measured_at=measured_at,
        homography=tuple((a, b, c) for a, b, c in rows),
        distortion=mapping.distortion,
        width_px=display_wh_px[0],
        height_px=display_wh_px[1],
        residual_um=round(residual.rms_um, 4),
        points=len(fitted.camera_xy),
    )
    refusal = (
        f"display: {what} off by {residual.rms_um:.1f} µm, expected at most "
        f"{LARGEST_RMS_UM:g}; {remedy}"
    )
    share = covered_share(fitted.camera_xy, (width, height))
    terms = len(table.distortion)
    return Outcome(
        (table,),
        f"off by {residual.rms_um:.2f} µm on {residual.points} corners that took no "
        f"part{', with a lens term' if terms else ''}",
        _draw_corners(picture, fitted, held_out, mapping),
        numbers=_named(table, "homography", "distortion", "residual_um", "points")
        | {
            "largest_um": round(residual.largest_um, 4),
            "points_verified": residual.points,
            "covered": round(share, 3),
            "mirrored": fitted.mirrored,
        },
        account=f"display {table.width_px}x{table.height_px}"
        f"{', mirrored' if fitted.mirrored else ''}: off by {residual.rms_um:.2f} µm "
        f"RMS, {residual.largest_um:.2f} at most, on {residual.points} points that "
        f"took no part; {table.points} points over {share:.0%} of the field, "
        f"{terms} lens {'term' if terms == 1 else 'terms'}",
        refusal=refusal if residual.rms_um > LARGEST_RMS_UM else "",
    )


def _draw_corners(
    picture: Pixels, fitted: FoundCorners, held_out: FoundCorners, mapping: Mapping
) -> Pixels:
    """Rings where corners were fitted, crosses where others are: red are off."""
    drawn = picture.copy()
    size = max(3, picture.shape[1] // 200)
    thick = max(1, size // 3)
    for x, y in fitted.camera_xy:
        at = round(x), round(y)
        cv2.circle(drawn, at, size, (0, 220, 90), thick, cv2.LINE_AA)
    off = mapping.to_display(held_out.camera_xy) - held_out.display_xy
    for (x, y), error in zip(held_out.camera_xy, np.hypot(*off.T), strict=True):
        colour = (60, 160, 255) if error < 1 else (255, 60, 60)
        at = round(x), round(y)
        cv2.drawMarker(drawn, at, colour, 0, 2 * size, thick, cv2.LINE_AA)
    return drawn


# ---------------------------------------------------------------------------
# Stage.


def judge_walk(walked: StageWalk, *, um_per_px: float, measured_at: str) -> Outcome:
    """What a walk of the stage under its camera says of both."""
    table = table_of(walked, um_per_px=um_per_px, measured_at=measured_at)
    matrix = walked.matrix
    x_um, y_um = table.backlash_um
    return Outcome(
        (table,),
        f"turned by {table.rotation_deg:.2f}°, play {x_um:.1f} and {y_um:.1f} µm, "
        f"held-out moves off by {table.held_out_rms_um:.2f} µm",
        draw_stage(walked, um_per_px=um_per_px),
        numbers=msgspec.to_builtins(table)
        | _named(matrix, "rotation_error_deg", "mirrored", "skew_deg")
        | {
            "um_per_px": um_per_px,
            "scale_from_moves": asdict(scale_from_moves(matrix)),
            "residual_rms_px": rms(matrix.residuals_px),
            "held_out_rms_px": rms(walked.held_out_px),
            "closed_loop_first_px": rms(walked.first_tries_px),
            "closed_loop_last_px": rms(walked.last_tries_px),
        },
    )


# ---------------------------------------------------------------------------
# Latency.


def measure_latency(
    software: Delay | None, light: Delay | None, measured_at: str
) -> Outcome:
    """Chain what was measured of the way from exposure to the eye.

    Args:
        software: from the end of exposure to painted.
        light: from painted to light, and back through the camera.
        measured_at: ISO 8601, UTC.

    Raises:
        CalibrationError: neither was measured.
    """
    whole = chain(software, light) if software and light else software or light
    if whole is None:
        raise CalibrationError("latency: give --session, --rig or both")
    table = Latency(
        measured_at=measured_at,
        median_ms=round(whole.median_ms, 2),
        p95_ms=round(whole.p95_ms, 2),
        glass_to_glass=software is not None and light is not None,
        trials=whole.trials,
    )
    named = {
        "exposure to painted": software,
        "painted to light, through the camera": light,
    }
    account = [
        f"{name}: {part.median_ms:.1f} ms, 95th percentile {part.p95_ms:.1f} ms"
        f" ({part.trials} trials)"
        for name, part in named.items()
        if part
    ]
    how = "glass to glass" if table.glass_to_glass else "a part of the way only"
    return Outcome(
        (table,),
        f"latency {table.median_ms:.1f} ms, 95th percentile {table.p95_ms:.1f} ms, "
        f"{how}",
        numbers=_named(table, "median_ms", "p95_ms", "glass_to_glass", "trials")
        | {"software": software, "light": light},
        account="\n".join(account),
    )


def _named(measured: object, *names: str) -> dict[str, Any]:
    """Some of what was measured, for programs, under the names that it has."""
    return {name: getattr(measured, name) for name in names}


# ---------------------------------------------------------------------------
# Pictures that are looked at.


def _before_after(picture: Pixels, correct: Callable[[Pixels], Pixels]) -> Pixels:
    # Small first: what is looked at is not measured.
    return _beside(
        (picture, correct(_to_height(picture, _SHOWN_PX))), _SHOWN_PX, gap_px=12
    )


def _beside(pictures: Sequence[Pixels], height_px: int, *, gap_px: int = 0) -> Pixels:
    """Pictures from left to right, at a size for people."""
    gap = np.full((height_px, gap_px, 3), 255, np.uint8)
    row = [
        part for picture in pictures for part in (gap, _to_height(picture, height_px))
    ]
    return np.asarray(np.hstack(row[1:]), np.uint8)


def _to_height(picture: Pixels, height_px: int) -> Pixels:
    size = (max(1, picture.shape[1] * height_px // picture.shape[0]), height_px)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
