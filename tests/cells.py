"""Scenes of drawn cells at 1 µm/px from which tests cut overlapping fields."""

import cv2
import numpy as np

from armicro.field import Field, Pixels

FIELD_WH_PX = 400, 320


def draw_cells(
    seed: int, *, width: int = 1400, height: int = 1100, cells: int = 150
) -> Pixels:
    """Cells on bright ground, each with its own outline and nucleus: 1 µm/px."""
    rng = np.random.default_rng(seed)
    scene = np.full((height, width, 3), 238.0, np.float32)
    for _ in range(cells):
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = int(rng.integers(14, 40)), int(rng.integers(14, 40))
        turn = float(rng.uniform(0, 180))
        colour = rng.uniform(150, 215, 3).tolist()
        cv2.ellipse(scene, centre, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        nucleus = int(rng.integers(4, 8)), int(rng.integers(4, 8))
        dark = rng.uniform(50, 110, 3).tolist()
        cv2.ellipse(scene, centre, nucleus, turn, 0, 360, dark, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.0), np.uint8)


def cut(scene: Pixels, x: int, y: int, *, noise: float = 2.0, seed: int = 0) -> Pixels:
    """A field of the scene as a camera with noise sees it."""
    width, height = FIELD_WH_PX
    window = scene[y : y + height, x : x + width].astype(np.float32)
    rng = np.random.default_rng((seed, x, y))
    window += rng.normal(0, noise, window.shape)
    return np.clip(window, 0, 255).astype(np.uint8)


def field_at(
    scene: Pixels, x: int, y: int, seq: int = 0, *, fps: float = 30.0
) -> Field:
    """A field of the scene that does not say where it was cut."""
    return Field(cut(scene, x, y, seed=seq), 1.0, seq, round(seq / fps * 1e9))
