"""How fields are cut from a slide's pyramid: level, scale, sizes, resampling.

The level is the coarsest that is not coarser than the fields. Fields start at whole
pixels of it and are resampled at exactly their scale, with an area filter when
shrinking. Pixel coordinates count from the outer edge of the first pixel.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.rig import Scan
from armicro.source.reader import SlideReader
from armicro.tiff import MOST_SIDE_PX
from armicro.verdict import SCALES_UM_PER_PX

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

_LEAST_SHRINK = 1.1
"""Up to here the area filter (a box of one pixel by one of ``step``) is a linear
interpolation to within 0.2 grey levels on real slides, which takes a sixth of its time.
"""
MOST_UNEQUAL = 2.0
"""Oblong pixels are read as they are up to here; beyond, one side is a slip (a unit, a
decimal point), as inches for centimetres would be."""
_COARSEST_UM_PER_PX = 100.0
"""Up to here a slide is shown, without boxes; beyond it is no microscope's."""
_SAME_SCALE = 1e-4
"""Scales this near are one: over a field's width it is a quarter of a pixel."""


class Shape(NamedTuple):
    """What a reader says of a slide, checked."""

    levels: tuple[tuple[int, int], ...]
    """Width and height of each."""
    downsamples: tuple[float, ...]
    um_per_px: tuple[float, float]
    """Of level 0, along x and y."""
    bounds: Box
    """The scanned part, in pixels of level 0."""


def read_shape(reader: SlideReader, path: Path, um_per_px: float | None) -> Shape:
    """Read levels, scale and bounds of a slide.

    Raises:
        SourceError: the scale is neither in the file nor given.
    """
    properties = reader.properties
    width, height = reader.level_dimensions[0]
    names = ("x", "y", "width", "height")
    told = [_number(properties.get(f"openslide.bounds-{name}")) for name in names]
    bounds = (0, 0, width, height)
    if None not in told:
        bounds = clip_box(tuple(int(v or 0) for v in told), (width, height))  # type: ignore[arg-type]
    said = um_per_px is None
    scale = (um_per_px or 0.0, um_per_px or 0.0)
    if said:
        scale = (
            _number(properties.get("openslide.mpp-x")) or 0.0,
            _number(properties.get("openslide.mpp-y")) or 0.0,
        )
    if min(scale) <= 0:
        raise SourceError(
            f"slide {path}: the file does not say its scale; "
            "give the size of its pixels with --um-per-px, for example 0.25"
        )
    _check_levels(reader, path)
    _check_scale(scale, path, "by the file" if said else "by --um-per-px")
    return Shape(
        tuple(reader.level_dimensions),
        tuple(reader.level_downsamples),
        scale,
        bounds,
    )


def _check_levels(reader: SlideReader, path: Path) -> None:
    """Refuse a pyramid whose levels are not one picture at several sizes."""
    width, height = reader.level_dimensions[0]
    if not (0 < width <= MOST_SIDE_PX and 0 < height <= MOST_SIDE_PX):
        raise SourceError(
            f"slide {path}: claims {width}×{height} px, expected 1 to {MOST_SIDE_PX} "
            "a side; the file is damaged, copy it again"
        )
    for level, (wide, high) in enumerate(reader.level_dimensions):
        downsample = reader.level_downsamples[level]
        # Writers round, and some fill the last tile up.
        if downsample <= 0 or any(
            abs(small - large / downsample) > max(16.0, 0.02 * large / downsample)
            for small, large in ((wide, width), (high, height))
        ):
            raise SourceError(
                f"slide {path}: level {level} of {wide}×{high} px is no smaller "
                f"picture of {width}×{height} px; the file is damaged, copy it again"
            )


def _check_scale(scale: tuple[float, float], path: Path, source: str) -> None:
    """Refuse what no scanner gives; the cascade itself says what is too coarse for it.

    A pixel finer than half of what any objective resolves comes from a slip in the
    unit or the decimal point, and shrunk by as much a slide shows nothing at all.
    """
    finest, coarsest = SCALES_UM_PER_PX[0], _COARSEST_UM_PER_PX
    if not finest <= min(scale) <= max(scale) <= coarsest:
        raise SourceError(
            f"slide {path}: its pixels are {scale[0]:.4g} µm {source}, expected "
            f"{finest:g} to {SCALES_UM_PER_PX[1]:g}, which objectives give; give their "
            "true size with --um-per-px, for example 0.25"
        )
    if max(scale) > MOST_UNEQUAL * min(scale):
        raise SourceError(
            f"slide {path}: its pixels are {scale[0]:.4g}×{scale[1]:.4g} µm {source}, "
            f"one side at most {MOST_UNEQUAL:g} times the other; give their true "
            "size with --um-per-px, for example 0.25"
        )


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def clip_box(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box inside an image; of no positive size when there is none."""
    x0, y0 = max(box[0], 0), max(box[1], 0)
    x1, y1 = min(box[0] + box[2], size[0]), min(box[1] + box[3], size[1])
    return x0, y0, x1 - x0, y1 - y0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How fields are cut from one level of the pyramid."""

    level: int
    level_um_per_px: tuple[float, float]
    um_per_px: float
    """Of the fields."""
    step: tuple[float, float]
    """Pixels of the level that one pixel of a field spans, along x and y."""
    region: Box
    """What is scanned, in pixels of the level."""
    field_wh_px: tuple[int, int]
    """Size of a field in its own pixels."""
    window_wh_px: tuple[int, int]
    """The same in pixels of the level."""


def plan_sampling(
    shape: Shape, region: Box, field_wh_px: tuple[int, int], *, um_per_px: float
) -> Sampling:
    """Choose the level and the size of fields.

    The level is the coarsest that is not coarser than the fields. A slide coarser than
    anything that the cascade accepts is not enlarged, so that its scale stays visible.

    Args:
        shape: of the slide.
        region: what to scan, in pixels of level 0.
        field_wh_px: the size that fields should have.
        um_per_px: the scale that fields should have.
    """
    finest = max(shape.um_per_px)
    if finest > SCALES_UM_PER_PX[1]:
        um_per_px = max(um_per_px, finest)
    limit = um_per_px * (1 + _SAME_SCALE)
    level = max(
        (i for i, d in enumerate(shape.downsamples) if d * finest <= limit), default=0
    )
    downsample = shape.downsamples[level]
    level_um = shape.um_per_px[0] * downsample, shape.um_per_px[1] * downsample
    if all(abs(um / um_per_px - 1) <= _SAME_SCALE for um in level_um):
        um_per_px, step = math.sqrt(level_um[0] * level_um[1]), (1.0, 1.0)
    else:
        step = um_per_px / level_um[0], um_per_px / level_um[1]
    x, y = (math.ceil(v / downsample - 1e-6) for v in region[:2])
    right, bottom = (
        min(math.floor((region[i] + region[i + 2]) / downsample + 1e-6), size)
        for i, size in enumerate(shape.levels[level])
    )
    level_region = x, y, max(right - x, 1), max(bottom - y, 1)
    # A region smaller than a field makes smaller fields.
    field_w, field_h = (
        max(1, min(field_wh_px[i], int(level_region[i + 2] / step[i] + 1e-6)))
        for i in (0, 1)
    )
    window_w, window_h = (
        min(math.ceil(size * step[i] - 1e-6), level_region[i + 2])
        for i, size in enumerate((field_w, field_h))
    )
    return Sampling(
        level=level,
        level_um_per_px=level_um,
        um_per_px=um_per_px,
        step=step,
        region=level_region,
        field_wh_px=(field_w, field_h),
        window_wh_px=(window_w, window_h),
    )


def resample(
    pixels: Pixels, step: tuple[float, float], size_wh: tuple[int, int]
) -> Pixels:
    """Resample from the first pixel's outer edge at exactly ``step`` pixels a pixel.

    Args:
        pixels: (height, width, 3), reaching at least ``step`` times ``size_wh``.
        step: input pixels that one output pixel spans, along x and y.
        size_wh: of the output.
    """
    width, height = size_wh
    if step == (1.0, 1.0):
        return pixels[:height, :width]
    # The scale is given as a factor: a ratio of whole sizes would only be near it.
    shrinks = max(step) > _LEAST_SHRINK
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if pixels.shape[1] < step[0] or pixels.shape[0] < step[1]:
        # Less than one pixel of the output: OpenCV would make none of it.
        out = cv2.resize(pixels, size_wh, interpolation=how)
    else:
        out = cv2.resize(
            pixels, None, fx=1 / step[0], fy=1 / step[1], interpolation=how
        )
    out = out[:height, :width]
    lacking = height - out.shape[0], width - out.shape[1]
    if any(lacking):
        out = cv2.copyMakeBorder(
            out, 0, lacking[0], 0, lacking[1], cv2.BORDER_REPLICATE
        )
    return np.asarray(out, np.uint8)


def turned_window(
    sampling: Sampling, scan: Scan, at_xy: tuple[int, int]
) -> tuple[Box, tuple[int, int], NDArray[np.float64]]:
    """What to read for a field turned about its middle, and how to turn it.

    Returns:
        The box in pixels of the level, its size in pixels of the field, and the
        (2, 3) matrix from the field's pixels to the box's.
    """
    width, height = sampling.field_wh_px
    angle = math.radians(scan.rotation_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    wide_wh = (
        math.ceil(width * abs(cos) + height * abs(sin)) + 4,
        math.ceil(width * abs(sin) + height * abs(cos)) + 4,
    )
    middle = [at_xy[i] + sampling.field_wh_px[i] * sampling.step[i] / 2 for i in (0, 1)]
    corner = [math.floor(middle[i] - wide_wh[i] * sampling.step[i] / 2) for i in (0, 1)]
    size = [math.ceil(wide_wh[i] * sampling.step[i]) for i in (0, 1)]
    # Middles in pixel centres, which is how warpAffine counts.
    cx, cy = ((middle[i] - corner[i]) / sampling.step[i] - 0.5 for i in (0, 1))
    fx, fy = (width - 1) / 2, (height - 1) / 2
    turn = np.array(
        [
            [cos, -sin, cx - cos * fx + sin * fy],
            [sin, cos, cy - sin * fx - cos * fy],
        ]
    )
    return (corner[0], corner[1], size[0], size[1]), wide_wh, turn
