"""Which ways lines run in a picture, best first."""

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.ruler.prepare import Flat, Floats

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
