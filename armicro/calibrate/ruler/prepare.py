"""Uneven light, colour and the dark surround of an eyepiece taken out of a picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
ROUND = 0.05
"""An eyepiece's rim lies within this share of its radius of a circle."""


DARK = 16
"""Of 255."""
PLAIN_CONTRAST = (0.01, 0.05)
"""From the least to the most by which something differs from the background."""
SPECKS = 0.01
"""Share of an empty picture that differs nevertheless: dust."""


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """A picture as local contrast."""

    contrast: Floats
    """(height, width); 0 background, -0.5 half as bright, 0 where nothing is seen."""
    seen: Floats
    """(height, width); 1 inside the field of view, 0 in an eyepiece's dark surround."""


def flatten(pixels: NDArray[np.uint8]) -> Flat:
    """Local contrast of a picture, whatever the colour and slope of its light.

    Args:
        pixels: (height, width, 3) RGB or (height, width) grey.
    """
    grey = pixels.astype(np.float32)
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    seen = _field_of_view(grey)
    sigma = max(grey.shape) / 16
    weight = np.maximum(_soften(seen, sigma), 1e-3)
    around = _soften(grey * seen, sigma) / weight
    floor = 0.05 * float(np.percentile(grey, 99)) + 1.0
    contrast = np.clip((grey - around) / (around + floor), -1.5, 3.0) * seen
    return Flat(contrast.astype(np.float32), seen)


def is_dark(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture has no light, not even in bright lines on dark."""
    return float(np.percentile(pixels[::3, ::3], 99.9)) < DARK


def is_empty(flat: Flat) -> bool:
    """Whether a picture holds nothing but noise and a few specks."""
    soft = cv2.GaussianBlur(flat.contrast, (0, 0), 2.0)
    usual = float(np.median(np.abs(soft)))
    # Six standard deviations; stripes and cells, which are no noise, pass the most.
    plain = float(np.clip(9 * usual, *PLAIN_CONTRAST))
    return float(np.mean(np.abs(soft) > plain)) < SPECKS


def turn(
    flat: Flat,
    degrees: float,
    *,
    about: NDArray[np.float64] | None = None,
    margin_px: float = 0.0,
) -> tuple[Flat, NDArray[np.float64]]:
    """Rotate a picture about its centre so that what ran at ``degrees`` runs along x.

    Args:
        flat: a picture.
        degrees: clockwise on the screen.
        about: (n, 2) points of the picture; only the columns from the first to the
            last of them are made, which saves most of the work for few lines.
        margin_px: columns made left and right of these.

    Returns:
        The turned picture, large enough to hold all, 0 outside; and the 2x3 matrix
        from old to new pixels.
    """
    height, width = flat.contrast.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width = int(np.ceil(height * sin + width * cos)) + 2
    new_height = int(np.ceil(height * cos + width * sin)) + 2
    matrix[0, 2] += (new_width - width) / 2
    matrix[1, 2] += (new_height - height) / 2
    if about is not None:
        x = about @ matrix[0, :2] + matrix[0, 2]
        first = int(np.clip(x.min() - margin_px, 0, new_width - 2))
        last = int(np.clip(x.max() + margin_px, first + 1, new_width - 1))
        new_width = last + 1 - first
        matrix[0, 2] -= first
    size = (new_width, new_height)
    turned = cv2.warpAffine(flat.contrast, matrix, size, flags=cv2.INTER_CUBIC)
    seen = cv2.warpAffine(flat.seen, matrix, size, flags=cv2.INTER_LINEAR)
    flat = Flat(np.asarray(turned, np.float32), np.asarray(seen, np.float32))
    return flat, np.asarray(matrix, np.float64)


def _soften(picture: Floats, sigma: float) -> Floats:
    """A wide Gaussian, made small first: the background has no detail."""
    step = max(1, int(sigma / 4))
    height, width = picture.shape
    small = cv2.resize(
        picture, (-(-width // step), -(-height // step)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    full = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32)


def _field_of_view(grey: Floats) -> Floats:
    """1 inside; 0 where a dark surround with a round rim touches three corners."""
    height, width = grey.shape
    step = max(1, max(height, width) // 256)
    size = (width // step, height // step)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2.0)
    dark = (small < 0.35 * np.percentile(small, 90)).astype(np.uint8)
    corners = dark[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.sum() < 3 or not 0.05 < dark.mean() < 0.85:
        return np.ones_like(grey)
    _, labels = cv2.connectedComponents(dark)
    outer = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]][corners > 0])
    inside = (~np.isin(labels, outer)).astype(np.uint8)
    if not _is_round(inside):
        return np.ones_like(grey)
    # The rim itself is blurred, and is a line like any other: keep off it.
    kept = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=4)
    full = cv2.resize(
        kept.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return (full > 0.5).astype(np.float32)


def _is_round(inside: NDArray[np.uint8]) -> bool:
    """Whether a mask ends in an arc: an eyepiece's rim, no bright ruler on dark."""
    height, width = inside.shape
    hull = cv2.convexHull(cv2.findNonZero(inside))
    filled = cv2.fillConvexPoly(np.zeros_like(inside), hull, 1)
    outline = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    rim = outline[0][:, 0].astype(np.float64)
    x, y = rim.T
    # Where the picture cuts it off, it is straight.
    rim = rim[(x > 1) & (y > 1) & (x < width - 2) & (y < height - 2)]
    if len(rim) < 16:
        return False
    system = np.column_stack([rim, np.ones(len(rim))])
    a, b, c = np.linalg.lstsq(system, (rim**2).sum(axis=1), rcond=None)[0]
    radius = float(np.sqrt(max(c + (a * a + b * b) / 4, 0.0)))
    off = np.abs(np.hypot(*(rim - (a / 2, b / 2)).T) - radius)
    return bool(np.quantile(off, 0.9) < ROUND * radius < ROUND * max(height, width))


# ---------------------------------------------------------------------------
# Which ways lines run in a picture, best first.


STEP_DEG = 0.25
APART_DEG = 3.0


def directions(flat: Flat, *, most: int) -> list[float]:
    """Directions across lines, degrees clockwise on the screen in [0, 180).

    From edges at two coarsenesses, and from the peaks of the power spectrum, which
    sees a regular pattern through noise that hides its edges.
    """
    votes = [
        _peaks(_edge_votes(flat.contrast, 1.5), 4),
        _peaks(_edge_votes(flat.contrast, 5.0), 3),
        _spectral_angles(flat.contrast, 4),
    ]
    found: list[float] = []
    for rank in range(max(map(len, votes))):
        for ranked in votes:
            if rank < len(ranked) and _is_new(ranked[rank], found):
                found.append(ranked[rank])
    return found[:most]


def _is_new(angle: float, found: list[float]) -> bool:
    return all(abs((angle - old + 90) % 180 - 90) > 1.0 for old in found)


def _edge_votes(contrast: Floats, sigma: float) -> NDArray[np.float64]:
    """Edge strength by direction across the edge, in steps of STEP_DEG."""
    soft = cv2.GaussianBlur(contrast, (0, 0), sigma)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    size = np.hypot(gx, gy)
    floor, ceiling = np.percentile(size[::3, ::3], (75, 98))
    strong = size > floor
    angle = np.degrees(np.arctan2(gy[strong], gx[strong])) % 180
    weight = np.minimum(size[strong], ceiling)
    bins = int(180 / STEP_DEG)
    votes = np.bincount(
        (angle / STEP_DEG).astype(int) % bins, weights=weight, minlength=bins
    )
    kernel = cv2.getGaussianKernel(25, 3.0)[:, 0]
    return np.convolve(np.pad(votes, 12, mode="wrap"), kernel, mode="valid")


def _peaks(votes: NDArray[np.float64], most: int) -> list[float]:
    """The highest local maxima, parabola-refined, APART_DEG from each other."""
    left, right = np.roll(votes, 1), np.roll(votes, -1)
    tops = np.flatnonzero((votes > left) & (votes >= right))
    tops = tops[np.argsort(-votes[tops])]
    found: list[float] = []
    for top in tops:
        bend = left[top] - 2 * votes[top] + right[top]
        shift = 0.5 * (left[top] - right[top]) / bend if bend else 0.0
        angle = float((top + 0.5 + shift) * STEP_DEG % 180)
        if all(abs((angle - old + 90) % 180 - 90) > APART_DEG for old in found):
            found.append(angle)
        if len(found) == most:
            break
    return found


def _spectral_angles(contrast: Floats, most: int) -> list[float]:
    """Directions of the strongest peaks over the local mean of the power spectrum."""
    side = 1024
    height, width = contrast.shape
    scale = min(1.0, 1600 / max(height, width))
    if scale < 1:
        size = (round(contrast.shape[1] * scale), round(contrast.shape[0] * scale))
        small = cv2.resize(contrast, size, interpolation=cv2.INTER_AREA)
        contrast = np.asarray(small, np.float32)
        height, width = contrast.shape
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    padded = (max(side, height + height % 2), max(side, width + width % 2))
    power = np.abs(np.fft.rfft2(contrast * window, padded)) ** 2
    power = np.fft.fftshift(power, axes=0).astype(np.float32)
    amplitude = np.sqrt(power)
    contrast_to_near = amplitude / (cv2.blur(amplitude, (31, 31)) + 1e-6)
    fy = (np.arange(padded[0]) - padded[0] // 2)[:, None] / padded[0]
    fx = np.arange(power.shape[1])[None, :] / padded[1]
    radius = np.hypot(fx, fy)
    contrast_to_near[(radius < 1 / 200) | (radius > 0.24)] = 0
    found: list[float] = []
    for _ in range(40):
        v, u = np.unravel_index(int(contrast_to_near.argmax()), power.shape)
        angle = float(np.degrees(np.arctan2(fy[v, 0], fx[0, u])) % 180)
        if all(abs((angle - old + 90) % 180 - 90) > APART_DEG for old in found):
            found.append(angle)
        contrast_to_near[max(0, v - 4) : v + 5, max(0, u - 4) : u + 5] = 0
        if len(found) == most:
            break
    return found
