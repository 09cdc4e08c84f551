"""Epithelial cells, normal and abnormal, drawn as optical density."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.phantom.noise import Floats, fine_noise, smooth_noise
from armicro.phantom.specification import (
    PLANS,
    UM_PER_PX,
    CellPlan,
    Dye,
    LaboratoryStain,
)

# ---------------------------------------------------------------------------
# A sprite: the light that one cell lets through, with its nucleus at the centre.


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One drawn object."""

    light: NDArray[np.uint8]
    """(height, width, 3): share of light let through, 255 is all of it; even sides."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """Coordinates of a square sprite's pixels, origin at its centre."""

    x: Floats
    y: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.x.shape[0], self.x.shape[1]


def plane(half_px: float) -> Plane:
    """The plane of a sprite that reaches ``half_px`` from its centre."""
    half = int(np.ceil(half_px))
    axis = np.arange(-half, half, dtype=np.float32) + np.float32(0.5)
    x, y = np.meshgrid(axis, axis)
    return Plane(x, y)


def dyed(thickness: Floats, dye: Dye) -> Floats:
    """Optical density (height, width, 3) of a dye at each thickness."""
    # Plane by plane: broadcasting over the short last axis is ten times slower.
    planes = [thickness * np.float32(density) for density in dye]
    return np.asarray(cv2.merge(planes), dtype=np.float32)


def sprite_of(density: Floats, blur_px: float) -> Sprite:
    """Turn optical density (height, width, 3) into light, trimmed about the centre."""
    light = 255 * np.asarray(cv2.exp(np.float32(-np.log(10)) * density))
    if blur_px > 0:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur_px))
    whole = np.asarray(cv2.convertScaleAbs(np.minimum(light, 255)), np.uint8)
    return Sprite(trimmed(whole))


def trimmed(light: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut clear margins off, the same on opposite sides."""
    dark = np.minimum(np.minimum(light[..., 0], light[..., 1]), light[..., 2]) < 254
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    if rows.size == 0:
        return np.full((2, 2, 3), 255, np.uint8)
    half_y, half_x = light.shape[0] // 2, light.shape[1] // 2
    reach_y = max(half_y - int(rows[0]), int(rows[-1]) + 1 - half_y)
    reach_x = max(half_x - int(columns[0]), int(columns[-1]) + 1 - half_x)
    cut = light[
        half_y - reach_y : half_y + reach_y, half_x - reach_x : half_x + reach_x
    ]
    return np.ascontiguousarray(cut)


# ---------------------------------------------------------------------------
# The cells.

BEARINGS = 2048
"""Directions for which a closed curve's radius is tabulated."""

REACH = 1.22
"""Corners of a cell reach as far as this many mean radii."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A convex cell border: the half-planes that it lies in, corners rounded."""

    normals: NDArray[np.float32]
    """(sides, 2) unit vectors."""
    distances_px: NDArray[np.float32]
    """(sides,) distance of each side from the origin."""
    limit_px: float
    """No corner reaches further than this from the nucleus."""
    softness_px: float
    ripple_px: Floats
    """Added to the distance, so that no side is straight."""

    def depth_px(self, x: Floats, y: Floats) -> Floats:
        """How far each point lies inside (positive) or outside (negative)."""
        # A soft minimum over the sides and the limit; exponents stay within 40. It is
        # smooth, so that every other pixel is enough.
        soft_px, limit_px = np.float32(self.softness_px), np.float32(self.limit_px)
        u, v = np.ascontiguousarray(x[::2, ::2]), np.ascontiguousarray(y[::2, ::2])
        total = np.asarray(cv2.exp((np.hypot(u, v) - limit_px) / soft_px))
        for (nx, ny), distance in zip(self.normals, self.distances_px, strict=True):
            total += cv2.exp((nx * u + ny * v - distance) / soft_px)
        grown = cv2.resize(cv2.log(total), x.shape[::-1])
        return np.asarray(self.ripple_px - soft_px * grown, dtype=np.float32)


def draw_cell(kind: str, stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """Draw one cell of a class of ``PLANS``, its nucleus at the sprite's centre."""
    plan = PLANS[kind]
    radius_px = rng.uniform(*plan.radius_um) / UM_PER_PX
    nucleus_px = rng.uniform(*plan.nucleus_um) / UM_PER_PX
    # A small cell must still hold its nucleus.
    radius_px = max(radius_px, 1.3 * nucleus_px)
    outline, where = _outline(plan, radius_px, rng)
    thickness, inside = _cytoplasm(plan, outline, where, radius_px, rng)
    if plan.halo:
        halo_px = min(plan.halo * nucleus_px, 0.66 * radius_px)
        thickness = _clear_halo(thickness, where, halo_px, rng)
    dyes = stain.eosin if rng.random() < plan.eosinophilic else stain.cyan
    density = _mixed(thickness, dyes, rng)
    nuclei = inside * _nuclei(plan, where.shape, nucleus_px, rng)
    density += dyed(nuclei, stain.nucleus)
    return sprite_of(density, _focus_px(rng))


def _focus_px(rng: np.random.Generator) -> float:
    """Most cells are sharp; some lie above or below the plane of focus."""
    return float(rng.choice([0.6, 0.8, 1.3, 2.6], p=[0.40, 0.36, 0.18, 0.06]))


def _outline(
    plan: CellPlan, radius_px: float, rng: np.random.Generator
) -> tuple[Outline, Plane]:
    """The border of a cell, and a plane no larger than the cell needs."""
    sides = int(rng.integers(plan.sides[0], plan.sides[1] + 1))
    turns = np.arange(sides) + rng.uniform(-0.3, 0.3, sides)
    angles = 2 * np.pi * turns / sides + rng.uniform(0, 2 * np.pi)
    stretch = 1 + 0.22 * np.cos(2 * (angles - rng.uniform(0, np.pi)))
    distances = 0.86 * radius_px * stretch * rng.uniform(0.86, 1.14, sides)
    limit_px = REACH * radius_px
    bearings = np.linspace(0, 2 * np.pi, 90)
    facing = np.maximum(np.cos(bearings[:, None] - angles), 1e-3)
    reach_px = np.minimum((distances / facing).min(axis=1), limit_px).max()
    where = plane(reach_px + 0.09 * radius_px + 5)
    ripple = 0.035 * radius_px * smooth_noise(rng, where.shape, 0.35 * radius_px)
    ripple += 0.9 * fine_noise(rng, where.shape, 9)
    outline = Outline(
        normals=np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32),
        distances_px=distances.astype(np.float32),
        limit_px=limit_px,
        softness_px=0.07 * radius_px,
        ripple_px=ripple,
    )
    return outline, where


def _cytoplasm(
    plan: CellPlan,
    outline: Outline,
    where: Plane,
    radius_px: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Thickness of the cytoplasm, and a mask of the cell (both float32, 0 outside)."""
    depth = outline.depth_px(where.x, where.y)
    sheet = _sheet(depth)
    if rng.random() < plan.fold_share:
        sheet = _folded(sheet, outline, where, radius_px, rng)
    texture = 1 + 0.16 * smooth_noise(rng, where.shape, 0.5 * radius_px)
    texture += 0.13 * fine_noise(rng, where.shape, 8)
    texture += 0.12 * fine_noise(rng, where.shape, 2)
    thickness = sheet * np.maximum(texture, 0.1)
    if plan.fold_share:
        thickness += 1.6 * _creases(where, radius_px, rng) * np.minimum(sheet, 1)
    thickness += _granules(where, sheet, rng)
    base = np.float32(rng.uniform(*plan.cytoplasm))
    return thickness * base, np.minimum(sheet, 1)


def _sheet(depth_px: Floats) -> Floats:
    """1 inside, 0 outside, a soft edge with the slightly thicker rim of real cells."""
    mask = np.clip(depth_px / 1.8 + 0.5, 0, 1)
    rim = np.exp(-(((depth_px - 2.2) / 2.0) ** 2))
    return np.asarray(mask * (1 + 0.28 * rim), dtype=np.float32)


def _folded(
    sheet: Floats,
    outline: Outline,
    where: Plane,
    radius_px: float,
    rng: np.random.Generator,
) -> Floats:
    """Fold what lies beyond a chord back over the cell."""
    angle = rng.uniform(0, 2 * np.pi)
    nx, ny = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    chord = np.float32(radius_px * rng.uniform(0.42, 0.78))
    beyond = where.x * nx + where.y * ny - chord
    mirrored = _sheet(
        outline.depth_px(where.x - 2 * beyond * nx, where.y - 2 * beyond * ny)
    )
    kept = np.clip(0.5 - beyond / 2, 0, 1)
    crease = 0.35 * np.exp(-((beyond / 2.5) ** 2)) * np.minimum(sheet, 1)
    return np.asarray(kept * (sheet + mirrored) + crease * kept, dtype=np.float32)


def _creases(where: Plane, radius_px: float, rng: np.random.Generator) -> Floats:
    """Thin bent lines, as wrinkles of the cytoplasm show."""
    lines = np.zeros(where.shape, np.float32)
    along = np.linspace(-1, 1, 24)
    for _ in range(int(rng.integers(0, 6))):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6) * radius_px
        across = rng.uniform(-0.25, 0.25) * reach * along**2
        across += rng.uniform(-0.6, 0.6) * radius_px + rng.normal(0, 0.7, along.size)
        middle = rng.uniform(-0.3, 0.3) * radius_px
        turn = np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )
        path = np.stack([along * reach + middle, across], 1) @ turn
        points = np.rint(16 * (path + where.shape[0] / 2)).astype(np.int32)
        dark = float(rng.uniform(0.25, 0.8))
        cv2.polylines(lines, [points], False, dark, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), 1.1), dtype=np.float32)


def _granules(where: Plane, sheet: Floats, rng: np.random.Generator) -> Floats:
    """Keratohyaline granules and bacteria: small dark dots on the cell."""
    side = where.shape[0]
    dots = np.zeros(where.shape, np.float32)
    count = int(rng.poisson(9))
    x, y = rng.integers(2, side - 2, (2, count))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        dots[y + dy, x + dx] = rng.uniform(0.3, 1.2, count).astype(np.float32)
    return dots * np.minimum(sheet, 1)


def _clear_halo(
    thickness: Floats, where: Plane, halo_px: float, rng: np.random.Generator
) -> Floats:
    """Thin the cytoplasm round the nucleus and thicken it at the halo's border."""
    radius = _wavy_radius(where, halo_px, 0.05, rng)
    radius += 2.0 * fine_noise(rng, where.shape, 12)
    outside_px = np.hypot(where.x, where.y) - radius
    open_share = np.clip(0.5 - outside_px / rng.uniform(4, 10), 0, 1)
    rim = 0.55 * np.exp(-((np.maximum(outside_px, 0) / 9) ** 2)) * (1 - open_share)
    return np.asarray(
        thickness * (1 - rng.uniform(0.6, 0.85) * open_share) * (1 + rim),
        dtype=np.float32,
    )


def _mixed(
    thickness: Floats, dyes: tuple[Dye, Dye], rng: np.random.Generator
) -> Floats:
    """Dye the cytoplasm with a mixture that varies from cell to cell and within it."""
    drift = 0.22 * smooth_noise(rng, (thickness.shape[0], thickness.shape[1]), 60)
    share = np.clip(rng.uniform(0, 1) + drift, 0, 1)
    return dyed(thickness * share, dyes[0]) + dyed(thickness * (1 - share), dyes[1])


def _wavy_radius(
    where: Plane, radius_px: float, irregularity: float, rng: np.random.Generator
) -> Floats:
    """Radius of a closed irregular curve in the direction of each pixel."""
    angle = np.linspace(0, 2 * np.pi, BEARINGS, endpoint=False)
    radius = 1 + rng.uniform(0.03, 0.18) * np.cos(2 * angle + rng.uniform(0, 7))
    for wave in (3, 4, 5, 7):
        swing = irregularity * np.clip(rng.normal(), -1.3, 1.3) * (3 / wave)
        radius += swing * np.cos(wave * angle + rng.uniform(0, 7))
    table = (radius_px * np.maximum(radius, 0.4)).astype(np.float32)
    bearing = np.asarray(cv2.phase(where.x, where.y)) * (BEARINGS / (2 * np.pi))
    return table[bearing.astype(np.int32) % BEARINGS]


def _nuclei(
    plan: CellPlan, shape: tuple[int, int], nucleus_px: float, rng: np.random.Generator
) -> Floats:
    """Thickness of the one nucleus, or of two that touch, on a sprite of ``shape``."""
    window = plane(min(1.9 * nucleus_px + 4, shape[0] // 2))
    if rng.random() >= plan.binucleate:
        thickness = _nucleus(plan, window, nucleus_px, rng)
    else:
        angle, apart = rng.uniform(0, 2 * np.pi), 0.85 * nucleus_px
        dx = np.float32(apart * np.cos(angle))
        dy = np.float32(apart * np.sin(angle))
        here, there = (
            _nucleus(plan, Plane(window.x - x, window.y - y), 0.85 * nucleus_px, rng)
            for x, y in ((dx, dy), (-dx, -dy))
        )
        thickness = np.maximum(here, there)
    whole = np.zeros(shape, np.float32)
    corner = (shape[0] - window.shape[0]) // 2
    inner = slice(corner, corner + window.shape[0])
    whole[inner, inner] = thickness
    return whole


def _nucleus(
    plan: CellPlan, where: Plane, nucleus_px: float, rng: np.random.Generator
) -> Floats:
    """Thickness of one nucleus: outline, chromatin, membrane, now and then nucleoli."""
    radius = _wavy_radius(where, nucleus_px, plan.irregularity, rng)
    depth = radius - np.hypot(where.x, where.y)
    mask = np.clip(depth / 1.7 + 0.5, 0, 1)
    grain_px = plan.chromatin_grain_um / UM_PER_PX
    contrast = rng.uniform(*plan.chromatin)
    chromatin = 1 + contrast * fine_noise(rng, where.shape, grain_px)
    chromatin += 0.4 * contrast * smooth_noise(rng, where.shape, 2.5 * grain_px)
    chromatin += 0.08 * fine_noise(rng, where.shape, 1.6)
    membrane = plan.membrane * np.exp(-(((depth - 1.6) / 1.5) ** 2))
    thickness = mask * (np.clip(chromatin, 0.55, 1.9) + membrane)
    return np.asarray(thickness * rng.uniform(*plan.nucleus_depth), dtype=np.float32)
