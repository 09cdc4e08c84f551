"""``armicro calibrate display``: from camera pixels to the display in the eyepiece."""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from armicro.calibrate.certificate import Display
from armicro.calibrate.display import (
    FEWEST_POINTS,
    Mapping,
    Residual,
    covered_share,
    judge,
    solve_display,
)
from armicro.calibrate.pattern import Seen, draw_pattern, find_pattern
from armicro.calibrate.simulated_path import draw_path
from armicro.certificate import now, read_certificate
from armicro.command.calibrate.picture import (
    add_result_arguments,
    camera_of,
    instrument_for,
    keep,
    mean_of,
    photograph,
    read_one,
    read_pictures,
    tell,
    write_picture,
)
from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.rig import read_rig
from armicro.source import Card
from armicro.verdict import HR_UM_PER_PX

LARGEST_RMS_UM = 2.0
_SETTLE_S = 0.5
_COUNT = 4
_MOST_PX = 16_384
"""A side of a display."""

EXAMPLE = """\
examples:
  armicro calibrate display --rig rig.toml --screen 1 --certificate 20x.toml
  armicro calibrate display --display 1920x1080 --pattern-out pattern.png
  armicro calibrate display --pictures seen.png verify.png --background dark.png \\
      --display 1920x1080 --um-per-px 0.243 --found found.png --json
  armicro calibrate display --simulated 7
"""


class Views(NamedTuple):
    """What the camera saw."""

    pictures: list[Pixels]
    background: Pixels | None
    display_wh_px: tuple[int, int]
    card: Card | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "--pictures",
        nargs="+",
        type=Path,
        metavar="PICTURE",
        help="of the pattern and of the verification pattern, in any order",
    )
    parser.add_argument(
        "--background",
        type=Path,
        metavar="PICTURE",
        help="the same view while the display is black: takes the slide out",
    )
    parser.add_argument(
        "--display", metavar="WxH", help="its pixels (default: those of the screen)"
    )
    parser.add_argument(
        "--um-per-px", type=float, help="at the slide (default: the certificate's)"
    )
    parser.add_argument("--screen", type=int, default=0, help="number of the display")
    parser.add_argument(
        "--pattern-out",
        type=Path,
        metavar="OUT.png",
        help="write the patterns (the second as OUT-verify.png) and stop",
    )
    parser.add_argument(
        "--found", type=Path, metavar="OUT.png", help="picture of what was found"
    )
    parser.add_argument(
        "--simulated", type=int, metavar="SEED", help="try it on a pretended instrument"
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Solve and verify.

    Raises:
        CalibrationError: the pattern is not found, or the mapping is not good enough.
    """
    if args.pattern_out and not (args.pictures or args.rig):
        _write_patterns(args, _display_wh(args))
        return 0
    um_per_px = _um_per_px(args)
    views = _views(args)
    height, width = views.pictures[0].shape[:2]
    fitted, held_out = _find(views)
    mapping = solve_display(fitted, (width, height))
    residual = judge(mapping, held_out, um_per_px=um_per_px)
    if args.found:
        write_picture(args.found, _draw(views, fitted, held_out, mapping))
    if residual.rms_um > LARGEST_RMS_UM:
        raise CalibrationError(
            f"display: the verification pattern is off by {residual.rms_um:.1f} µm, "
            f"expected at most {LARGEST_RMS_UM:g}; did camera or display move between "
            "the pictures? fix both and take them again"
        )
    display = _table(mapping, views.display_wh_px, residual, fitted)
    keep(args, instrument_for(args, views.pictures[0], views.card), display)
    _tell(args, display, residual, fitted, (width, height))
    return 0


def _write_patterns(args: argparse.Namespace, size: tuple[int, int]) -> None:
    path: Path = args.pattern_out
    second = path.with_name(f"{path.stem}-verify{path.suffix}")
    write_picture(path, draw_pattern(*size))
    write_picture(second, draw_pattern(*size, verify=True))
    tell(
        args,
        {"pattern": str(path), "verify": str(second)},
        f"show {path}, then {second}, on all of the display, and photograph both",
    )


def _views(args: argparse.Namespace) -> Views:
    if args.simulated is not None:
        path = draw_path(args.simulated)
        shown = [draw_pattern(*path.display_wh_px, verify=v) for v in (False, True)]
        return Views([path.show(p) for p in shown], None, path.display_wh_px)
    if args.pictures:
        background = read_one(args.background) if args.background else None
        return Views(read_pictures(args.pictures), background, _display_wh(args))
    if not args.rig:
        raise CalibrationError("display: give --rig, --pictures or --simulated")
    # Qt is loaded only where a window opens.
    from armicro.overlay.application import FullScreen

    with (
        camera_of(read_rig(args.rig)) as (card, fields),
        FullScreen(args.screen) as screen,
    ):
        width, height = screen.size_px
        shown = [
            np.zeros((height, width, 3), np.uint8),
            draw_pattern(width, height),
            draw_pattern(width, height, verify=True),
        ]
        seen = []
        for picture in shown:
            screen.show_picture(picture)
            time.sleep(_SETTLE_S)
            seen.append(mean_of(photograph(fields, _COUNT)))
    return Views(seen[1:], seen[0], (width, height), card)


def _find(views: Views) -> tuple[Seen, Seen]:
    """The best view of either board; a picture shows one of them."""
    none = Seen(np.empty((0, 2)), np.empty((0, 2)))
    best = [none, none]
    for picture in views.pictures:
        even = _without(picture, views.background)
        for verify in (False, True):
            seen = find_pattern(even, views.display_wh_px, verify=verify)
            if len(seen.camera_xy) > len(best[verify].camera_xy):
                best[verify] = seen
            if len(seen.camera_xy) >= FEWEST_POINTS:
                break
    return best[False], best[True]


def _without(picture: Pixels, background: Pixels | None) -> Pixels:
    """What the display adds, brought up to full contrast."""
    if background is None:
        return picture
    if background.shape != picture.shape:
        raise CalibrationError("display: --background has another size than --pictures")
    light = cv2.subtract(picture, background)
    top = max(8.0, float(np.quantile(light[::8, ::8], 0.99)))
    return np.asarray(cv2.convertScaleAbs(light, alpha=255 / top), np.uint8)


def _table(
    mapping: Mapping, size: tuple[int, int], residual: Residual, fitted: Seen
) -> Display:
    rows = (mapping.homography / mapping.homography[2, 2]).tolist()
    return Display(
        measured_at=now(),
        homography=tuple((a, b, c) for a, b, c in rows),
        distortion=mapping.distortion,
        width_px=size[0],
        height_px=size[1],
        residual_um=round(residual.rms_um, 4),
        points=len(fitted.camera_xy),
    )


def _tell(
    args: argparse.Namespace,
    display: Display,
    residual: Residual,
    fitted: Seen,
    field_wh_px: tuple[int, int],
) -> None:
    share = covered_share(fitted.camera_xy, field_wh_px)
    answer: dict[str, object] = {
        "homography": [list(row) for row in display.homography],
        "distortion": list(display.distortion),
        "residual_um": display.residual_um,
        "largest_um": round(residual.largest_um, 4),
        "points": display.points,
        "points_verified": residual.points,
        "covered": round(share, 3),
        "mirrored": fitted.mirrored,
    }
    terms = len(display.distortion)
    tell(
        args,
        answer,
        f"display {display.width_px}x{display.height_px}"
        f"{', mirrored' if fitted.mirrored else ''}: off by {residual.rms_um:.2f} µm "
        f"RMS, {residual.largest_um:.2f} at most, on {residual.points} points that "
        f"took no part; {display.points} points over {share:.0%} of the field, "
        f"{terms} lens {'term' if terms == 1 else 'terms'}",
    )


def _draw(views: Views, fitted: Seen, held_out: Seen, mapping: Mapping) -> Pixels:
    """The pattern with its corners; verification corners as the mapping has them."""
    picture = views.pictures[0].copy()
    for x, y in fitted.camera_xy:
        cv2.circle(picture, (round(x), round(y)), 14, (0, 220, 90), 3, cv2.LINE_AA)
    off = mapping.to_display(held_out.camera_xy) - held_out.display_xy
    for (x, y), error in zip(held_out.camera_xy, np.hypot(*off.T), strict=True):
        colour = (60, 160, 255) if error < 1 else (255, 60, 60)
        cv2.drawMarker(picture, (round(x), round(y)), colour, 0, 26, 3, cv2.LINE_AA)
    return picture


def _um_per_px(args: argparse.Namespace) -> float:
    if args.um_per_px:
        return float(args.um_per_px)
    if args.certificate and args.certificate.exists():
        scale = read_certificate(args.certificate).scale
        if scale is not None:
            return scale.um_per_px
    if args.simulated is not None:
        return HR_UM_PER_PX
    raise CalibrationError(
        "display: the scale is not known; measure it first (armicro calibrate scale), "
        "or give --um-per-px"
    )


def _display_wh(args: argparse.Namespace) -> tuple[int, int]:
    width, _, height = (args.display or "").partition("x")
    if not all(
        side.isdecimal() and len(side) < 6 and 64 <= int(side) <= _MOST_PX
        for side in (width, height)
    ):
        raise CalibrationError(
            f"--display {args.display or 'is missing'}: expected WIDTHxHEIGHT, such as "
            f"1920x1080, sides of 64 to {_MOST_PX} px"
        )
    return int(width), int(height)
