"""A small picture of the region that will be scanned."""

import math
from collections.abc import Iterator

import numpy as np

from armicro.field import Overview
from armicro.source.sampling import Box, Shape, plan_sampling, resample
from armicro.source.tile import TileCache

_LEAST_UM_PER_PX = 4.0
_MOST_PX = 4_000_000
_MOST_READ_PX = 500_000_000
"""A slide without a pyramid that needs more than this gets no overview."""
_STRIP_ROWS, _BLOCK_COLUMNS = 1024, 16_384
"""Of the slide, read at once, so that memory stays bounded."""


def read_overview(cache: TileCache, shape: Shape, region: Box) -> Overview | None:
    """Shrink a region of level 0 to 4 µm/px, or coarser to stay under 4 Mpx.

    Returns:
        None when that would mean reading a huge slide in full.
    """
    um_x, um_y = shape.um_per_px
    area_um2 = region[2] * um_x * region[3] * um_y
    scale = max(_LEAST_UM_PER_PX, math.sqrt(area_um2 / _MOST_PX), um_x, um_y)
    whole = math.ceil(region[2] * um_x / scale), math.ceil(region[3] * um_y / scale)
    plan = plan_sampling(shape, region, whole, um_per_px=scale)
    x, y, width, height = plan.region
    if width * height > _MOST_READ_PX:
        return None
    across, down = plan.step
    spans = list(_spans(plan.field_wh_px[0], across, _BLOCK_COLUMNS, width))
    strips = []
    for rows, top, tall in _spans(plan.field_wh_px[1], down, _STRIP_ROWS, height):
        blocks = []
        for columns, left, wide in spans:
            block, _ = cache.read(plan.level, (x + left, y + top, wide, tall))
            blocks.append(resample(block, plan.step, (columns, rows)))
        strips.append(np.hstack(blocks))
    return Overview(
        pixels=np.vstack(strips),
        um_per_px=plan.um_per_px,
        x_um=x * plan.level_um_per_px[0],
        y_um=y * plan.level_um_per_px[1],
    )


def _spans(
    count: int, step: float, at_once_px: int, most_px: int
) -> Iterator[tuple[int, int, int]]:
    """Cut one side of the overview: how many pixels, and where in the slide they lie.

    Args:
        count: pixels of the overview.
        step: pixels of the slide that one spans.
        at_once_px: of the slide, about what is read at once.
        most_px: of the slide.
    """
    at_once = max(1, int(at_once_px / step))
    for first in range(0, count, at_once):
        many = min(at_once, count - first)
        start = round(first * step)
        yield many, start, min(math.ceil(many * step), most_px - start)
