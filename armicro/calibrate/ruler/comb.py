"""Equally spaced lines in a picture that is turned so that they stand upright.

The picture is cut into bands of rows. In each band, at several line widths and in both
polarities, peaks are sought; where most of them keep one distance, a comb is tracked
outwards from its most regular part. Tracking lets the pitch change slowly (distortion,
tilt) without losing count. The comb that explains most peaks and misses fewest wins:
a pitch too fine misses half its ticks, one too coarse leaves half the peaks over.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.ruler.prepare import Floats

# ---------------------------------------------------------------------------
# The straight line through numbered ticks: pitch, its error, and what bends.


Doubles = NDArray[np.float64]
READING_ERROR = 2e-4
"""Share of the pitch that interpolation and optics leave however many ticks there are;
see tests/benchmarks/bench_scale.py for how errors compare with what is stated."""
OTHER_PITCH = 0.006
"""Pitches that differ by this share are those of two scales."""
MOST_FIT = 0.7
"""Share of the ticks that lie on one curve, else there may be two."""
STEADIER, FEWEST_STEADY = 0.25, 0.75
"""A fit from the medians is taken where it leaves so much less, of so many ticks."""
LEAST_PIECE = 8
"""Ticks from which a pitch is told well enough to call another one different."""


@dataclass(frozen=True, slots=True, eq=False)
class TickLine:
    """Ticks at equal distances."""

    pitch_px: float
    standard_error_px: float
    residual_px: Doubles
    """Of every tick given."""
    used: NDArray[np.bool_]
    bend: float
    """By how much the pitch changes from one end to the other, as a share of it."""
    rms_px: float
    """Of the ticks used, about a smooth curve."""
    breaks: bool
    """Two straight pieces of different pitch explain it better than any curve."""


def fit_line(index: NDArray[np.int64], x: Doubles) -> TickLine:
    """Fit places to tick numbers; what lies far off (dust) is left out.

    Args:
        index: (n,) tick numbers; n at least 4.
        x: (n,) places in pixels.
    """
    degree = 3 if len(x) >= 8 else 1
    curve, used, rms = _leave_out(
        index, x, np.polynomial.Polynomial.fit(index, x, degree), degree
    )
    # Dust at an end bends a first curve through all, but not one from the medians.
    pitch = float(np.median(np.diff(x) / np.diff(index)))
    start = np.polynomial.Polynomial([float(np.median(x - pitch * index)), pitch])
    steady = _leave_out(index, x, start, degree)
    whole = len(x) >= LEAST_PIECE and steady[1].mean() >= FEWEST_STEADY
    if whole and steady[2] < STEADIER * rms:
        curve, used, rms = steady
    straight = np.polyfit(index[used], x[used], 1)
    residual = x - np.polyval(straight, index)
    pitch = float(straight[0])
    lever = float(np.sqrt(np.sum((index[used] - index[used].mean()) ** 2)))
    slopes = curve.deriv()(index[used].astype(np.float64))
    scatter = max(rms / lever, _grouped_error(index[used], (x - curve(index))[used]))
    smooth = float(np.std(slopes)) if degree == 3 else 0.0
    # A cubic through noise bends as well: what bends less than that is straight.
    smooth = smooth if smooth > 4 * scatter else 0.0
    error = np.sqrt(scatter**2 + (0.5 * smooth) ** 2 + (READING_ERROR * pitch) ** 2)
    bend = float(slopes[-1] - slopes[0]) / pitch if smooth else 0.0
    breaks = _breaks(index[used], x[used], rms)
    if used.mean() < MOST_FIT:
        # What was left out may be the other ruler.
        breaks |= _breaks(index, x, float(np.sqrt(np.mean((x - curve(index)) ** 2))))
    return TickLine(pitch, float(error), residual, used, bend, rms, breaks)


def _leave_out(
    index: NDArray[np.int64],
    x: Doubles,
    curve: np.polynomial.Polynomial,
    degree: int,
) -> tuple[np.polynomial.Polynomial, NDArray[np.bool_], float]:
    """Fit again and again without what lies off; curve, used ticks and their RMS."""
    used = np.ones(len(x), dtype=bool)
    pitch = float(np.median(np.diff(x) / np.diff(index)))
    for _ in range(8):
        off = np.abs(x - curve(index))
        limit = max(3.5 * 1.483 * float(np.median(off[used])), 0.004 * pitch, 0.03)
        kept = off <= limit
        if kept.sum() < 4 or (kept == used).all():
            break
        used = kept
        curve = np.polynomial.Polynomial.fit(index[used], x[used], degree)
    free = max(1, int(used.sum()) - degree - 1)
    rms = float(np.sqrt(np.sum((x - curve(index))[used] ** 2) / free))
    return curve, used, max(rms, 0.01)


def _grouped_error(index: NDArray[np.int64], off: Doubles) -> float:
    """Standard error of a slope where neighbours err alike, as groups of ticks do.

    The sandwich estimate over blocks of so many ticks (Liang & Zeger 1986, Biometrika
    73:13), whatever the group: the largest. A cubic has taken four degrees of freedom.

    Args:
        index: (n,) tick numbers.
        off: (n,) distances from the curve, in pixels.
    """
    arm = index - index.mean()
    worst = 0.0
    for block in (5, 10, 20):
        owner = (index - index[0]) // block
        groups = int(owner[-1]) + 1
        if groups < 6:
            break
        sums = np.bincount(owner, weights=arm * off, minlength=groups)
        free = groups / (groups - 4)
        worst = max(worst, float(np.sqrt(free * np.sum(sums**2))))
    return worst / float(np.sum(arm**2))


def _breaks(index: NDArray[np.int64], x: Doubles, rms_px: float) -> bool:
    """Whether two rulers, one after the other, were followed as one.

    Args:
        index: (n,) tick numbers.
        x: (n,) places in pixels.
        rms_px: distance from the best curve.
    """
    for cut in range(LEAST_PIECE, len(x) - LEAST_PIECE + 1, max(1, len(x) // 40)):
        pieces = [(index[:cut], x[:cut]), (index[cut:], x[cut:])]
        lines = [np.polyfit(*piece, 1) for piece in pieces]
        off = [
            xs - np.polyval(line, i)
            for line, (i, xs) in zip(lines, pieces, strict=True)
        ]
        left = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
        apart = abs(lines[1][0] / lines[0][0] - 1)
        if apart > OTHER_PITCH and left < 0.5 * rms_px:
            return True
    return False


# ---------------------------------------------------------------------------
# The comb.


NEAR = 0.2
"""A tick may lie this share of a pitch beside its place."""
MAX_MISSES = 3
LEAST_RIVAL = 8
SAME_PITCH = 0.05
BEST_ROWS = 8
"""Bands of one height, line width and polarity that are looked at."""


class _Grain(NamedTuple):
    """What is sought in a picture."""

    bands_px: tuple[int, ...]
    """Heights of the bands."""
    widths_px: tuple[float, ...]
    """Half widths of the lines."""
    most: int
    """Bands that are looked at closely."""


COARSE = _Grain((6, 20, 60), (1.0, 1.7, 3.0, 5.0, 9.0, 16.0, 28.0), 120)
FINE = _Grain((10, 30), (1.0, 1.7, 3.0), 60)


@dataclass(frozen=True, slots=True, eq=False)
class Comb:
    """Equally spaced lines that cross a band of rows of a turned picture."""

    x_px: NDArray[np.float64]
    index: NDArray[np.int64]
    """Which tooth each is; from 0, gaps where one was not seen."""
    pitch_px: float
    row_px: float
    """Middle of the band."""
    sign: int
    """-1 dark lines, 1 bright ones."""
    sigma_px: float
    extras: int
    """Peaks within its span that are no tooth."""
    score: float

    @property
    def missing(self) -> int:
        """Teeth within its span that were not seen."""
        return int(self.index[-1]) + 1 - len(self.index)

    def resembles(self, other: "Comb") -> bool:
        """Whether another comb is of the same lines, or of others of their pitch."""
        ratio = self.pitch_px / other.pitch_px
        return self.sign == other.sign and abs(ratio - 1) < SAME_PITCH

    def repeats(self, other: "Comb") -> bool:
        """Whether another comb is of the same lines, in other rows perhaps."""
        pitch = self.pitch_px
        return bool(
            abs(pitch / other.pitch_px - 1) < OTHER_PITCH
            and abs(self.row_px - other.row_px) < pitch
            and self.x_px[0] < other.x_px[-1]
            and self.x_px[-1] > other.x_px[0]
        )

    def may_rival(self, span_px: float) -> bool:
        """Whether it may be a scale of its own beside one of such a length."""
        count = len(self.index)
        return bool(
            count >= LEAST_RIVAL
            and self.missing <= 0.1 * count
            and self.extras <= 0.3 * count
            and np.ptp(self.x_px) > 0.25 * span_px
        )

    def points_xy_px(
        self, matrix: NDArray[np.float64], step: float
    ) -> NDArray[np.float64]:
        """(n, 2): where its lines cross its row in a picture ``step`` larger.

        Args:
            matrix: 2x3, from pixels of the smaller picture to those it has here.
            step: how many times larger.
        """
        points = np.stack([self.x_px, np.full_like(self.x_px, self.row_px)], axis=1)
        flat = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        return np.asarray((flat + 0.5) * step - 0.5, np.float64)

    def carried(
        self, old: NDArray[np.float64], new: NDArray[np.float64], step: float
    ) -> "Comb":
        """The same comb in a picture that is turned otherwise and ``step`` larger.

        Args:
            old: 2x3, from pixels of the smaller picture to those it has here.
            new: 2x3, from pixels of the larger picture to those it will have.
            step: how many times larger.
        """
        moved = self.points_xy_px(old, step) @ new[:, :2].T + new[:, 2]
        return replace(
            self,
            x_px=moved[:, 0],
            pitch_px=float(np.polyfit(self.index, moved[:, 0], 1)[0]),
            row_px=float(moved[:, 1].mean()),
            sigma_px=self.sigma_px * step,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    x: NDArray[np.float64]
    strength: NDArray[np.float64]
    row: float
    sign: int
    sigma: float
    promise: float


def find_combs(turned: Floats, seen: Floats, *, fine: bool = False) -> list[Comb]:
    """The best combs in a turned picture, best first.

    Args:
        turned: (height, width) local contrast, lines upright.
        seen: (height, width), 1 where the picture is.
        fine: only what a picture made smaller does not show.
    """
    grain = FINE if fine else COARSE
    most = grain.most
    bands = sorted(_bands(turned, seen, grain), key=lambda band: -band.promise)
    combs = [comb for band in bands[:most] for comb in _tracks(band)]
    return sorted(combs, key=lambda comb: -comb.score)


def _bands(turned: Floats, seen: Floats, grain: _Grain) -> Iterator[_Band]:
    high = turned - cv2.GaussianBlur(turned, (0, 0), 2.0)
    noise = 1.3 * float(np.median(np.abs(high[seen > 0.5]))) + 1e-4
    for height in grain.bands_px:
        step = max(2, height // 2)
        rows = np.arange(height // 2, turned.shape[0] - height // 2, step)
        mean = blur_rows(turned, height)[rows]
        whole = blur_rows(seen, height)[rows] > 0.99
        for sigma in grain.widths_px:
            if sigma * 12 > turned.shape[1] or (sigma > 9 and height < 20):
                continue
            inner = cv2.erode(whole.astype(np.uint8), np.ones((1, int(2 * sigma) | 1)))
            # Noise of a mean over a band and the filter's Gaussian, and of its side.
            floor = 4.0 * noise / np.sqrt(height * 2.1 * sigma)
            for sign in (-1, 1):
                answer = ridge(mean, sigma, sign) * inner
                yield from _regular(answer, rows, floor=floor, sign=sign, sigma=sigma)


def blur_rows(picture: Floats, height: int) -> Floats:
    """Mean over so many rows."""
    return np.asarray(cv2.blur(picture, (1, height)), np.float32)


def ridge(picture: Floats, sigma: float, sign: int) -> Floats:
    """By how much each pixel outdoes the better of what lies left and right of it.

    The lesser of two contrasts has no side lobes, which would pass for lines half a
    pitch away; a wide line's edges do not answer either, since one side is line still.

    Args:
        picture: (height, width); lines upright.
        sigma: half the width of the lines sought, in pixels.
        sign: 1 bright lines, -1 dark ones.
    """
    reach = max(2, round(2 * sigma))
    size = 2 * int(np.ceil(2 * sigma)) + 1
    soft = cv2.GaussianBlur(picture, (size, 1), 0.6 * sigma)
    padded = cv2.copyMakeBorder(soft, 0, 0, reach, reach, cv2.BORDER_REFLECT_101)
    left, right = padded[:, : -2 * reach], padded[:, 2 * reach :]
    # In place: new memory for each step would cost as much as the steps.
    better = cv2.max(left, right) if sign > 0 else cv2.min(left, right)
    operands = (soft, better) if sign > 0 else (better, soft)
    return np.asarray(cv2.subtract(*operands, dst=better), np.float32)


def _regular(
    answer: Floats, rows: NDArray[np.int64], *, floor: float, sign: int, sigma: float
) -> Iterator[_Band]:
    """Bands whose peaks mostly keep one distance."""
    middle = answer[:, 1:-1]
    peak = (middle > answer[:, :-2]) & (middle >= answer[:, 2:]) & (middle > floor)
    band, x = np.nonzero(peak)
    x = x + 1
    strength = answer[band, x]
    kept = strength > 0.3 * _quantiles(strength, band, len(rows), 0.85)[band]
    band, x, strength = band[kept], x[kept], strength[kept]
    same = np.flatnonzero(np.diff(band) == 0)
    gaps, owner = np.diff(x)[same], band[same]
    usual = _quantiles(gaps, owner, len(rows), 0.5)
    near = np.abs(gaps - usual[owner]) < NEAR * usual[owner]
    counts = np.bincount(owner, minlength=len(rows))
    shares = np.bincount(owner[near], minlength=len(rows)) / np.maximum(counts, 1)
    hopes = np.where((counts >= 3) & (shares >= 0.45), shares**2 * np.sqrt(counts), 0)
    for row in np.argsort(-hopes)[:BEST_ROWS]:
        if hopes[row] == 0:
            break
        own = slice(*np.searchsorted(band, (row, row + 1)))
        places, size = x[own], strength[own].astype(np.float64)
        left, right = answer[row, places - 1], answer[row, places + 1]
        shift = 0.5 * (left - right) / (left - 2 * size + right)
        promise = float(hopes[row] * np.median(size) ** 0.25)
        yield _Band(places + shift, size, float(rows[row]), sign, sigma, promise)


def _quantiles(
    values: NDArray[np.generic], owner: NDArray[np.int64], owners: int, share: float
) -> NDArray[np.float64]:
    """A quantile of the values of each owner; 0 where it has none."""
    result = np.zeros(owners)
    if len(values):
        order = np.lexsort((values, owner))
        counts = np.bincount(owner, minlength=owners)
        starts = np.cumsum(counts) - counts
        at = starts + (share * np.maximum(counts - 1, 0)).astype(int)
        some = counts > 0
        result[some] = values[order][at[some]]
    return result


def _tracks(band: _Band) -> Iterator[Comb]:
    """The comb of a band, and that of what lies left or right of it: another ruler."""
    comb = _track(band)
    if comb is None:
        return
    yield comb
    for rest in (band.x < comb.x_px[0], band.x > comb.x_px[-1]):
        if rest.sum() >= LEAST_RIVAL:
            part = replace(band, x=band.x[rest], strength=band.strength[rest])
            if (beside := _track(part)) is not None:
                yield beside


def _track(band: _Band) -> Comb | None:
    """Follow the most regular stretch of a band both ways."""
    x = band.x
    gaps = np.diff(x)
    pitch = float(np.median(gaps))
    near = np.abs(gaps - pitch) < NEAR * pitch
    if not near.any():
        return None
    pitch = float(np.mean(gaps[near]))
    start = _longest_run(near)
    right = _follow(x, start, pitch)
    left = _follow(-x[::-1], len(x) - 1 - start, pitch)
    teeth = {-k: len(x) - 1 - i for k, i in left.items()} | right
    if len(teeth) < 4:
        return None
    index = np.array(sorted(teeth), dtype=np.int64)
    places = np.array([teeth[k] for k in sorted(teeth)])
    span = (x >= x[places[0]]) & (x <= x[places[-1]])
    extras = int(span.sum()) - len(places)
    missing = int(index[-1] - index[0]) + 1 - len(index)
    strength = float(np.median(band.strength[places]))
    spread = float(np.std(band.strength[places])) / strength
    slope = float(np.polyfit(index, x[places], 1)[0])
    score = (len(index) - missing - extras) * (strength**0.5) / (0.3 + spread)
    return Comb(
        x[places], index - index[0], slope, band.row, band.sign, band.sigma, extras,
        score,
    )  # fmt: skip


def _longest_run(near: NDArray[np.bool_]) -> int:
    """Index of the peak in the middle of the longest run of usual gaps."""
    best, run, end = 0, 0, 0
    for i, usual in enumerate(near):
        run = run + 1 if usual else 0
        if run > best:
            best, end = run, i + 1
    return end - best // 2


def _follow(x: NDArray[np.float64], start: int, pitch: float) -> dict[int, int]:
    """Tooth number to peak number, from ``start`` to the right."""
    # Numbers of Python's own: a million steps of numpy's would take seconds.
    places: list[float] = x.tolist()
    found = {0: start}
    last, tooth, misses = places[start], 0, 0
    while misses <= MAX_MISSES:
        tooth += 1
        expected = last + pitch * (misses + 1)
        if expected > places[-1] + NEAR * pitch:
            break
        at = min(bisect_left(places, expected), len(places) - 1)
        if at > 0 and expected - places[at - 1] <= abs(places[at] - expected):
            at -= 1
        if abs(places[at] - expected) > NEAR * pitch:
            misses += 1
            continue
        step = (places[at] - last) / (misses + 1)
        pitch += 0.15 * (step - pitch)
        last, misses = places[at], 0
        found[tooth] = at
    return found
