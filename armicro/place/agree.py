"""Whether two pictures agree at a shift: refined to a part of a pixel, block by block.

Nuclei look alike, so a high correlation proves little where texture is sparse. A true
shift is one at which almost all texture of both pictures agrees, and in enough places:
a chance fit of two dark blobs leaves their neighbours unmatched. A straight edge (of a
coverslip, a hair, a pen) agrees with itself wherever it is slid along: what the slopes
of both pictures have in common must have two directions (the aperture problem).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from armicro.place.look import COARSE_UM_PER_PX, FINE_UM_PER_PX, Plane, Texture

# ---------------------------------------------------------------------------
# Shifts at which two pictures may fit: normalised correlation over every shift.
#
# Each shift is judged by its own overlap (for rectangles this is the masked correlation
# of Padfield 2012, doi:10.1109/TIP.2011.2181402, with integral images in place of four
# of its six transforms), weighed by how much texture the overlap holds: a chance peak
# needs little of it.


Shift = tuple[float, float]
"""x, y of the second picture's corner in the first, in fine pixels."""

_STEP = COARSE_UM_PER_PX / FINE_UM_PER_PX
_APART = 4
"""Coarse pixels between two peaks."""


def search(
    a: Texture, b: Texture, *, count: int = 4, least_overlap: float = 0.08
) -> list[Shift]:
    """Propose shifts of b against a, best first.

    Args:
        a: the picture that stays.
        b: the other.
        count: at most so many.
        least_overlap: share of the smaller picture that must be in both.
    """
    score = score_shifts(a, b, least_overlap=least_overlap)
    height, width = b.coarse.shape
    return [
        ((x - width + 1) * _STEP, (y - height + 1) * _STEP)
        for x, y in _peaks(score, count)
    ]


def score_shifts(a: Texture, b: Texture, *, least_overlap: float) -> Plane:
    """Score of every shift from (-width_b + 1, -height_b + 1) on, in coarse pixels."""
    (rows_a, columns_a), (rows_b, columns_b) = a.coarse.shape, b.coarse.shape
    rows, columns = rows_a + rows_b - 1, columns_a + columns_b - 1
    shape = fft.next_fast_len(rows, real=True), fft.next_fast_len(columns, real=True)
    product = a.spectrum(shape) * np.conj(b.spectrum(shape))
    wrapped = fft.irfft2(product, shape)
    at = np.roll(wrapped, (rows_b - 1, columns_b - 1), (0, 1))[:rows, :columns]
    row_span, row_span_b = _spans(rows_a, rows_b)
    column_span, column_span_b = _spans(columns_a, columns_b)
    energy = _energy(a, row_span, column_span) * _energy(b, row_span_b, column_span_b)
    # Correlation times the fourth root of the energy: a z score up to a factor.
    score = at / np.sqrt(np.sqrt(np.maximum(energy, 1.0)))
    area = np.outer(row_span[1] - row_span[0], column_span[1] - column_span[0])
    smaller = min(rows_a * columns_a, rows_b * columns_b)
    score[area < least_overlap * smaller] = 0.0
    return np.asarray(score, np.float32)


Span = tuple[NDArray[np.int64], NDArray[np.int64]]


def _spans(size_a: int, size_b: int) -> tuple[Span, Span]:
    """First and one past the last pixel of the overlap, of a and of b, by shift."""
    shift = np.arange(1 - size_b, size_a)
    first, last = np.maximum(shift, 0), np.minimum(shift + size_b, size_a)
    return (first, last), (first - shift, last - shift)


def _energy(look: Texture, rows: Span, columns: Span) -> NDArray[np.float32]:
    bands = (look.energy_sum[rows[1]] - look.energy_sum[rows[0]]).astype(np.float32)
    return np.asarray(bands[:, columns[1]] - bands[:, columns[0]])


def _peaks(score: Plane, count: int) -> list[tuple[int, int]]:
    found = []
    score = score.copy()
    for _ in range(count):
        _, value, _, (x, y) = cv2.minMaxLoc(score)
        if value <= 0:
            break
        found.append((x, y))
        score[
            max(0, y - _APART) : y + _APART + 1, max(0, x - _APART) : x + _APART + 1
        ] = 0.0
    return found


# ---------------------------------------------------------------------------
# Agreement, block by block.


BLOCK_PX = 16
"""Side of a block in fine pixels: about a nucleus with its surround."""
_TEXTURE = 0.12
"""Mean square from which a block counts as textured."""
_STAINED = 0.02
"""Of the logarithm of light: what varies less may be glass, whose grain is texture too
where nothing darker is near."""
_RICH_SHARE = 0.05
"""Of the blocks: some three cells in a field of 0.1 mm²."""
_SIMILAR = 0.5
_MOST_SIMILAR = 0.95
_CORRELATED_PX = 50.0
"""Neighbouring residuals are not independent: so many pixels count as one. Set so that
errors are as large as they are said to be (tests/benchmarks/bench_register.py)."""
_EDGE_PX = 6
"""Near its edge a picture's texture is guessed: left out, it halves the error."""
_FLOOR_PX = 0.03
_MASKED_FLOOR_PX = 0.2
"""Where parts are not known: beside a round mask texture is guessed, and every step is
up to 0.1 px off in the same direction, which a scan adds up."""
_STEPS = 4
_NEAR_SHARE = 0.7
_FOUND_SHARE = 0.85
_PATCHY_SHARE = 0.6
_EVIDENCE = 6.0
_LEAST_APERTURE = 0.04
"""Straight edges have 0.000 to 0.006, and an arc of 3 mm with few cells, believed 26 µm
off, had 0.031; cells mostly have above 0.6
(tests/benchmarks/bench_register.py --part edges)."""
_COHERENT = 0.2
"""Share of the slopes along the least axis that must be common to both pictures: noise
on an edge has some by chance."""
_EDGE_LIKE = 0.35
_COHERENT_EDGE = 0.35
"""The same below that aperture: a few cells beside an edge must agree as well as it."""
_EVERY = 2
"""Of so many coarse rows the slopes of one are compared; neighbours say the same."""
_BEYOND = 4.0
_CELL = 9.0
_PATCHY = 15.0


_NONE = np.zeros((1, 1), np.bool_)


class Slopes(NamedTuple):
    """What the slopes of two pictures share where there is texture: sums.

    Noise is in one picture only: of the products it falls out, of the squares not.
    """

    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0
    """The cross structure tensor: slopes of the one times slopes of the other."""
    own_xx: float = 0.0
    own_xy: float = 0.0
    own_yy: float = 0.0
    """The structure tensor of each alone, the mean of both."""

    @property
    def ends(self) -> tuple[float, float, float]:
        """Least and greatest eigenvalue; the same of each picture along the least."""
        middle, half = (self.xx + self.yy) / 2, (self.xx - self.yy) / 2
        reach = math.hypot(half, self.xy)
        # The square of cos and the product of cos and sin of the least axis.
        cos2, both = (half / reach, self.xy / reach) if reach else (0.0, 0.0)
        own = (self.own_xx + self.own_yy) / 2
        own -= (self.own_xx - self.own_yy) / 2 * cos2 + self.own_xy * both
        return middle - reach, middle + reach, own

    @property
    def variances(self) -> tuple[float, float]:
        """Of a shift along x and along y, by the mean square of what does not agree."""
        half, reach = (
            (self.xx - self.yy) / 2,
            math.hypot((self.xx - self.yy) / 2, self.xy),
        )
        least, most, _ = self.ends
        least, most = max(least, 1e-6 * most, 1e-6), max(most, 1e-6)
        # What an edge is off across itself is more along it: hence not 1 / least.
        worst, best = most / least**2, 1.0 / most
        # Share of the best axis in x.
        share = (1.0 + (half / reach if reach else 0.0)) / 2
        return (
            share * best + (1.0 - share) * worst,
            share * worst + (1.0 - share) * best,
        )


class ShiftFit(NamedTuple):
    """Two pictures at one shift, in fine pixels."""

    dx_px: float
    dy_px: float
    """Corner of the second picture in the first."""
    standard_error_xy_px: tuple[float, float]
    """Along x and along y."""
    slopes: Slopes
    share: float
    """Of the texture of both, how much lies in blocks that agree; 0-1."""
    evidence: float
    """Sum over the blocks of -ln(1 - similarity²): how far beyond chance."""
    beyond: float
    """The evidence without that of the best spot of 48 µm: two cells that look the same
    give none. Of 14,160 best shifts between 60 real fields of different places 38 had
    the share of texture that is asked for, and the highest of them reached 1.8 here
    (tests/benchmarks/bench_register.py --part chance --fields 60 --seed 123)."""
    overlap: float
    """Share of the smaller picture."""
    texture: float
    """Weight of the share: mean squares of the blocks, added up."""

    @property
    def standard_error_px(self) -> float:
        """The larger one."""
        return max(self.standard_error_xy_px)


def fit(a: Texture, b: Texture, shift: Shift) -> ShiftFit | None:
    """Refine a shift of b against a and judge it; None where there is too little."""
    near = _descend(
        _Level(
            _Picture(a.coarse, a.coarse_slopes, a.coarse_clean),
            _Picture(b.coarse, b.coarse_slopes, b.coarse_clean),
            _EDGE_PX // 2,
        ),
        (shift[0] / 2, shift[1] / 2),
    )
    if near is None:
        return None
    fine = _Level(
        _Picture(a.fine, a.fine_slopes, a.clean),
        _Picture(b.fine, b.fine_slopes, b.clean),
        _EDGE_PX,
    )
    place = _descend(fine, (near.x * 2, near.y * 2))
    if place is None:
        return None
    textured, *judged = _judge(a, b, round(place.x), round(place.y))
    if place.moves and judged[0] >= _NEAR_SHARE:
        # The guess was far off: what agrees here already agrees better where it rests.
        place = _descend(fine, (place.x, place.y)) or place
        textured, *judged = _judge(a, b, round(place.x), round(place.y))
    x, y, left, _ = place
    slopes = _common_slopes(a, b, (round(x), round(y)), textured)
    whole = a.clean is None and b.clean is None
    floor_px = _FLOOR_PX if whole else _MASKED_FLOOR_PX
    errors = (
        math.hypot(math.sqrt(left * _CORRELATED_PX * variance), floor_px)
        for variance in slopes.variances
    )
    return ShiftFit(x, y, (next(errors), next(errors)), slopes, *judged)


def textured_blocks(look: Texture) -> int:
    """Number of blocks of a picture that have texture."""
    return int(np.count_nonzero(_block_means(look.fine * look.fine) > _TEXTURE))


def is_rich(texture: Plane) -> bool:
    """Whether much of a field is more than glass, by its ``band_pass``."""
    power = _block_means(texture * texture)
    return bool(np.mean(power > _STAINED**2) >= _RICH_SHARE)


def is_edge(found: ShiftFit) -> bool:
    """Whether all that agrees runs one way, along which any shift would do."""
    least, most, own = found.slopes.ends
    coherent = _COHERENT_EDGE if least < _EDGE_LIKE * most else _COHERENT
    return least < _LEAST_APERTURE * most or least < coherent * own


def is_alike(found: ShiftFit) -> bool:
    """Whether two pictures do not contradict each other where they meet."""
    return found.share >= _NEAR_SHARE


def is_near(found: ShiftFit) -> bool:
    """Whether a fit that starts where it was expected is no chance fit."""
    return is_alike(found) and found.evidence >= _EVIDENCE and not is_edge(found)


def is_found(found: ShiftFit, *, beyond: float = _BEYOND) -> bool:
    """Whether a fit found by a search is no chance fit."""
    enough = found.share >= _FOUND_SHARE and found.beyond >= beyond
    return enough and not is_edge(found)


def is_patchy(found: ShiftFit) -> bool:
    """Whether a fit of two fields of which parts were left out is no chance fit."""
    enough = found.share >= _PATCHY_SHARE and found.beyond >= _PATCHY
    return enough and not is_edge(found)


def is_cell(found: ShiftFit) -> bool:
    """Whether a fit rests on one cell, which agrees in all its parts."""
    enough = found.share >= _FOUND_SHARE and found.evidence >= _CELL
    return enough and not is_edge(found)


def pooled(fits: Sequence[ShiftFit]) -> ShiftFit:
    """What fits say together that stand or fall by one and the same shift.

    The first with the word of all: texture, slopes, evidence and overlaps add up.
    """
    texture = sum(each.texture for each in fits)
    agreed = sum(each.share * each.texture for each in fits)
    evidence = sum(each.evidence for each in fits)
    return fits[0]._replace(
        slopes=Slopes(*map(sum, zip(*(each.slopes for each in fits), strict=True))),
        share=agreed / max(texture, 1e-9),
        evidence=evidence,
        beyond=evidence - max(each.evidence - each.beyond for each in fits),
        overlap=sum(each.overlap for each in fits),
        texture=texture,
    )


def without_still(a: Texture, b: Texture) -> tuple[Texture, Texture]:
    """Two fields of one camera without the blocks that agree where neither moved.

    When the slide moved, what is left out is dirt on the sensor.
    """
    both, weight = _block_products(a.fine, b.fine)
    moved = (both <= _SIMILAR * weight).astype(np.float32)
    height, width = (side * BLOCK_PX for side in moved.shape)
    mask = np.zeros(a.fine.shape, np.float32)
    mask[:height, :width] = moved.repeat(BLOCK_PX, axis=0).repeat(BLOCK_PX, axis=1)
    return Texture(a.fine * mask, a.clean), Texture(b.fine * mask, b.clean)


class _Picture(NamedTuple):
    """A picture at one scale."""

    texture: Plane
    slopes: tuple[Plane, Plane]
    """Along x and y."""
    clean: Plane | None


class _Level(NamedTuple):
    """Two pictures at one scale."""

    a: _Picture
    b: _Picture
    edge_px: int


class _Rest(NamedTuple):
    """Where a descent ended."""

    x: float
    y: float
    left: float
    """Mean squared difference there."""
    moves: bool
    """Whether the last step was still a long one."""


def _descend(level: _Level, shift: Shift) -> _Rest | None:
    """Shift with the least squared difference near ``shift``."""
    x, y = shift
    left = math.inf
    for _ in range(_STEPS):
        whole = round(x), round(y)
        step = _step(level, *whole)
        if step is None:
            return None
        # A linear step is trusted for a pixel and a half.
        x, y = (whole[i] + min(1.5, max(-1.5, step[i])) for i in (0, 1))
        left = step[2]
        if max(abs(x - whole[0]), abs(y - whole[1])) <= 0.6:
            return _Rest(x, y, left, moves=False)
    return _Rest(x, y, left, moves=True)


def _step(level: _Level, dx: int, dy: int) -> tuple[float, float, float] | None:
    """One Gauss-Newton step from a whole shift, with the slopes of both pictures.

    With the mean of both slopes the error is of third order in the step: less than
    0.01 px at half a pixel, and no shifted picture has to be made.
    """
    a, b = level.a, level.b
    window = _window(a.texture, b.texture, (dx, dy), level.edge_px)
    if window is None:
        return None
    in_a, in_b = window
    rest = a.texture[in_a] - b.texture[in_b]
    gx, gy = (a.slopes[i][in_a] + b.slopes[i][in_b] for i in (0, 1))
    known = _known_to_both(a.clean, b.clean, window)
    if known is not None:
        rest, gx, gy = rest * known, gx * known, gy * known
    count = rest.size if known is None else max(1.0, float(known.sum()))
    xx, xy, yy = _dot(gx, gx) / 4, _dot(gx, gy) / 4, _dot(gy, gy) / 4
    xr, yr = _dot(gx, rest) / 2, _dot(gy, rest) / 2
    determinant = xx * yy - xy * xy
    if determinant <= 1e-6 * (xx + yy) ** 2 or determinant <= 0:
        return None
    fx, fy = (xy * yr - yy * xr) / determinant, (xy * xr - xx * yr) / determinant
    left = max(0.0, _dot(rest, rest) + fx * xr + fy * yr) / count
    return fx, fy, left


def _common_slopes(
    a: Texture, b: Texture, shift: tuple[int, int], textured: NDArray[np.bool_]
) -> Slopes:
    """The slopes of the blocks with texture at a whole shift, at the coarse scale."""
    window = _window(a.fine, b.fine, shift, _EDGE_PX)
    if window is None or not textured.any():
        return Slopes()
    (ax, ay), (bx, by) = (
        [_blocks(slope, part, textured) for slope in look.coarse_slopes]
        for look, part in zip((a, b), window, strict=True)
    )
    for clean, part, slopes in (
        (a.coarse_clean, window[0], (bx, by)),
        (b.coarse_clean, window[1], (ax, ay)),
    ):
        if clean is not None:
            known = _blocks(clean, part, textured)
            for slope in slopes:
                slope *= known
    # A coarse pixel stands for four, whose slopes are half as steep.
    return Slopes(
        _EVERY * _dot(ax, bx),
        _EVERY * (_dot(ax, by) + _dot(ay, bx)) / 2,
        _EVERY * _dot(ay, by),
        _EVERY * (_dot(ax, ax) + _dot(bx, bx)) / 2,
        _EVERY * (_dot(ax, ay) + _dot(bx, by)) / 2,
        _EVERY * (_dot(ay, ay) + _dot(by, by)) / 2,
    )


def _blocks(
    coarse: Plane, part: tuple[slice, slice], textured: NDArray[np.bool_]
) -> Plane:
    """Some rows of the blocks with texture, of a part given in fine pixels."""
    (y, x), side = (each.start // 2 for each in part), BLOCK_PX // 2
    rows, columns = textured.shape
    even = coarse[y : y + rows * side, x : x + columns * side]
    blocks = even.reshape(rows, side, columns, side)[:, ::_EVERY].swapaxes(1, 2)
    return blocks[textured].ravel()


def _dot(a: Plane, b: Plane) -> float:
    return float(np.vdot(a, b))


def _window(
    a: Plane, b: Plane, shift: tuple[int, int], edge_px: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The overlap in a and in b without its edge; None where it is too narrow."""
    dx, dy = shift
    x0, x1 = max(0, dx) + edge_px, min(a.shape[1], dx + b.shape[1]) - edge_px
    y0, y1 = max(0, dy) + edge_px, min(a.shape[0], dy + b.shape[0]) - edge_px
    if min(x1 - x0, y1 - y0) < BLOCK_PX // 2:
        return None
    return (
        (slice(y0, y1), slice(x0, x1)),
        (slice(y0 - dy, y1 - dy), slice(x0 - dx, x1 - dx)),
    )


def _known_to_both(
    a: Plane | None,
    b: Plane | None,
    window: tuple[tuple[slice, slice], tuple[slice, slice]],
) -> Plane | None:
    """What both pictures show of the slide where they meet; None where all."""
    if a is None or b is None:
        return a[window[0]] if a is not None else None if b is None else b[window[1]]
    return a[window[0]] * b[window[1]]


def _judge(
    a: Texture, b: Texture, dx: int, dy: int
) -> tuple[NDArray[np.bool_], float, float, float, float, float]:
    """Which blocks have texture at a whole shift, and what a fit says of them."""
    window = _window(a.fine, b.fine, (dx, dy), _EDGE_PX)
    if window is None or min(a.fine[window[0]].shape) < BLOCK_PX:
        return _NONE, 0.0, 0.0, 0.0, 0.0, 0.0
    part_a, part_b = a.fine[window[0]], b.fine[window[1]]
    overlap = part_a.size / min(a.fine.size, b.fine.size)
    known = _known_to_both(a.clean, b.clean, window)
    if known is not None:
        # What one of them does not show contradicts nothing.
        part_a, part_b = part_a * known, part_b * known
    both, weight = _block_products(part_a, part_b)
    texture = float(weight.sum())
    if texture <= 0:
        return _NONE, 0.0, 0.0, 0.0, overlap, 0.0
    similar = np.clip(both / np.maximum(weight, _TEXTURE / 2), 0.0, _MOST_SIMILAR)
    similar[weight == 0] = 0.0
    share = float(weight[similar > _SIMILAR].sum()) / texture
    evidence = -np.log1p(-similar * similar)
    spots = cv2.boxFilter(
        evidence, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    total = float(evidence.sum())
    return weight > 0, share, total, total - float(spots.max()), overlap, texture


def _block_products(
    a: Plane, b: Plane
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of a b, and of the squares where a block has texture (else 0)."""
    both = _block_means(a * b)
    each = _block_means(a * a), _block_means(b * b)
    textured = np.maximum(*each) > _TEXTURE
    return both, np.where(textured, (each[0] + each[1]) / 2, np.float32(0.0))


def _block_means(plane: Plane) -> NDArray[np.float32]:
    height, width = (side // BLOCK_PX for side in plane.shape)
    even = plane[: height * BLOCK_PX, : width * BLOCK_PX]
    return np.asarray(
        cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.float32
    )
