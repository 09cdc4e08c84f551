"""One of many: keep points that lie apart, the better ones first."""

from collections.abc import Sequence

Point = tuple[float, float]


def keep_apart(
    centres_xy_um: Sequence[Point], *, apart_um: float, count: int | None = None
) -> list[int]:
    """Indices of the points that have no earlier kept point nearer than ``apart_um``.

    Points must come best first. Time is linear in the number of points (a grid of
    ``apart_um`` holds the kept ones).

    >>> keep_apart([(0, 0), (3, 4), (30, 0)], apart_um=5.1)
    [0, 2]
    """
    kept: dict[tuple[int, int], list[Point]] = {}
    chosen: list[int] = []
    for index, (x, y) in enumerate(centres_xy_um):
        if count is not None and len(chosen) == count:
            break
        column, row = int(x // apart_um), int(y // apart_um)
        near = (
            other
            for i in (column - 1, column, column + 1)
            for j in (row - 1, row, row + 1)
            for other in kept.get((i, j), ())
        )
        if any((x - u) ** 2 + (y - v) ** 2 < apart_um**2 for u, v in near):
            continue
        kept.setdefault((column, row), []).append((x, y))
        chosen.append(index)
    return chosen
