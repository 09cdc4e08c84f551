"""What to draw where: findings in slide coordinates to boxes on one field's picture.

A box belongs to the picture that is painted, not to the newest message: it is placed by
that field's own place, so it cannot lag behind a moving stage. Where the place is not
known well enough there is no box at all, and the layout says why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.display import to_display
from armicro.field import Place
from armicro.overlay.guide import Goal, extent_um
from armicro.overlay.snapshot import (
    DisplayOptics,
    LiveField,
    OverlaySettings,
    SlideState,
)
from armicro.overlay.view import STALE, Rgb, XyXy, suspicion_rgb
from armicro.overlay.words import Banner, aim_of, opacity_of, why_no_boxes
from armicro.report import Finding, Revisit
from armicro.slide.decision import UNDECIDED, Decided
from armicro.verdict import probability_text

# ---------------------------------------------------------------------------
# Where labels go: beside their boxes, hiding neither a cell nor one another.


_ON_LABEL = 8.0
_ON_BOX = 1.0
_OUTSIDE = 4.0
_GAP = 0.25
"""Distance between a box and its label, as a share of the label's height."""

_Boxes = NDArray[np.float64]


def place_labels(
    boxes_xyxy: Sequence[XyXy], sizes: Sequence[tuple[float, float]], visible: XyXy
) -> list[XyXy]:
    """Place a label of each size beside each box; the first boxes choose first.

    Every label takes the cheapest of ten places around its box. Cost is the area that
    it would share with other labels, with boxes (cells!), and with what is out
    of sight.

    Returns:
        The labels' boxes, in the units of the boxes.
    """
    if not boxes_xyxy:
        return []
    boxes = np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    extent = np.array(sizes, dtype=np.float64).reshape(-1, 2)
    count = len(boxes)
    spots = _spots(boxes, extent)
    flat = spots.reshape(-1, 4)
    on_boxes = _shared(flat, boxes).sum(axis=1).reshape(count, -1)
    shown = _shared(flat, np.array([visible], np.float64)).reshape(count, -1)
    cost = _ON_BOX * on_boxes + _OUTSIDE * (extent.prod(axis=1)[:, None] - shown)
    placed = np.empty((count, 4))
    for at in range(count):
        on_labels = _shared(spots[at], placed[:at]).sum(axis=1)
        best = np.argmin(np.round(cost[at] + _ON_LABEL * on_labels, 6))
        placed[at] = spots[at, best]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in placed]


def _spots(boxes: _Boxes, sizes: _Boxes) -> _Boxes:
    """(n, 10, 4): places around each box, best first where cost does not decide."""
    x0, y0, x1, y1 = boxes.T
    width, height = sizes.T
    gap = _GAP * height
    above, below = y0 - gap - height, y1 + gap
    left, right = x0 - gap - width, x1 + gap
    middle_x, middle_y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    corners = np.array(
        [
            (x0, above),
            (x1 - width, above),
            (middle_x, above),
            (x0, below),
            (x1 - width, below),
            (middle_x, below),
            (right, y0),
            (left, y0),
            (right, middle_y),
            (left, middle_y),
        ]
    ).transpose(2, 0, 1)
    return np.concatenate([corners, corners + sizes[:, None, :]], axis=2)


def _shared(spots: _Boxes, others: _Boxes) -> _Boxes:
    """(spots, others): areas of overlap."""
    low = np.maximum(spots[:, None, :2], others[None, :, :2])
    high = np.minimum(spots[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(high - low, 0.0)
    shared: _Boxes = sides[..., 0] * sides[..., 1]
    return shared


# ---------------------------------------------------------------------------
# What is drawn where.


@dataclass(frozen=True, slots=True)
class Box:
    """One finding on the picture."""

    finding: Finding
    box_xyxy_px: XyXy
    """In pixels of the field; may reach beyond its edges."""
    rgb: Rgb
    opacity: float
    """0-1, by how far the box is expected to be off."""
    weight: float
    """Stroke width relative to a thin line; grows with probability."""
    dashed: bool
    """The state behind it is out of date."""
    chosen: bool
    """The operator picked it from the list."""
    label: str
    label_xyxy_px: XyXy
    """In pixels of the field."""


@dataclass(frozen=True, slots=True)
class BoxLayout:
    """All boxes of one picture, most suspicious first, or why there are none."""

    boxes: tuple[Box, ...] = ()
    reason: str = ""
    hidden: int = 0
    """Boxes that are in sight and left out since there are too many."""


class FindingIndex:
    """The slide's findings, laid out for a quick look-up by place.

    Built once a slide state, looked up in every painted frame: a slide may hold
    thousands of findings, and a tick has a few milliseconds.
    """

    def __init__(self, findings: Sequence[Finding] = ()) -> None:
        """Keep the findings that may get a box.

        Args:
            findings: in slide coordinates, in any order.
        """
        self.findings = sorted(findings, key=lambda found: -found.hr_probability)
        rows = [
            (f.x_um, f.y_um, f.width_um, f.height_um, f.hr_probability)
            for f in self.findings
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        half_um = table[:, 2:4] / 2
        self._boxes_um = np.hstack([table[:, :2] - half_um, table[:, :2] + half_um])
        self._probability = table[:, 4]

    def within(
        self, sight_xyxy_um: XyXy, *, least_probability: float
    ) -> tuple[list[Finding], NDArray[np.float64]]:
        """Findings that touch a part of the slide, and their (n, 4) boxes in µm."""
        x0, y0, x1, y1 = sight_xyxy_um
        boxes = self._boxes_um
        # Sorted by probability: only the head of the table can qualify.
        head = int(np.count_nonzero(self._probability >= least_probability))
        boxes = boxes[:head]
        touches = (
            (boxes[:, 0] < x1)
            & (boxes[:, 2] > x0)
            & (boxes[:, 1] < y1)
            & (boxes[:, 3] > y0)
        )
        at = np.flatnonzero(touches)
        return [self.findings[i] for i in at], boxes[at]


@dataclass(frozen=True, slots=True)
class CanvasView:
    """How the canvas looks at the field."""

    visible_xyxy_px: XyXy
    """The part of the field that is in sight, in its pixels."""
    label_size_px: tuple[float, float]
    """Width and height of a label, in pixels of the field."""
    stale: bool = False
    chosen: Finding | None = None
    now_ns: int = 0
    """The moment of painting, on the clock of ``taken_ns``."""
    decided: Decided = UNDECIDED


def sight_um(place: Place, um_per_px: float, visible_xyxy_px: XyXy) -> XyXy:
    """The part of the slide that is in sight.

    >>> sight_um(Place(100.0, 200.0, 0.1, "slide_file"), 0.5, (0, 10, 40, 30))
    (100.0, 205.0, 120.0, 215.0)
    """
    x0, y0, x1, y1 = (edge * um_per_px for edge in visible_xyxy_px)
    return place.x_um + x0, place.y_um + y0, place.x_um + x1, place.y_um + y1


def part_on(part: Revisit, place: Place, um_per_px: float) -> XyXy:
    """A part of the slide in pixels of a field that lies at ``place``."""
    x0, y0, x1, y1 = extent_um(part)
    return (
        (x0 - place.x_um) / um_per_px,
        (y0 - place.y_um) / um_per_px,
        (x1 - place.x_um) / um_per_px,
        (y1 - place.y_um) / um_per_px,
    )


MARKED_RGB: Rgb = (106, 178, 226)
"""Of a cell that a reader marked and the machine had not found."""
REJECTED_OPACITY = 0.45


def lay_out(
    shelf: FindingIndex,
    field: LiveField,
    slide: SlideState | None,
    sight: CanvasView,
    setting: OverlaySettings,
) -> BoxLayout:
    """Place every finding that is in sight on the picture of a field.

    Args:
        shelf: the slide's findings.
        field: the field whose picture is painted.
        slide: the newest slide state; its problem switches boxes off.
        sight: the part of the field that the canvas shows.
        setting: limits.
    """
    reason = why_no_boxes(field, slide, sight.now_ns, setting)
    aim = aim_of(field, sight.now_ns, setting)
    if reason or aim is None:
        return BoxLayout(reason=reason)
    origin_um = np.array([aim.place.x_um, aim.place.y_um] * 2)
    seen_um = sight_um(aim.place, field.um_per_px, sight.visible_xyxy_px)
    found, boxes_um = shelf.within(seen_um, least_probability=setting.least_probability)
    hidden = max(0, len(found) - setting.most_boxes)
    found, boxes_um = found[: setting.most_boxes], boxes_um[: setting.most_boxes]
    if sight.chosen is not None and sight.chosen not in found:
        # Who picks a finding from the list wants to see it, however improbable.
        picked, picked_um = FindingIndex((sight.chosen,)).within(
            seen_um, least_probability=0
        )
        found, boxes_um = [*found, *picked], np.vstack([boxes_um, picked_um])
    if missed := sight.decided.missed():
        marks = FindingIndex([one.mark for one in missed])
        marked, marked_um = marks.within(seen_um, least_probability=0)
        found, boxes_um = [*found, *marked], np.vstack([boxes_um, marked_um])
    boxes_px = [
        (float(x0), float(y0), float(x1), float(y1))
        for x0, y0, x1, y1 in (boxes_um - origin_um) / field.um_per_px
    ]
    labels_px = place_labels(
        boxes_px, [sight.label_size_px] * len(found), sight.visible_xyxy_px
    )
    opacity = opacity_of(aim.error_um, setting)
    boxes = tuple(
        _box(one, box_px, label_px, opacity, sight)
        for one, box_px, label_px in zip(found, boxes_px, labels_px, strict=True)
    )
    return BoxLayout(boxes, hidden=hidden)


def _box(
    found: Finding, box_px: XyXy, label_px: XyXy, opacity: float, sight: CanvasView
) -> Box:
    said = sight.decided.of(found)
    marked = said is not None and said.hr_probability is None
    rgb = MARKED_RGB if marked else suspicion_rgb(found.hr_probability)
    rejected = said is not None and said.verdict == "reject"
    return Box(
        finding=found,
        box_xyxy_px=box_px,
        rgb=STALE if sight.stale else rgb,
        opacity=opacity * (REJECTED_OPACITY if rejected else 1.0),
        weight=1.0 + max(0.0, found.hr_probability - 0.5),
        dashed=sight.stale,
        chosen=found == sight.chosen,
        label=said.sign if said else probability_text(found.hr_probability),
        label_xyxy_px=label_px,
    )


# ---------------------------------------------------------------------------
# From a field to an optical display: what is painted lands on the cells themselves.
#
# Boxes are drawn in the field's pixels as on a monitor, and all that is drawn goes
# through one homography, mirrored or turned as the display is: so letters, too, read as
# they would in the camera's picture. A lens's radial terms move each box as a whole.


Matrix = NDArray[np.float64]
"""(3, 3): point ~ matrix @ (x, y, 1)."""


def fitted(field_px: tuple[float, float], screen_px: tuple[float, float]) -> Matrix:
    """The field as large as the screen allows, for words where nothing was measured.

    >>> fitted((200, 100), (100, 100)).tolist()
    [[0.5, 0.0, 0.0], [0.0, 0.5, 25.0], [0.0, 0.0, 1.0]]
    """
    scale = min(screen_px[0] / field_px[0], screen_px[1] / field_px[1])
    left, top = ((screen_px[i] - scale * field_px[i]) / 2 for i in (0, 1))
    return np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]], np.float64)


def between_edges(optics: DisplayOptics) -> Matrix:
    """The homography for coordinates that count from the outer edge of a pixel."""
    to_centres, to_edges = np.eye(3), np.eye(3)
    to_centres[:2, 2], to_edges[:2, 2] = -0.5, 0.5
    return np.asarray(to_edges @ np.asarray(optics.homography) @ to_centres)


def local_scale(matrix: Matrix, spot: tuple[float, float]) -> float:
    """Display pixels per pixel of the field near a spot; always positive.

    >>> local_scale(np.diag([-2.0, 2.0, 1.0]), (5, 5))
    2.0
    """
    x, y, w = matrix @ (*spot, 1.0)
    jacobian = (matrix[:2, :2] - np.outer((x / w, y / w), matrix[2, :2])) / w
    return math.sqrt(abs(float(np.linalg.det(jacobian))))


def bent(
    boxes: Sequence[Box], optics: DisplayOptics, field_px: tuple[int, int]
) -> tuple[Box, ...]:
    """Move boxes as the lens moves what they stand on."""
    if not optics.distortion or not boxes:
        return tuple(boxes)
    corners = np.array([box.box_xyxy_px for box in boxes])
    middles = (corners[:, :2] + corners[:, 2:]) / 2 - 0.5
    straight = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    moves = to_display(middles, straight, optics.distortion, field_px) - middles
    return tuple(
        replace(
            box,
            box_xyxy_px=_moved(box.box_xyxy_px, by),
            label_xyxy_px=_moved(box.label_xyxy_px, by),
        )
        for box, by in zip(boxes, moves.tolist(), strict=True)
    )


def _moved(box: XyXy, by: Sequence[float]) -> XyXy:
    return box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1]


# ---------------------------------------------------------------------------
# What is painted over a field, besides its pixels.


@dataclass(frozen=True, slots=True)
class Scene:
    """All of it; equal scenes are not painted twice."""

    shelf: FindingIndex
    slide: SlideState | None = None
    stale: bool = False
    goal: Goal | None = None
    """What the operator picked."""
    back_xy: tuple[float, float] | None = None
    """The way back where the place is lost; None where it is not, or nobody knows."""
    badge: str = ""
    """What keeps the field from being analysed."""
    now_ns: int = 0
    """The moment of painting, where boxes depend on it (eyepiece); else 0."""
    banner: Banner | None = None
    waiting: str = ""
    """What to say before the first field."""
    decided: Decided = UNDECIDED
    """What the reader said of findings."""
    boxes_on: bool = True
    help_on: bool = False
