"""Is this camera fit for armicro? Looks for some seconds and says what to do.

    python hardware/check_camera.py --rig hardware/rigs/basler-usb3-20x.toml
    PYLON_CAMEMU=1 python hardware/check_camera.py       (pylon's emulator)

Put empty glass under the objective, focused and lit as for work. Exit status: 0 fit,
1 not yet, 2 no camera.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import msgspec
import numpy as np

from armicro.certificate import now
from armicro.errors import ArmicroError
from armicro.field import Field
from armicro.rig import Camera, Rig, read_rig
from armicro.source import SourceCard
from armicro.source.identity import why_void
from armicro.source.open import open_source

USB3_MB_PER_S = 380.0
"""What one USB3 controller carries in practice; two cameras share it."""
LEAST_RATE, LARGEST_LOSS = 0.95, 0.01
"""Shares of the rate that the rig asks for, and of frames that never came."""
LARGEST_JITTER = 0.5
"""99th percentile of the interval's change, as a share of the interval."""
GLASS = (150.0, 245.0)
"""Level of empty glass: below, noise; above, nothing left for what is brighter."""
MOST_SATURATED = 0.01


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen of a camera."""

    asked_fps: float
    got_fps: float
    lost: float
    """Share of frames that the camera counted and nobody got, 0-1."""
    jitter: float
    mb_per_s: float
    """On the cable, one byte a pixel (Bayer, 8 bit)."""
    glass_rgb: tuple[float, float, float]
    """95th percentile of each colour."""
    saturated: float
    """Share of pixels at the top of their scale in some colour."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was judged."""

    name: str
    ok: bool
    found: str
    todo: str = ""


def measure(fields: Sequence[Field], asked_fps: float) -> Figures:
    """Put numbers to fields that came one after the other; at least three."""
    taken = np.array([field.taken_ns for field in fields]) / 1e9
    gaps = np.diff([field.seq for field in fields])
    steps = np.diff(taken) / np.maximum(gaps, 1)
    counted = fields[-1].seq - fields[0].seq
    pixels = fields[-1].pixels
    red, green, blue = np.percentile(pixels.reshape(-1, 3)[::7], 95, axis=0)
    rate = float(counted / (taken[-1] - taken[0]))
    return Figures(
        asked_fps=asked_fps,
        got_fps=rate,
        lost=1.0 - (len(fields) - 1) / counted,
        jitter=float(np.percentile(np.abs(steps - np.median(steps)), 99) * rate),
        mb_per_s=rate * pixels.shape[0] * pixels.shape[1] / 1e6,
        glass_rgb=(float(red), float(green), float(blue)),
        saturated=float((pixels[::3, ::3] >= 254).any(axis=2).mean()),
    )


def judge(figures: Figures) -> list[Line]:
    """Say of each figure whether it will do, and if not, what to do."""
    f = figures
    glass = max(f.glass_rgb)
    return [
        Line(
            "rate",
            f.got_fps >= LEAST_RATE * f.asked_fps,
            f"{f.got_fps:.1f} of {f.asked_fps:.1f} frames a second",
            "shorten exposure_us below 1 / frames_per_second, use a USB3 port of its "
            "own (blue, no hub), or ask for fewer frames or pixels in the rig",
        ),
        Line(
            "loss",
            f.lost <= LARGEST_LOSS,
            f"{f.lost:.1%} of the frames never came".replace("%", " %"),
            "a shorter or screwed cable, no hub; close other programs; on Linux raise "
            "usbfs memory: echo 1000 > /sys/module/usbcore/parameters/usbfs_memory_mb",
        ),
        Line(
            "rhythm",
            f.jitter <= LARGEST_JITTER,
            f"intervals vary by {f.jitter:.0%} (99th percentile)".replace("%", " %"),
            "the machine is busy: close other programs, plug in the power supply",
        ),
        Line(
            "cable",
            f.mb_per_s <= USB3_MB_PER_S,
            f"{f.mb_per_s:.0f} MB/s of {USB3_MB_PER_S:.0f}",
            "fewer frames or pixels, or a second USB3 controller",
        ),
        Line(
            "light",
            GLASS[0] <= glass <= GLASS[1],
            "glass at {:.0f}/{:.0f}/{:.0f} of 255".format(*f.glass_rgb),
            "more light or a longer exposure_us"
            if glass < GLASS[0]
            else "less light or a shorter exposure_us",
        ),
        Line(
            "saturation",
            f.saturated <= MOST_SATURATED,
            f"{f.saturated:.1%} of the pixels at the top".replace("%", " %"),
            "less light or a shorter exposure_us, until no channel touches 255",
        ),
    ]


def judge_identity(rig: Rig, card: SourceCard) -> Line:
    """Say whether the rig's certificate is for this camera."""
    found = f"{card.name}, {card.width_px}x{card.height_px}, binning {card.binning}"
    reason = why_void(rig, card, now())
    todo = f"{reason}: no boxes until then"
    return Line("identity", not reason, found, todo if reason else "")


def look(rig: Rig, seconds: float) -> tuple[SourceCard, list[Field]]:
    """Take fields for some seconds, keeping the pixels of the last one only."""
    with contextlib.closing(open_source(rig)) as source:
        stream = iter(source.fields())
        first = next(stream)
        end = time.monotonic() + seconds
        kept: list[Field] = [first]
        for field in takewhile(lambda _: time.monotonic() < end, stream):
            kept[-1] = without_pixels(kept[-1])
            kept.append(field)
        return source.card, kept


def without_pixels(field: Field) -> Field:
    """The field without its pixels."""
    empty = np.empty((0, 0, 3), np.uint8)
    return Field(field.um_per_px, field.seq, field.taken_ns, field.place, pixels=empty)


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rig", type=Path, help="rig file (default: first Basler)")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args(arguments)
    try:
        rig = read_rig(args.rig) if args.rig else Rig(camera=Camera(driver="basler"))
        card, fields = look(rig, args.seconds)
    except ArmicroError as error:
        sys.stderr.write(f"check_camera: {error}\n")
        return 2
    if len(fields) < 3:
        sys.stderr.write(
            f"check_camera: {len(fields)} frames in {args.seconds:g} s; look longer "
            "(--seconds), or check the trigger\n"
        )
        return 2
    figures = measure(fields, rig.camera.frames_per_second)
    lines = [judge_identity(rig, card), *judge(figures)]
    if args.json:
        answer = {"figures": figures, "checks": lines}
        text = msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()
        sys.stdout.write(text + "\n")
    else:
        for line in lines:
            sys.stdout.write(
                f"{'ok' if line.ok else '!!'}  {line.name:11}{line.found}\n"
            )
            if not line.ok:
                sys.stdout.write(f"    {'':11}-> {line.todo}\n")
    return 0 if all(line.ok for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
