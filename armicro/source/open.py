"""One table from a rig's driver to the source that it opens."""

import time
from collections.abc import Callable
from pathlib import Path

from armicro.errors import SourceError
from armicro.rig import Rig
from armicro.source import Source
from armicro.source.slide import SlideSource


def open_source(
    rig: Rig,
    *,
    slide: Path | None = None,
    um_per_px: float | None = None,
    region_px: tuple[int, int, int, int] | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Source:
    """Open the source that a rig names, or a slide in its stead.

    Args:
        rig: its camera table says which driver.
        slide: a slide file or recording to play; a camera rig then lends its scale.
        um_per_px: scale of the slide file's pixels, where the file is silent or wrong.
        region_px: x, y, width, height of the part to scan, in slide file pixels.
        clock: nanoseconds, monotonic.

    Raises:
        SourceError: there is no such slide or camera, or it cannot be used.
    """
    if slide is not None:
        return SlideSource(
            slide, rig, um_per_px=um_per_px, region_px=region_px, clock=clock
        )
    raise SourceError("no slide")
