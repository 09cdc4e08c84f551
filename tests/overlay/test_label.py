import numpy as np
import pytest

from armicro.overlay.layout import place_labels
from armicro.overlay.view import XyXy

FIELD = (0.0, 0.0, 1000.0, 800.0)
SIZE = (34.0, 17.0)


def shared(a: XyXy, b: XyXy) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def test_no_label_hides_a_cell_or_another_label_where_there_is_room() -> None:
    boxes = [
        (
            100.0 + 150 * column,
            100.0 + 150 * row,
            200.0 + 150 * column,
            200.0 + 150 * row,
        )
        for row in range(4)
        for column in range(5)
    ]
    labels = place_labels(boxes, [SIZE] * len(boxes), FIELD)
    for at, label in enumerate(labels):
        assert all(shared(label, box) == 0 for box in boxes)
        assert all(shared(label, other) == 0 for other in labels[:at])


def test_labels_of_two_overlapping_boxes_stay_apart() -> None:
    boxes = [(300.0, 300.0, 400.0, 400.0), (310.0, 305.0, 410.0, 405.0)]
    first, second = place_labels(boxes, [SIZE] * 2, FIELD)
    assert shared(first, second) == 0
    assert shared(second, boxes[0]) == 0


@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 100.0, 100.0),
        (900.0, 0.0, 1000.0, 100.0),
        (0.0, 700.0, 100.0, 800.0),
        (450.0, -60.0, 550.0, 40.0),
        (950.0, 350.0, 1050.0, 450.0),
    ],
)
def test_the_label_of_a_box_at_the_edge_stays_in_sight(box: XyXy) -> None:
    (label,) = place_labels([box], [SIZE], FIELD)
    assert shared(label, FIELD) == pytest.approx(SIZE[0] * SIZE[1])
    assert shared(label, box) == 0


def test_labels_do_not_jump_while_the_field_moves() -> None:
    boxes = np.array(
        [(300.0, 300, 400, 400), (350, 320, 450, 420), (700, 200, 800, 300)]
    )
    offsets = set()
    for step in range(20):
        moved = boxes + np.array([3.7, 1.3, 3.7, 1.3]) * step
        rows = [(float(a), float(b), float(c), float(d)) for a, b, c, d in moved]
        labels = place_labels(rows, [SIZE] * 3, FIELD)
        offsets.add(
            tuple(
                (round(label[0] - box[0], 3), round(label[1] - box[1], 3))
                for label, box in zip(labels, rows, strict=True)
            )
        )
    assert len(offsets) == 1


def test_no_boxes_need_no_labels() -> None:
    assert place_labels([], [], FIELD) == []
