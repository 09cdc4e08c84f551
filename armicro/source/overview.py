"""A small picture of the region that will be scanned."""

import math

import numpy as np

from armicro.field import Overview
from armicro.source.sampling import Box, Shape, plan_sampling, resample
from armicro.source.tile import TileCache

_LEAST_UM_PER_PX = 4.0
_MOST_PX = 4_000_000
_MOST_READ_PX = 500_000_000
"""A slide without a pyramid that needs more than this gets no overview."""
_STRIP_ROWS = 1024
"""Rows of the slide read at once, so that memory stays bounded."""


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
    columns, rows = plan.field_wh_px
    at_once = max(1, int(_STRIP_ROWS / plan.step[1]))
    strips = []
    for row in range(0, rows, at_once):
        count = min(at_once, rows - row)
        top = y + round(row * plan.step[1])
        tall = min(math.ceil(count * plan.step[1]), y + height - top)
        strip, _ = cache.read(plan.level, (x, top, width, tall))
        strips.append(resample(strip, plan.step, (columns, count)))
    return Overview(
        pixels=np.vstack(strips),
        um_per_px=plan.um_per_px,
        x_um=x * plan.level_um_per_px[0],
        y_um=y * plan.level_um_per_px[1],
    )
