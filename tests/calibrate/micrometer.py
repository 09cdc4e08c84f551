"""Drawn stage micrometers with known truth, and all that a microscope does to them.

Lines are drawn from distances in micrometres, anti-aliased a pixel wide, so the truth
does not hang on any raster. ``draw_case`` makes one of a seeded family of hard ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
DIVISION_UM = 10.0


@dataclass(frozen=True, slots=True)
class Design:
    """The ruler on the glass, in divisions where not said otherwise."""

    divisions: int = 100
    line: float = 0.2
    short: float = 3.0
    middle: float = 4.5
    long: float = 6.0
    fifths: bool = True
    """Every fifth is longer; else only every tenth."""
    centred: bool = False
    """Ticks lie about the axis, not on it."""
    baseline: bool = False
    numerals: bool = True
    frame: str = ""
    """"", "box" or "circle"."""
    group: int = 0
    """So many divisions were drawn at a time; 0: all at once."""
    group_scatter: float = 0.0
    """By which groups lie beside their places, standard deviation."""
    crossed: bool = False
    """A second ruler at right angles through the middle."""


@dataclass(frozen=True, slots=True)
class View:
    """The microscope's part."""

    um_per_px: float = 0.5
    rotation_deg: float = 0.0
    width_px: int = 1280
    height_px: int = 960
    centre: tuple[float, float] = (50.0, 2.0)
    """The point of the ruler in the middle of the picture: along, across; divisions."""
    contrast: float = 0.7
    bright: bool = False
    """Bright lines on dark."""
    blur_px: float = 0.8
    noise: float = 0.01
    vignetting: float = 0.0
    slope: float = 0.0
    """Share of light lost from one side to the other."""
    dust: int = 0
    scratches: int = 0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    barrel: float = 0.0
    """Share by which the corner is drawn in."""
    eyepiece: bool = False
    """A round bright field in a dark picture."""
    scale_bar: bool = False
    jpeg: int = 0
    seed: int = 0


def draw(design: Design, view: View) -> NDArray[np.uint8]:
    """The picture, (height, width, 3) RGB."""
    rng = np.random.default_rng(view.seed)
    along, across, px = _ruler_coordinates(view)
    ink = _ruler(design, along, across, px)
    if design.crossed:
        middle = design.divisions / 2
        other = replace(design, crossed=False, frame="", numerals=False)
        turned = _ruler(other, across + middle, along - middle, px)
        ink = np.maximum(ink, turned)
    ink = np.maximum(ink, _dirt(view, rng))
    return _photograph(ink, view, rng)


def draw_angle(view: View, *, ratio: float, turn_deg: float) -> NDArray[np.uint8]:
    """Two rulers at an angle to each other, on either side of the picture's middle.

    Args:
        view: of the first one.
        ratio: µm per pixel of the second to that of the first.
        turn_deg: of the second against the first.
    """
    pictures = []
    for turn in (0, 1):
        um_per_px = view.um_per_px * (ratio if turn else 1.0)
        aside = view.height_px * um_per_px / DIVISION_UM
        seen = replace(
            view,
            um_per_px=um_per_px,
            rotation_deg=view.rotation_deg + turn * turn_deg,
            centre=(100.3, 0.2 * aside + 6 if turn else -0.12 * aside),
            seed=turn,
        )
        pictures.append(draw(Design(divisions=200, numerals=False), seen))
    dark = np.maximum if view.bright else np.minimum
    return np.asarray(dark(*pictures), np.uint8)


def draw_pair(view: View, *, ratio: float, stacked: bool) -> NDArray[np.uint8]:
    """Two rulers apart from each other in one picture, at any rotation.

    Args:
        view: of the first one.
        ratio: µm per pixel of the second to that of the first.
        stacked: one over the other; else one after the other.
    """
    px = DIVISION_UM / view.um_per_px
    reach = 0.14 * min(view.width_px, view.height_px)
    pictures = []
    for turn, um_per_px in enumerate((view.um_per_px, view.um_per_px * ratio)):
        px = DIVISION_UM / um_per_px
        long = min(6.0, 2 * reach / px)
        design = Design(
            divisions=200, numerals=False, short=long / 2, middle=0.75 * long, long=long
        )
        if stacked:
            # Turned, it still leaves the picture on both sides.
            centre = (100.3, (2.5 * reach * turn - 0.1 * reach) / px)
        else:
            centre = (-20 / px, long / 2) if turn else (200 + 20 / px, long / 2)
        seen = replace(view, um_per_px=um_per_px, centre=centre, seed=turn)
        pictures.append(draw(design, seen))
    dark = np.maximum if view.bright else np.minimum
    return np.asarray(dark(*pictures), np.uint8)


def _ruler_coordinates(view: View) -> tuple[Floats, Floats, float]:
    """Along and across the ruler in divisions, and the width of a pixel."""
    y, x = np.mgrid[: view.height_px, : view.width_px].astype(np.float32)
    x -= (view.width_px - 1) / 2
    y -= (view.height_px - 1) / 2
    corner2 = (view.width_px / 2) ** 2 + (view.height_px / 2) ** 2
    stretch = 1 + view.barrel * (x * x + y * y) / corner2
    px = view.um_per_px / DIVISION_UM
    x, y = x * stretch * px, y * stretch * px
    angle = np.deg2rad(view.rotation_deg)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along = cos * x + sin * y + np.float32(view.centre[0])
    # Ticks point up, away from y.
    across = sin * x - cos * y + np.float32(view.centre[1])
    return along, across, px


def _stroke(distance: Floats, half: float | Floats, px: float) -> Floats:
    """Coverage of pixels by what lies within ``half`` of a line."""
    return np.asarray(np.clip((half - distance) / px + 0.5, 0, 1), np.float32)


def _ruler(design: Design, along: Floats, across: Floats, px: float) -> Floats:
    if design.group:
        count = -(-(design.divisions + 1) // design.group)
        shifts = np.random.default_rng(count).normal(0, design.group_scatter, count)
        owner = np.clip(np.round(along), 0, design.divisions) // design.group
        along = along - shifts[owner.astype(int)].astype(np.float32)
    tick = np.clip(np.round(along), 0, design.divisions)
    length = np.full_like(along, design.short)
    if design.fifths:
        length[tick % 5 == 0] = design.middle
    length[tick % 10 == 0] = design.long
    half = design.line / 2
    high = np.asarray(length / 2, np.float32)
    lift = np.abs(across if design.centred else across - high)
    ink = np.asarray(
        _stroke(np.abs(along - tick), half, px) * _stroke(lift, high, px), np.float32
    )
    middle = design.divisions / 2
    if design.baseline:
        run = _stroke(np.abs(along - middle), middle + half, px)
        ink = np.maximum(ink, _stroke(np.abs(across), half, px) * run)
    if design.frame == "box":
        out = np.maximum(np.abs(along - middle) - middle - 3, np.abs(across) - 11)
        ink = np.maximum(ink, _stroke(np.abs(out), half, px))
    if design.frame == "circle":
        radius = np.hypot(along - middle, across - 2)
        ink = np.maximum(ink, _stroke(np.abs(radius - middle * 1.15), half, px))
    if design.numerals:
        ink = np.maximum(ink, _numerals(design, along, across))
    return ink


def _numerals(design: Design, along: Floats, across: Floats) -> Floats:
    """ "0", ".1", ... above every tenth tick, from a sheet of type."""
    fine = 24  # pixels a division
    sheet = np.zeros((4 * fine, (design.divisions + 12) * fine), np.uint8)
    for tick in range(0, design.divisions + 1, 10):
        word = f"{tick / 100:g}"
        cv2.putText(
            sheet, word, (int((tick + 4) * fine), 3 * fine), cv2.FONT_HERSHEY_SIMPLEX,
            1.8, 255, 5, cv2.LINE_AA,
        )  # fmt: skip
    floor = (design.long / 2 if design.centred else design.long) + 0.8
    map_x = (along + 5) * fine - 10
    map_y = (4 - (across - floor)) * fine - fine
    taken = cv2.remap(sheet, map_x, map_y, cv2.INTER_AREA | cv2.INTER_LINEAR)
    return np.asarray(taken / np.float32(255), np.float32)


def _dirt(view: View, rng: np.random.Generator) -> Floats:
    shape = (view.height_px, view.width_px)
    dirt = np.zeros(shape, np.float32)
    for _ in range(view.dust):
        centre = tuple(int(v) for v in rng.uniform((0, 0), shape[::-1]))
        size = float(rng.exponential(0.006 * max(shape)) + 1)
        axes = (round(size * rng.uniform(0.5, 1.5)), round(size))
        shade = float(rng.uniform(0.2, 1.0))
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(dirt, centre, axes, turn, 0, 360, shade, -1, cv2.LINE_AA)
    for _ in range(view.scratches):
        ends = rng.uniform((0, 0), shape[::-1], (2, 2)).astype(int)
        shade = float(rng.uniform(0.1, 0.6))
        width = int(rng.integers(1, 4))
        cv2.line(dirt, ends[0], ends[1], shade, width, cv2.LINE_AA)
    return dirt


def _photograph(ink: Floats, view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
    y, x = np.mgrid[-1 : 1 : view.height_px * 1j, -1 : 1 : view.width_px * 1j]
    light = 1 - view.vignetting * (x * x + y * y) / 2 - view.slope * (x + 1) / 2
    if view.bright:
        shade = 0.12 + view.contrast * 0.8 * ink
    else:
        shade = 0.85 * (1 - view.contrast * ink)
    soft = cv2.GaussianBlur(shade.astype(np.float32), (0, 0), max(view.blur_px, 0.01))
    shade = np.asarray(soft * light, np.float32)
    if view.eyepiece:
        aspect = view.width_px / view.height_px
        rim = np.clip((0.95 - np.hypot(x * aspect, y)) * 40, 0, 1)
        shade = 0.03 + (shade - 0.03) * rim
    picture = shade[..., None] * np.asarray(view.tint)
    grain = (
        rng.normal(0, 1, (*ink.shape, 3)) * 0.5 + rng.normal(0, 1, ink.shape)[..., None]
    )
    picture = picture + view.noise * grain * np.sqrt(np.maximum(picture, 0.05))
    out = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    if view.scale_bar:
        _burn_in(out)
    if view.jpeg:
        _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, view.jpeg])
        out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(out, np.uint8)


def _burn_in(out: NDArray[np.uint8]) -> None:
    height, width = out.shape[:2]
    corner = (int(width * 0.72), int(height * 0.93))
    far = (int(width * 0.92), int(height * 0.945))
    cv2.rectangle(out, corner, far, (255, 255, 255), -1)
    cv2.putText(
        out, "100 um", (corner[0], corner[1] - 8), cv2.FONT_HERSHEY_SIMPLEX,
        height / 900, (255, 255, 255), 2, cv2.LINE_AA,
    )  # fmt: skip


SIZES = ((640, 480), (1280, 960), (1280, 1024), (1600, 1200), (2448, 2048))


def case(seed: int) -> tuple[Design, View]:
    """One of the family: rotations 0-180°, and every fault in some measure."""
    rng = np.random.default_rng(seed)
    width, height = SIZES[int(rng.choice(5, p=(0.2, 0.3, 0.2, 0.15, 0.15)))]
    um_per_px = float(np.exp(rng.uniform(np.log(0.1), np.log(0.6))))
    divisions_wide = width * um_per_px / DIVISION_UM
    design = Design(
        line=float(rng.uniform(0.1, 0.33)),
        short=float(rng.uniform(2, 4)),
        middle=float(rng.uniform(4.5, 6)),
        long=float(rng.uniform(6.5, 9)),
        fifths=bool(rng.random() < 0.85),
        centred=bool(rng.random() < 0.25),
        baseline=bool(rng.random() < 0.4),
        numerals=bool(rng.random() < 0.7),
        frame=str(rng.choice(["", "", "", "box", "circle"])),
        crossed=bool(rng.random() < 0.1),
    )
    view = View(
        um_per_px=um_per_px,
        rotation_deg=float(
            rng.uniform(0, 180)
            if rng.random() < 0.8
            else 90 * rng.integers(2) + rng.normal(0, 2)
        ),
        width_px=width,
        height_px=height,
        centre=(
            float(rng.uniform(0.15, 0.85) * 100),
            float(rng.normal(2, 0.08 * divisions_wide)),
        ),
        contrast=float(rng.uniform(0.15, 0.9)),
        bright=bool(rng.random() < 0.2),
        blur_px=float(
            0.5 + min(rng.exponential(0.08), 0.2) * DIVISION_UM / um_per_px * 0.5
        ),
        noise=float(rng.exponential(0.02)),
        vignetting=float(rng.uniform(0, 0.6)),
        slope=float(rng.uniform(0, 0.4)),
        dust=int(rng.integers(0, 60)),
        scratches=int(rng.integers(0, 8)),
        tint=tuple(rng.uniform(0.5, 1.0, 3)),
        barrel=float(rng.choice([0.0, 0.0, rng.uniform(-0.003, 0.003)])),
        eyepiece=bool(rng.random() < 0.15),
        scale_bar=bool(rng.random() < 0.2),
        jpeg=int(rng.choice([0, 0, 60, 80, 92])),
        seed=seed,
    )
    return design, view


def stripes(width_px: int, height_px: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and pictures of what is regular, and no ruler."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height_px, :width_px].astype(np.float32)
    for pitch, degrees in ((16, 0), (40, 20), (100, 63)):
        angle = np.deg2rad(degrees)
        u = (x * np.cos(angle) + y * np.sin(angle)) / pitch
        v = (y * np.cos(angle) - x * np.sin(angle)) / pitch
        brick = u / 2.5 + 0.5 * (np.floor(v) % 2)
        kinds = {
            "sine": 0.5 + 0.4 * np.sin(2 * np.pi * u),
            "square": u % 1 < 0.5,
            "grille": u % 1 < 0.25,
            "checks": (np.floor(u) + np.floor(v)) % 2,
            "bricks": (v % 1 < 0.1) | (brick % 1 < 0.04),
            "zebra": np.sin(2 * np.pi * u + 2 * np.sin(v / 4) + np.sin(u / 3)) > 0,
            "grid": (u % 1 < 0.12) | (v % 1 < 0.12),
            "dots": np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.3,
            "receding": np.log(u + 50) * 40 % 1 < 0.3,
        }
        for name, ink in kinds.items():
            yield f"{name} {pitch}", _printed(np.asarray(ink, np.float32), rng)


def not_rulers() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and pictures of what is regular or busy, and no ruler."""
    yield from stripes(800, 600)
    rng = np.random.default_rng(1)
    y, _ = np.mgrid[:600, :800].astype(np.float64)
    for letters in ("abcdefghijklmnopqrstuvwxyz    ", "l", "m", "| ", "H", "."):
        for size in (0.5, 0.9, 1.5):
            page = np.zeros((600, 800), np.uint8)
            for line in range(20, 600, int(32 * size)):
                words = "".join(rng.choice(list(letters), 90))
                cv2.putText(page, words, (20, line), 0, size, 255, 2, cv2.LINE_AA)
            yield (
                f"text {letters[0]} {size}",
                _printed((page / 255).astype(np.float32), rng),
            )
    code = np.repeat(rng.integers(0, 2, 100), 8).astype(np.float32)
    bars = np.where(abs(y - 300) < 150, code[None], 0)
    yield "bar code", _printed(bars.astype(np.float32), rng)
    yield "blank", np.full((600, 800, 3), 190, np.uint8)
    yield "noise", rng.integers(0, 256, (600, 800, 3)).astype(np.uint8)
    for stretch in (6, 60):
        soft = cv2.GaussianBlur(rng.normal(0, 1, (600, 800)), (0, 0), 5, sigmaY=stretch)
        cloud = 0.5 + 0.2 * soft / soft.std()
        yield f"cloud {stretch}", _printed(np.asarray(cloud, np.float32), rng)


def _printed(ink: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    soft = cv2.GaussianBlur(0.85 - 0.6 * ink, (0, 0), 1.0)
    grey = soft + rng.normal(0, 0.02, ink.shape)
    return np.repeat((np.clip(grey, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
