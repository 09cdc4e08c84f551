"""What the operator should look at again: places, reasons, the most pressing first.

A place is about one field: what is to be seen again is gathered in squares of the
slide, and one square is one place. All of it follows from what was seen, so no order
matters.
"""

import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.report import Area, Finding, Revisit, RevisitReason
from armicro.slide.coverage import (
    BIN_UM,
    LEVEL,
    MARKS,
    MOVING,
    OUT_OF_FOCUS,
    PASSED,
    RESTED,
    RIM,
    TOLD,
    UNREADABLE,
    UNSEEN,
    BinBox,
    Coverage,
    Mask,
)
from armicro.verdict import SUSPICIOUS

MOST = 50
_SQUARE = 32
"""Bins a side of what is one place, about a field."""
_LEAST = 4
"""Bins that make a place worth a way, about one cell."""


def find_revisits(
    coverage: Coverage, findings: Sequence[Finding], *, in_work: Area | None = None
) -> tuple[Revisit, ...]:
    """Find what should be seen again, at most 50 places.

    What was shown and never analysed comes first, then suspicious cells that were only
    passed by: of both nobody knows enough.

    Args:
        coverage: what was seen.
        findings: the slide's, most suspicious first.
        in_work: the field whose rest is still to be looked at: not passed yet.
    """
    box = coverage.bounds()
    if not box.shape[0]:
        return ()
    layers = coverage.read(box)
    (passed, *others) = (
        _places(reason, mask, box)
        for reason, mask in _masks(layers, coverage, _mask_of(box, in_work))
    )
    # However much was passed, half of the list is left to what is known to be there.
    passing = tuple(_passing(findings, layers[MARKS], box))
    ahead = itertools.islice(passed, max(MOST // 2, MOST - len(passing)))
    return tuple(itertools.islice(itertools.chain(ahead, passing, *others), MOST))


def _passing(
    findings: Sequence[Finding], marks: NDArray[np.uint8], box: BinBox
) -> Iterator[Revisit]:
    """Suspicious cells that were never in a field that stood."""
    for finding in findings:
        if finding.hr_probability < SUSPICIOUS:
            return
        column = int(finding.x_um // BIN_UM) - box.x0
        row = int(finding.y_um // BIN_UM) - box.y0
        inside = 0 <= row < marks.shape[0] and 0 <= column < marks.shape[1]
        if inside and not marks[row, column] & RESTED:
            yield Revisit(
                finding.x_um - finding.width_um / 2,
                finding.y_um - finding.height_um / 2,
                finding.width_um,
                finding.height_um,
                "passing",
            )


def _masks(
    layers: NDArray[np.uint8], coverage: Coverage, in_work: Mask
) -> Iterator[tuple[RevisitReason, Mask]]:
    """Bins to see again by reason, the most pressing first; none is in two."""
    cell, level, marks = coverage.cell_bins(layers), layers[LEVEL], layers[MARKS]
    unseen = level == UNSEEN
    left = unseen & cell
    marked: tuple[tuple[RevisitReason, int], ...] = (
        ("unreadable", UNREADABLE),
        ("out_of_focus", OUT_OF_FOCUS),
        ("moving", MOVING),
    )
    judged = UNREADABLE | OUT_OF_FOCUS | MOVING
    here = left & (marks & PASSED > 0) & (marks & judged == 0) & ~in_work
    yield "passed", here
    left &= ~here
    for reason, mark in marked:
        here = left & (marks & mark > 0)
        yield reason, here
        left &= ~here
    # Where nobody knows of cells, a hole may be full of them.
    hole = unseen & (left if coverage.cells_known else marks & (255 - TOLD) == 0)
    seen = np.pad((~unseen).astype(np.uint8), _SQUARE)
    # An odd side, or the closing would be shifted by half a bin.
    kernel = np.ones((_SQUARE + 1, _SQUARE + 1), np.uint8)
    closed = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, kernel)
    yield "skipped", hole & (closed[_SQUARE:-_SQUARE, _SQUARE:-_SQUARE] > 0)
    beyond = unseen & cell if coverage.cells_known else unseen
    near = cv2.dilate(beyond.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    yield "edge", (level == RIM) & cell & near


def _mask_of(box: BinBox, area_xywh_um: Area | None) -> Mask:
    """The bins of a box that lie in an area."""
    mask = np.zeros(box.shape, np.bool_)
    if area_xywh_um is not None:
        part = BinBox.of(area_xywh_um)
        rows = slice(max(0, part.y0 - box.y0), max(0, part.y1 - box.y0))
        mask[rows, max(0, part.x0 - box.x0) : max(0, part.x1 - box.x0)] = True
    return mask


def _places(reason: RevisitReason, mask: Mask, box: BinBox) -> Iterator[Revisit]:
    """One place a square that holds enough, the fullest first."""
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return
    # Squares lie fast on the slide: a place does not wander as more is seen.
    down, across = (rows + box.y0) // _SQUARE, (columns + box.x0) // _SQUARE
    square = (down - down.min()) * (np.ptp(across) + 1) + across - across.min()
    _, which, counts = np.unique(square, return_inverse=True, return_counts=True)
    for index in np.argsort(-counts, kind="stable"):
        if counts[index] < _LEAST:
            return
        here = which == index
        x0, x1 = columns[here].min() + box.x0, columns[here].max() + box.x0 + 1
        y0, y1 = rows[here].min() + box.y0, rows[here].max() + box.y0 + 1
        yield Revisit(
            float(x0 * BIN_UM),
            float(y0 * BIN_UM),
            float((x1 - x0) * BIN_UM),
            float((y1 - y0) * BIN_UM),
            reason,
        )
