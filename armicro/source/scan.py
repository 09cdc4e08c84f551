"""The path of a stage over a region: where each field of a replay lies.

Fields overlap by the rig's share; the last row and column are shifted inwards, so that
every field is full size and none hangs over the edge. ``seq`` is the index in the path.
"""

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.rig import Camera, Scan


def _count(length: int, window: int, overlap: float) -> int:
    return 1 + math.ceil(max(0, length - window) / _step(window, overlap))


def _step(window: int, overlap: float) -> int:
    return max(1, round(window * (1 - overlap)))


def count_fields(
    region_wh_px: tuple[int, int], field_wh_px: tuple[int, int], *, overlap: float
) -> int:
    """Length of the scan path over a region.

    >>> count_fields((100, 100), (50, 50), overlap=0.0)
    4
    >>> count_fields((101, 30), (50, 50), overlap=0.0)
    3
    """
    columns, rows = (
        _count(length, window, overlap)
        for length, window in zip(region_wh_px, field_wh_px, strict=True)
    )
    return columns * rows


def scan_path(
    region_xywh_px: tuple[int, int, int, int],
    field_wh_px: tuple[int, int],
    scan: Scan,
) -> NDArray[np.int64]:
    """Top left corner of each field, in the order of ``seq``.

    Args:
        region_xywh_px: what to scan.
        field_wh_px: size of a field, at most that of the region.
        scan: path, overlap and seed.

    Returns:
        (fields, 2) x and y in the pixels of the arguments.
    """
    if scan.path == "freehand":
        return _wander(region_xywh_px, field_wh_px, scan)
    x, y, *region_wh = region_xywh_px
    columns, rows = (
        np.minimum(
            np.arange(_count(length, window, scan.overlap))
            * _step(window, scan.overlap),
            max(0, length - window),
        )
        for length, window in zip(region_wh, field_wh_px, strict=True)
    )
    grid = np.stack(np.meshgrid(columns + x, rows + y), axis=-1).astype(np.int64)
    if scan.path == "serpentine":
        grid[1::2] = grid[1::2, ::-1]
    path = grid.reshape(-1, 2)
    if scan.path == "random":
        path = np.random.default_rng(scan.seed).permutation(path)
    return path


_MOST_OVERLAP = 0.9
_TURN_RAD = 0.5
"""Standard deviation of a change of direction between two fields."""


def _wander(
    region_xywh_px: tuple[int, int, int, int],
    field_wh_px: tuple[int, int],
    scan: Scan,
) -> NDArray[np.int64]:
    """A hand on a manual stage: it wanders, turns back at edges, comes by again.

    Two fields in a row share between the scan's overlap and 90 % of their area.
    """
    left, top, *region_wh = region_xywh_px
    room = [max(0, region_wh[i] - field_wh_px[i]) for i in (0, 1)]
    overlap = scan.overlap
    count = scan.fields or count_fields(
        (region_wh[0], region_wh[1]), field_wh_px, overlap=overlap
    )
    rng = np.random.default_rng(scan.seed)
    at = np.array([room[0] / 2, room[1] / 2])
    heading = rng.uniform(0, 2 * math.pi)
    path = []
    for _ in range(count):
        path.append((left + round(at[0]), top + round(at[1])))
        heading += rng.normal(0.0, _TURN_RAD)
        along = np.array([math.cos(heading), math.sin(heading)])
        share = rng.uniform(overlap, max(overlap, _MOST_OVERLAP))
        at = at + along * _stride(np.abs(along) / field_wh_px, share)
        for axis in (0, 1):
            if not 0 <= at[axis] <= room[axis]:
                at[axis] = min(max(0.0, at[axis]), room[axis])
                along[axis] = -along[axis]
                heading = math.atan2(along[1], along[0])
    return np.array(path, np.int64)


def _stride(rate: NDArray[np.float64], share: float) -> float:
    """Length of a step after which two fields share so much of their area.

    Args:
        rate: share of a field's width and height that a step of length 1 leaves.
        share: (1 - rate_x length) (1 - rate_y length).
    """
    total, product = float(rate.sum()), float(rate.prod())
    root = math.sqrt(max(0.0, total * total - 4 * product * (1 - share)))
    return 2 * (1 - share) / (total + root)


# ---------------------------------------------------------------------------
# What a microscope does to a picture: motion, blur, defocus, vignetting, noise.
#
# Each field draws its chances from (seed, seq) alone, so a field looks the same whether
# or not the others were read. Light passes the steps in nature's order: blur of stage
# and lens, loss at the corners, then the sensor's noise. Rotation belongs to the
# reading of the pixels, since it needs those beyond the field's edge.

_EXPOSURE_US = 5000.0
"""Where the rig names none: usual for a colour camera on a bright-field stand."""
_MEDIUM_INDEX = 1.52
"""Refractive index of the mounting medium, in which the focus error is measured."""
_NUMERICAL_APERTURE = 0.5
"""Where the rig's objective does not say ("UPLXAPO 20x/0.8" does)."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What chance does to one field."""

    dropped: bool
    focus_um: float
    noise_seed: int


def draw_chance(scan: Scan, seq: int) -> Chance:
    """Draw a field's chances from the scan's seed and the field's number."""
    rng = np.random.default_rng((abs(scan.seed), int(scan.seed < 0), seq))
    return Chance(
        dropped=bool(rng.random() < scan.dropped),
        focus_um=float(rng.normal(0.0, 1.0)) * scan.defocus_um,
        noise_seed=int(rng.integers(2**32)),
    )


def numerical_aperture(objective: str) -> float:
    """Numerical aperture that an objective's name ends in.

    >>> numerical_aperture("UPLXAPO 20x/0.8")
    0.8
    """
    found = re.search(r"/\s*([01]?\.\d+)", objective)
    return float(found[1]) if found else _NUMERICAL_APERTURE


def blur_sigma_um(scan: Scan, focus_um: float, *, aperture: float) -> float:
    """Standard deviation of the lens blur and the focus error together.

    A point out of focus by z becomes a disc of radius z·tan(asin(NA/n)), whose
    standard deviation along each axis is half its radius.
    """
    radius_um = abs(focus_um) * math.tan(math.asin(aperture / _MEDIUM_INDEX))
    return math.hypot(scan.blur_um, radius_um / 2)


def motion_kernel(dx_px: float, dy_px: float) -> NDArray[np.float32]:
    """Line that a point draws while the stage moves, centred, of sum 1.

    Returns:
        (odd, odd) weights.
    """
    reach = max(1, math.ceil(max(abs(dx_px), abs(dy_px)) / 2))
    samples = 8 * reach + 1
    along = (np.arange(samples) + 0.5) / samples - 0.5
    x, y = along * dx_px + reach, along * dy_px + reach
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2), np.float32)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    # Each sample is shared by the four pixels around it.
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = np.abs(1 - column - (x - left)) * np.abs(1 - row - (y - top))
        np.add.at(kernel, (top + row, left + column), weight.astype(np.float32))
    kernel = kernel[:-1, :-1]
    return np.asarray(kernel / kernel.sum(), np.float32)


class Degrader:
    """Applies the rig's imperfections to fields."""

    def __init__(self, camera: Camera, scan: Scan, *, um_per_px: float) -> None:
        """Take the imperfections of ``scan``, at the scale of the fields."""
        self._scan = scan
        self._um_per_px = um_per_px
        exposure_us = camera.exposure_us or min(
            _EXPOSURE_US, 1e6 / camera.frames_per_second
        )
        self._smear_px = abs(scan.stage_um_per_s) * exposure_us * 1e-6 / um_per_px
        self._light: NDArray[np.float32] | None = None

    def apply(
        self,
        pixels: Pixels,
        chance: Chance,
        *,
        direction: tuple[float, float],
        aperture: float = _NUMERICAL_APERTURE,
    ) -> Pixels:
        """Make a perfect field look as the camera would have seen it.

        Args:
            pixels: (height, width, 3) RGB.
            chance: of this field.
            direction: unit vector of the stage's motion; (0, 0) when it stands.
            aperture: numerical aperture, which turns focus error into blur.
        """
        sigma_um = blur_sigma_um(self._scan, chance.focus_um, aperture=aperture)
        sigma_px = sigma_um / self._um_per_px
        if self._smear_px > 0 and any(direction):
            dx, dy = (self._smear_px * part for part in direction)
            pixels = cv2.filter2D(pixels, -1, motion_kernel(dx, dy))  # type: ignore[assignment]
        if sigma_px > 0:
            pixels = cv2.GaussianBlur(pixels, (0, 0), sigma_px)  # type: ignore[assignment]
        if not self._scan.vignetting and not self._scan.noise:
            return pixels
        light = pixels.astype(np.float32)
        if self._scan.vignetting:
            light *= self._falloff(pixels.shape[:2])
        if self._scan.noise:
            rng = np.random.default_rng(chance.noise_seed)
            noise = rng.standard_normal(light.shape, dtype=np.float32)
            light += noise * (255 * self._scan.noise)
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)

    def _falloff(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Share of light that reaches each pixel: 1 in the middle, least at corners."""
        if self._light is None or self._light.shape[:2] != shape:
            y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
            radius2 = (x[None, :] ** 2 + y[:, None] ** 2) / 2
            light = 1 - self._scan.vignetting * radius2
            self._light = light[..., None].astype(np.float32)
        return self._light
