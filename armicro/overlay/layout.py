"""What to draw where: findings in slide coordinates to boxes on one field's picture.

A box belongs to the picture that is painted, not to the newest message: it is placed by
that field's own place, so it cannot lag behind a moving stage. Where the place is not
known well enough there is no box at all, and the layout says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from armicro.field import Place
from armicro.overlay.colour import STALE, Rgb, suspicion_rgb
from armicro.overlay.guide import extent_um
from armicro.overlay.label import place_labels
from armicro.overlay.picture import XyXy
from armicro.overlay.setting import Setting
from armicro.overlay.snapshot import LiveField, SlideState
from armicro.overlay.trust import aim_of, opacity_of, why_no_boxes
from armicro.report import Finding, Revisit
from armicro.verdict import probability_text


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
class Layout:
    """All boxes of one picture, most suspicious first, or why there are none."""

    boxes: tuple[Box, ...] = ()
    reason: str = ""
    hidden: int = 0
    """Boxes that are in sight and left out since there are too many."""


class Shelf:
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
class Sight:
    """How the canvas looks at the field."""

    visible_xyxy_px: XyXy
    """The part of the field that is in sight, in its pixels."""
    label_size_px: tuple[float, float]
    """Width and height of a label, in pixels of the field."""
    stale: bool = False
    chosen: Finding | None = None
    now_ns: int = 0
    """The moment of painting, on the clock of ``taken_ns``."""


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


def lay_out(
    shelf: Shelf,
    field: LiveField,
    slide: SlideState | None,
    sight: Sight,
    setting: Setting,
) -> Layout:
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
        return Layout(reason=reason)
    origin_um = np.array([aim.place.x_um, aim.place.y_um] * 2)
    seen_um = sight_um(aim.place, field.um_per_px, sight.visible_xyxy_px)
    found, boxes_um = shelf.within(seen_um, least_probability=setting.least_probability)
    hidden = max(0, len(found) - setting.most_boxes)
    found, boxes_um = found[: setting.most_boxes], boxes_um[: setting.most_boxes]
    if sight.chosen is not None and sight.chosen not in found:
        # Who picks a finding from the list wants to see it, however improbable.
        picked, picked_um = Shelf((sight.chosen,)).within(seen_um, least_probability=0)
        found, boxes_um = [*found, *picked], np.vstack([boxes_um, picked_um])
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
    return Layout(boxes, hidden=hidden)


def _box(
    found: Finding, box_px: XyXy, label_px: XyXy, opacity: float, sight: Sight
) -> Box:
    return Box(
        finding=found,
        box_xyxy_px=box_px,
        rgb=STALE if sight.stale else suspicion_rgb(found.hr_probability),
        opacity=opacity,
        weight=1.0 + max(0.0, found.hr_probability - 0.5),
        dashed=sight.stale,
        chosen=found == sight.chosen,
        label=probability_text(found.hr_probability),
        label_xyxy_px=label_px,
    )
