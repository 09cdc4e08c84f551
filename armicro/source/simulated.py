"""A simulated microscope: what a camera sees at the true place of a simulated stage.

Play, scatter and rotation are the stage's; blur, vignetting and noise come from
``[scan]`` as for a slide that plays the camera. The slide is any picture at the scale
of the camera; its middle lies in the view's middle when the stage stands at (0, 0).
"""

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import SourceError
from armicro.field import Field, Pixels
from armicro.phantom import UM_PER_PX, lesions_that_fit, paint_field
from armicro.picture import read_picture
from armicro.rig import Camera, Rig
from armicro.source import SourceCard
from armicro.source.scan import Degrader, draw_chance
from armicro.source.stage import Point, SimulatedStage, place_of

# ---------------------------------------------------------------------------
# The path of the emulated stage: smooth, endless, and over the whole image.

_ROWS_PER_WINDOW = 0.7
"""Share of the window's height that a row of the path lies below the last."""

_NEVER_CLOSES = 0.0618
"""Makes the next round run beside the last, so that in time all is seen."""


def pan_xy(
    travelled_px: float, range_wh_px: tuple[int, int], window_h_px: int
) -> tuple[int, int]:
    """Where the window's corner is after so long a way.

    It swings from side to side like a pendulum, each swing a row further down and in
    the end up again, so neither place nor speed ever jumps. In the middle of a row it
    moves as fast as ``travelled_px`` grows, elsewhere slower.

    Args:
        travelled_px: speed times time.
        range_wh_px: how far the corner can move to the right and down.
        window_h_px: height of the window.

    >>> pan_xy(0.0, (1000, 500), 200)
    (0, 0)
    >>> pan_xy(math.pi / 2 * 1000, (1000, 500), 200)[0]
    1000
    """
    width, height = range_wh_px
    swings = travelled_px / (math.pi / 2 * max(width, height, 1))
    rows = max(1.0, height / (_ROWS_PER_WINDOW * window_h_px)) + _NEVER_CLOSES
    x = width * (1 - math.cos(math.pi * swings)) / 2
    y = height * (1 - math.cos(math.pi * swings / rows)) / 2
    return round(x), round(y)


# ---------------------------------------------------------------------------
# Draws the slide that an emulated camera or simulated microscope looks at.

DRAWN = "drawn"
"""In place of a path: draw one."""
_LESIONS = 40


@contextlib.contextmanager
def drawn(camera: Camera) -> Iterator[Camera]:
    """Draw the picture where the camera asks for it, and name its file in the camera.

    The file is there until the block ends.
    """
    if camera.emulated_image != DRAWN:
        yield camera
        return
    with tempfile.TemporaryDirectory(prefix="armicro-drawn-") as folder:
        path = Path(folder) / "drawn.bmp"
        cv2.imwrite(str(path), cv2.cvtColor(paint_slide(camera), cv2.COLOR_RGB2BGR))
        yield msgspec.structs.replace(camera, emulated_image=str(path))


def paint_slide(camera: Camera) -> Pixels:
    """A drawn slide at the camera's scale, twice as wide and high as its field."""
    side_px = 2 * max(camera.width_px, camera.height_px)
    drawn_px = max(1, round(side_px * camera.um_per_px / UM_PER_PX))
    pixels, _ = paint_field(
        seed=1,
        width_px=side_px,
        height_px=side_px,
        um_per_px=camera.um_per_px,
        lesions=min(_LESIONS, lesions_that_fit(drawn_px, drawn_px)),
    )
    return pixels


# ---------------------------------------------------------------------------
# The simulated microscope.


class SimulatedSource:
    """The camera of a microscope that is computed."""

    def __init__(
        self,
        rig: Rig,
        stage: SimulatedStage,
        *,
        slide: Pixels | None = None,
        calibration: StageTable | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Put a slide under the objective.

        Args:
            rig: its camera and the imperfections in its scan table.
            stage: whose true place is looked at.
            slide: (height, width, 3) RGB at the camera's scale; None: the picture that
                ``camera.emulated_image`` names.
            calibration: the stage's, from the certificate.
            clock: nanoseconds, monotonic.

        Raises:
            SourceError: there is no such picture, or it is smaller than a field.
        """
        self._camera, self._scan, self._stage = rig.camera, rig.scan, stage
        self._calibration, self._clock = calibration, clock
        self._slide = picture_of(rig) if slide is None else slide
        height_px, width_px = self._slide.shape[:2]
        camera = rig.camera
        if width_px < camera.width_px or height_px < camera.height_px:
            raise SourceError(
                f"simulated slide: {width_px}×{height_px} px, smaller than the "
                f"camera's {camera.width_px}×{camera.height_px}; give a larger picture"
            )
        self._room_wh_px = width_px - camera.width_px, height_px - camera.height_px
        self._degrader = Degrader(camera, rig.scan, um_per_px=camera.um_per_px)
        self._glass = [int(v) for v in np.median(self._slide[::16, ::16], axis=(0, 1))]
        self.card = SourceCard(
            name="simulated microscope",
            um_per_px=camera.um_per_px,
            width_px=camera.width_px,
            height_px=camera.height_px,
            simulated=True,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield what is seen where the stage is, at the rig's rate at most."""
        period_ns = round(1e9 / self._camera.frames_per_second)
        due_ns = started_ns = self._clock()
        first, seq = self._stage.position(), 0
        while True:
            due_ns = max(due_ns + period_ns, self._clock())
            self._pan(self._clock() - started_ns)
            if seq not in done:
                yield self._field(seq, first)
            seq += 1
            wait_ns = due_ns - self._clock()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)

    def _pan(self, elapsed_ns: int) -> None:
        """Let the stage wander over the slide by itself, where the rig asks for it."""
        scale = self._camera.um_per_px
        speed = self._camera.emulated_pan_um_per_s / scale
        if speed:
            at = pan_xy(
                speed * elapsed_ns * 1e-9, self._room_wh_px, self._camera.height_px
            )
            way = [(at[i] - self._room_wh_px[i] / 2) * scale for i in (0, 1)]
            limits = self._stage.limits
            if limits is not None:
                way = [min(max(way[i], limits[i]), limits[i + 2]) for i in (0, 1)]
            self._stage.move_to(*way)

    def _field(self, seq: int, first: Point) -> Field:
        at = self._stage.position()
        pixels = self._degrader.apply(
            self._look(), draw_chance(self._scan, seq), direction=(0.0, 0.0)
        )
        return Field(
            um_per_px=self._camera.um_per_px,
            seq=seq,
            taken_ns=self._clock(),
            place=place_of(at, at, self._calibration, first=first),
            pixels=pixels,
        )

    def _look(self) -> Pixels:
        """The view at the stage's true place, between pixels where it lies there."""
        corner = [
            self._room_wh_px[i] / 2 + self._stage.true_xy_um[i] / self._camera.um_per_px
            for i in (0, 1)
        ]
        shift = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]])
        view = cv2.warpAffine(
            self._slide,
            shift,
            (self._camera.width_px, self._camera.height_px),
            # A bent interpolation, since a straight one blurs by where it falls.
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=self._glass,
        )
        return np.asarray(view, np.uint8)

    def close(self) -> None:
        """Nothing to give back; may be called twice."""


def picture_of(rig: Rig) -> Pixels:
    """Read the picture that plays the slide, or draw one.

    Raises:
        SourceError: it is missing or no picture.
    """
    if rig.camera.emulated_image == DRAWN:
        return paint_slide(rig.camera)
    path = Path(rig.camera.emulated_image)
    if not path.is_file():
        raise SourceError(
            f"simulated slide {rig.camera.emulated_image or '(none named)'}: missing; "
            'name a PNG, or "drawn", as camera.emulated_image of the rig'
        )
    return read_picture(path)
