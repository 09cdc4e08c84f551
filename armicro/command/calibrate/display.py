"""``armicro calibrate display``: from camera pixels to the display in the eyepiece."""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from armicro.calibrate.display import (
    FEWEST_POINTS,
    FoundCorners,
    draw_pattern,
    find_pattern,
)
from armicro.calibrate.procedure import measure_display
from armicro.calibrate.simulated_path import draw_path
from armicro.certificate import now, read_certificate
from armicro.command.calibrate.picture import (
    add_result_arguments,
    camera_of,
    conclude,
    instrument_for,
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
from armicro.source import SourceCard
from armicro.verdict import HR_UM_PER_PX

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
    card: SourceCard | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
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
    """Solve and verify; the pattern must be found, and the mapping be good enough."""
    if args.pattern_out:
        if args.pictures or args.rig:
            raise CalibrationError(
                "display: --pattern-out writes the patterns and measures nothing; give "
                "it without --pictures and --rig"
            )
        _write_patterns(args, _display_wh(args))
        return 0
    if not (args.pictures or args.rig or args.simulated is not None):
        raise CalibrationError("display: give --rig, --pictures or --simulated")
    um_per_px = _um_per_px(args)
    views = _views(args)
    outcome = measure_display(
        views.pictures[0],
        _find(views),
        display_wh_px=views.display_wh_px,
        um_per_px=um_per_px,
        measured_at=now(),
    )
    instrument = instrument_for(args, views.pictures[0], views.card)
    conclude(args, outcome, instrument, shown=args.found)
    return 0


def _write_patterns(args: argparse.Namespace, size: tuple[int, int]) -> None:
    path: Path = args.pattern_out
    second = path.with_name(f"{path.stem}-verify{path.suffix}")
    # The second first: where it cannot be written, there is not one without the other.
    write_picture(second, draw_pattern(*size, verify=True))
    write_picture(path, draw_pattern(*size))
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


def _find(views: Views) -> tuple[FoundCorners, FoundCorners]:
    """The best view of either board; a picture shows one of them."""
    none = FoundCorners(np.empty((0, 2)), np.empty((0, 2)))
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


def _um_per_px(args: argparse.Namespace) -> float:
    if args.um_per_px:
        return float(args.um_per_px)
    if args.certificate and args.certificate.exists():
        scale = read_certificate(args.certificate).scale
        if scale is not None:
            return scale.um_per_px
    if args.rig:
        rig = read_rig(args.rig)
        held = None if rig.calibration_fault else rig.calibration
        if held is not None and held.scale is not None:
            return held.scale.um_per_px
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
