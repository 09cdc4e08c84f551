"""A whole-slide file that plays the camera: read, resampled, placed, degraded.

Fields are cut at whole pixels of one pyramid level and resampled at exactly the rig's
scale with an area filter (linear when enlarging), so a field's place is what was read,
not what was planned. Pixel coordinates count from the outer edge of the first pixel.
"""

import math
import time
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Field, Overview, Pixels, Place
from armicro.rig import Rig
from armicro.source import SourceCard
from armicro.source.reader import PICTURES_ARE_LIVE, open_reader
from armicro.source.sampling import (
    Box,
    Shape,
    clip_box,
    plan_sampling,
    read_shape,
    resample,
    turned_window,
)
from armicro.source.scan import (
    Chance,
    Degrader,
    draw_chance,
    numerical_aperture,
    scan_path,
)
from armicro.source.tile import JpegTiles, RegionTiles, TileCache
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
        self.card = SourceCard(
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


# ---------------------------------------------------------------------------
# A small picture of the region that will be scanned.

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


# ---------------------------------------------------------------------------
# A DICOM slide is a folder: one file a level, all of one series.
#
# OpenSlide, given one of them, finds the others beside it. So a slide may be named by
# its folder or by any of its files, and is read once however often it is named.

_HEAD_BYTES = 1 << 16
"""The series stands in the first elements, long before the pixels."""
_SERIES = b"\x20\x00\x0e\x00"
"""Series Instance UID (0020,000E), little-endian as every slide is stored."""


def series_of(path: Path) -> str | None:
    """The series of a DICOM file; None for any other file."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return None
    at = head.find(_SERIES, 132)
    if head[128:132] != b"DICM" or at < 0:
        return None
    # Explicit VR has its two letters and a short length, implicit a long one.
    explicit = head[at + 4 : at + 6] == b"UI"
    length = head[at + 6 : at + 8] if explicit else head[at + 4 : at + 8]
    uid = head[at + 8 : at + 8 + min(int.from_bytes(length, "little"), 64)]
    return uid.rstrip(b"\0 ").decode("ascii", "replace")


def slide_file(path: Path) -> Path:
    """The file by which a slide is opened: itself, or the largest of a DICOM folder.

    Raises:
        SourceError: it is a folder that holds no DICOM slide, or several.
    """
    if not path.is_dir():
        return path
    series: dict[str, Path] = {}
    files = [file for file in path.iterdir() if file.is_file()]
    for file in sorted(files, key=lambda file: file.stat().st_size):
        uid = series_of(file)
        if uid is not None:
            series[uid] = file
    if not series:
        raise SourceError(
            f"slide {path}: a folder, expected a slide's file or a folder of DICOM "
            f"files; {PICTURES_ARE_LIVE}"
        )
    if len(series) > 1:
        names = ", ".join(sorted(file.name for file in series.values())[:4])
        raise SourceError(
            f"slide {path}: a folder of {len(series)} DICOM slides, expected one; name "
            f"a file of each: {names}"
        )
    return next(iter(series.values()))


def once_each(paths: Sequence[Path]) -> list[Path]:
    """The paths without further files of a DICOM slide that was named before."""
    met: set[tuple[Path, str]] = set()
    kept = []
    for path in paths:
        is_folder = path.is_dir()
        uids = {series_of(file) for file in (path.iterdir() if is_folder else (path,))}
        keys = {
            ((path if is_folder else path.parent).resolve(), uid)
            for uid in uids
            if uid is not None
        }
        if keys and keys <= met:
            continue
        met |= keys
        kept.append(path)
    return kept
