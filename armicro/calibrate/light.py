"""How evenly the lamp lights the field, and what the camera says in the dark.

Light is taken for a smooth surface (polynomials of low order in the logarithm), so a
speck of dust or a cell does not become part of it. One picture of empty glass gives it
directly. Without such a picture it is found in retrospect from many fields: what lies
on the slide moves from field to field and only darkens, the lamp stays; so in each part
of the field the brighter ones among all fields are followed, and a surface is laid over
them that yields little to what lies below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import CalibrationError
from armicro.field import Pixels

Floats = NDArray[np.float64]

GRID_WH = (48, 40)
"""Cells in which a field is judged, and pixels of the map that is kept."""
FEWEST_FIELDS = 12
"""For light in retrospect; the benchmark says what more of them bring."""
_ORDER = 6
_FIELDS_QUANTILE = 0.8
"""Over fields, of the median in a cell: tuned on real fields with known fall-off."""
_SAMPLES = 8
"""A side of a cell, after shrinking."""
_SAMPLED_WH = GRID_WH[0] * _SAMPLES, GRID_WH[1] * _SAMPLES
_PASSES = 2
_YIELD = 0.2
"""Weight of a cell below the surface against one above it, in retrospect."""
_ROUNDS = 25
_CORNER = 0.06
"""Share of a side that counts as corner."""
_LARGEST_ROUGHNESS = 0.02
"""Of what many fields have in common, beside the light."""
LARGEST_GAIN = 4.0
"""More would show the steps of an 8-bit map, and a lamp that is out of place."""
_DARK_FROM = 0.5
"""A dark level below half a level changes nothing."""
_STRIP_ROWS = 32
"""Rows at once, so that what is between two steps stays in the core's cache."""


# ---------------------------------------------------------------------------
# Is it glass, and rightly lit? One rule each: what the guide says while the operator
# adjusts is what light and white point are refused by.


LEAST_LEVEL, LEAST_COLOUR = 100, 40
"""Of glass, of 255, in its brightest and in its darkest colour: less is noise."""
LARGEST_LEVEL = 253
"""More may have been brighter than the camera can tell."""
MOST_CLIPPED = 0.001
"""Share of empty glass that may be brighter: hot pixels. The edges of cells are."""
MOST_UNEVEN = 0.02
"""Standard deviation of empty glass after its smooth part, as a share."""
_GLASS_SHARE = 0.9
"""Of a field is no brighter than its glass, however full it is."""
_UNEVEN_SAMPLES = 3
"""A side of a cell: so fine that no line of a micrometer is averaged away."""


class Fault(NamedTuple):
    """What is wrong with light or glass, in the parts of a sentence."""

    seen: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        """The whole sentence."""
        return f"{self.seen}, expected {self.expected}; {self.remedy}"


def glass_levels(pixels: Pixels) -> tuple[int, int, int]:
    """What a field's glass reads, red, green and blue, 0-255, whatever lies on it."""
    small = cv2.resize(pixels, _SAMPLED_WH, interpolation=cv2.INTER_AREA)
    red, green, blue = _levels(np.asarray(small, np.uint8), _GLASS_SHARE)
    return red, green, blue


def why_not_lit(pictures: Sequence[Pixels], *, empty: bool) -> Fault | None:
    """Why the light of pictures is not to be measured by; None where it is.

    Args:
        pictures: (height, width, 3).
        empty: nothing but glass is seen, so that no pixel may be too bright.
    """
    glass = np.median([glass_levels(p) for p in pictures], axis=0)
    level, colour = float(glass.max()), ("red", "green", "blue")[int(np.argmin(glass))]
    tops = [max(_levels(p[::4, ::4], 1 - MOST_CLIPPED)) for p in pictures]
    brightest = max(level, *tops) if empty else level
    if brightest > LARGEST_LEVEL:
        return Fault(
            f"the glass reads {brightest:.0f} of 255",
            f"at most {LARGEST_LEVEL}",
            "turn the lamp down or expose shorter",
        )
    if level < LEAST_LEVEL:
        return Fault(
            f"the glass reads {level:.0f} of 255",
            f"at least {LEAST_LEVEL}",
            "turn the lamp up or expose longer",
        )
    if glass.min() < LEAST_COLOUR:
        return Fault(
            f"the glass reads {glass.min():.0f} of 255 in {colour}",
            f"at least {LEAST_COLOUR}",
            "check the lamp's filter and the camera's own white balance",
        )
    return None


def why_not_empty(pictures: Sequence[Pixels]) -> Fault | None:
    """Why pictures of one place, or of several, are not of empty glass alone."""
    uneven = unevenness(pictures)
    if uneven <= MOST_UNEVEN:
        return None
    return Fault(
        f"the glass is uneven by {100 * uneven:.1f} % beside a smooth light",
        f"at most {100 * MOST_UNEVEN:g} % on empty glass",
        "move to a clean place, wipe it, defocus a little",
    )


def unevenness(pictures: Sequence[Pixels]) -> float:
    """Standard deviation of pictures after their smooth part, as a share of the mean.

    Their median counts: dirt on one of several does not.
    """
    wide, high = (cells * _UNEVEN_SAMPLES for cells in GRID_WH)
    small = [
        cv2.resize(p, (wide, high), interpolation=cv2.INTER_AREA) for p in pictures
    ]
    usual = np.median(small, axis=0).reshape(high * wide, -1)
    basis = _basis(samples=_UNEVEN_SAMPLES)
    terms = np.linalg.lstsq(basis[::7], usual[::7], rcond=None)[0]
    rough = np.std(usual - basis @ terms, axis=0) / np.maximum(usual.mean(axis=0), 1.0)
    return float(rough.max())


def _levels(pixels: Pixels, share: float) -> list[int]:
    """The level in each colour that a share of the pixels does not pass."""
    whole = np.ascontiguousarray(pixels)
    # Histograms: a quantile of numpy's takes ten times as long.
    counts = [cv2.calcHist([whole], [c], None, [256], [0, 256]) for c in range(3)]
    return [int(np.searchsorted(np.cumsum(n), share * n.sum())) for n in counts]


def _refuse(fault: Fault | None) -> None:
    if fault is not None:
        raise CalibrationError(f"light: {fault}")


# ---------------------------------------------------------------------------
# The light of the field.


@dataclass(frozen=True, slots=True, eq=False)
class Lamp:
    """The light of a field, as a share of its brightest place."""

    share: NDArray[np.float32]
    """(GRID height, GRID width, 3), above 0, largest 1 in each colour; its outer nodes
    lie on the field's edges."""
    level_rgb: tuple[float, float, float]
    """What empty glass, or the brightest of many fields, reads where share is 1."""
    fields: int
    roughness: float
    """RMS difference of the cells from the surface, as a share."""

    def at(self, width_px: int, height_px: int) -> NDArray[np.float32]:
        """The light at every pixel of a field, (height, width, 3)."""
        return enlarge(self.share, width_px, height_px)


def enlarge(
    nodes: NDArray[np.float32], width_px: int, height_px: int
) -> NDArray[np.float32]:
    """Bring a small map, whose outer nodes lie on the field's edges, to its size.

    >>> enlarge(np.array([[1.0, 3.0]], np.float32), 3, 2)
    array([[1., 2., 3.],
           [1., 2., 3.]], dtype=float32)
    """
    high, wide = nodes.shape[:2]
    step = (wide - 1) / max(1, width_px - 1), (high - 1) / max(1, height_px - 1)
    return np.asarray(
        cv2.warpAffine(
            nodes,
            np.array([[step[0], 0, 0], [0, step[1], 0]]),
            (width_px, height_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def lamp_of_glass(
    pictures: Sequence[Pixels], *, dark_rgb: tuple[float, ...] = (0, 0, 0)
) -> Lamp:
    """Find the light in pictures of empty glass.

    Args:
        pictures: (height, width, 3) of equal size; more of them lessen noise and dirt.
        dark_rgb: level of the camera without light.

    Raises:
        CalibrationError: no picture, sizes differ, too dark, too bright, or no empty
            glass.
    """
    grids = _grids(_samples(pictures, dark_rgb))
    # The median over pictures leaves out dirt that moved with the glass.
    grid = np.median(grids, axis=0)
    _refuse(why_not_lit(pictures, empty=True) or why_not_empty(pictures))
    return _lamp(grid, rounds=1, fields=len(pictures))


def lamp_of_fields(
    pictures: Sequence[Pixels], *, dark_rgb: tuple[float, ...] = (0, 0, 0)
) -> Lamp:
    """Find the light in retrospect, from fields of different places.

    Args:
        pictures: (height, width, 3) of equal size, of whatever lies on the slide.
        dark_rgb: level of the camera without light.

    Raises:
        CalibrationError: too few fields, sizes differ, too dark, too bright, or all of
            one place.
    """
    if len(pictures) < FEWEST_FIELDS:
        raise CalibrationError(
            f"light: {len(pictures)} fields, expected at least {FEWEST_FIELDS} of "
            "different places; add some, or take one picture of empty glass"
        )
    samples = _samples(pictures, dark_rgb)
    _refuse(why_not_lit(pictures, empty=False))
    _check_places(samples)
    share = np.ones((*GRID_WH[::-1], 3), np.float32)
    lamp = Lamp(share, (0.0, 0.0, 0.0), len(pictures), 0.0)
    for _ in range(_PASSES):
        # Cells sort differently on a slope of light: the second pass has none.
        even = samples / enlarge(share, samples.shape[2], samples.shape[1])
        grids = np.log(_grids(even))
        # Fields differ in all (thickness, stain): only their shape is compared.
        grids -= np.quantile(grids, 0.8, axis=(1, 2), keepdims=True)
        grid = np.exp(np.quantile(grids, _FIELDS_QUANTILE, axis=0))
        lamp = _lamp(grid, rounds=_ROUNDS, fields=len(pictures))
        share = share * lamp.share
        share = share / share.max(axis=(0, 1))
    level = np.quantile(
        samples / enlarge(share, *samples.shape[2:0:-1]), 0.99, (0, 1, 2)
    )
    red, green, blue = (float(v) for v in level)
    return Lamp(share, (red, green, blue), lamp.fields, lamp.roughness)


def dark_of(pictures: Sequence[Pixels]) -> tuple[float, float, float]:
    """Level of the camera without light, red, green and blue.

    One number a colour: in a camera for bright field the dark has no shape that
    reaches a level, and a number costs the running correction the least.

    Raises:
        CalibrationError: no picture, or it is not dark.
    """
    if not pictures:
        raise CalibrationError("light: no dark picture; close the shutter and take one")
    red, green, blue = np.mean([p.mean(axis=(0, 1)) for p in pictures], axis=0)
    if max(red, green, blue) > 32:
        raise CalibrationError(
            f"light: the dark picture reads {max(red, green, blue):.0f} of 255, "
            "expected at most 32; cover the lamp or take the picture off"
        )
    return float(red), float(green), float(blue)


def corner_ratio(grid: NDArray[np.floating]) -> float:
    """Light in the darkest corner over that in the middle, the mean of the colours.

    >>> corner_ratio(np.ones((40, 48, 3)))
    1.0
    """
    rows, columns = (max(1, round(side * _CORNER)) for side in grid.shape[:2])
    y, x = grid.shape[0] // 2, grid.shape[1] // 2
    middle = grid[y - rows : y + rows, x - columns : x + columns].mean()
    corners = (
        grid[:rows, :columns],
        grid[:rows, -columns:],
        grid[-rows:, :columns],
        grid[-rows:, -columns:],
    )
    return min(float(corner.mean()) for corner in corners) / float(middle)


def gains_of(
    lamp: NDArray[np.float32], gains_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> NDArray[np.float32]:
    """Gain of each cell that makes the field even and empty glass white.

    Never below 1: a pixel at the top of the scale stays there.

    Args:
        lamp: (height, width, 3) share of the light.
        gains_rgb: white balance.
    """
    gain = np.asarray(gains_rgb, np.float32) / lamp
    return np.asarray(gain / gain.min(), np.float32)


class Correction:
    """Turns a camera's pixels into even, white ones.

    Dark, flat field and balance become one gain a pixel and one level a colour, so a
    field costs one pass: 8-bit times 8-bit in fixed point, saturating, into new pixels.
    The map's step is a 255th of its largest gain, under a level for usual lamps. Flat
    field and balance are factors, so they hold for a camera with a gamma curve as well.
    """

    def __init__(
        self,
        gains: NDArray[np.float32],
        *,
        dark_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Prepare the map.

        Args:
            gains: (height, width, 3), 1 or more, of the field's size.
            dark_rgb: what the camera reads without light.

        Raises:
            CalibrationError: a gain is not within 1 to 4.
        """
        largest = float(gains.max())
        if not (gains.min() >= 0.999 and largest <= LARGEST_GAIN):
            raise CalibrationError(
                f"light: gains of {gains.min():.2f} to {largest:.2f}, expected 1 to "
                f"{LARGEST_GAIN:.0f}; centre the lamp and measure the light again"
            )
        self._scale = largest / 255
        # Rounded up or down by chance, the same at every start: plain rounding would
        # draw rings on empty glass. One chance for all colours leaves no tint.
        chance = np.random.default_rng(0).random((*gains.shape[:2], 1), np.float32)
        self._map = np.minimum(gains / self._scale + chance, 255).astype(np.uint8)
        # OpenCV takes four numbers, whatever the picture has.
        self._dark = np.append(np.rint(dark_rgb), 0.0)
        self._subtracts = max(dark_rgb) >= _DARK_FROM

    def apply(self, pixels: Pixels) -> Pixels:
        """Correct a field.

        Args:
            pixels: (height, width, 3), which are not changed.

        Returns:
            New pixels.

        Raises:
            CalibrationError: the field has another size than the map.
        """
        if pixels.shape != self._map.shape:
            height, width = self._map.shape[:2]
            raise CalibrationError(
                f"field of {pixels.shape[1]}x{pixels.shape[0]} px: light was measured "
                f"for {width}x{height}; set the camera as it was, or measure again"
            )
        even = np.empty_like(pixels)
        if not self._subtracts:
            cv2.multiply(pixels, self._map, even, self._scale)
            return even
        for top in range(0, len(pixels), _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            lit = cv2.subtract(pixels[rows], self._dark)
            cv2.multiply(lit, self._map[rows], even[rows], self._scale)
        return even


def _check_places(samples: Floats) -> None:
    """Refuse fields that show one place again and again."""
    grids = np.log(_grids(samples)).mean(axis=-1)
    grids -= np.median(grids, axis=(1, 2), keepdims=True)
    usual = grids.mean(axis=0)
    change = float(np.median(np.std(grids - usual, axis=(1, 2))))
    basis = _basis()
    still = float(np.std(usual.ravel() - basis @ _surface(usual.ravel(), rounds=1)))
    # What moves with the slide averages out; empty fields have nothing that could.
    if still > max(change, _LARGEST_ROUGHNESS):
        raise CalibrationError(
            f"light: {len(samples)} fields of one place: they differ by {change:.1%}, "
            f"what is common to them by {still:.1%}; move the slide between pictures"
        )


def _samples(pictures: Sequence[Pixels], dark_rgb: tuple[float, ...]) -> Floats:
    """(n, rows, columns, 3): small pictures, whole samples a cell, less the dark."""
    if not pictures:
        raise CalibrationError("light: no picture; give at least one of empty glass")
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        sizes = ", ".join(f"{s[1]}x{s[0]}" for s in sorted(shapes))
        raise CalibrationError(
            f"light: pictures of {sizes} px; expected one size, of one camera"
        )
    small = [cv2.resize(p, _SAMPLED_WH, interpolation=cv2.INTER_AREA) for p in pictures]
    return np.maximum(np.stack(small) - np.asarray(dark_rgb, np.float64), 1.0)


def _grids(samples: Floats) -> Floats:
    """(n, GRID height, GRID width, 3): the median of each cell."""
    wide, high = GRID_WH
    cells = samples.reshape(len(samples), high, _SAMPLES, wide, _SAMPLES, 3)
    flat = cells.transpose(0, 1, 3, 5, 2, 4).reshape(len(samples), high, wide, 3, -1)
    middle = flat.shape[-1] // 2
    return np.asarray(np.partition(flat, middle, axis=-1)[..., middle])


def _lamp(grid: Floats, *, rounds: int, fields: int) -> Lamp:
    share = np.empty(grid.shape, np.float64)
    rough = []
    for colour in range(3):
        values = np.log(grid[..., colour]).ravel()
        terms = _surface(values, rounds=rounds)
        rough.append(float(np.std(values - _basis() @ terms)))
        nodes = _basis(edges=True) @ terms
        share[..., colour] = np.exp(nodes - nodes.max()).reshape(grid.shape[:2])
    red, green, blue = (float(v) for v in grid.max(axis=(0, 1)))
    return Lamp(share.astype(np.float32), (red, green, blue), fields, max(rough))


def _surface(values: Floats, *, rounds: int) -> Floats:
    """Terms by least squares, then asymmetric: what lies below pulls the less."""
    basis = _basis()
    weight = np.ones(len(values))
    terms = np.zeros(basis.shape[1])
    for _ in range(rounds):
        # Legendre polynomials are all but orthogonal: these equations are well posed.
        pulled = basis.T * weight
        terms = np.asarray(np.linalg.solve(pulled @ basis, pulled @ values))
        weight = np.where(values >= basis @ terms, 1.0, _YIELD)
    return terms


@cache
def _basis(*, edges: bool = False, samples: int = 1) -> Floats:
    """(cells, terms): Legendre polynomials of x and y up to a total order.

    Args:
        edges: at nodes that reach the field's edges, instead of the cells' middles.
        samples: so many a side of a cell instead of one.
    """
    sides = [samples * side for side in GRID_WH]
    axes: list[Floats] = [
        np.linspace(-1, 1, side) if edges else (np.arange(side) + 0.5) / side * 2 - 1
        for side in sides
    ]
    across, down = (np.polynomial.legendre.legvander(axis, _ORDER) for axis in axes)
    terms = [
        np.multiply.outer(down[:, j], across[:, i]).ravel()
        for i in range(_ORDER + 1)
        for j in range(_ORDER + 1 - i)
    ]
    return np.stack(terms, axis=1)
