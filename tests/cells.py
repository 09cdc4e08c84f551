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


def draw_line(
    seed: int, kind: str, *, cells: int = 0, width: int = 1400, height: int = 1100
) -> tuple[Pixels, tuple[float, float]]:
    """A line through the middle of a field at (500, 400), and its direction.

    Args:
        seed: of its direction, sharpness and contrast.
        kind: "edge", "hair", "two hairs", "fringes" or "arc of 3 mm".
        cells: drawn under it.
        width: of the scene, µm.
        height: of the scene.
    """
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, np.pi)
    normal = np.cos(turn), np.sin(turn)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - 700, y - 560
    away = x * normal[0] + y * normal[1]
    if kind == "arc of 3 mm":
        away = np.hypot(x + 3000 * normal[0], y + 3000 * normal[1]) - 3000
    shade = {
        "hair": 150 * np.exp(-((away / rng.uniform(2, 6)) ** 2)),
        "two hairs": 120 * np.exp(-((away / 4) ** 2))
        + 120 * np.exp(-(((away - 60) / 3) ** 2)),
        "fringes": 50 * (away > 0) - 50 * np.cos(away / 3) * np.exp(-abs(away) / 15),
    }
    blurred = 1 / (1 + np.exp(-np.clip(away / rng.uniform(0.5, 3), -30, 30)))
    edge = rng.uniform(40, 150) * blurred
    ground = draw_cells(seed, width=width, height=height, cells=cells).astype(float)
    scene = ground * (1 - shade.get(kind, edge) / 238)[..., None]
    scene = cv2.GaussianBlur(np.clip(scene, 0, 255), (0, 0), 1.0)
    return scene.astype(np.uint8), (-float(normal[1]), float(normal[0]))


def cut(scene: Pixels, x: int, y: int, *, noise: float = 2.0, seed: int = 0) -> Pixels:
    """A field of the scene as a camera with noise sees it."""
    width, height = FIELD_WH_PX
    window = scene[y : y + height, x : x + width].astype(np.float32)
    rng = np.random.default_rng((seed, x, y))
    window += rng.normal(0, noise, window.shape)
    return np.clip(window, 0, 255).astype(np.uint8)


def cut_turned(
    scene: Pixels, middle: tuple[float, float], turn_deg: float, *, seed: int = 0
) -> Pixels:
    """A field about a point of the scene, of a camera that shows it turned clockwise.

    Beyond the scene its picture is mirrored.
    """
    width, height = FIELD_WH_PX
    matrix = cv2.getRotationMatrix2D(
        (middle[0] - 0.5, middle[1] - 0.5), -turn_deg, scale=1.0
    )
    matrix[:, 2] += np.array((width / 2 - middle[0], height / 2 - middle[1]))
    window = cv2.warpAffine(
        scene,
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    noise = np.random.default_rng(seed).normal(0, 2.0, window.shape)
    return np.asarray(np.clip(window + noise, 0, 255), np.uint8)


def field_at(
    scene: Pixels, x: int, y: int, seq: int = 0, *, fps: float = 30.0
) -> Field:
    """A field of the scene that does not say where it was cut."""
    return Field(1.0, seq, round(seq / fps * 1e9), pixels=cut(scene, x, y, seed=seq))
