"""From camera pixels to the optical display's."""

import numpy as np
import pytest

from armicro.overlay.layout import (
    CanvasView,
    FindingIndex,
    bent,
    between_edges,
    lay_out,
    local_scale,
)
from armicro.overlay.snapshot import DisplayOptics, OverlaySettings
from tests.overlay.scene import SECOND_NS, field_at, finding_at, place_at, slide_with

MIRRORED = DisplayOptics(((-0.5, 0.0, 199.5), (0.0, 0.5, 0.0), (0.0, 0.0, 1.0)))


def test_coordinates_that_count_from_edges_meet_those_of_pixel_centres() -> None:
    matrix = between_edges(MIRRORED)
    # The middle of camera pixel (10, 20), as certificates count and as layouts do.
    x, y, w = matrix @ (10.5, 20.5, 1.0)
    assert (x / w, y / w) == pytest.approx((-0.5 * 10 + 199.5 + 0.5, 0.5 * 20 + 0.5))


def test_the_scale_of_a_perspective_is_that_of_the_spot() -> None:
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1e-3, 0.0, 1.0]])
    step = 1e-4
    near = [
        np.array([x / w, y / w])
        for x, y, w in (
            matrix @ (300.0, 100.0, 1.0),
            matrix @ (300.0 + step, 100.0, 1.0),
            matrix @ (300.0, 100.0 + step, 1.0),
        )
    ]
    area = abs(np.linalg.det([(near[1] - near[0]) / step, (near[2] - near[0]) / step]))
    assert local_scale(matrix, (300.0, 100.0)) == pytest.approx(np.sqrt(area), rel=1e-3)


def test_a_lens_moves_boxes_most_in_the_corners_and_not_in_the_middle() -> None:
    findings = (finding_at(50.0, 37.5), finding_at(95.0, 70.0, 0.8))
    layout = lay_out(
        FindingIndex(findings),
        field_at(place_at(0.0, 0.0)),
        slide_with(findings),
        CanvasView((0.0, 0.0, 400.0, 300.0), (30.0, 12.0), now_ns=SECOND_NS),
        OverlaySettings(),
    )
    middle, corner = layout.boxes
    straight = DisplayOptics(MIRRORED.homography, ())
    assert bent(layout.boxes, straight, (400, 300)) == layout.boxes
    lens = DisplayOptics(MIRRORED.homography, (0.1,))
    bent_middle, bent_corner = bent(layout.boxes, lens, (400, 300))
    assert bent_middle == middle
    moved = bent_corner.box_xyxy_px[0] - corner.box_xyxy_px[0]
    share = (180**2 + 130**2) / (200**2 + 150**2)
    assert moved == pytest.approx(180 * 0.1 * share, rel=0.01)
