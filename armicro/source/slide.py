"""A whole-slide file that plays the camera: read, resampled, placed, degraded.

Fields are cut at whole pixels of one pyramid level and resampled at exactly the rig's
scale with an area filter (linear when enlarging), so a field's place is what was read,
not what was planned. Pixel coordinates count from the outer edge of the first pixel.
"""

import math
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Field, Pixels, Place
from armicro.rig import Rig
from armicro.source import Card
from armicro.source.degrade import (
    Chance,
    Degrader,
    draw_chance,
    numerical_aperture,
)
from armicro.source.dicom import slide_file
from armicro.source.jpeg import JpegTiles
from armicro.source.overview import read_overview
from armicro.source.reader import open_reader
from armicro.source.sampling import (
    Box,
    Shape,
    clip_box,
    plan_sampling,
    read_shape,
    resample,
    turned_window,
)
from armicro.source.scan import scan_path
from armicro.source.tile import RegionTiles, TileCache
from armicro.verdict import state_text

_STANDARD_ERROR_PX = 0.1


class SlideSource:
    """A slide file whose fields come in the order of a scan path."""

    def __init__(
        self,
        path: Path,
        rig: Rig,
        *,
        um_per_px: float | None = None,
        region_px: Box | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Open a slide.

        Args:
            path: any format that OpenSlide or an installed reader reads; the folder of
                a DICOM slide.
            rig: its camera gives the scale and size of fields, its scan the path.
            um_per_px: scale of the slide file's pixels; overrides what the file says.
            region_px: x, y, width, height of the part to scan, in the slide file's
                pixels; the whole scanned part when not given.
            clock: nanoseconds, monotonic.

        Raises:
            SourceError: the slide cannot be used, or the region lies outside it.
        """
        file = slide_file(path)
        reader = open_reader(file)
        try:
            self._shape = read_shape(reader, path, um_per_px)
            region = _region(region_px, self._shape, path)
        finally:
            reader.close()
        regions = RegionTiles(lambda: open_reader(file))
        tiles = JpegTiles(file, regions)
        self._cache = TileCache(tiles, background=regions.background)
        self._clock = clock
        self._scan = rig.scan
        self._aperture = numerical_aperture(rig.objective)
        camera = rig.camera
        self._sampling = plan_sampling(
            self._shape,
            region,
            (camera.width_px, camera.height_px),
            um_per_px=camera.um_per_px,
        )
        sampling = self._sampling
        self._path = scan_path(sampling.region, sampling.window_wh_px, rig.scan)
        self._degrader = Degrader(camera, rig.scan, um_per_px=sampling.um_per_px)
        self.card = Card(
            name=path.name if path.is_dir() else path.stem,
            um_per_px=sampling.um_per_px,
            width_px=sampling.field_wh_px[0],
            height_px=sampling.field_wh_px[1],
            fields_planned=self._planned(),
            overview=read_overview(self._cache, self._shape, region),
            pixel_um=math.sqrt(self._shape.um_per_px[0] * self._shape.um_per_px[1]),
            shown_xywh_px=self._shape.bounds,
            pixel_xy_um=self._shape.um_per_px,
            simulated=True,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield fields along the scan path; see ``Source``."""
        for seq in range(len(self._path)):
            chance = draw_chance(self._scan, seq)
            if seq not in done and not chance.dropped:
                yield self._field(seq, chance)

    def _planned(self) -> int:
        """Fields of the path that chance does not drop."""
        if not self._scan.dropped:
            return len(self._path)
        numbers = range(len(self._path))
        return sum(not draw_chance(self._scan, seq).dropped for seq in numbers)

    def _field(self, seq: int, chance: Chance) -> Field:
        sampling = self._sampling
        x, y = (int(v) for v in self._path[seq])
        pixels, fault = self._look((x, y))
        if not fault:
            pixels = self._degrader.apply(
                pixels,
                chance,
                direction=_direction(self._path, seq),
                aperture=self._aperture,
            )
        place = Place(
            x_um=x * sampling.level_um_per_px[0],
            y_um=y * sampling.level_um_per_px[1],
            standard_error_um=_STANDARD_ERROR_PX * sampling.um_per_px,
            origin="slide_file",
        )
        return Field(
            um_per_px=sampling.um_per_px,
            seq=seq,
            taken_ns=self._clock(),
            place=None if self._scan.hide_place else place,
            fault=state_text("unreadable", what=fault) if fault else "",
            pixels=np.ascontiguousarray(pixels),
        )

    def _look(self, at_xy: tuple[int, int]) -> tuple[Pixels, str]:
        """Read a field at a pixel of the level, turned if the rig is."""
        sampling = self._sampling
        if not self._scan.rotation_deg:
            window, fault = self._cache.read(
                sampling.level, (*at_xy, *sampling.window_wh_px)
            )
            return resample(window, sampling.step, sampling.field_wh_px), fault
        box, wide_wh, turn = turned_window(sampling, self._scan, at_xy)
        window, fault = self._cache.read(sampling.level, box)
        wide = resample(window, sampling.step, wide_wh)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = cv2.warpAffine(
            wide,
            turn,
            sampling.field_wh_px,
            flags=flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return turned, fault  # type: ignore[return-value]

    def close(self) -> None:
        """Give the file back; may be called twice."""
        self._cache.close()


def _region(region_px: Box | None, shape: Shape, path: Path) -> Box:
    x, y, width, height = shape.bounds
    if region_px is None:
        region = shape.bounds
    else:
        # A scanner keeps nothing beyond the bounds: there is no slide.
        left, top, *size = region_px
        region = clip_box((left - x, top - y, size[0], size[1]), (width, height))
        region = (region[0] + x, region[1] + y, region[2], region[3])
    if region[2] < 1 or region[3] < 1:
        raise SourceError(
            f"slide {path}: the region {region_px or shape.bounds} lies off the slide, "
            f"whose {width}×{height} px begin at {x},{y}; give X,Y,W,H in pixels of "
            "the slide file"
        )
    return region


def _direction(path: NDArray[np.int64], seq: int) -> tuple[float, float]:
    """Unit vector from the field before (or to the next, for the first)."""
    if len(path) < 2:
        return 0.0, 0.0
    dx, dy = (float(v) for v in path[max(seq, 1)] - path[max(seq, 1) - 1])
    length = math.hypot(dx, dy)
    return dx / length, dy / length
