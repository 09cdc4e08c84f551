"""White point and colour matrix of a camera, and the stain of a reference slide."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.optimize import least_squares

from armicro.calibrate.light import why_not_empty, why_not_lit
from armicro.errors import CalibrationError
from armicro.field import Pixels

# ---------------------------------------------------------------------------
# How different two colours look: sRGB, CIELAB and CIEDE2000.


Floats = NDArray[np.float64]

# IEC 61966-2-1: linear sRGB to XYZ under D65.
_XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE_D65 = _XYZ_OF_RGB.sum(axis=1)
# Bradford adaptation, for charts whose Lab is given under D50.
_D65_OF_D50 = np.array(
    [
        [0.9555766, -0.0230393, 0.0631636],
        [-0.0282895, 1.0099416, 0.0210077],
        [0.0122982, -0.0204830, 1.3299098],
    ]
)
_WHITE_D50 = np.linalg.solve(_D65_OF_D50, _WHITE_D65)
_DELTA = 6 / 29


def linear_of_srgb(levels: Floats) -> Floats:
    """Linear light 0-1 of sRGB levels 0-255."""
    share = np.asarray(levels, np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def srgb_of_linear(linear: Floats) -> Floats:
    """SRGB levels 0-255, clipped, of linear light.

    >>> srgb_of_linear(np.array([0.0, 0.5, 1.0])).round().tolist()
    [0.0, 188.0, 255.0]
    """
    light = np.clip(linear, 0, 1)
    curved = 1.055 * np.power(light, 1 / 2.4) - 0.055
    return np.asarray(255 * np.where(light <= 0.0031308, 12.92 * light, curved))


def lab_of_linear(linear: Floats) -> Floats:
    """CIELAB under D65 of linear sRGB, (..., 3); light below 0 counts as none."""
    xyz = np.maximum(linear, 0) @ _XYZ_OF_RGB.T / _WHITE_D65
    curved = np.where(xyz > _DELTA**3, np.cbrt(xyz), xyz / (3 * _DELTA**2) + 4 / 29)
    x, y, z = np.moveaxis(curved, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def linear_of_lab(lab: Floats, *, d50: bool = True) -> Floats:
    """Linear sRGB of CIELAB, (..., 3); d50: as makers of charts give it."""
    lightness, a, b = np.moveaxis(np.asarray(lab, np.float64), -1, 0)
    y = (lightness + 16) / 116
    curved = np.stack((y + a / 500, y, y - b / 200), axis=-1)
    share = np.where(curved > _DELTA, curved**3, 3 * _DELTA**2 * (curved - 4 / 29))
    xyz = share * _WHITE_D50 @ _D65_OF_D50.T if d50 else share * _WHITE_D65
    return np.asarray(xyz @ np.linalg.inv(_XYZ_OF_RGB).T)


def ciede2000(lab_a: Floats, lab_b: Floats) -> Floats:
    """CIEDE2000 colour difference, (...,), with all weights 1.

    Sharma, Wu and Dalal 2005, Color Res Appl 30:21, equations 2 to 22.
    """
    one, two = (np.moveaxis(np.asarray(v, np.float64), -1, 0) for v in (lab_a, lab_b))
    chroma7 = ((np.hypot(one[1], one[2]) + np.hypot(two[1], two[2])) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma7 / (chroma7 + 25.0**7))
    c1, c2 = np.hypot(stretch * one[1], one[2]), np.hypot(stretch * two[1], two[2])
    h1 = np.degrees(np.arctan2(one[2], stretch * one[1])) % 360
    h2 = np.degrees(np.arctan2(two[2], stretch * two[1])) % 360
    grey = c1 * c2 == 0
    # Hues are compared the short way round.
    turn = np.where(grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    turn = np.where(~grey & (h2 - h1 == 180), 180.0, turn)
    hue = np.where(grey, h1 + h2, (h1 + h2) / 2)
    far = ~grey & (np.abs(h1 - h2) > 180)
    hue = np.where(far, np.where(h1 + h2 < 360, hue + 180, hue - 180), hue)
    d_light, d_chroma = two[0] - one[0], c2 - c1
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    light, chroma = (one[0] + two[0]) / 2, (c1 + c2) / 2
    weight = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    off50 = (light - 50) ** 2
    light_part = d_light / (1 + 0.015 * off50 / np.sqrt(20 + off50))
    chroma_part = d_chroma / (1 + 0.045 * chroma)
    hue_part = d_hue / (1 + 0.015 * chroma * weight)
    spread = 30 * np.exp(-(((hue - 275) / 25) ** 2))
    rotation = (
        -np.sin(np.radians(2 * spread)) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    )
    return np.asarray(
        np.sqrt(
            light_part**2
            + chroma_part**2
            + hue_part**2
            + rotation * chroma_part * hue_part
        )
    )


def _cos(degrees: Floats) -> Floats:
    return np.asarray(np.cos(np.radians(degrees)))


# ---------------------------------------------------------------------------
# White point and matrix.


Triple = tuple[float, float, float]

LARGEST_GAIN = 2.5
FEWEST_PATCHES = 8
DRIFT_WATCH_OD, DRIFT_LIMIT_OD = 0.03, 0.08
"""Change of a reference slide's median optical density that is worth a look, and that
asks for new reagents or a new lamp: a pathologist sees about 0.05."""
_STAINED_OD = 0.15
_DENSEST = 0.05
"""Share of the pictures that is compared: chosen by rank, it stays the same cells
however the stain changes; a threshold would take in more of them as it grows."""
_LEAST_PATCH_PX = 25
_LEAST_SPREAD = 0.01
"""Of the third direction in which a target's colours differ, against the first."""
LARGEST_HELD_OUT = 10.0
"""Mean CIEDE2000 above which the patches are not those of the reference."""
_INNER = 0.5
"""Middle share of a patch's side that is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """A colour target as the camera sees it."""

    levels: Floats
    """(n, 3) median level of each patch, 0-255."""
    centres_xy: Floats
    """(n, 2) where each was read, in camera pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class ColourFit:
    """A matrix, and how far colours are off with and without it."""

    matrix: Floats
    """(3, 3) on linear RGB."""
    before: float
    """Mean CIEDE2000 without it, at the best exposure."""
    residual: float
    """Mean CIEDE2000 with it."""
    held_out: float
    """The same of patches that were left out of the fit, one by one."""


class StainAbsorption(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What a reference slide absorbs."""

    measured_at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d")]
    od_rgb: Triple
    """Median optical density of the densest twentieth."""
    stained_share: Annotated[float, Meta(gt=0, le=1)]
    """Of the pictures, however faintly."""
    vectors: tuple[Triple, Triple]
    """Directions in optical density of the two most different stains, length 1."""


@dataclass(frozen=True, slots=True)
class ColourDrift:
    """How a reference slide changed since it was stored."""

    od_rgb: Triple
    """Now less then."""
    largest_od: float
    angle_deg: float
    """Largest turn of a stain's direction: another colour, not another strength."""
    verdict: str
    """steady, watch or drifted."""


def white_of(pictures: Sequence[Pixels]) -> tuple[Triple, Triple]:
    """Read empty glass; return its mean level and the gains that make it grey.

    The brightest colour keeps its level: no gain is below 1, nothing white turns grey.

    Raises:
        CalibrationError: no picture, over- or underexposed, or far from white.
    """
    if not pictures:
        raise CalibrationError("colour: no picture of empty glass; take one")
    middles = [_middle(picture) for picture in pictures]
    white = np.median([part.mean(axis=(0, 1)) for part in middles], axis=0)
    if fault := why_not_lit(pictures, empty=True) or why_not_empty(pictures):
        raise CalibrationError(f"colour: {fault}")
    gains = white.max() / white
    if gains.max() > LARGEST_GAIN:
        raise CalibrationError(
            f"colour: glass of {_three(white)} needs a gain of {gains.max():.1f}, "
            f"expected at most {LARGEST_GAIN}; check the lamp's filter and the "
            "camera's own white balance"
        )
    return _triple(white), _triple(gains)


def read_patches(picture: Pixels, corners_xy: Floats, grid: tuple[int, int]) -> Patches:
    """Read the patches of a target between its four corners.

    Args:
        picture: (height, width, 3).
        corners_xy: (4, 2) outer corners of the first patch, the last of the first row,
            the last, and the first of the last row: any turn, tilt or mirroring.
        grid: patches across and down.

    Raises:
        CalibrationError: the corners lie outside the picture, or hold nothing.
    """
    size = np.array([picture.shape[1], picture.shape[0]])
    corners = corners_xy.astype(np.float32)
    area = cv2.contourArea(corners) if np.isfinite(corners).all() else 0.0
    if area < _LEAST_PATCH_PX * grid[0] * grid[1] or not cv2.isContourConvex(corners):
        raise CalibrationError(
            f"colour: the corners hold {area:.0f} px for {grid[0]}x{grid[1]} patches; "
            "give the four outer corners of the patches, clockwise from the first"
        )
    if ((corners_xy < 0) | (corners_xy >= size)).any():
        raise CalibrationError(
            f"colour: a corner lies outside the picture of {size[0]}x{size[1]} px; "
            "give the four outer corners of the patches, clockwise from the first"
        )
    columns, rows = grid
    flat = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    way = cv2.getPerspectiveTransform(flat, corners)
    offsets = (np.arange(15) + 0.5) / 15 * _INNER + (1 - _INNER) / 2
    x, y = np.meshgrid(offsets, offsets)
    levels, centres = [], []
    for row in range(rows):
        for column in range(columns):
            inner = np.stack((x + column, y + row), axis=-1).reshape(1, -1, 2)
            spots = cv2.perspectiveTransform(inner, way)[0].round().astype(int)
            spots = np.clip(spots, 0, size - 1)
            levels.append(np.median(picture[spots[:, 1], spots[:, 0]], axis=0))
            centres.append(spots.mean(axis=0))
    return Patches(np.array(levels, np.float64), np.array(centres, np.float64))


def fit_matrix(linear: Floats, reference_lab: Floats) -> ColourFit:
    """Fit the matrix that makes a target's patches look as they should.

    Args:
        linear: (n, 3) linear RGB of the patches, white-balanced, 0-1.
        reference_lab: (n, 3) CIELAB under D65.

    Raises:
        CalibrationError: too few patches, all alike, or not those of the reference.
    """
    if len(linear) < FEWEST_PATCHES or len(linear) != len(reference_lab):
        raise CalibrationError(
            f"colour: {len(linear)} patches for {len(reference_lab)} references, "
            f"expected as many of each and at least {FEWEST_PATCHES}"
        )
    spread = np.linalg.svd(linear, compute_uv=False)
    if not spread[2] > _LEAST_SPREAD * spread[0]:
        raise CalibrationError(
            "colour: the target's patches all look alike, or are grey; give a picture "
            "of a colour target and the corners of its patches"
        )
    exposure = least_squares(
        lambda gain: ciede2000(lab_of_linear(linear * gain), reference_lab), [1.0]
    )
    before = float(ciede2000(lab_of_linear(linear * exposure.x), reference_lab).mean())
    start = np.eye(3) * exposure.x
    matrix = _solve(start, linear, reference_lab)
    residual = ciede2000(lab_of_linear(linear @ matrix.T), reference_lab)
    left_out = []
    for patch in range(len(linear)):
        others = np.arange(len(linear)) != patch
        other = _solve(matrix, linear[others], reference_lab[others])
        seen = lab_of_linear(linear[patch] @ other.T)
        left_out.append(float(ciede2000(seen, reference_lab[patch])))
    held_out = float(np.mean(left_out))
    if held_out > LARGEST_HELD_OUT:
        raise CalibrationError(
            f"colour: patches that were left out are off by {held_out:.1f} CIEDE2000, "
            f"expected at most {LARGEST_HELD_OUT:g}; see that --corners begin at the "
            "reference's first patch and go clockwise"
        )
    return ColourFit(matrix, before, float(residual.mean()), held_out)


def apply_matrix(pixels: Pixels, matrix: Floats, *, linear: bool = False) -> Pixels:
    """Show a picture through a matrix, as sRGB; for reports, not at run time.

    Args:
        pixels: (height, width, 3), white-balanced.
        matrix: (3, 3).
        linear: the camera has no gamma curve.
    """
    levels = np.arange(256, dtype=np.float64)
    curve = levels / 255 if linear else linear_of_srgb(levels)
    light = np.asarray(cv2.LUT(pixels, curve.astype(np.float32)))
    turned = np.clip(cv2.transform(light, matrix), 0, 1)
    shown = np.where(
        turned <= 0.0031308, 12.92 * turned, 1.055 * turned ** (1 / 2.4) - 0.055
    )
    return np.asarray(np.rint(255 * shown), np.uint8)


def read_stain(
    pictures: Sequence[Pixels], white_rgb: Triple, *, measured_at: str
) -> StainAbsorption:
    """Read the stain of a reference slide; always the same places of the same slide.

    Args:
        pictures: (height, width, 3) of any sizes.
        white_rgb: level of empty glass.
        measured_at: ISO 8601, UTC.

    Raises:
        CalibrationError: hardly anything is stained.
    """
    levels = np.concatenate([p[::4, ::4].reshape(-1, 3) for p in pictures])
    od = -np.log10((levels + 1.0) / (np.asarray(white_rgb) + 1.0))
    share = float((od.max(axis=1) > _STAINED_OD).mean())
    if share < _DENSEST:
        raise CalibrationError(
            f"colour: {share:.1%} of the pictures is stained, expected at least "
            f"{_DENSEST:.0%}; move to places with more cells"
        )
    total = od.sum(axis=1)
    stained = od[total >= np.quantile(total, 1 - _DENSEST)]
    return StainAbsorption(
        measured_at=measured_at,
        od_rgb=_triple(np.median(stained, axis=0)),
        stained_share=round(share, 4),
        vectors=_vectors(stained),
    )


def drift_of(now: StainAbsorption, stored: StainAbsorption) -> ColourDrift:
    """Compare a reference slide with what was stored of it.

    Raises:
        CalibrationError: the pictures show another part of it, or another slide.
    """
    ratio = now.stained_share / stored.stained_share
    if not 0.5 <= ratio <= 2:
        raise CalibrationError(
            f"colour: {now.stained_share:.0%} of the pictures is stained, stored was "
            f"{stored.stained_share:.0%}; go to the same places of the same slide"
        )
    change = np.subtract(now.od_rgb, stored.od_rgb)
    largest = float(np.abs(change).max())
    turns = [
        math.degrees(math.atan2(float(np.linalg.norm(np.cross(a, b))), np.dot(a, b)))
        for a, b in zip(now.vectors, stored.vectors, strict=True)
    ]
    verdict = "drifted" if largest > DRIFT_LIMIT_OD else "watch"
    if largest <= DRIFT_WATCH_OD:
        verdict = "steady"
    return ColourDrift(_triple(change), largest, max(turns), verdict)


def _vectors(od: Floats) -> tuple[Triple, Triple]:
    """The two extreme directions of optical density (Macenko et al. 2009, ISBI)."""
    plane = np.linalg.eigh(np.cov(od.T))[1][:, 1:]
    plane = plane * np.sign(plane.sum(axis=0) + 1e-12)
    flat = od @ plane
    angle = np.arctan2(flat[:, 0], flat[:, 1])
    found = []
    for extreme in np.quantile(angle, (0.02, 0.98)):
        vector = plane @ np.array([math.sin(extreme), math.cos(extreme)])
        found.append(_triple(vector / np.linalg.norm(vector)))
    # Named by their colour, so that the order does not depend on their amounts.
    first, second = sorted(found, key=lambda v: v[0])
    return first, second


def _solve(start: Floats, linear: Floats, reference_lab: Floats) -> Floats:
    def off(values: Floats) -> Floats:
        return ciede2000(lab_of_linear(linear @ values.reshape(3, 3).T), reference_lab)

    return np.asarray(least_squares(off, start.ravel()).x.reshape(3, 3))


def _middle(picture: Pixels) -> Floats:
    """The middle ninth, where the lamp is even."""
    height, width = picture.shape[:2]
    rows = slice(height // 3, max(height // 3 + 1, 2 * height // 3))
    columns = slice(width // 3, max(width // 3 + 1, 2 * width // 3))
    return picture[rows, columns].astype(np.float64)


def _triple(values: Floats) -> Triple:
    red, green, blue = (round(float(v), 6) for v in values)
    return red, green, blue


def _three(values: Floats) -> str:
    return ", ".join(f"{v:.0f}" for v in values)
