"""The sprites of one seed, each drawn when it is first asked for."""

import functools
from collections.abc import Callable

import cv2
import numpy as np

from armicro.errors import SourceError
from armicro.phantom.cell import Plane, Sprite, draw_cell, dyed, plane, sprite_of
from armicro.phantom.noise import Floats, fine_noise, smooth_noise
from armicro.phantom.specification import PLANS, UM_PER_PX, LaboratoryStain, stain_named

# ---------------------------------------------------------------------------
# All that lies between the epithelial cells: leucocytes, blood, mucus, dust.

BLUR_PX = 0.8


def _blob(where: Plane, x: float, y: float, radius_px: float, soft_px: float) -> Floats:
    distance = np.hypot(where.x - np.float32(x), where.y - np.float32(y))
    return np.asarray(np.clip((radius_px - distance) / soft_px + 0.5, 0, 1), np.float32)


def draw_neutrophil(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """A leucocyte of 10-13 µm with two to four dark lobes (often its bare nucleus)."""
    half_px = rng.uniform(4.6, 6.2) / UM_PER_PX
    flat = plane(1.5 * half_px)
    where = Plane(
        flat.x + 2.0 * fine_noise(rng, flat.shape, 12),
        flat.y + 2.0 * fine_noise(rng, flat.shape, 12),
    )
    lobes = np.zeros(where.shape, np.float32)
    angle, spread = rng.uniform(0, 7), rng.uniform(0.30, 0.5) * half_px
    for _ in range(int(rng.integers(2, 5))):
        x, y = spread * np.cos(angle), spread * np.sin(angle)
        lobe_px = rng.uniform(0.32, 0.48) * half_px
        lobes = np.maximum(lobes, _blob(where, x, y, lobe_px, 2.2))
        angle += rng.uniform(1.3, 2.4)
    texture = 1 + 0.12 * fine_noise(rng, where.shape, 4)
    density = dyed(
        lobes * texture * np.float32(rng.uniform(0.75, 1.1)), stain.leucocyte
    )
    pale = _blob(where, 0, 0, half_px, 4) * np.float32(rng.choice([0.0, 0.5, 0.9]))
    density += dyed(pale * (1 + 0.25 * fine_noise(rng, where.shape, 4)), stain.mucus)
    return sprite_of(density, float(rng.choice([0.7, 0.9, 1.8], p=[0.5, 0.4, 0.1])))


def draw_lymphocyte(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """A small round dark nucleus with a narrow rim of cytoplasm."""
    radius_px = rng.uniform(2.8, 4.2) / UM_PER_PX
    where = plane(1.8 * radius_px)
    angle, stretch = rng.uniform(0, 7), rng.uniform(0.75, 1.0)
    along = where.x * np.cos(angle) + where.y * np.sin(angle)
    across = (where.y * np.cos(angle) - where.x * np.sin(angle)) / stretch
    nucleus = np.clip((radius_px - np.hypot(along, across)) / 2 + 0.5, 0, 1)
    texture = 1 + 0.22 * fine_noise(rng, where.shape, 4)
    thick = np.asarray(nucleus * texture * rng.uniform(0.6, 0.95), dtype=np.float32)
    density = dyed(thick, stain.leucocyte)
    density += dyed(_blob(where, 0, 0, 1.3 * radius_px, 4), stain.mucus)
    return sprite_of(density, BLUR_PX)


def draw_erythrocyte(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """A red cell: a flat oval of 6-8 µm, a little denser at its rim."""
    radius_px = rng.uniform(2.9, 4.0) / UM_PER_PX
    where = plane(1.7 * radius_px)
    angle, stretch = rng.uniform(0, 7), rng.uniform(0.65, 1.0)
    along = where.x * np.cos(angle) + where.y * np.sin(angle)
    across = (where.y * np.cos(angle) - where.x * np.sin(angle)) / stretch
    bump = 1 + 0.06 * np.cos(3 * np.arctan2(across, along) + rng.uniform(0, 7))
    depth = radius_px * bump - np.hypot(along, across)
    disc = np.clip(depth / 1.6 + 0.5, 0, 1) * (
        1 + 0.25 * np.exp(-(((depth - 2) / 2) ** 2))
    )
    thick = np.asarray(disc * rng.uniform(0.7, 1.1), dtype=np.float32)
    return sprite_of(dyed(thick, stain.erythrocyte), BLUR_PX)


def draw_debris(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """A smudge: a smeared nucleus, a shred of cytoplasm or a grain of dirt."""
    half_px = rng.uniform(1.2, 6.5) / UM_PER_PX
    where = plane(2.2 * half_px)
    ragged = 0.9 * half_px * (1 + 0.45 * smooth_noise(rng, where.shape, 0.7 * half_px))
    angle, stretch = rng.uniform(0, 7), rng.uniform(0.3, 1.0)
    along = where.x * np.cos(angle) + where.y * np.sin(angle)
    across = (where.y * np.cos(angle) - where.x * np.sin(angle)) / stretch
    mask = np.clip((ragged - np.hypot(along, across)) / 4 + 0.5, 0, 1)
    thick = mask * (1 + 0.35 * fine_noise(rng, where.shape, 5)) * rng.uniform(0.2, 0.9)
    dye = [stain.dust, stain.leucocyte, stain.mucus][int(rng.integers(3))]
    blur_px = float(rng.choice([0.7, 1.5, 4.0], p=[0.55, 0.3, 0.15]))
    return sprite_of(dyed(np.asarray(thick, np.float32), dye), blur_px)


def draw_strand(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """Strands of mucus, drawn out along the smear (about horizontal)."""
    half = int(rng.integers(140, 250))
    thickness = np.zeros((2 * half, 2 * half), np.float32)
    steps = np.linspace(-0.92 * half, 0.92 * half, 60)
    for _ in range(int(rng.integers(1, 6))):
        slope, bend = rng.normal(0, 0.16), rng.normal(0, 0.35) / half
        wave = rng.normal(0, 5) * np.sin(
            steps / rng.uniform(14, 45) + rng.uniform(0, 7)
        )
        y = rng.normal(0, 18) + slope * steps + bend * steps**2 + wave
        start, end = sorted(rng.integers(0, 60, 2))
        points = np.stack([steps + half, np.clip(y + half, 3, 2 * half - 3)], axis=1)
        path = np.rint(points[start : end + 2] * 16).astype(np.int32)
        layer = np.zeros_like(thickness)
        width = int(rng.choice([1, 1, 2, 3]))
        cv2.polylines(layer, [path], False, 1.0, width, cv2.LINE_AA, 4)
        thickness += layer * np.float32(rng.uniform(0.6, 2.4))
    thickness *= np.clip(1 + 0.6 * smooth_noise(rng, thickness.shape, 25), 0.1, 2)
    thickness += 0.35 * cv2.GaussianBlur(thickness, (0, 0), 6)
    return sprite_of(dyed(thickness, stain.mucus), 1.0)


def draw_film(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """A thin film of mucus: cloudy, grainy, drawn out a little along the smear."""
    side = 512
    where = plane(side / 2)
    ragged = 1 + 0.22 * smooth_noise(rng, where.shape, 90)
    fade = np.clip(1.2 - np.hypot(where.x, where.y) * ragged / (side / 2.7), 0, 1)
    # Nothing may be left at the sprite's border, or it would show.
    border_px = side / 2 - np.maximum(np.abs(where.x), np.abs(where.y))
    fade *= np.clip(border_px / 50, 0, 1)
    cloud = np.full(where.shape, 0.30, np.float32)
    # Octaves of noise, wider than high, as wet mucus is when it is drawn out.
    for grain_px, swing in ((150, 0.34), (60, 0.24), (24, 0.16), (9, 0.12)):
        octave = smooth_noise(rng, (side, side // 2), grain_px)
        cloud += swing * np.asarray(cv2.resize(octave, (side, side)))
    grain = np.maximum(fine_noise(rng, where.shape, 2.4) - 0.55, 0)
    thick = fade * (np.maximum(cloud, 0) * (1 + 1.1 * grain) + 0.5 * grain)
    return sprite_of(dyed(np.asarray(0.75 * thick, np.float32), stain.mucus), 0.8)


def draw_dust(stain: LaboratoryStain, rng: np.random.Generator) -> Sprite:
    """A cloud of bacteria and fine grains."""
    side = 384
    where = plane(side / 2)
    thickness = np.zeros(where.shape, np.float32)
    patchy = smooth_noise(rng, where.shape, 70)
    count = int(rng.integers(150, 700))
    spots = np.clip(rng.normal(side / 2, side / 6, (count, 2)), 6, side - 7)
    for x, y in spots.astype(int):
        if patchy[y, x] < rng.normal(0, 0.4):
            continue
        reach = int(rng.integers(0, 4))
        dx, dy = rng.integers(-2, 3, 2)
        thick = float(rng.uniform(0.25, 1.0))
        cv2.line(thickness, (x, y), (x + int(dx), y + int(dy)), thick, 1 + (reach == 0))
    return sprite_of(dyed(thickness, stain.dust), 0.8)


# ---------------------------------------------------------------------------
# The library.

Draw = Callable[[LaboratoryStain, np.random.Generator], Sprite]

LITTER: dict[str, Draw] = {
    "film": draw_film,
    "strand": draw_strand,
    "dust": draw_dust,
    "erythrocyte": draw_erythrocyte,
    "neutrophil": draw_neutrophil,
    "lymphocyte": draw_lymphocyte,
    "debris": draw_debris,
}

KINDS: tuple[str, ...] = (*LITTER, *PLANS)
"""Every kind of sprite; a stamp names its kind by the index here."""

SPRITES_OF: dict[str, int] = {
    "film": 12,
    "strand": 32,
    "dust": 16,
    "erythrocyte": 24,
    "neutrophil": 48,
    "lymphocyte": 32,
    "debris": 48,
    "superficial": 72,
    "intermediate": 80,
    "parabasal": 40,
    "enlarged": 48,
    "high_nc": 56,
    "koilocyte": 40,
}
"""How many there are of a kind; each is turned, mirrored and toned when stamped."""


class Library:
    """Sprites by kind and number; equal seeds and stains give equal sprites."""

    def __init__(self, seed: int, stain: str) -> None:
        """Open the library; nothing is drawn yet.

        Raises:
            SourceError: there is no such stain, or the seed is negative.
        """
        if seed < 0:
            raise SourceError(f"seed {seed}: expected 0 or more; choose another")
        self.stain = stain_named(stain)
        self._seed = seed
        self._drawn: dict[tuple[int, int], Sprite] = {}

    def sprite(self, kind_index: int, number: int) -> Sprite:
        """Sprite ``number`` of kind ``KINDS[kind_index]``."""
        key = (kind_index, number)
        if key not in self._drawn:
            self._drawn[key] = self._draw(kind_index, number)
        return self._drawn[key]

    def _draw(self, kind_index: int, number: int) -> Sprite:
        rng = np.random.default_rng([self._seed, kind_index, number])
        kind = KINDS[kind_index]
        if kind in PLANS:
            return draw_cell(kind, self.stain, rng)
        return LITTER[kind](self.stain, rng)


@functools.lru_cache(maxsize=4)
def library_of(seed: int, stain: str) -> Library:
    """A library kept for the next field of the same seed and stain."""
    return Library(seed, stain)
